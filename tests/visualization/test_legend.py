"""The legend: one size for any number of faces, a row for every AU, bars for one face and a table for several."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.visualization import legend, painting
from fgnet_jax.visualization.legend import LegendEntry

AUS = (1, 12)


def _entry(name: str, present: tuple[bool, bool] = (True, False)) -> LegendEntry:
    return LegendEntry(name=name, scores=np.array([0.2, -0.1]), present=np.array(present))


@pytest.mark.parametrize("count", [0, 1, 2, 5, 6])
def test_the_size_depends_on_the_aus_and_the_scale_alone(count):
    """Draw any number of faces, NaN among the scores."""
    faces = [LegendEntry(name=str(k), scores=np.array([0.2, np.nan]), present=np.ones(2, bool)) for k in range(count)]
    assert legend.draw(AUS, faces).size == (legend.WIDTH, legend.height(2))
    assert legend.draw(AUS, faces, 0.5).size == (legend.WIDTH // 2, legend.height(2, 0.5))


@pytest.mark.parametrize("count", [1, 3])
def test_present_aus_are_in_their_colours(count):
    """Fill the swatch of a present AU; leave that of an absent one empty."""
    panel = np.asarray(legend.draw(AUS, [_entry(str(k)) for k in range(count)]))
    row = legend.height(2) // 4
    for k, expected in ((0, painting.colour(1)), (1, painting.BACKGROUND)):
        assert panel[row * (k + 1) + 18, 39].tolist() == list(expected)


def test_the_legend_is_beside_the_image():
    """Centre the lower one of both."""
    image = Image.new("RGB", (300, 60), (1, 2, 3))
    canvas = legend.beside(image, AUS, [_entry("0")])
    assert canvas.size == (300 + legend.WIDTH, legend.height(2))
    top = (legend.height(2) - 60) // 2
    assert canvas.getpixel((0, top)) == (1, 2, 3) and canvas.getpixel((0, top - 1)) == painting.BACKGROUND


def test_an_intensity_stands_in_the_scores_place():
    """Without a sign; an AU that has none shows its score, and the title says what the numbers are."""
    entry = dataclasses.replace(_entry("0"), intensities=np.array([3.24, np.nan]))
    assert [entry.text(k) for k in range(2)] == ["3.2", "-0.100"]
    assert [_entry("0").text(k, 2) for k in range(2)] == ["+0.20", "-0.10"]
    assert legend._title(2, [entry], 0) == "1 of 2 present; intensity 0 to 5"
    for count in (1, 3):
        drawn = [legend.draw(AUS, [face] * count) for face in (entry, _entry("0"))]
        assert drawn[0].size == drawn[1].size and drawn[0].tobytes() != drawn[1].tobytes()
