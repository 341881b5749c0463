"""The page as it is served: by real processes, to real requests, and to a real browser that has met another site."""

import contextlib
import functools
import http.client
import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from fgnet_jax.app import private_folder, server
from tests.app.conftest import AUS

WAIT = 60.0  # seconds; CI's machines are busy


class Served(NamedTuple):
    """A page that is served: its process, address, token and folder for temporary files."""

    process: subprocess.Popen[str]
    port: int
    token: str
    temporary: Path

    @property
    def cookie(self) -> dict[str, str]:
        """The header by which a browser that has entered is known."""
        return {"Cookie": f"fgnet_jax_{self.port}={self.token}"}

    def request(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, bytes]:
        """Send a request, and return the status of the response and its body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def upload(self, headers: dict[str, str], text: bytes = b"a face") -> tuple[int, bytes]:
        """Upload a file, as forms do."""
        body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="face.png"\r\n\r\n%s\r\n--b--\r\n' % text
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        return self.request("POST", "/gradio_api/upload", kind | headers, body)

    @property
    def stored(self) -> list[Path]:
        """Files with the upload's content, wherever they are."""
        paths = [path for path in self.temporary.rglob("*") if path.is_file()]
        return [path for path in paths if path.stat().st_size == len(b"a face") and path.read_bytes() == b"a face"]


@contextlib.contextmanager
def serving(weights: Path, temporary: Path, *options: str) -> Iterator[Served]:
    """Serve the page by the command, as its users start it, where a proxy is set that is not there.

    A file takes the place of Gradio's folder for temporary files, as another user's folder would.
    """
    temporary.mkdir(exist_ok=True)
    (temporary / "gradio").touch()
    proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    variables = os.environ | proxy | {"TMPDIR": str(temporary)}
    variables = {name: value for name, value in variables.items() if name.lower() != "no_proxy"}
    command = [
        sys.executable,
        "-m",
        "fgnet_jax.app",
        "--weights",
        str(weights),
        "--port",
        "0",
        "--no-browser",
        *options,
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, env=variables, stdout=pipe, stderr=pipe) as process:
        try:
            assert process.stdout is not None
            address = (re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line) for line in process.stdout)
            found = next(filter(None, address), None)
            assert found is not None, process.communicate()[1]
            yield Served(process, int(found[1]), found[2], temporary)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def served(directory, tmp_path_factory):
    """Serve a page for all tests that do not end it."""
    with serving(directory, tmp_path_factory.mktemp("page"), "--max_upload", "0.001") as page:
        yield page


@pytest.fixture(autouse=True)
def nothing_before(request):
    """Begin every test with no upload stored."""
    if "served" in request.fixturenames:
        for path in request.getfixturevalue("served").stored:
            path.unlink()


def test_whoever_has_entered_may_upload_and_only_this_user_may_read_it(served):
    """The file lies in a folder of mode 700, although Gradio's own folder for these files cannot be used."""
    assert served.request("GET", "/", {})[0] == 403
    assert served.request("GET", f"/?token={served.token}", {})[0] == 200
    assert served.request("GET", "/", served.cookie)[0] == 200
    assert served.upload(served.cookie)[0] == 200
    (stored,) = served.stored
    folder = next(served.temporary.glob("fgnet_jax_page_*"))
    assert stored.is_relative_to(folder) and folder.stat().st_mode & 0o777 == 0o700
    assert served.request("GET", f"/gradio_api/file={stored}", {})[0] == 403
    assert served.request("GET", f"/gradio_api/file={stored}", served.cookie) == (200, b"a face")


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Cookie": ""}],
    ids=["host", "origin", "no-origin", "no-cookie"],
)
def test_what_is_refused_is_not_stored(served, headers):
    """A request that would be right but for one header."""
    status, reason = served.upload(served.cookie | headers)
    assert status == 403 and reason.startswith(b"Refused: ") and served.stored == []


