"""Drawings of whole images: readable at any size, with boxes, names and heatmaps of all faces."""

import dataclasses

import numpy as np
import pytest

from fgnet_jax.faces.alignment import Alignment
from fgnet_jax.visualization import scene
from tests.faces.heatmaps import PLACES, blobs, turned

AUS = (1, 6, 12)


def face(width, height, name="0", present=(True, False, True)):
    """Make a face to be drawn that fills half of the image."""
    side = min(width, height) / 2
    alignment = turned(width, height, scale=side / 256)
    box = (width / 2 - side / 2, height / 2 - side / 2, side, side)
    maps = blobs(PLACES)
    return scene.SceneFace(
        name=name,
        box=box,
        alignment=alignment,
        heatmaps=maps,
        scores=maps.mean((0, 1)),
        present=np.array(present),
    )


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((64, 64), (640, 640)), ((640, 480), (853, 640)), ((1280, 720), (1280, 720)), ((6000, 4000), (1920, 1280))],
)
def test_every_size_is_drawn_readably(size, drawn):
    """Draw a thumbnail as well as a photograph of 24 megapixels: neither tiny nor huge, the legend in proportion."""
    image = np.full((size[1], size[0], 3), 128, np.uint8)
    canvas = scene.draw(image, [face(*size)], AUS)
    assert canvas.height == drawn[1] and 0.3 < (canvas.width - drawn[0]) / drawn[1] < 0.8
    shown = np.asarray(canvas)[:, : drawn[0]].astype(int)
    x, y = face(*size).alignment.to_image(PLACES[0]) * (drawn[0] / size[0])
    around = shown[int(y) - 12 : int(y) + 12, int(x) - 12 : int(x) + 12]
    assert np.ptp(around, axis=-1).max() > 40  # AU01's colour
    assert (shown[2:20, 2:20] == 128).all()


def test_drawings_of_one_video_have_one_size():
    """Draw any number of faces."""
    image = np.zeros((480, 640, 3), np.uint8)
    faces = [face(640, 480, str(k)) for k in range(7)]
    sizes = {scene.draw(image, faces[:count], AUS).size for count in (0, 1, 2, 5, 7)}
    assert len(sizes) == 1


@pytest.mark.parametrize("box", [(-50.0, -50.0, 60.0, 60.0), (630.0, 470.0, 80.0, 80.0), (10.0, 10.0, 0.0, 0.0)])
def test_faces_at_the_image_border_are_drawn(box):
    """Draw boxes partly outside, as detectors return them."""
    at = np.array([box[0], box[1]])
    alignment = Alignment(np.array([[0.4, 0, at[0]], [0, 0.4, at[1]]]), 256)
    at_border = dataclasses.replace(face(640, 480, "12"), box=box, alignment=alignment)
    assert scene.draw(np.zeros((480, 640, 3), np.uint8), [at_border], AUS).height == 640


def test_names_are_drawn_over_heatmaps():
    """Keep a face's name readable where AUs are: the legend refers to it."""
    plain = dataclasses.replace(face(640, 640), box=(260.0, 260.0, 120.0, 120.0))
    x, y = round(plain.box[0]) + 16, round(plain.box[1]) - 17  # the middle of the name
    at = plain.alignment.to_aligned(np.array([x, y]))
    covered = dataclasses.replace(plain, heatmaps=blobs([at] * 3), present=np.ones(3, bool))
    bare = dataclasses.replace(plain, present=np.zeros(3, bool))
    names = [
        np.asarray(scene.draw(np.full((640, 640, 3), 90, np.uint8), [drawn], AUS))[y - 10 : y + 10, x - 10 : x + 10]
        for drawn in (covered, bare)
    ]
    np.testing.assert_array_equal(names[0], names[1])
    assert names[0].max() > 200 > 60 > names[0].min(), "dark on light"
