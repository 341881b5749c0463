"""Training curves: drawn at every stage of a run, with the best evaluation marked."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.visualization import training_curves

BP4D = CORPUS_AUS["bp4d"]


def _metrics(steps: int = 300, evaluate: int = 20) -> list[dict]:
    """Make a loss that falls and, in some lines, F1 of twelve AUs, highest at step 240."""
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
    """Write an image of one size, and no other file."""
    training_curves.training_curves(metrics, tmp_path / "curves.png")
    assert _size(tmp_path / "curves.png") == (1650, 660)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_the_best_evaluation_is_marked(tmp_path, monkeypatch):
    """Mark the highest mean of the first set, or the given step."""
    from matplotlib.axes import Axes

    titles = []
    monkeypatch.setattr(Axes, "set_title", lambda self, text, **_: titles.append(text))
    training_curves.training_curves(_metrics(), tmp_path / "a.png")
    training_curves.training_curves(_metrics(), tmp_path / "b.png", best_step=100)
    best = [title for title in titles if title.startswith("best")]
    assert best == ["best mean: 80.0 % at step 240", "best mean: 56.7 % at step 100"]


def test_curves_leave_matplotlib_alone(tmp_path):
    """Import no pyplot, and so no global figure, no backend, no display."""
    code = "import sys; from fgnet_jax.visualization.training_curves import training_curves as draw"
    code += "; draw([], sys.argv[1]); print('matplotlib.pyplot' in sys.modules)"
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "curves.png")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


def test_series_leaves_out_what_is_missing():
    """Leave out lines without the metric, and null."""
    steps, values = training_curves.series([{"step": 1, "loss": 2.0}, {"step": 2}, {"step": 3, "loss": None}], "loss")
    assert steps.tolist() == [1] and values.tolist() == [2.0]


def test_names_are_moved_as_little_as_possible():
    """Leave names that have room; move close ones both ways; keep the limits."""
    assert training_curves.spaced_out([10, 50, 90], 5, 0, 100).tolist() == [10, 50, 90]
    np.testing.assert_allclose(training_curves.spaced_out([50, 50, 50], 5, 0, 100), [45, 50, 55])
    np.testing.assert_allclose(training_curves.spaced_out([99, 100], 5, 0, 100), [95, 100])
    np.testing.assert_allclose(training_curves.spaced_out([0, 1], 5, 0, 100), [0, 5])
    assert training_curves.spaced_out([], 5, 0, 100).size == 0
