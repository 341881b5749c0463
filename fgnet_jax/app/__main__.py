"""Serve a local page: drop an image or a video on it, and see the faces and their action units.

    python -m fgnet_jax.app --weights weights/fgnet_disfa

opens http://127.0.0.1:7860. Nothing leaves this machine: the page is served to it alone (unless `--host` names another
address), loads nothing from elsewhere, and sends no statistics. Needs the extra `app`. Ctrl-C ends it.

Exit status: 0 when it was ended; 2 for a wrong command line, missing weights, or a port that is in use.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fgnet_jax.runtime import command_line, devices
from fgnet_jax.runtime.command_line import Parser, fail, program, status

if TYPE_CHECKING:
    import gradio

    from fgnet_jax.predict.detector import Detector


class PageError(Exception):
    """A page that cannot be opened."""


@command_line.command("fgnet_jax.app")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line until it is interrupted, and return the exit status."""
    arguments = _parser().parse_args(argv)
    from fgnet_jax.app.page import build  # here and below: after the help, which need not wait for JAX and SciPy

    try:
        detector = _load(arguments)
        _serve(build(detector, arguments.thresholds), arguments)
    except PageError as error:
        return fail("fgnet_jax.app", error, 2)
    except KeyboardInterrupt:
        pass
    return 0


def _load(arguments: argparse.Namespace) -> "Detector":
    """Load the detector, and compile it before the first file is dropped."""
    if find_spec("gradio") is None:
        raise PageError("the page needs Gradio: pip install 'fgnet_jax[app]'")
    from fgnet_jax.metrics import thresholds
    from fgnet_jax.models.weights import WeightsError
    from fgnet_jax.predict.detector import Detector
    from fgnet_jax.predict.pipeline import PredictOptions

    devices.check()
    try:
        detector = Detector.load(arguments.weights, dtype=arguments.dtype)
        PredictOptions(thresholds=arguments.thresholds).thresholds_of(detector.aus)
    except (WeightsError, thresholds.ThresholdsError) as error:
        raise PageError(str(error)) from error
    start = time.perf_counter()
    detector.compile()
    status("app", f"compiled in {time.perf_counter() - start:.1f} s")
    return detector


def _serve(page: "gradio.Blocks", arguments: argparse.Namespace) -> None:
    """Serve the page until it is interrupted."""
    from fgnet_jax.app.page import CSS, import_gradio

    gr = import_gradio()
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
            css=CSS,
        )
    except OSError as error:
        where = f"{arguments.host}:{arguments.port}"
        raise PageError(
            f"cannot serve on {where}: in use, or not an address of this machine; choose another by --port"
        ) from error
    print(f"fgnet_jax.app: {url} (Ctrl-C ends it)", flush=True)
    with contextlib.closing(page):
        page.block_thread()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(__doc__ or "", program("app"))
    add = parser.add_argument
    add("--weights", required=True, metavar="DIR", help="weights from convert_weights or training")
    add("--thresholds", metavar="FILE", help="file of thresholds from evaluation; default 0")
    add("--dtype", choices=("float32", "bfloat16"), help="number format to compute in; default as in the weights' JSON")
    add("--host", default="127.0.0.1", help="address to serve on (default 127.0.0.1: this machine alone)")
    add("--port", type=int, default=7860, help="port to serve on (default 7860)")
    add("--browser", action=argparse.BooleanOptionalAction, default=True, help="open the page in a browser")
    return parser


if __name__ == "__main__":
    sys.exit(main())