def test_an_upload_that_is_too_large_is_refused_before_it_is_sent(served):
    """The response comes when the body has not."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=WAIT)) as connection:
        connection.putrequest("POST", "/gradio_api/upload")
        for name, value in (served.cookie | {"Content-Length": "500000000"}).items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        assert response.status == 413 and b"at most 0.001 GB" in response.read()
    assert served.upload(served.cookie, b"x" * 1_100_000)[0] == 413 and served.upload(served.cookie)[0] == 200


def test_no_other_file_of_the_user_can_be_read(served, tmp_path):
    """By no address, whatever the path."""
    (tmp_path / "secret.txt").write_text("a secret")
    for path in (tmp_path / "secret.txt", "/etc/passwd", served.temporary / "gradio"):
        assert served.request("GET", f"/gradio_api/file={path}", served.cookie)[0] in (403, 404)


@pytest.fixture(scope="module")
def other_site(tmp_path_factory):
    """Serve another site on this machine; return its port."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text("<!doctype html><title>Another site</title>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            del format, args

    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    yield site.server_port
    site.shutdown()
    thread.join()
    site.server_close()


@pytest.fixture
def context(browser):
    """Start a browser for which evil.example has the address of this machine, as DNS rebinding would."""
    options = ["--host-resolver-rules=MAP evil.example 127.0.0.1", *(["--no-sandbox"] if os.getuid() == 0 else [])]
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    started = browser.browser_type.launch(executable_path=chromium, args=options)
    yield started.new_context()
    started.close()


SEND = """async url => {
    const form = new FormData();
    form.append("files", new Blob(["a face"]), "face.png");
    await fetch(url, {method: "POST", mode: "no-cors", credentials: "include", body: form}).catch(() => null);
}"""


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Playwright's pipes, closed by its own process
def test_other_sites_in_the_same_browser_can_do_nothing(context, served, other_site):
    """The user has entered the page, and then visits a site, which sends uploads, and takes this machine's address."""
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{served.port}/?token={served.token}")
    page.locator("#file").wait_for(timeout=1000 * WAIT)
    assert page.url == f"http://127.0.0.1:{served.port}/"
    upload = f"http://127.0.0.1:{served.port}/gradio_api/upload"
    for host in ("evil.example", "127.0.0.1"):  # of another port of this machine, the browser sends the cookie, too
        other = context.new_page()
        other.goto(f"http://{host}:{other_site}/")
        other.evaluate(SEND, upload)
        assert served.stored == []
    response = other.goto(f"http://evil.example:{served.port}/?token={served.token}")
    assert response is not None and response.status == 403
    page.evaluate(SEND, upload)
    assert len(served.stored) == 1, "the page itself can: the requests of above would have been understood"


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it has never become so"
        time.sleep(0.1)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Playwright's pipes, closed by its own process
