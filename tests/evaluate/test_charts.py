"""Images of an evaluation: the drawn values and colours."""

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
    return bootstrap.measure(
        labels - 0.5 + rng.normal(size=labels.shape), labels, subjects=subjects, aus=AUS, resamples=30
    )


def _has(path, colour: str) -> bool:
    rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    with Image.open(path) as image:
        assert image.format == "PNG"
        return bool((np.abs(np.asarray(image.convert("RGB")).astype(int) - rgb).max(-1) < 8).any())


def test_bars_by_au(tmp_path, monkeypatch):
    """Draw a bar per AU and one for the mean, as high as F1, with published values and chance."""
    from matplotlib.axes import Axes

    heights = []
    bar = Axes.bar
    monkeypatch.setattr(
        Axes, "bar", lambda self, x, h, *a, **k: heights.append(np.array(h)) or bar(self, x, h, *a, **k)
    )
    measured = _measured()
    charts.per_au([("run", measured)], published=[("FG-Net", {1: 0.6}, 0.5)], path=tmp_path / "a.png", title="Title")
    np.testing.assert_allclose(heights[0], 100 * np.append(measured.values["f1"], measured.mean("f1")))
    assert _has(tmp_path / "a.png", charts.CHANCE) and [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_bars_without_a_value(tmp_path):
    """Draw an AU that is coded in no frame, no resamples, several rows, no published row."""
    scores, labels = np.zeros((6, 3)), np.tile([-1, 0, 1], (6, 1))
    measured = bootstrap.measure(scores, labels, subjects=np.array(list("aabbcc")), aus=AUS, resamples=0)
    charts.per_au([("a", measured), ("b", _measured())], published=[], path=tmp_path / "a.png", title="Title")
    assert (tmp_path / "a.png").exists()


def test_reliability_bins():
    """Check that bins are of equal size, hold all scores, and give the share of presence."""
    scores = np.linspace(-1, 1, 240)
    present = scores > 0
    centres, shares, counts = charts.reliability_bins(scores, present)
    assert counts.sum() == 240 and len(set(counts)) == 1 and (np.diff(centres) > 0).all()
    assert (shares == (centres > 0)).all()
    assert len(charts.reliability_bins(scores[:3], present[:3])[0]) == 3


@pytest.mark.parametrize("frames", [0, 1, 200])
def test_reliability_of_few_frames(frames, tmp_path):
    """Draw no frame at all, one, and an AU that is unknown in all frames."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (frames, 3))
    labels[:, 1] = -1
    charts.reliability(
        rng.normal(size=(frames, 3)),
        labels=labels,
        thresholds=np.zeros(3),
        aus=AUS,
        path=tmp_path / "a.png",
        title="Title",
    )
    assert _has(tmp_path / "a.png", charts.MEASURED) == (frames > 0)


def test_data_efficiency_curve(tmp_path):
    """Draw two lines, in two colours."""
    points = [(100, _measured(0)), (1000, _measured(1)), (8000, _measured(2))]
    charts.efficiency({"published updates": points, "equal updates": points[:2]}, tmp_path / "a.png", "Title")
    assert all(_has(tmp_path / "a.png", colour) for colour in charts._SERIES[:2])
