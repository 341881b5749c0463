"""A page that is served by the command with a tiny network, and a browser for it, for all tests of this folder."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fgnet_jax
from fgnet_jax import aus
from fgnet_jax.app import analysis
from fgnet_jax.app.view import FileView
from fgnet_jax.media import sources
from fgnet_jax.predict.pipeline import PredictOptions
from tests.miniature import write_video

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TIMEOUT = 60_000  # milliseconds; CI's machines are busy
AUS = aus.CORPUS_AUS["disfa"]


@pytest.fixture(scope="session")
def detector(directory):
    """Return the tiny network, for tests without a browser."""
    return fgnet_jax.Detector.load(directory)


def analysed(detector, path: Path, folder: Path, options: PredictOptions | None = None) -> FileView:
    """Analyse a file to its end, and return its results."""
    (source,) = sources.find([str(path)])
    counts = analysis.analyse(detector, source, options or PredictOptions(), folder=folder, ending=analysis.Ending())
    while True:
        try:
            next(counts)
        except StopIteration as end:
            return end.value


@pytest.fixture(scope="session")
def photograph(tmp_path_factory):
    """Return a photograph of a person."""
    skimage = pytest.importorskip("skimage.data")
    path = tmp_path_factory.mktemp("images") / "astronaut.png"
    Image.fromarray(skimage.astronaut()).save(path)
    return path


def numbered(image: np.ndarray, number: int) -> np.ndarray:
    """Return an image with a frame's number as the length of a white bar at its bottom, four pixels for each."""
    marked = np.array(image)
    marked[-16:] = 0
    marked[-16:, : 4 * number] = 255
    return marked


@pytest.fixture(scope="session")
def clips(photograph, tmp_path_factory):
    """Return a folder of videos of the person: short.mp4 of 12 frames, long.mp4 of 700; each frame has its number."""
    folder = tmp_path_factory.mktemp("clips")
    image = np.asarray(Image.open(photograph).convert("RGB").crop((60, 0, 380, 320)))
    write_video(folder / "short.mp4", [numbered(image, k + 1) for k in range(12)], "libx264")
    write_video(folder / "long.mp4", [numbered(image, k % 70) for k in range(700)], "libx264")
    return folder


@pytest.fixture(scope="session")
def url(directory):
    """Serve the page by the command, as its users start it; return its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "fgnet_jax.app", "--weights", str(directory), "--port", str(port), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        address = re.search(rf"http://127\.0\.0\.1:{port}\S*", line)
        assert address is not None, line + server.communicate()[1]
        yield address[0]
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=60)
        assert server.returncode == 0 and "Traceback" not in errors, errors


@pytest.fixture(scope="session")
def camera(photograph, tmp_path_factory) -> Path:
    """Return what Chromium's camera sees: the person."""
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    Image.open(photograph).convert("RGB").crop((0, 0, 512, 384)).save(path, "JPEG", quality=92)
    return path


@pytest.fixture(scope="session")
def browser(camera):
    """Start Chromium without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install -e '.[test]'")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox"] if os.getuid() == 0 else []
        options += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        options += [f"--use-file-for-fake-video-capture={camera}"]
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, url):
    """Return a function that opens the page; requests to other hosts, and errors in the console, fail the test."""
    opened, requested, errors = [], [], []
    host = re.match(r"http://[^/]+", url)
    assert host is not None

    def open_one(width: int = 1280, height: int = 800):
        page = browser.new_page(viewport={"width": width, "height": height})
        opened.append(page)
        page.set_default_timeout(TIMEOUT)
        page.on("request", lambda request: requested.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.locator("#status", has_text="example.jpg").wait_for()
        return page

    yield open_one
    for page in opened:
        page.close()
    foreign = [where for where in requested if not where.startswith((host[0], "data:", "blob:"))]
    assert requested and not foreign, f"the page loads from elsewhere: {foreign}"
    assert not errors, errors


@pytest.fixture
def page(open_page):
    """Open the page at a desktop's width."""
    return open_page()
