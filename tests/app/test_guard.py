"""Who may use the page, asked of the guard alone: it stands before an application that takes everything."""

import asyncio
from concurrent import futures

import pytest

from fgnet_jax.app.guard import Guard, host_names

HOST = "127.0.0.1:7860"
COOKIE = ("cookie", "other={json: 1}; fgnet_jax_7860=secret")


async def _application(scope, receive, send):
    """Respond 200 to everything, with the body that came."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=9")]})
    await send({"type": "http.response.body", "body": body})


async def _removed(scope, receive, send):
    """Begin to send a file that is not in its place any more, as Starlette does."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
    raise FileNotFoundError(scope["path"])


async def _absent(scope, receive, send):
    """Find no file before anything is sent, as Starlette does, which sends words on the error and then raises it."""
    await send({"type": "http.response.start", "status": 500, "headers": []})
    await send({"type": "http.response.body", "body": b"Internal Server Error"})
    raise RuntimeError(f"File at path {scope['path']} does not exist.")


def respond(
    *headers,
    path="/",
    query="",
    method="GET",
    host=HOST,
    served="127.0.0.1",
    kind="http",
    allowed=(),
    application=_application,
):
    """Return status, headers and text of the response to a request; for a websocket, the kind of message."""
    guard = Guard(application, token="secret", port=7860, hosts=host_names(served, allowed), max_upload=100)
    given = [("host", host), *headers]
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given],
    }
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"through"}

    async def send(message):
        sent.append(message)

    with futures.ThreadPoolExecutor(1) as thread:  # Playwright's event loop may be running in this one
        thread.submit(asyncio.run, guard(scope, receive, send)).result()
    if kind == "websocket":
        return sent[0]["type"]
    pairs = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], pairs, sent[1]["body"].decode()


def test_the_token_in_the_address_gives_a_cookie_and_the_cookie_opens_the_page():
    """The address bar then has no token, and scripts cannot read the cookie."""
    status, headers, text = respond(query="token=secret")
    assert status == 200 and "through" not in text and 'content="0; url=./"' in text and "secret" not in text
    cookie = {part.strip().lower() for part in headers["set-cookie"].split(";")}
    assert cookie == {"fgnet_jax_7860=secret", "httponly", "samesite=strict", "path=/"}
    assert respond(COOKIE)[::2] == (200, "through")


@pytest.mark.parametrize(
    "path", ["/", "/config", "/gradio_api/upload", "/gradio_api/queue/data", "/gradio_api/file=/x"]
)
@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([], ""),
        ([], "token=guessed"),
        ([("cookie", "fgnet_jax_7860=guessed")], ""),
        ([("cookie", "fgnet_jax_7861=secret")], ""),
        ([("cookie", "\xff\xfe;;=")], ""),
    ],
    ids=["nothing", "token", "cookie", "of-another-port", "bytes"],
)
def test_nothing_is_served_without_token_or_cookie(path, headers, query):
    """Neither the page nor its files, nor the streams that it listens to."""
    status, sent, text = respond(*headers, path=path, query=query)
    assert status == 403 and "token" in text and "set-cookie" not in sent


def test_the_token_opens_nothing_but_the_entrance():
    """Addresses of files with a token in them would stay in logs and histories."""
    assert respond(path="/gradio_api/file=/x", query="token=secret")[0] == 403
    assert respond(query="token=secret", method="POST")[0] == 403


def test_websockets_are_refused_likewise():
    """They have no status: they are closed before they are open."""
    assert respond(kind="websocket") == "websocket.close"
    assert respond(COOKIE, ("origin", "http://evil.example"), kind="websocket") == "websocket.close"


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST:9000", "[::1]:7860", "localhost."])
def test_names_of_this_machine_are_its_own_with_any_port(host):
    """A tunnel has another port at its end."""
    assert respond(COOKIE, host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "192.168.0.2", "", "[", "[::"]
)
def test_other_names_are_refused(host):
    """A site that gives its own name this address (DNS rebinding) has the name of the site in its requests."""
    status, _, text = respond(COOKIE, host=host)
    assert status == 403 and "--allow_host" in text


def test_where_all_addresses_are_served_any_address_is_own_and_names_are_not():
    """DNS rebinding needs a name."""
    assert respond(COOKIE, host="192.168.0.2:7860", served="0.0.0.0")[0] == 200
    assert respond(COOKIE, host="[fe80::1]:7860", served="::")[0] == 200
    assert respond(COOKIE, host="evil.example", served="0.0.0.0")[0] == 403
    assert respond(COOKIE, host="lab.example", served="0.0.0.0", allowed=("Lab.example",))[0] == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:7860", "", "http://["]
)
def test_requests_of_other_pages_are_refused(origin):
    """Those of other ports of this machine among them, which have the same cookies."""
    status, _, text = respond(COOKIE, ("origin", origin), path="/gradio_api/upload", method="POST")
    assert status == 403 and "another page" in text


@pytest.mark.parametrize("origin", ["http://127.0.0.1:7860", "https://127.0.0.1:7860"])
def test_requests_of_the_page_itself_pass(origin):
    """Behind a proxy for HTTPS, too."""
    assert respond(COOKIE, ("origin", origin), path="/gradio_api/upload", method="POST")[0] == 200


def test_uploads_that_are_too_large_are_refused_by_their_head():
    """Before a byte of the body is read; and so are those that do not say how large they are."""
    post = {"path": "/gradio_api/upload", "method": "POST"}
    assert respond(COOKIE, ("content-length", "100"), **post)[0] == 200
    status, _, text = respond(COOKIE, ("content-length", "101"), **post)
    assert status == 413 and "--max_upload" in text and "through" not in text
    assert respond(COOKIE, ("transfer-encoding", "chunked"), **post)[0] == 411


def test_results_stay_out_of_the_browsers_cache_and_the_page_out_of_other_pages():
    """Gradio's own scripts may be cached."""
    _, headers, _ = respond(COOKIE, path="/gradio_api/file=/x")
    assert headers["cache-control"] == "no-store" and headers["x-frame-options"] == "DENY"
    assert respond(COOKIE, path="/assets/index.js")[1]["cache-control"] == "max-age=9"


def test_a_file_that_is_removed_while_it_is_requested_is_not_found(tmp_path):
    """As when its tab is closed; any other failure goes on."""
    path = f"/gradio_api/file={tmp_path / 'image1.png'}"
    for application in (_removed, _absent):
        status, headers, text = respond(COOKIE, path=path, application=application)
        assert (status, text, headers["cache-control"]) == (404, "Removed\n", "no-store")
    (tmp_path / "image1.png").touch()
    with pytest.raises(FileNotFoundError):
        respond(COOKIE, path=path, application=_removed)
