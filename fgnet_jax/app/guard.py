"""Who may use the page: whoever has its token, from this page itself, and with uploads that are not too large.

A page on this machine can be reached by more than its user: by other users of the machine, and by any web site that the
user visits, whose scripts may send requests to 127.0.0.1, or give their own name that address (DNS rebinding). All that
is refused by a request's head, before a byte of its body is read.

Cookies know no ports: a browser that has the page's cookie sends it to every server at the same address of this
machine, those of other users among them. Whoever runs one that the user's browser visits can copy it.
"""

import hmac
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_ANY = frozenset({"0.0.0.0", "::"})
_FILE = "/gradio_api/file="  # before a file's path
_PUBLIC = ("/assets/", "/static/", "/theme.css", "/favicon.ico")  # Gradio's own files may stay in the browser's cache

_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",  # no other page may show this one within itself
    "referrer-policy": "same-origin",
}
_NO_STORE = {"cache-control": "no-store"}  # what is computed from faces stays out of the browser's cache
_ENTRANCE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Facial action units</title>'
    '<meta http-equiv="refresh" content="0; url=./"></head><body><p><a href="./">Open the page</a></p></body></html>'
)


class Guard:
    """An ASGI application that answers what is refused itself, and passes everything else on to another one.

    `/?token=…` is the page's entrance: it sets a cookie, without which everything is refused.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int, hosts: Iterable[str], max_upload: int):
        """Guard an application.

        Args:
          app: The application.
          token: What whoever opens the page must know.
          port: The port that is served: pages on several ports have cookies of their own.
          hosts: Names by which the page may be addressed, as `host_names` returns them.
          max_upload: Size of the largest request, in bytes.
        """
        self._app, self._token, self._max_upload = app, token, max_upload
        self._cookie = f"fgnet_jax_{port}"
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        response = self._response(scope)
        if response is None:
            sending = _with_headers(send, is_public=scope["path"].startswith(_PUBLIC))
            respond = self._send_file if scope["path"].startswith(_FILE) else self._app
            await respond(scope, receive, sending)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await response(scope, receive, send)

    async def _send_file(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application send a file; where that is removed just now, as when its tab is closed, respond 404."""
        held, is_sent = [], False

        async def sending(message: Message) -> None:
            nonlocal is_sent
            held.append(message)  # the file is opened after the start; words on an error come before it is raised
            if message["type"] != "http.response.start" and held[0].get("status", 200) < 500:
                is_sent = True
                while held:
                    await send(held.pop(0))

        try:
            await self._app(scope, receive, sending)
        except (FileNotFoundError, RuntimeError):  # the latter is Starlette's
            if Path(scope["path"].removeprefix(_FILE)).exists():
                raise
            if not is_sent:
                await PlainTextResponse("Removed\n", 404, _HEADERS | _NO_STORE)(scope, receive, send)
            return
        for message in held:
            await send(message)

    def _response(self, scope: Scope) -> Response | None:
        """Return the guard's own response; None where the application has to respond."""
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            status, reason = refusal
            return PlainTextResponse(f"Refused: {reason}\n", status, _HEADERS | _NO_STORE)
        return self._entrance() if self._is_entrance(scope) else None

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Return status and reason where a request is refused."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_own(_name(host)):
            return (
                403,
                f"{host or 'a request without a name'} is not this page; --allow_host makes a name one of its own",
            )
        if origin is not None and _authority(origin) != host.lower():
            return 403, "the request comes from another page"
        if not self._has_cookie(headers) and not self._is_entrance(scope):
            return 403, "open the address that the command has printed, with its token"
        if "transfer-encoding" in headers:
            return 411, "the request does not say how long it is"
        if int(headers.get("content-length", "0")) > self._max_upload:  # the server has checked that it is a number
            return 413, f"at most {self._max_upload / 1e9:g} GB may be uploaded at once (--max_upload)"
        return None

    def _is_own(self, name: str) -> bool:
        """Return whether a name is one of this page's; where all addresses are served, any address is."""
        return name in self._hosts or (bool(self._hosts & _ANY) and _is_address(name))

    def _has_cookie(self, headers: Headers) -> bool:
        return self._fits(cookie_parser(headers.get("cookie", "")).get(self._cookie, ""))

    def _is_entrance(self, scope: Scope) -> bool:
        """Return whether a request has the token in its address."""
        is_page = scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"] == "/"
        return is_page and self._fits(QueryParams(scope["query_string"]).get("token", ""))

    def _fits(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())

    def _entrance(self) -> Response:
        """Set the cookie, and lead on to the page without the token in its address.

        Not by a redirect: browsers that come from elsewhere would follow that without a cookie of this kind.
        """
        response = HTMLResponse(_ENTRANCE, headers=_HEADERS | _NO_STORE)
        response.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
        return response


def host_names(host: str, allowed: Sequence[str] = ()) -> frozenset[str]:
    """Return the names by which browsers may address a page.

    Ports are not compared: a tunnel, as of ssh, has another one at its end.

    Args:
      host: The address that is served.
      allowed: Further names.
    """
    host = host.strip("[]")
    names = {host, *allowed, *_LOCAL}
    if host in _ANY:
        names |= {socket.gethostname(), socket.getfqdn()}
    return frozenset(name.lower() for name in names)


def _name(host: str) -> str:
    """Return a Host header without its port, and an address without brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _authority(origin: str) -> str:
    """Return name and port of an Origin header; empty where it has none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    """Return whether a name is an address of IPv4 or IPv6."""
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    try:
        socket.inet_pton(family, name)
    except (OSError, ValueError):
        return False
    return True


def _with_headers(send: Send, is_public: bool) -> Send:
    """Add the guard's headers to a response."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message.setdefault("headers", [])
            MutableHeaders(scope=message).update(_HEADERS if is_public else _HEADERS | _NO_STORE)
        await send(message)

    return sending
