"""A local server instead of Google Drive's and NVIDIA's: it answers the published links, with byte ranges.

Code under test keeps its links; the transport of `requests`, which all downloads use, is redirected to this server.
"""

import contextlib
import dataclasses
import http.server
import re
import threading
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import requests
from requests.adapters import HTTPAdapter

QUOTA = '<html><p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p></html>'
GONE = "<html>Sorry, the file you have requested does not exist.</html>"
CONFIRM = (  # one line, as Drive's is
    '<html><form id="download-form" action="https://drive.usercontent.google.com/download" method="get">'
    '<input type="hidden" name="id" value="{id}"><input type="hidden" name="confirm" value="t"></form></html>'
)


@dataclasses.dataclass
class Drive:
    """The server's files and behaviour, and the requests that it got.

    Attributes:
      files: Content by Drive id, or by path for other servers.
      failure: How the server fails: "quota", "gone", "closed" or "page"; empty if it does not.
      cut: Bytes after which a connection is dropped, or None.
      requests: Host, path and byte range of every request.
    """

    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    failure: str = ""
    cut: int | None = None
    requests: list[tuple[str, str, str | None]] = dataclasses.field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    drive: Drive
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer as the requested host would."""
        host, parts, ranged = self.headers["X-Requested-Host"], urlsplit(self.path), self.headers["Range"]
        self.drive.requests.append((host, parts.path, ranged))
        query = parse_qs(parts.query)
        content = self.drive.files.get(query["id"][0] if "id" in query else parts.path)
        if self.drive.failure == "page":
            self._send(b"<html>Welcome to our hotel</html>", 200, "text/html")
        elif self.drive.failure == "gone" or content is None:
            self._send(GONE.encode(), 404, "text/html")
        elif self.drive.failure == "quota":
            self._send(QUOTA.encode(), 200, "text/html")
        elif parts.path == "/uc" and "confirm" not in query:
            self._send(CONFIRM.format(id=query["id"][0]).encode(), 200, "text/html")
        else:
            self._send_file(content, ranged)

    def _send_file(self, content: bytes, ranged: str | None) -> None:
        start = int(re.findall(r"\d+", ranged)[0]) if ranged else 0
        headers = {"Content-Disposition": 'attachment; filename="file"', "ETag": f'"{len(content)}"'}
        if ranged:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(content[start:], 206 if ranged else 200, "application/octet-stream", headers)

    def _send(self, body: bytes, status: int, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        cut = self.drive.cut if kind != "text/html" else None
        # A client that stops reading closes the connection, which is not an error of the server.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body[:cut])
        self.close_connection = cut is not None

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def serve(drive: Drive) -> Iterator[Callable]:
    """Serve; yield a replacement for `requests.adapters.HTTPAdapter.send`."""
    handler = type("Handler", (_Handler,), {"drive": drive})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield _redirected(server.server_address[1], drive)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _redirected(port: int, drive: Drive) -> Callable:
    send = HTTPAdapter.send

    def send_to_server(adapter, request: requests.PreparedRequest, **kwargs) -> requests.Response:
        if drive.failure == "closed":
            raise requests.ConnectionError("Failed to establish a new connection: Network is unreachable")
        parts = urlsplit(str(request.url))
        request.headers["X-Requested-Host"] = parts.netloc
        requested, request.url = request.url, parts._replace(scheme="http", netloc=f"127.0.0.1:{port}").geturl()
        response = send(adapter, request, **kwargs)
        response.url = request.url = str(requested)
        return response

    return send_to_server
