"""Images of an evaluation, measured where a person would look."""

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.evaluate import charts
from fgnet_jax.metrics import bootstrap

AUS = (1, 2, 12)


def _measured(seed: int = 0, frames: int = 120):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (frames, 3))
    subjects = np.repeat(list("abcdef"), frames // 6)
    return bootstrap.measure(labels - 0.5 + rng.normal(size=labels.shape), labels, subjects, AUS, resamples=30)


def _has(path, colour: str) -> bool:
    wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    with Image.open(path) as image:
        assert image.format == "PNG"
        return bool((np.abs(np.asarray(image.convert("RGB")).astype(int) - wanted).max(-1) < 8).any())


def test_bars_by_au(tmp_path, monkeypatch):
    """A bar an AU and one for the mean, as high as F1; published values and chance are drawn."""
    from matplotlib.axes import Axes

    heights = []
    bar = Axes.bar
    monkeypatch.setattr(
        Axes, "bar", lambda self, x, h, *a, **k: heights.append(np.array(h)) or bar(self, x, h, *a, **k)
    )
    measured = _measured()
    charts.per_au([("ours", measured)], [("FG-Net", {1: 0.6}, 0.5)], tmp_path / "a.png", "Title")
    np.testing.assert_allclose(heights[0], 100 * np.append(measured.values["f1"], measured.mean("f1")))
    assert _has(tmp_path / "a.png", charts.CHANCE) and [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_bars_without_a_value(tmp_path):
    """An AU that nobody coded, no draws, several rows, no published row."""
    scores, labels = np.zeros((6, 3)), np.tile([-1, 0, 1], (6, 1))
    measured = bootstrap.measure(scores, labels, np.array(list("aabbcc")), AUS, resamples=0)
    charts.per_au([("a", measured), ("b", _measured())], [], tmp_path / "a.png", "Title")
    assert (tmp_path / "a.png").exists()


def test_reliability_bins():
    """As many scores in each; the share that is present; nothing lost."""
    scores = np.linspace(-1, 1, 240)
    present = scores > 0
    centres, shares, counts = charts.reliability_bins(scores, present)
    assert counts.sum() == 240 and len(set(counts)) == 1 and (np.diff(centres) > 0).all()
    assert (shares == (centres > 0)).all()
    assert len(charts.reliability_bins(scores[:3], present[:3])[0]) == 3


@pytest.mark.parametrize("frames", [0, 1, 200])
def test_reliability_of_few_frames(frames, tmp_path):
    """None at all, one, and an AU that is unknown throughout."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (frames, 3))
    labels[:, 1] = -1
    charts.reliability(rng.normal(size=(frames, 3)), labels, np.zeros(3), AUS, tmp_path / "a.png", "Title")
    assert _has(tmp_path / "a.png", charts.OURS) == (frames > 0)


def test_the_curve_of_few_samples(tmp_path):
    """Two lines, in two colours."""
    points = [(100, _measured(0)), (1000, _measured(1)), (8000, _measured(2))]
    charts.efficiency({"published updates": points, "equal updates": points[:2]}, tmp_path / "a.png", "Title")
    assert _has(tmp_path / "a.png", charts.OURS) and _has(tmp_path / "a.png", charts.PUBLISHED)
