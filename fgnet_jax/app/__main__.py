"""A local page for those who do not type: drop an image or a video, see faces and their action units.

    python -m fgnet_jax.app --weights weights/fgnet_disfa

opens http://127.0.0.1:7860. Nothing leaves this machine: the page is served to it alone (`--host` says otherwise),
loads nothing from elsewhere, and reports nothing to anybody. Needs the extra `app`. Ctrl-C ends it.

Exit status: 0 when it was ended; 2 for a wrong command line, weights that are not there, or a port that is taken.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fgnet_jax.app.page import _CSS, _gradio, build
from fgnet_jax.metrics import thresholds
from fgnet_jax.predict.pipeline import PredictOptions

if TYPE_CHECKING:
    import gradio

    from fgnet_jax.predict.detector import Detector


class PageError(Exception):
    """A page that cannot be opened."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line until it is interrupted; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        detector = _load(arguments)
        _serve(build(detector, arguments.thresholds), arguments)
    except PageError as refused:
        print(f"fgnet_jax.app: error: {refused}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


def _load(arguments: argparse.Namespace) -> "Detector":
    """The detector, compiled before anybody waits for it."""
    if find_spec("gradio") is None:
        raise PageError("the page needs Gradio: pip install 'fgnet_jax[app]'")
    from fgnet_jax.models.weights import WeightsError
    from fgnet_jax.predict.detector import Detector

    try:
        detector = Detector.load(arguments.weights, dtype=arguments.dtype)
        PredictOptions(thresholds=arguments.thresholds).thresholds_of(detector.aus)
    except (WeightsError, thresholds.ThresholdsError) as error:
        raise PageError(str(error)) from error
    start = time.perf_counter()
    detector.compile()
    print(f"fgnet_jax.app: compiled in {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    return detector


def _serve(page: "gradio.Blocks", arguments: argparse.Namespace) -> None:
    """Serves the page until it is interrupted."""
    gr = _gradio()
    try:
        _, url, _ = page.launch(
            server_name=arguments.host,
            server_port=arguments.port,
            inbrowser=arguments.browser,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            footer_links=[],
            theme=gr.themes.Default(primary_hue="indigo", font=["system-ui", "sans-serif"], font_mono=["monospace"]),
            css=_CSS,
        )
    except OSError as error:
        where = f"{arguments.host}:{arguments.port}"
        raise PageError(f"cannot serve on {where}: taken, or not this machine's; --port names another") from error
    print(f"fgnet_jax.app: {url} (Ctrl-C ends it)", flush=True)
    with contextlib.closing(page):
        page.block_thread()


def _parser() -> argparse.ArgumentParser:
    description, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m fgnet_jax.app",
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--weights", required=True, metavar="DIR", help="weights from convert_weights or training")
    add("--thresholds", metavar="FILE", help="thresholds from evaluation; 0 if not given")
    add("--dtype", choices=("float32", "bfloat16"), help="what to compute in; as in the weights' JSON")
    add("--host", default="127.0.0.1", help="address to serve on (default 127.0.0.1: this machine alone)")
    add("--port", type=int, default=7860, help="port to serve on (default 7860)")
    add("--browser", action=argparse.BooleanOptionalAction, default=True, help="open the page in a browser")
    return parser


if __name__ == "__main__":
    sys.exit(main())
