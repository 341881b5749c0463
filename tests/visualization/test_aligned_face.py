"""Overlays of aligned faces: heatmaps where they belong, names that never collide."""

import numpy as np
import pytest

from fgnet_jax.predict import outputs
from fgnet_jax.visualization import aligned_face

GREY = np.full((64, 64, 3), 128, np.uint8)


def blob(row, column, size=32):
    """A heatmap with one peak."""
    rows, columns = np.indices((size, size))
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 18).astype(np.float32)


def test_only_present_aus_are_drawn_over_the_face():
    """The face stays what it is where nothing is present; the legend is there all the same."""
    heatmaps = np.stack([blob(8, 8), blob(24, 24)], -1)
    scores = heatmaps.mean((0, 1))
    nothing = np.asarray(aligned_face.draw(GREY, heatmaps, scores, np.array([False, False]), (1, 12)))
    side = aligned_face.FACE_SIDE
    assert (nothing[:, :side] == 128).all() and nothing[:, side:].max() > 200
    one = np.asarray(aligned_face.draw(GREY, heatmaps, scores, np.array([True, False]), (1, 12))).astype(int)
    changed = np.abs(one[:, :side] - 128).sum(-1) > 0
    assert changed[side // 4, side // 4] and not changed[side // 2 :, side // 2 :].any()


@pytest.mark.parametrize("size", [(16, 4), (64, 16), (1024, 128)])
@pytest.mark.parametrize("count", [1, 12, 32])
def test_faces_of_every_size_and_many_aus_are_drawn(size, count):
    """The face is drawn large, and the legend has a row for every AU."""
    side, heatmap_side = size
    heatmaps = np.zeros((heatmap_side, heatmap_side, count), np.float32)
    heatmaps[-1, 0] = 1  # all tags want the same corner
    drawn = aligned_face.draw(
        np.zeros((side, side, 3), np.uint8), heatmaps, np.ones(count), np.ones(count, bool), range(1, count + 1)
    )
    assert drawn.mode == "RGB" and drawn.height >= aligned_face.FACE_SIDE


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["a.png", "x/b.jpg"], ["a.png", "b.png"]),
        (["x/a.png", "y/a.png", "b.png"], ["x-a.png", "y-a.png", "b.png"]),
        (["1/x/a.png", "2/x/a.png"], ["1-x-a.png", "2-x-a.png"]),
        (["a.png", "a.jpg", "a.png"], ["a.png", "a-2.png", "a-3.png"]),
        (["A.png", "a.png", "a-2.png"], ["A.png", "a-2.png", "a-2-2.png"]),
        (["../a.png", "./b.png", "..."], ["a.png", "b.png", "....png"]),
        (["/", ""], ["image.png", "image-2.png"]),
    ],
)
def test_file_names_are_unique_and_tell_where_they_come_from(sources, names):
    """Also on file systems that ignore case."""
    assert outputs.file_names(sources) == names


def test_long_names_are_cut():
    """File systems take 255 bytes."""
    (name,) = outputs.file_names(["é" * 120 + ".png"])
    assert len(name.encode()) < 255