def test_files_take_place_only_while_a_tab_shows_them(context, directory, tmp_path, photograph, clips):
    """Each of them once, however often the face is drawn anew; none when they are taken off, or the tab is closed."""

    def stored(kind: str) -> list[Path]:
        found = [Path(folder, name) for folder, _, names in os.walk(tmp_path) for name in names]
        return [path for path in found if path.suffix == f".{kind}"]

    with serving(directory, tmp_path) as served:
        page = context.new_page()
        page.set_default_timeout(1000 * WAIT)
        page.goto(f"http://127.0.0.1:{served.port}/?token={served.token}")
        page.locator("#status", has_text="example.jpg").wait_for()
        page.locator("#file input[type=file]").set_input_files(str(photograph))
        page.locator("#caption", has_text="astronaut.png").wait_for()
        page.locator("#file input[type=file]").set_input_files(str(clips / "short.mp4"))
        page.locator("#status", has_text="in 12 of 12 frames").wait_for()
        for k in range(len(AUS)):
            page.locator(f'#bars [data-au="{k}"]').click()
            page.locator(f'#bars [data-au="{k}"][aria-pressed="true"]').wait_for()
        assert sorted(path.name for path in stored("csv")) == ["astronaut.csv", "short.csv"]
        assert sorted(path.name for path in stored("mp4")) == ["short.mp4", "short_aus.mp4"]
        assert len(stored("png")) <= 9, "the upload, and the last four drawings of the frame and of its face"
        page.get_by_label("Clear").click()
        wait_until(lambda: not any(stored(kind) for kind in ("png", "mp4", "csv")))
        page.locator("#file input[type=file]").set_input_files(str(photograph))
        page.locator("#caption", has_text="astronaut.png").wait_for()
        page.close()
        wait_until(lambda: not any(stored(kind) for kind in ("png", "csv")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_uploads_are_gone_when_a_signal_has_ended_the_page(directory, tmp_path, number):
    """While a browser listens to it, and without a traceback."""
    with serving(directory, tmp_path) as page:
        assert page.upload(page.cookie)[0] == 200 and page.stored
        listening = http.client.HTTPConnection("127.0.0.1", page.port, timeout=WAIT)
        with contextlib.closing(listening):
            listening.request("GET", "/gradio_api/heartbeat/abc", headers=page.cookie)
            with listening.getresponse() as response:
                assert response.status == 200
                page.process.send_signal(number)
                _, errors = page.process.communicate(timeout=WAIT)
        assert page.process.returncode == 0 and "Traceback" not in errors and "ERROR" not in errors, errors
    assert [path.name for path in tmp_path.iterdir()] == ["gradio"]


def test_uploads_that_a_killed_page_has_left_are_gone_when_it_is_started_next(directory, tmp_path):
    """And not those of a page that is still there."""
    with serving(directory, tmp_path) as killed:
        assert killed.upload(killed.cookie)[0] == 200
        killed.process.kill()
        killed.process.wait(WAIT)
        assert len(killed.stored) == 1
        with serving(directory, tmp_path) as next_one:
            assert next_one.stored == [] and len(list(tmp_path.glob("fgnet_jax_page_*"))) == 1


def test_a_signal_while_it_is_loaded_ends_it(directory, tmp_path):
    """At once, with the status of the signal; nothing is left."""
    variables = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "fgnet_jax.app", "--weights", str(directory), "--port", "0", "--no-browser"]
    command[1:1] = ["-X", "importtime"]  # which tells on standard error when JAX, the first thing to load, is imported
    with subprocess.Popen(command, text=True, env=variables, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert any(re.search(r"\| +jax\b", line) for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 143 and rest.splitlines()[-1].endswith("ended by SIGTERM")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1", "..", "x" * 70])
def test_addresses_of_no_or_another_machine_are_refused(host):
    """In words that name the address."""
    with pytest.raises(server.AddressError, match=re.escape(f"cannot serve on {host}:0")):
        server.listen(host, 0)


@pytest.mark.parametrize(
    ("host", "url"), [("0.0.0.0", "http://127.0.0.1:7"), ("::", "http://[::1]:7"), ("[::1]", "http://[::1]:7")]
)
def test_the_address_that_is_printed_can_be_opened(host, url):
    """Of an address of IPv6, and where all addresses are served."""
    assert server.Access(host, token="secret").url(7) == f"{url}/?token=secret"


def test_an_address_is_taken_at_once():
    """Not only when the page is served, a minute later."""
    with contextlib.closing(server.listen("127.0.0.1", 0)) as listener:
        with pytest.raises(server.AddressError, match="in use"):
            server.listen("127.0.0.1", listener.getsockname()[1])


def test_the_browser_gets_the_token_by_a_file(tmp_path):
    """Other users see the arguments of every program; its variables are the user's own, not those of the page."""
    browser, log = tmp_path / "browser", tmp_path / "log"
    browser.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "TMPDIR=$TMPDIR" > {log}\n')
    browser.chmod(0o700)
    folder = tmp_path / "private"
    folder.mkdir()
    environment = os.environ | {"BROWSER": f"{browser} %s", "TMPDIR": str(tmp_path)}
    with private_folder.for_temporary_files(folder):
        server.open_browser("http://127.0.0.1:7860/?token=secret", folder, environment)
    (path,) = folder.iterdir()
    assert log.read_text().splitlines() == [path.as_uri(), f"TMPDIR={tmp_path}"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert "url=http://127.0.0.1:7860/?token=secret" in path.read_text()
