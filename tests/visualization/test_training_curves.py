"""Images of a run, measured where a person would look."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.visualization import heatmap_sheet, training_curves

BP4D = CORPUS_AUS["bp4d"]


def _metrics(steps: int = 300, evaluate: int = 20) -> list[dict]:
    """A loss that falls and, now and then, F1 of twelve AUs, highest at step 240."""
    lines = []
    for step in range(1, steps + 1):
        lines.append({"step": step, "time": 0.0, "loss": 0.3 * np.exp(-step / 80) + 0.02})
        if step % evaluate == 0:
            mean = 0.8 - abs(step - 240) / 600
            f1 = {f"f1/AU{au:02d}": mean + (au - 12) / 100 for au in BP4D}
            lines.append({"step": step, "time": 0.0, "mean_f1": mean, "test/mean_f1": mean - 0.1} | f1)
    return lines


def _size(path) -> tuple[int, int]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.size


@pytest.mark.parametrize(
    "metrics",
    [_metrics(), _metrics(20), _metrics(5), [{"step": 0, "mean_f1": 0.5}], [{"step": 3, "loss": None}], []],
    ids=["whole", "one evaluation", "none yet", "step 0", "not finite", "nothing"],
)
def test_curves_at_every_stage_of_a_run(metrics, tmp_path):
    """An image of one size, and nothing beside it."""
    training_curves.training_curves(metrics, tmp_path / "curves.png")
    assert _size(tmp_path / "curves.png") == (1650, 660)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_the_best_evaluation_is_marked(tmp_path, monkeypatch):
    """The highest mean of the first set, or the step that is named."""
    from matplotlib.axes import Axes

    titles = []
    monkeypatch.setattr(Axes, "set_title", lambda self, text, **_: titles.append(text))
    training_curves.training_curves(_metrics(), tmp_path / "a.png")
    training_curves.training_curves(_metrics(), tmp_path / "b.png", best_step=100)
    best = [title for title in titles if title.startswith("best")]
    assert best == ["best mean: 80.0 % at step 240", "best mean: 56.7 % at step 100"]


def test_curves_leave_matplotlib_alone(tmp_path):
    """No pyplot, and so no global figure, no backend, no display."""
    code = "import sys; from fgnet_jax import plots; plots.curves([], sys.argv[1])"
    code += "; print('matplotlib.pyplot' in sys.modules)"
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "curves.png")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


def test_series_leaves_out_what_is_missing():
    """Lines without the figure, and null."""
    steps, values = training_curves.series([{"step": 1, "loss": 2.0}, {"step": 2}, {"step": 3, "loss": None}], "loss")
    assert steps.tolist() == [1] and values.tolist() == [2.0]


def test_names_are_spread_as_little_as_possible():
    """What has room stays; a crowd moves both ways; limits hold."""
    assert training_curves.spaced_out([10, 50, 90], 5, 0, 100).tolist() == [10, 50, 90]
    np.testing.assert_allclose(training_curves.spaced_out([50, 50, 50], 5, 0, 100), [45, 50, 55])
    np.testing.assert_allclose(training_curves.spaced_out([99, 100], 5, 0, 100), [95, 100])
    np.testing.assert_allclose(training_curves.spaced_out([0, 1], 5, 0, 100), [0, 5])
    assert training_curves.spaced_out([], 5, 0, 100).size == 0


def _faces(count: int, aus: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Grey faces; targets full of the label's sign; predictions that are all right and too strong."""
    labels = np.random.default_rng(0).integers(0, 2, (count, aus))
    images = np.full((count, 64, 64, 3), 128, np.uint8)
    targets = np.broadcast_to((2.0 * labels - 1)[:, None, None], (count, 16, 16, aus))
    return images, targets, 3 * targets, labels


def test_a_sheet_is_red_where_present_and_blue_where_absent(tmp_path):
    """Target and prediction, for each AU of a face; the file is the array."""
    images, targets, predictions, labels = _faces(1)
    sheet = heatmap_sheet.heatmap_sheet(images, targets, predictions, labels, BP4D, tmp_path / "sheet.png")
    assert sheet.dtype == np.uint8
    with Image.open(tmp_path / "sheet.png") as image:
        np.testing.assert_array_equal(np.asarray(image), sheet)
    for k in range(12):
        for row in (0, 1):
            y = heatmap_sheet._HEAD + row * (heatmap_sheet._TILE + heatmap_sheet._GAP) + heatmap_sheet._TILE // 2
            red, _, blue = sheet[y, heatmap_sheet._left(k) + heatmap_sheet._TILE // 2].astype(int)
            assert red - blue > 80 if labels[0, k] else blue - red > 80


def _has(sheet: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((sheet == np.array(colour, np.uint8)).all(-1).any())


def test_wrong_predictions_stand_out():
    """Amber where a known label is missed; unknown labels are grey, and nothing said about them is wrong."""
    images, targets, predictions, labels = _faces(1)
    right = heatmap_sheet.heatmap_sheet(images, targets, predictions, labels, BP4D)
    wrong = heatmap_sheet.heatmap_sheet(images, targets, -predictions, labels, BP4D)
    unknown = heatmap_sheet.heatmap_sheet(images, 0 * targets, -predictions, np.full_like(labels, -1), BP4D)
    assert _has(wrong, heatmap_sheet._AMBER) and not _has(right, heatmap_sheet._AMBER)
    assert (
        _has(unknown, heatmap_sheet._GREY)
        and not _has(right, heatmap_sheet._GREY)
        and not _has(unknown, heatmap_sheet._AMBER)
    )


def test_a_sheet_has_room_for_four_faces_and_any_aus():
    """Sixteen faces are as high as four; fewer are lower."""
    heights = [heatmap_sheet.heatmap_sheet(*_faces(count, 3), (1, 2, 99)).shape[0] for count in (1, 4, 16)]
    assert heights[0] < heights[1] == heights[2]


def test_faces_that_show_most_are_chosen():
    """All AUs before any twice; in order; unknown is not shown."""
    labels = np.array([[0, 0, 0, -1], [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [-1, -1, -1, -1]])
    assert heatmap_sheet.choose_faces(labels, 2) == [1, 3]
    assert heatmap_sheet.choose_faces(labels, 9) == [0, 1, 2, 3, 4]


def test_overlays_are_clear_at_zero():
    """The face is seen where the map says nothing, and lost nowhere."""
    grey = np.full((8, 8), 100.0)
    assert (heatmap_sheet.overlay(grey, np.zeros((4, 4))) == 100).all()
    strong, stronger = (heatmap_sheet.overlay(grey, np.full((4, 4), value)) for value in (1.0, 5.0))
    np.testing.assert_array_equal(strong, stronger)
    assert (heatmap_sheet.overlay(grey + 100, np.ones((4, 4))) != strong).any()
