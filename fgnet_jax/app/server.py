"""Serves the page to its user alone, until a signal ends it."""

import contextlib
import dataclasses
import html
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio
    import uvicorn
    from starlette.types import ASGIApp

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # SIGHUP: its terminal was closed
_POLL_SECONDS, _END_SECONDS = 0.2, 3.0
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class ServerError(Exception):
    """A server that has ended by itself."""


class AddressError(Exception):
    """An address that cannot be served."""


@dataclasses.dataclass(frozen=True)
class Access:
    """Who may use the page, and from where.

    Attributes:
      host: The address that is served.
      allow_hosts: Further names by which browsers may address the page.
      max_upload: Size of the largest request, in bytes.
      token: What whoever opens the page must know.
    """

    host: str
    allow_hosts: tuple[str, ...] = ()
    max_upload: int = 4 * 10**9
    token: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def url(self, port: int) -> str:
        """Return the page's address, with its token."""
        host = _ANY.get(self.host.strip("[]"), self.host.strip("[]"))
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/?token={self.token}"


def listen(host: str, port: int) -> socket.socket:
    """Take an address of this machine: from now on it is this process' own, and connections wait until it serves.

    Args:
      host: An address or name of this machine.
      port: A port; 0 for any that is free.

    Raises:
      AddressError: The port is in use, or the address is not one of this machine.
    """
    where = f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise AddressError(f"cannot serve on {where}: there is no such address; choose another by --host") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = f"{error.strerror}: in use, or not an address of this machine"
        raise AddressError(f"cannot serve on {where}: {reason}; choose another by --port") from error
    return listener


@dataclasses.dataclass
class Ending:
    """Whether a signal to end has arrived."""

    received: bool = False


@contextlib.contextmanager
def ended_by_signals() -> Iterator[Ending]:
    """Record SIGINT, SIGTERM and SIGHUP in the block, in the main thread, so that it ends in its own way.

    Nothing is raised: libraries take an exception for a failed import, and a second signal would stop the cleaning up.
    """
    ending = Ending()

    def receive(number: int, frame: FrameType | None) -> None:
        del number, frame
        ending.received = True

    former = {number: signal.signal(number, receive) for number in _SIGNALS}
    try:
        yield ending
    finally:
        for number, handler in former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def serve(
    page: "gradio.Blocks",
    listener: socket.socket,
    access: Access,
    *,
    on_ready: Callable[[str], None],
    ending: Ending,
) -> None:
    """Serve a page until a signal ends it.

    Args:
      page: The page, as Gradio has it.
      listener: Where it is served; closed at the end.
      access: Who may use it.
      on_ready: Called with the page's address when it is served.
      ending: What `ended_by_signals` has yielded.

    Raises:
      ServerError: The server has ended by itself.
    """
    import uvicorn

    port = listener.getsockname()[1]
    config = uvicorn.Config(
        guarded(page, access, port),
        log_level="warning",
        access_log=False,
        ws="none",
        lifespan="on",
        server_header=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server", daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    if server.started:
        on_ready(access.url(port))
    while thread.is_alive() and not ending.received:
        thread.join(_POLL_SECONDS)  # not an event: a signal's handler that sets one may wait for itself
    if not ending.received:
        raise ServerError("the server has ended by itself")
    _end(server, thread)


def _end(server: "uvicorn.Server", thread: threading.Thread) -> None:
    """End the server without waiting for browsers that are still connected."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)  # it reports every connection that it breaks off
    server.should_exit = server.force_exit = True
    thread.join(_END_SECONDS)


def guarded(page: "gradio.Blocks", access: Access, port: int) -> "ASGIApp":
    """Return the web application of a page, behind its guard.

    Gradio's own `launch` would ask itself through a proxy whether it is there, and find its port taken only then.
    """
    import fastapi

    from fgnet_jax.app.guard import Guard, host_names
    from fgnet_jax.app.page import CSS, import_gradio

    gr = import_gradio()
    app = gr.mount_gradio_app(
        fastapi.FastAPI(openapi_url=None),
        page,
        path="/",
        server_name=access.host,
        server_port=port,
        max_file_size=access.max_upload,
        footer_links=[],
        ssr_mode=False,
        theme=gr.themes.Default(primary_hue="indigo", font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        css=CSS,
    )
    page.has_launched = True  # as `launch` would: else Gradio reads any file that a request names
    hosts = host_names(access.host, access.allow_hosts)
    return Guard(app, token=access.token, port=port, hosts=hosts, max_upload=access.max_upload)


def open_browser(url: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Open the page in the user's browser.

    Other users see the arguments of every program, so that the browser's is a file which only this one can read.

    Args:
      url: The page's address, with its token.
      folder: A folder that only this user can read.
      environment: The user's own variables: a browser goes on after this process, and so must its TMPDIR.
    """
    path = folder / "open.html"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(
            f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={html.escape(url)}">'
        )
    command = [sys.executable, "-c", "import sys, webbrowser; webbrowser.open(sys.argv[1])", path.as_uri()]
    subprocess.run(command, env=environment, start_new_session=True, check=False)  # Ctrl-C is for the page alone
