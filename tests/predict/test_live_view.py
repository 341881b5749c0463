"""The page that shows a camera: to this machine's browsers alone, the newest frame, and no slower for slow ones."""

import contextlib
import http.client
import io
import re
import socket
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.faces.finder import DetectedFrame
from fgnet_jax.media.frames import Frame
from fgnet_jax.media.sources import webcam
from fgnet_jax.predict import __main__ as predict
from fgnet_jax.predict import live_view, pipeline
from fgnet_jax.predict.live_view import LiveView
from fgnet_jax.predict.pipeline import FrameResult

AUS = (1, 2)


@pytest.fixture
def view():
    """Serve the page."""
    with contextlib.closing(LiveView(0, AUS)) as view:
        yield view


def show(view, number):
    """Show a frame without faces, as bright as its number says."""
    image = np.full((48, 64, 3), 20 * number, np.uint8)
    frame = Frame(webcam(0), 0, number, number / 10, image, captured=0.0)
    result = FrameResult(DetectedFrame(frame, ()), np.zeros((0, 2), np.float32), None)
    view.show(result, pipeline.rows(result, np.zeros(2)), f"line {number}")


def get(url, **headers):
    """Return what the page answers."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as response:
        return response.read().decode()


def frame(stream):
    """Return the next image of a stream, with its brightness at the middle of the top."""
    length = 0
    while line := stream.readline().strip():
        if found := re.match(rb"Content-Length: (\d+)", line):
            length = int(found[1])
        if not length and not line.startswith((b"--", b"Content-Type: image/jpeg")):
            raise AssertionError(line)
    image = np.asarray(Image.open(io.BytesIO(stream.read(length))))
    assert stream.readline() == b"\r\n"
    return image.shape, round(float(image[40, 200].mean()) / 20)


def test_a_browser_gets_the_newest_frame(view):
    """What came while it was busy is left out; the status has the line below the frame."""
    with urllib.request.urlopen(f"{view.url}stream", timeout=30) as stream:
        assert stream.headers["Content-Type"].startswith("multipart/x-mixed-replace; boundary=")
        show(view, 1)
        (height, width, _), number = frame(stream)
        assert number == 1 and height >= 640 and width > height
        for number in range(2, 8):
            show(view, number)
        numbers = [frame(stream)[1]]
        while numbers[-1] != 7:  # one of them may have been drawn before the last came
            numbers.append(frame(stream)[1])
        assert numbers == sorted(numbers) and len(numbers) <= 3
    assert '"line": "line 7"' in get(f"{view.url}status")


def test_a_browser_that_takes_nothing_holds_nothing_up(view, monkeypatch):
    """Frames go on to be shown, and nothing is drawn without a browser."""
    drawn = []
    draw = live_view.LiveView._draw
    monkeypatch.setattr(live_view.LiveView, "_draw", lambda self, shown: drawn.append(1) or draw(self, shown))
    for number in range(1, 5):
        show(view, number)
    assert not drawn
    found = re.match(r"http://([^:]+):(\d+)", view.url)
    assert found is not None
    host, port = found.groups()
    with socket.create_connection((host, int(port))) as slow:
        path = view.url.split(port, 1)[1]
        slow.sendall(f"GET {path}stream HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
        for number in range(1, 50):
            show(view, number % 12)
        assert '"frame": 1,' in get(f"{view.url}status")


@pytest.mark.parametrize("path", ["", "stream", "status"])
def test_nobody_gets_in_without_the_address(view, path):
    """Neither another user of this machine, nor a site whose name leads here."""
    wrong = re.sub(r"/[^/]+/$", "/guess/", view.url) + path
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(wrong)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(view.url + path, Host="evil.example")


def test_the_page_loads_nothing_from_elsewhere(view):
    """All of it is in one file, but for the stream and the status."""
    page = get(view.url)
    assert 'src="stream"' in page and "http" not in page
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{view.url}other")


def test_closing_ends_the_stream():
    """And frees the port."""
    view = LiveView(0, AUS)
    found = re.search(r":(\d+)/", view.url)
    assert found is not None
    port = int(found[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", f"/{view.url.split('/')[3]}/stream")
    response = connection.getresponse()
    view.close()
    assert response.read() == b""
    connection.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


def test_a_port_in_use_is_one_clear_line(directory, tmp_path, capfd):
    """Before anything is written."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ["--weights", str(directory), "--aligned", "--csv", str(tmp_path / "r.csv")]
        assert predict.main([*words, "--webcam", "lavfi:testsrc=size=64x64", "--show", str(port)]) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last == (
        f"fgnet_jax.predict: error: --show cannot serve on 127.0.0.1:{port}: Address already in use; choose another"
        " port, or none for any that is free"
    )
    assert not list(tmp_path.iterdir())
