"""The page in a real browser: images and a video in; faces, bars, heatmaps and the table out."""

import csv
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgnet_jax import aus
from fgnet_jax.app import __main__ as app
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from tests import miniature

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install -e '.[test]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Playwright's pipes, closed by its own process
]

AUS = aus.CORPUS_AUS["disfa"]
TIMEOUT = 60_000  # milliseconds; CI's machines are busy


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Return a weights directory of a tiny network."""
    path = tmp_path_factory.mktemp("weights") / "tiny"
    weights.save(path, TINY, fgnet.init(TINY), weights.WeightsMeta(aus=AUS, corpus="disfa"))
    return path


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """Return a photograph of a person."""
    skimage = pytest.importorskip("skimage.data")
    path = tmp_path_factory.mktemp("images") / "astronaut.png"
    Image.fromarray(skimage.astronaut()).save(path)
    return path


@pytest.fixture(scope="module")
def url(directory):
    """Serve the page by the command, as its users start it; return its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "fgnet_jax.app", "--weights", str(directory), "--port", str(port), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith(f"fgnet_jax.app: http://127.0.0.1:{port}"), line + server.communicate()[1]
        yield f"http://127.0.0.1:{port}"
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0


@pytest.fixture(scope="module")
def browser():
    """Start Chromium without a window."""
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox"] if os.getuid() == 0 else []
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, url):
    """Open the page; requests to other hosts fail the test."""
    opened = browser.new_page(viewport={"width": 1400, "height": 1000})
    opened.set_default_timeout(TIMEOUT)
    requested: list[str] = []
    opened.on("request", lambda request: requested.append(request.url))
    opened.goto(url)
    yield opened
    opened.close()
    foreign = [where for where in requested if not where.startswith((url, "data:", "blob:"))]
    assert requested and not foreign, f"the page loads from elsewhere: {foreign}"


def drop(page, path) -> None:
    """Drop a file on the page."""
    page.locator("#file input[type=file]").set_input_files(str(path))


def overlay(page) -> np.ndarray:
    """Return the image that is shown, float (h, w, 3)."""
    source = page.locator("#overlay img").get_attribute("src")
    return np.asarray(Image.open(io.BytesIO(page.request.get(source).body())).convert("RGB"), np.float32)


def wait_for_another(page, source: str) -> None:
    """Wait until another image is shown."""
    page.wait_for_function("old => document.querySelector('#overlay img').src != old", arg=source)


def test_an_image_gives_all_results(page, photograph):
    """Show face, bars and table, offer a CSV of the image's name, and draw each AU's heatmap by the slider."""
    drop(page, photograph)
    page.locator("#status", has_text="1 face").wait_for()
    assert page.locator("#bars .au-bar").count() == len(AUS)
    assert "lip corner puller" in page.locator("#bars").inner_text()
    page.locator("#table", has_text="AU12_score").wait_for()
    shown, original = overlay(page), Image.open(photograph).convert("RGB")
    plain = np.asarray(original.resize((shown.shape[1], shown.shape[0]), Image.Resampling.LANCZOS), np.float32)
    changed = np.abs(shown - plain).max(2) > 8
    height, width = changed.shape
    assert changed[: height // 2, width // 4 : 3 * width // 4].mean() > 0.02, "the face is in the upper middle"
    assert changed[3 * height // 4 :, : width // 4].mean() < 0.01, "and not in the corner"
    with page.expect_download() as download:
        page.locator("#csv").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [row["input"] for row in rows] == ["astronaut.png"] and rows[0]["success"] == "1"
    assert download.value.suggested_filename == "astronaut.csv"
    _show_each_au(page)


def _show_each_au(page) -> None:
    slider = page.locator("#au input[type=range]")
    slider.focus()
    for au in AUS[:3]:
        before = page.locator("#overlay img").evaluate("image => image.src")
        slider.press("ArrowRight")
        page.locator("#caption", has_text=aus.label(au)).wait_for()
        wait_for_another(page, before)


def test_a_text_file_named_jpg_gives_a_message(page, tmp_path):
    """Show a message with the file's name and no traceback, and nothing of an earlier file."""
    path = tmp_path / "notes.jpg"
    path.write_text("milk, eggs, bread")
    drop(page, path)
    alert = page.get_by_role("alert").filter(has_text="notes.jpg")
    alert.wait_for()
    assert "Traceback" not in alert.inner_text() and len(alert.inner_text()) > len("notes.jpg: ")
    assert page.locator("#bars .au-bar").count() == 0
    assert not page.locator("#csv").is_visible() and not page.locator("#au").is_visible()


def test_an_image_without_a_face_gives_a_message(page, tmp_path):
    """Show a message, although the image itself can be read."""
    Image.new("RGB", (320, 240), (30, 90, 160)).save(tmp_path / "sky.png")
    drop(page, tmp_path / "sky.png")
    page.get_by_role("alert").filter(has_text="face").wait_for()


def test_a_video_is_shown_frame_by_frame(page, photograph, tmp_path):
    """Have every frame in the table, and show any of them by the slider."""
    image = np.asarray(Image.open(photograph).convert("RGB").resize((320, 320)))
    miniature.write_video(tmp_path / "clip.mp4", [np.roll(image, 2 * k, 1) for k in range(4)])
    drop(page, tmp_path / "clip.mp4")
    page.locator("#status", has_text="4 faces in 4 of 4 frames").wait_for()
    before = page.locator("#overlay img").evaluate("image => image.src")
    number = page.locator("#frame input[type=number]")
    number.fill("4")
    number.press("Enter")
    number.blur()
    wait_for_another(page, before)


def test_only_this_machine_is_served(url):
    """Serve loopback by default: other addresses of this machine accept no connection."""
    port = int(url.rpartition(":")[2])
    with socket.socket() as probe:
        probe.settimeout(2)
        with pytest.raises(OSError):
            probe.connect((_own_address(), port))


def _own_address() -> str:
    """Return an address of this machine other than loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            return probe.getsockname()[0]
        except OSError:
            pytest.skip("this machine has no other address")


@pytest.mark.parametrize(
    ("options", "reason"),
    [(["--weights", "absent"], "no such weights directory"), (["--thresholds", "absent.json"], "absent.json")],
)
def test_missing_files_are_reported(directory, capsys, options, reason):
    """Exit with status 2 before anything is served."""
    assert app.main(["--weights", str(directory), "--no-browser", *options]) == 2
    assert reason in capsys.readouterr().err


def test_a_port_in_use_is_reported(directory):
    """Name the port in the message."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "fgnet_jax.app", "--weights", str(directory), "--port", port, "--no-browser"]
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and port in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert time.monotonic() - start < 60
