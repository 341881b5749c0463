"""Heatmaps laid back on images: they land where they were, are drawn readably at any size, and peaks return."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.aus import Centres
from fgnet_jax.faces import back_projection
from fgnet_jax.faces.alignment import Alignment
from fgnet_jax.train import targets
from fgnet_jax.visualization import scene

AUS = (1, 6, 12)


def turned(width=640, height=480, degrees=20.0, scale=1.1, size=256):
    """A face's square in the middle of an image, turned."""
    angle = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([width / 2, height / 2])
    return Alignment(np.concatenate([linear, (middle - linear @ np.full(2, (size - 1) / 2))[:, None]], 1), size)


def blobs(places, side=128, width=6.0):
    """A heatmap with one peak for each place (x, y) in pixels of the aligned face of 256."""
    down, across = np.mgrid[:side, :side]
    at = [(x * side / 256, y * side / 256) for x, y in places]
    maps = [np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * width**2)) for x, y in at]
    return np.stack(maps, -1).astype(np.float32)


PLACES = np.array([(80.0, 60.0), (200.25, 130.5), (128.0, 214.75)])


@pytest.mark.parametrize("side", [16, 64, 128])
def test_peaks_are_found_between_pixels_and_returned_to_the_image(side):
    """Within half a pixel at the published size, where a heatmap's pixel is more than two of the image."""
    alignment = turned()
    found = back_projection.peaks(blobs(PLACES, side, 6 * side / 128), alignment)
    apart = np.linalg.norm(found - alignment.to_image(PLACES), axis=1)
    assert apart.max() < (0.5 if side == 128 else 128 / side)


def test_the_middle_of_a_clipped_top_counts():
    """Heatmaps are clipped at 1."""
    found = back_projection.peaks(np.clip(3 * blobs(PLACES), -1, 1), turned())
    assert np.linalg.norm(found - turned().to_image(PLACES), axis=1).max() < 0.7


def test_peaks_of_training_targets_return_to_their_landmarks():
    """Drawn at one landmark as training draws them: two blobs in one place, so that the top is flat and wide."""
    landmarks = np.random.default_rng(0).uniform(60, 200, (1, 68, 2)).astype(np.float32)
    centres = (Centres((48,), (48,)), Centres((30,), (30,)))
    maps = np.asarray(targets.targets(jnp.asarray(landmarks), jnp.ones((1, 2), int), centres)[0])
    found = back_projection.peaks(maps, turned())
    np.testing.assert_allclose(found, turned().to_image(landmarks[0, [48, 30]]), atol=0.5)


def test_a_map_that_is_nowhere_above_0_has_no_peak():
    """NaN, an empty cell."""
    assert np.isnan(back_projection.peaks(np.full((8, 8, 1), -0.5, np.float32), turned())).all()


def test_heatmaps_land_where_the_face_is():
    """Values too, and nothing outside of the face's square."""
    alignment, maps = turned(), blobs(PLACES)
    laid = back_projection.warp_to_image(maps, alignment, 640, 480)
    assert laid.shape == (480, 640, 3) and laid.dtype == np.float32
    for k, (x, y) in enumerate(alignment.to_image(PLACES)):
        row, column = np.unravel_index(laid[..., k].argmax(), laid.shape[:2])
        assert abs(row - y) < 1.5 and abs(column - x) < 1.5 and laid[row, column, k] > 0.98
    assert not laid[:40].any() and not laid[:, :100].any()
    part = back_projection.warp_to_image(maps, alignment, 640, 480, (200, 100, 400, 300))
    np.testing.assert_allclose(part, laid[100:300, 200:400], atol=1e-5)


def face(width, height, name="0", present=(True, False, True)):
    """A face to be drawn, that fills half of the image."""
    side = min(width, height) / 2
    alignment = turned(width, height, scale=side / 256)
    box = (width / 2 - side / 2, height / 2 - side / 2, side, side)
    maps = blobs(PLACES)
    return scene.SceneFace(name, box, alignment, maps, maps.mean((0, 1)), np.array(present))


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((64, 64), (640, 640)), ((640, 480), (853, 640)), ((1280, 720), (1280, 720)), ((6000, 4000), (1920, 1280))],
)
def test_every_size_is_drawn_readably(size, drawn):
    """From a thumbnail to a photograph of 24 megapixels: neither tiny nor huge, the legend in proportion."""
    image = np.full((size[1], size[0], 3), 128, np.uint8)
    canvas = scene.draw(image, [face(*size)], AUS)
    assert canvas.height == drawn[1] and 0.3 < (canvas.width - drawn[0]) / drawn[1] < 0.8
    shown = np.asarray(canvas)[:, : drawn[0]].astype(int)
    x, y = face(*size).alignment.to_image(PLACES[0]) * (drawn[0] / size[0])
    around = shown[int(y) - 12 : int(y) + 12, int(x) - 12 : int(x) + 12]
    assert np.ptp(around, axis=-1).max() > 40  # AU01's colour
    assert (shown[2:20, 2:20] == 128).all()


def test_drawings_of_one_video_have_one_size():
    """Whoever is seen."""
    image = np.zeros((480, 640, 3), np.uint8)
    faces = [face(640, 480, str(k)) for k in range(7)]
    sizes = {scene.draw(image, faces[:count], AUS).size for count in (0, 1, 2, 5, 7)}
    assert len(sizes) == 1


@pytest.mark.parametrize("box", [(-50.0, -50.0, 60.0, 60.0), (630.0, 470.0, 80.0, 80.0), (10.0, 10.0, 0.0, 0.0)])
def test_faces_at_the_rim_are_drawn(box):
    """Detectors put boxes there."""
    at = np.array([box[0], box[1]])
    alignment = Alignment(np.array([[0.4, 0, at[0]], [0, 0.4, at[1]]]), 256)
    one = face(640, 480)
    rim = scene.SceneFace("12", box, alignment, one.heatmaps, one.scores, one.present)
    assert scene.draw(np.zeros((480, 640, 3), np.uint8), [rim], AUS).height == 640


def test_names_lie_over_heatmaps():
    """AUs at a face's name leave it readable: the legend is read by it."""
    one = dataclasses.replace(face(640, 640), box=(260.0, 260.0, 120.0, 120.0))
    x, y = round(one.box[0]) + 16, round(one.box[1]) - 17  # the middle of the name
    at = one.alignment.to_aligned(np.array([x, y]))
    covered = dataclasses.replace(one, targets=blobs([at] * 3), present=np.ones(3, bool))
    bare = dataclasses.replace(one, present=np.zeros(3, bool))
    names = [
        np.asarray(scene.draw(np.full((640, 640, 3), 90, np.uint8), [made], AUS))[y - 10 : y + 10, x - 10 : x + 10]
        for made in (covered, bare)
    ]
    np.testing.assert_array_equal(names[0], names[1])
    assert names[0].max() > 200 > 60 > names[0].min(), "dark on light"
