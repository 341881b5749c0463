"""A teacher of the published size the whole way: faces of a video to its heatmaps, to a student, to Chromium."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fgnet_jax import aus
from fgnet_jax.distill import cache
from tests.app import static_page
from tests.app.conftest import TIMEOUT
from tests.distill import small
from tests.end_to_end.command import ROOT
from tests.end_to_end.predicting import moving, rows
from tests.miniature import write_video
from tests.parity import reference

pytestmark = [pytest.mark.full_size, pytest.mark.filterwarnings("ignore::ResourceWarning")]  # Playwright's pipes

AUS = aus.CORPUS_AUS["disfa"]
FACES = 8
SETTINGS = {
    "distill.shard_faces": 2,
    "optim.warmup_steps": 1,
    "train.batch_size": 4,
    "train.eval_batch_size": 4,
    "train.steps": 4,
    "train.evaluate_steps": 4,
}


def run(*words: object, status: int = 0) -> str:
    """Run Python with these words, which must end with this exit status; return what it printed."""
    command = [sys.executable, *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert ended.returncode == status, f"exit status {ended.returncode}\n{ended.stderr}"
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a teacher and a video of a person."""
    path = tmp_path_factory.mktemp("full_size")
    reference.save(path / "teacher", AUS, "disfa")
    write_video(path / "clip.mp4", moving(32)[:FACES], "libx264", 25)
    return path


def test_from_a_video_to_the_static_page(folder, browser):
    """Heatmaps are cached, killed with -9 and resumed; the page has the scores that `predict` writes, to 1e-3."""
    output, page_folder = folder / "student", static_page.copy_page(folder / "web")
    static_page.copy_runtime(page_folder)
    words = ["--teacher", folder / "teacher", "--faces", folder / "clip.mp4", "--output", output]
    words += [f"--config.{key}={value}" for key, value in SETTINGS.items()]
    run("-c", small.KILLED, *words, status=-9)
    assert cache.position(output / "faces").faces == 4
    printed = run("-m", "fgnet_jax.distill", *words)
    assert "4 are there" in printed and f"{FACES - 1} faces to train on, 1 held out" in printed
    assert json.loads((output / "results.json").read_text())["step"] == SETTINGS["train.steps"]

    model = page_folder / "student.onnx"
    run("-m", "fgnet_jax.export", "--weights", output, "--format", "onnx", "--output", model)
    assert model.stat().st_size < 10_000_000
    predicted = ["--csv", folder / "clip.csv", "--aligned_faces", folder / "aligned", folder / "clip.mp4"]
    run("-m", "fgnet_jax.predict", "--weights", output, *predicted)
    table = rows(folder / "clip.csv")
    expected = np.array([[float(row[f"{aus.label(au)}_score"]) for au in AUS] for row in table])
    faces = sorted((folder / "aligned").rglob("*.png"))
    assert len(faces) == len(table) == FACES and expected.std() > 0.01

    with static_page.served(page_folder) as address:
        page = browser.new_page()
        page.set_default_timeout(TIMEOUT)
        page.goto(address)
        page.locator("body[data-ready]").wait_for()
        for k, path in enumerate(faces):
            static_page.drop_image(page, folder / f"face_{k}.png", np.asarray(Image.open(path)))
            np.testing.assert_allclose(static_page.shown_scores(page, k + 1), expected[k], atol=1e-3)
        page.close()
