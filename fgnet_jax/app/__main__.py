"""Serve a local page: drop images or videos on it, and see the faces and their action units.

    python -m fgnet_jax.app --weights weights/fgnet_disfa

prints the page's address, http://127.0.0.1:7860/?token=..., and opens it. Nothing leaves this machine: the page is
served to it alone (unless --host names another address), loads nothing from elsewhere, and sends no statistics. Only
who knows the token gets in: no other web site, and no other user of this machine who has not got it from your browser.
That one has it in a cookie, which browsers send to every port of 127.0.0.1: do not open servers of people whom you do
not trust there, such as http://127.0.0.1:8888, in the same browser.

Files that are dropped, and what is made of them, lie in a folder of $TMPDIR (else /tmp) that only you can read. They
are removed when the page shows them no more or its tab is closed; the folder, when the page ends by Ctrl-C, SIGTERM or
a closed terminal; after a crash, when it is started next. Needs the extra `app`.

From another machine: ssh -L 7860:127.0.0.1:7860 THIS_MACHINE, then open the printed address there.

Exit status: 0 when it was ended; 130 or 143 if that was by Ctrl-C or SIGTERM before it served; 1 if the server failed;
2 for a wrong command line, missing weights, or a port that is in use, all found before the network is loaded.
"""

import argparse
import contextlib
import socket
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fgnet_jax.app import private_folder, server
from fgnet_jax.runtime import command_line, compilation_cache, devices, signals
from fgnet_jax.runtime.command_line import Parser, fail, program, status

if TYPE_CHECKING:
    from fgnet_jax.predict.detector import Detector

FOLDER_PREFIX = "fgnet_jax_page_"
"""Beginning of the names of folders for uploads and results."""

_GB = 10**9


class PageError(Exception):
    """A page that cannot be opened."""


@command_line.command("fgnet_jax.app")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line until it is interrupted, and return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        if find_spec("gradio") is None:
            raise PageError("the page needs Gradio: pip install 'fgnet_jax[app]'")
        with contextlib.closing(server.listen(arguments.host, arguments.port)) as listener:
            with signals.EndAtOnce(lambda name: status("app", f"ended by {name}")):
                detector = _load(arguments)
            _serve(detector, listener, arguments)
    except (PageError, server.AddressError) as error:
        return fail("fgnet_jax.app", error, 2)
    except server.ServerError as error:
        return fail("fgnet_jax.app", error, 1)
    command_line.end(0)  # now: threads that still compute would be waited for


def _load(arguments: argparse.Namespace) -> "Detector":
    """Load the detector, and compile it before the first file is dropped."""
    from fgnet_jax.metrics import thresholds  # here and below: after the help, which need not wait for JAX and SciPy
    from fgnet_jax.models.weights import WeightsError
    from fgnet_jax.predict.detector import Detector
    from fgnet_jax.predict.pipeline import PredictOptions

    devices.check()
    compilation_cache.enable("app", is_enabled=not arguments.no_cache)
    try:
        detector = Detector.load(arguments.weights, dtype=arguments.dtype)
        PredictOptions(thresholds=arguments.thresholds).thresholds_of(detector.aus)
    except (WeightsError, thresholds.ThresholdsError) as error:
        raise PageError(str(error)) from error
    start = time.perf_counter()
    detector.compile()
    status("app", f"compiled in {time.perf_counter() - start:.1f} s")
    return detector


def _serve(detector: "Detector", listener: socket.socket, arguments: argparse.Namespace) -> None:
    """Serve the page until it is ended by a signal, with a folder that ends with it."""
    from fgnet_jax.app.page import build

    access = server.Access(arguments.host, tuple(arguments.allow_host), round(arguments.max_upload * _GB))
    with contextlib.ExitStack() as stack:
        ending = stack.enter_context(server.ended_by_signals())
        try:
            folder = stack.enter_context(private_folder.private_folder(FOLDER_PREFIX))
        except OSError as error:
            raise PageError(f"no folder for uploads can be created: {error}; choose another by TMPDIR") from error
        environment = stack.enter_context(private_folder.for_temporary_files(folder))

        def on_ready(url: str) -> None:
            print(f"fgnet_jax.app: {url} (Ctrl-C ends it)", flush=True)
            if arguments.browser:
                server.open_browser(url, folder, environment)

        page = build(detector, arguments.thresholds, name=arguments.weights)
        server.serve(page, listener, access, on_ready=on_ready, ending=ending)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(__doc__ or "", program("app"))
    add = parser.add_argument
    add("--weights", required=True, metavar="DIR", help="weights from convert_weights or training")
    add("--thresholds", metavar="FILE", help="file of thresholds from evaluation; default 0")
    add("--dtype", choices=("float32", "bfloat16"), help="number format to compute in; default as in the weights' JSON")
    compilation_cache.add_flag(parser)
    add("--host", default="127.0.0.1", help="address to serve on (default 127.0.0.1: this machine alone)")
    add("--port", type=_port, default=7860, help="port to serve on (default 7860; 0 for any that is free)")
    add(
        "--allow_host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name by which browsers may address the page, as behind a reverse proxy; may be repeated",
    )
    add(
        "--max_upload",
        type=_gigabytes,
        default=4.0,
        metavar="GB",
        help="gigabytes (10^9 bytes) that may be uploaded at once (default 4)",
    )
    add("--browser", action=argparse.BooleanOptionalAction, default=True, help="open the page in a browser")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a port, from 0 to 65535, got {text!r}")
    return int(text)


def _gigabytes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"must be gigabytes, above 0, got {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
