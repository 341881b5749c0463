"""A network of the published size on a real photograph and its video: the whole command, and the device's load."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from fgnet_jax import aus
from tests.end_to_end.predicting import Predict, astronaut, moving, rows
from tests.miniature import write_video
from tests.parity import reference

pytestmark = pytest.mark.full_size

AUS = aus.CORPUS_AUS["disfa"]
BUSY = 0.9
"""Least share of the time that the device must be busy on long input."""


@pytest.fixture(scope="module")
def predict(tmp_path_factory):
    """The command with weights of the published size."""
    base = tmp_path_factory.mktemp("published")
    return Predict(reference.save(base / "weights", AUS, "disfa"), base / "cache", optimised=True)


def test_a_photograph(predict, tmp_path):
    """The face is detected, aligned to 256 pixels and scored; heatmaps are warped back to it alone."""
    Image.fromarray(astronaut()).save(tmp_path / "astronaut.png")
    predict(
        "--csv", tmp_path / "r.csv", "--overlays", tmp_path / "overlays", "--heatmaps", tmp_path / "r.npz",
        "--heatmaps_on", "image", "--peaks", tmp_path / "astronaut.png",
    )  # fmt: skip
    (row,) = rows(tmp_path / "r.csv")
    assert row["success"] == "1" and all(-1 <= float(row[f"{aus.label(au)}_score"]) <= 1 for au in AUS)
    x, y, side = (float(row[f"FaceRect{name}"]) for name in ("X", "Y", "Width"))
    with np.load(tmp_path / "r.npz") as archive:
        maps = archive["heatmaps_0000000"]
    assert np.abs(maps[int(y) : int(y + side), int(x) : int(x + side)]).max((0, 1)).min() > 0
    assert not maps[:, :80].any() and not maps[300:].any() and not maps[:, 360:].any()
    assert json.loads((tmp_path / "r.csv.json").read_text())["aligned_size"] == 256
    with Image.open(tmp_path / "overlays" / "astronaut.png") as overlay:
        assert overlay.height == 640


def test_the_device_is_busy(predict, tmp_path):
    """Meanwhile, the host detects the next faces."""
    write_video(tmp_path / "clip.mp4", moving(32)[:16], "libx264", 25)
    output = predict("--csv", tmp_path / "r.csv", "--benchmark", tmp_path / "clip.mp4")
    busy = re.search(r"network \(device\).* ([\d.]+)%", output)
    assert busy is not None and float(busy[1]) / 100 > BUSY, output
