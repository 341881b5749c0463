"""The page of `predict --show` in a browser: the camera's newest frame, drawn anew, with its latency below it."""

import re
import signal
import subprocess
import sys
import time

import pytest

from tests.app.conftest import TIMEOUT
from tests.miniature import write_video

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Playwright's pipes, closed by its own process
]

PIXELS = """image => {
    const canvas = document.createElement('canvas');
    canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
    const pen = canvas.getContext('2d');
    pen.drawImage(image, 0, 0);
    const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    return Array.from({length: 400}, (_, k) => data[4 * Math.floor(k * data.length / 1600)]);
}"""
"""Some of the image's pixels."""


@pytest.fixture
def served(directory, photograph, tmp_path):
    """Show a camera by the command: a person who moves to and fro; return the page's address."""
    import numpy as np
    from PIL import Image

    image = np.asarray(Image.open(photograph).convert("RGB"))[:320]
    write_video(tmp_path / "clip.mp4", [np.roll(image[:, 60:380], 2 * (k % 40), 1) for k in range(300)], "libx264", 5)
    command = [sys.executable, "-m", "fgnet_jax.predict", "--weights", str(directory), "--csv", str(tmp_path / "r.csv")]
    command += ["--webcam", str(tmp_path / "clip.mp4"), "--show"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = None
        while found is None and (line := process.stderr.readline()):
            found = re.search(r"the camera is shown at (http://127\.0\.0\.1:\d+/\S+/)", line)
        assert found is not None
        yield found[1]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130 and "Traceback" not in errors, errors


def test_the_page_shows_the_camera_and_moves(browser, served):
    """Two looks at it differ; the line below says how late it is; nothing comes from elsewhere."""
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT)
    requested, errors = [], []
    page.on("request", lambda request: requested.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(served)
    page.locator("#status", has_text="faces/s, latency").wait_for()
    assert re.search(
        r"frame \d+: [\d.]+ faces/s, latency \d+ ms( \(99th \d+\))?, \d+% dropped", page.inner_text("#status")
    )
    image = page.locator("#frame")
    page.wait_for_function("document.getElementById('frame').naturalWidth >= 640")
    first, limit = image.evaluate(PIXELS), time.monotonic() + TIMEOUT / 1000
    assert len(set(first)) > 20
    while image.evaluate(PIXELS) == first:
        assert time.monotonic() < limit, "the page stands still"
        page.wait_for_timeout(100)
    page.close()
    assert not errors and all(url.startswith(served) for url in requested), (errors, requested)
