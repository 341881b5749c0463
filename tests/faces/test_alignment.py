"""Alignment: the pixels of the published recipe, and an exact map between aligned face and image."""

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.faces import alignment
from tests.faces import ffhq_recipe
from tests.miniature import place

SQUARE = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)


@pytest.fixture(scope="module")
def rendered():
    """Return an aligned face of each synthetic corpus: image and exact landmarks."""
    faces = [random_faces(name, 3, seed=4)[:2] for name in ("synthetic_bp4d", "synthetic_disfa")]
    return [(images[0], landmarks[0]) for images, landmarks in faces]


def _scene(rendered, case):
    face, points = rendered[0]
    size, scale, seed = {
        "within": ((700, 500), 1.2, 1),
        "small": ((400, 300), 0.4, 2),
        "shrunk": ((2000, 1500), 5.0, 3),
        "leaves": ((260, 240), 1.0, 4),
        "leaves far": ((220, 160), 1.1, 5),
    }[case]
    return place(face, points, size, seed, scale)


@pytest.mark.parametrize("case", ["within", "small", "shrunk", "leaves", "leaves far"])
def test_pixels_are_the_published_recipes(rendered, case):
    """Within a grey level: Pillow truncates where ours rounds; the recipe's rounding of sizes moves edges."""
    scene = _scene(rendered, case)
    aligned, _ = alignment.align(scene.image, scene.landmarks)
    expected = np.asarray(ffhq_recipe.align(Image.fromarray(scene.image), scene.landmarks.astype(np.float64)))
    difference = np.abs(aligned.astype(int) - expected)
    assert aligned.shape == (256, 256, 3) and aligned.dtype == np.uint8
    assert difference.mean() < (1.0 if case == "shrunk" else 0.6)
    assert np.percentile(difference, 99.9) <= (20 if case == "shrunk" else 3)


def test_the_map_goes_both_ways(rendered):
    """To the image and back, exactly; corners in the recipe's order."""
    _, where = alignment.align(*_parts(_scene(rendered, "within")))
    points = np.random.default_rng(0).uniform(-50, 300, (9, 5, 2))
    np.testing.assert_allclose(where.to_aligned(where.to_image(points)), points, atol=1e-9)
    top_left, bottom_left, bottom_right, top_right = where.corners()
    assert top_left[1] < bottom_left[1] and top_left[0] < top_right[0]
    np.testing.assert_allclose(top_left + bottom_right, bottom_left + top_right)


def _parts(scene):
    return scene.image, scene.landmarks


def test_carried_over_landmarks_are_where_the_renderer_put_them(rendered):
    """A face placed in an image and cropped again has its landmarks and pixels back."""
    face, points = rendered[0]
    first, framed = alignment.align(np.pad(face, ((64, 64), (64, 64), (0, 0)), "edge"), points + 64)
    exact = framed.to_aligned(points + 64)
    scene = place(first, exact.astype(np.float32), (800, 600), 6, 1.9)
    again, where = alignment.align(scene.image, scene.landmarks)
    np.testing.assert_allclose(where.to_aligned(scene.landmarks), exact, atol=0.02)
    middle = slice(16, 240)
    assert np.abs(again.astype(int) - first)[middle, middle].mean() < 2.5


def test_a_dot_lands_where_the_map_says(rendered):
    """Within a tenth of an aligned pixel, also where the image is shrunk by a whole factor or padded."""
    for case in ("within", "small", "shrunk", "leaves"):
        scene = _scene(rendered, case)
        where = alignment.ffhq(scene.landmarks)
        target = np.array([100.0, 150.0])
        rows, columns = np.mgrid[: scene.image.shape[0], : scene.image.shape[1]]
        width = 3 * np.hypot(*where.matrix[:, 0])
        x, y = where.to_image(target)
        dot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2))
        cropped = alignment.crop(np.repeat(dot[..., None], 3, 2).round().astype(np.uint8), where)[..., 0].astype(float)
        cropped[cropped < 8] = 0
        weights = cropped / cropped.sum()
        centre = [(weights * grid).sum() for grid in np.mgrid[:256, :256][::-1]]
        np.testing.assert_allclose(centre, target, atol=0.1, err_msg=case)


def test_an_aligned_face_is_left_as_it_is(rendered):
    """Pixel for pixel, with its landmarks; a larger one is resized, and its alignment is a scale."""
    face, points = rendered[0]
    out, where = alignment.align(face, points)
    assert out is face
    np.testing.assert_allclose(where.to_aligned(points), points, atol=1e-9)
    large = np.asarray(Image.fromarray(face).resize((512, 512), Image.Resampling.BICUBIC))
    out, where = alignment.align(large, (points + 0.5) * 2 - 0.5)
    assert out.shape == (256, 256, 3) and np.abs(out.astype(int) - face).mean() < 1.5
    np.testing.assert_allclose(where.to_image(np.array([[0.0, 255.0]])), [[0.5, 510.5]])


def test_a_square_image_of_something_else_is_aligned(rendered):
    """It is left as it is only where the face fills it as FFHQ's recipe says."""
    face, points = rendered[0]
    scene = place(face, points, (400, 400), 3, 1.0)
    out, where = alignment.align(scene.image, scene.landmarks)
    assert out.shape == (256, 256, 3) and abs(where.matrix[0, 0] - 400 / 256) > 0.2


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((5, 2)), "must be 68 finite points .*got shape \\(5, 2\\)"),
        (np.full((68, 2), np.nan), "must be 68 finite points"),
        (np.ones((68, 2)), "have no extent"),
    ],
)
def test_impossible_landmarks_are_refused(points, message):
    """With a message that says what is wrong."""
    with pytest.raises(alignment.AlignmentError, match=message):
        alignment.align(np.zeros((50, 60, 3), np.uint8), points)


def test_a_face_outside_of_the_image_is_refused(rendered):
    """Rather than padded with reflections alone."""
    face, points = rendered[0]
    with pytest.raises(alignment.AlignmentError, match="lies outside of the image \\(256x256\\)"):
        alignment.align(face, points + 300)


def test_aligned_faces_of_the_right_size_are_returned_as_they_are():
    """Without a copy or a filter."""
    assert alignment.resize_aligned(SQUARE, 48) is SQUARE


@pytest.mark.parametrize("side", [32, 96, 200])
def test_other_squares_are_resized_with_antialiasing(side):
    """A fine checkerboard becomes grey when shrunk, and means survive."""
    board = (np.indices((side, side)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, -1)
    face = alignment.resize_aligned(board, 48)
    assert face.shape == (48, 48, 3) and abs(face.mean() - 127.5) < 3
    if side == 200:
        assert face[4:-4, 4:-4].std() < 10


@pytest.mark.parametrize(("shape", "reason"), [((48, 64), "64x48 is not square"), ((20, 20), "20x20 is too small")])
def test_what_cannot_be_an_aligned_face_is_refused(shape, reason):
    """Oblong or tiny images."""
    with pytest.raises(alignment.AlignmentError, match=reason):
        alignment.resize_aligned(np.zeros((*shape, 3), np.uint8), 48)
