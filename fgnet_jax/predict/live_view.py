"""Shows a camera's results in the browser: a page of this machine alone, with the newest annotated frame.

Frames are drawn on a thread of their own, and only while a browser looks; each browser gets the newest when it has
taken the one before. So neither a slow drawing nor a slow browser holds anything else up.
"""

import contextlib
import dataclasses
import io
import json
import secrets
import threading
from collections.abc import Sequence
from http import server
from typing import Any

from PIL import Image

from fgnet_jax.predict import outputs
from fgnet_jax.predict.columns import ResultRow
from fgnet_jax.predict.pipeline import FrameResult
from fgnet_jax.visualization import painting

HOST = "127.0.0.1"
"""The page is served to this machine alone."""

_HOSTS = ("127.0.0.1", "localhost")  # by which browsers may address it: other sites' names may lead here, too
_SEND_SECONDS = 10.0
_QUALITY = 85
_BOUNDARY = "fgnet-jax-frame"
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Facial action units, live</title>
<style>
body { margin: 0; background: #14171c; color: #e8eaee; font: 16px system-ui, sans-serif; }
img { display: block; margin: auto; max-width: 100vw; max-height: calc(100vh - 3em); }
p { margin: 0; padding: 0.8em; text-align: center; }
</style>
<img id="frame" src="stream" alt="The camera's newest frame, with its action units">
<p id="status" role="status">waiting for the camera</p>
<script>
const line = document.getElementById('status');
async function update() {
  try {
    const status = await (await fetch('status')).json();
    if (status.frame) line.textContent = `frame ${status.frame}: ${status.line}`;
  } catch { line.textContent = 'the camera has ended'; return; }
  setTimeout(update, 1000);
}
update();
</script>
</html>
"""


class LiveViewError(ValueError):
    """A page that cannot be served; the message says why."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Shown:
    """A frame with its result, as the pipeline hands it over, and the line below it."""

    result: FrameResult
    rows: Sequence[ResultRow]
    line: str


class LiveView:
    """The page, from its creation to `close`.

    Attributes:
      url: Its address, which nobody else can guess.
    """

    def __init__(self, port: int, aus: Sequence[int], *, aligned: bool = False):
        """Begin to serve the page.

        Args:
          port: The port; 0 for any that is free.
          aus: The network's AUs.
          aligned: Whether frames are aligned faces.

        Raises:
          LiveViewError: The port cannot be used.
        """
        self._aus, self._aligned = aus, aligned
        self._newest: _Shown | None = None
        self._drawn: tuple[int, bytes] = (0, b"")  # how many there were, and the last one as JPEG
        self._number, self._line = 0, ""
        self._browsers, self._is_closed = 0, False
        self._changed = threading.Condition()
        token = secrets.token_urlsafe(16)
        try:
            self._server = _Server(port, self, token)
        except (OSError, OverflowError) as error:
            reason = f"{getattr(error, 'strerror', None) or error}; choose another port, or none for any that is free"
            raise LiveViewError(f"cannot serve on {HOST}:{port}: {reason}") from error
        self.url = f"http://{HOST}:{self._server.server_address[1]}/{token}/"
        self._threads = [
            threading.Thread(target=run, name=f"fgnet_jax {name}", daemon=True)
            for name, run in (("page", self._serve), ("drawing", self._draw_all))
        ]
        for thread in self._threads:
            thread.start()

    def show(self, result: FrameResult, rows: Sequence[ResultRow], line: str) -> None:
        """Show a frame, in place of those before.

        Args:
          result: The frame, with heatmaps.
          rows: Its rows.
          line: What is written below it.
        """
        with self._changed:
            self._newest, self._number, self._line = _Shown(result, rows, line), result.detected.frame.number, line
            self._changed.notify_all()

    def close(self) -> None:
        """End the page; browsers keep the last frame."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

    def status(self) -> dict[str, Any]:
        """Return the number of the frame that is shown, and the line below it."""
        with self._changed:
            return {"frame": self._number, "line": self._line}

    def newer(self, than: int) -> tuple[int, bytes] | None:
        """Return the newest drawing as JPEG, with its count, once it is a newer one; None at the end."""
        with self._changed:
            self._browsers += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: self._drawn[0] > than or self._is_closed)
                return None if self._is_closed else self._drawn
            finally:
                self._browsers -= 1

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.1)

    def _draw_all(self) -> None:
        """Draw the newest frame while a browser waits for it, again and again."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: (self._newest and self._browsers) or self._is_closed)
                shown, self._newest = self._newest, None
                if self._is_closed or shown is None:
                    return
            image = self._draw(shown)
            with self._changed:
                self._drawn = self._drawn[0] + 1, image
                self._changed.notify_all()

    def _draw(self, shown: _Shown) -> bytes:
        """Draw a frame with its action units, and what is written below it, as JPEG."""
        drawing = outputs.drawing(shown.result, shown.rows, self._aus, aligned=self._aligned)
        stream = io.BytesIO()
        _with_line(drawing, shown.line).save(stream, "JPEG", quality=_QUALITY)
        return stream.getvalue()


def _with_line(drawing: Image.Image, line: str) -> Image.Image:
    """Write a line at the bottom of a drawing."""
    if line:
        text = painting.font(18)
        width = round(text.getlength(line)) + 24
        box = (8, drawing.height - 38, min(8 + width, drawing.width - 8), drawing.height - 8)
        painting.tag(drawing, box, text=line, rgb=painting.TEXT, scale=18 / 21)
    return drawing


class _Handler(server.BaseHTTPRequestHandler):
    """Answers requests of this machine's browsers alone, and of those that know the address."""

    timeout = _SEND_SECONDS  # of a browser that takes nothing
    server: "_Server"

    def do_GET(self) -> None:  # noqa: N802 - the name that the library calls
        """Answer a request."""
        host = (self.headers.get("Host") or "").split(":")[0]
        _, given, *path = self.path.split("/")
        is_known = secrets.compare_digest(given.encode(), self.server.token.encode())
        if host not in _HOSTS or not is_known or path not in ([""], ["status"], ["stream"]):
            self.send_error(404)
        elif path == ["stream"]:
            self._stream()
        elif path == ["status"]:
            self._send("application/json", json.dumps(self.server.view.status()).encode())
        else:
            self._send("text/html; charset=utf-8", _PAGE.encode())

    def log_message(self, *arguments: object) -> None:
        """Print nothing for a request."""

    def _send(self, kind: str, content: bytes) -> None:
        self._begin(kind)
        self.wfile.write(content)

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": kind, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self) -> None:
        """Send the newest drawing, again and again, as fast as the browser takes them."""
        self._begin(f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        count, before = 0, f"--{_BOUNDARY}\r\n"
        with contextlib.suppress(OSError):  # the browser has gone
            while (newer := self.server.view.newer(count)) is not None:
                count, image = newer
                head = f"{before}Content-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
                before = ""
                # the boundary at once: a browser shows an image when it has seen the boundary behind it
                self.wfile.write(head.encode() + image + f"\r\n--{_BOUNDARY}\r\n".encode())


class _Server(server.ThreadingHTTPServer):
    """The server; a browser that is still connected does not keep the process alive."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, view: LiveView, token: str):
        """Take the port."""
        self.view, self.token = view, token
        super().__init__((HOST, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the class has it
        """Say nothing: a browser that has gone is no error."""
