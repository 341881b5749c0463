"""Alignment: the pixels of the published recipe, and an exact map between aligned face and image."""

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.faces import alignment
from tests.faces import ffhq_recipe
from tests.miniature import place


@pytest.fixture(scope="module")
def drawn():
    """An aligned face of each twin: images and exact landmarks."""
    faces = [random_faces(name, 3, seed=4)[:2] for name in ("synthetic_bp4d", "synthetic_disfa")]
    return [(images[0], landmarks[0]) for images, landmarks in faces]


def _scene(drawn, case):
    face, points = drawn[0]
    size, scale, seed = {
        "within": ((700, 500), 1.2, 1),
        "small": ((400, 300), 0.4, 2),
        "shrunk": ((2000, 1500), 5.0, 3),
        "leaves": ((260, 240), 1.0, 4),
        "leaves far": ((220, 160), 1.1, 5),
    }[case]
    return place(face, points, size, seed, scale)


@pytest.mark.parametrize("case", ["within", "small", "shrunk", "leaves", "leaves far"])
def test_pixels_are_the_published_recipes(drawn, case):
    """Within a grey level: Pillow cuts fractions off where we round; the recipe's rounding of sizes moves edges."""
    scene = _scene(drawn, case)
    ours, _ = alignment.align(scene.image, scene.landmarks)
    wanted = np.asarray(ffhq_recipe.align(Image.fromarray(scene.image), scene.landmarks.astype(np.float64)))
    difference = np.abs(ours.astype(int) - wanted)
    assert ours.shape == (256, 256, 3) and ours.dtype == np.uint8
    assert difference.mean() < (1.0 if case == "shrunk" else 0.6)
    assert np.percentile(difference, 99.9) <= (20 if case == "shrunk" else 3)


def test_the_map_goes_both_ways(drawn):
    """To image and back, exactly; corners in the recipe's order."""
    _, lie = alignment.align(*_parts(_scene(drawn, "within")))
    points = np.random.default_rng(0).uniform(-50, 300, (9, 5, 2))
    np.testing.assert_allclose(lie.to_aligned(lie.to_image(points)), points, atol=1e-9)
    top_left, bottom_left, bottom_right, top_right = lie.corners()
    assert top_left[1] < bottom_left[1] and top_left[0] < top_right[0]
    np.testing.assert_allclose(top_left + bottom_right, bottom_left + top_right)


def _parts(scene):
    return scene.image, scene.landmarks


def test_carried_landmarks_are_where_the_renderer_put_them(drawn):
    """A face that was framed exactly, laid in an image and cut out again, has its landmarks and pixels back."""
    face, points = drawn[0]
    first, framed = alignment.align(np.pad(face, ((64, 64), (64, 64), (0, 0)), "edge"), points + 64)
    exact = framed.to_aligned(points + 64)
    scene = place(first, exact.astype(np.float32), (800, 600), 6, 1.9)
    again, lie = alignment.align(scene.image, scene.landmarks)
    np.testing.assert_allclose(lie.to_aligned(scene.landmarks), exact, atol=0.02)
    middle = slice(16, 240)
    assert np.abs(again.astype(int) - first)[middle, middle].mean() < 2.5


def test_a_dot_lands_where_the_map_says(drawn):
    """To a tenth of an aligned pixel, also where the image is shrunk by a whole factor or padded."""
    for case in ("within", "small", "shrunk", "leaves"):
        scene = _scene(drawn, case)
        lie = alignment.ffhq(scene.landmarks)
        target = np.array([100.0, 150.0])
        rows, columns = np.mgrid[: scene.image.shape[0], : scene.image.shape[1]]
        spread = 3 * np.hypot(*lie.matrix[:, 0])
        x, y = lie.to_image(target)
        dot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * spread**2))
        cut = alignment.cut_out(np.repeat(dot[..., None], 3, 2).round().astype(np.uint8), lie)[..., 0].astype(float)
        cut[cut < 8] = 0
        weights = cut / cut.sum()
        found = [(weights * grid).sum() for grid in np.mgrid[:256, :256][::-1]]
        np.testing.assert_allclose(found, target, atol=0.1, err_msg=case)


def test_an_aligned_face_comes_out_as_itself(drawn):
    """Pixel for pixel, its landmarks unmoved; a larger one is resized and its map is the scale."""
    face, points = drawn[0]
    out, lie = alignment.align(face, points)
    assert out is face
    np.testing.assert_allclose(lie.to_aligned(points), points, atol=1e-9)
    large = np.asarray(Image.fromarray(face).resize((512, 512), Image.Resampling.BICUBIC))
    out, lie = alignment.align(large, (points + 0.5) * 2 - 0.5)
    assert out.shape == (256, 256, 3) and np.abs(out.astype(int) - face).mean() < 1.5
    np.testing.assert_allclose(lie.to_image(np.array([[0.0, 255.0]])), [[0.5, 510.5]])


def test_a_square_image_of_something_else_is_aligned(drawn):
    """Only where the face fills it as FFHQ's recipe says is it left alone."""
    face, points = drawn[0]
    scene = place(face, points, (400, 400), 3, 1.0)
    out, lie = alignment.align(scene.image, scene.landmarks)
    assert out.shape == (256, 256, 3) and abs(lie.matrix[0, 0] - 400 / 256) > 0.2


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((5, 2)), "must be 68 finite points .*got shape \\(5, 2\\)"),
        (np.full((68, 2), np.nan), "must be 68 finite points"),
        (np.ones((68, 2)), "have no extent"),
    ],
)
def test_what_is_no_face_is_refused(points, message):
    """By a message that says what is wrong."""
    with pytest.raises(alignment.AlignmentError, match=message):
        alignment.align(np.zeros((50, 60, 3), np.uint8), points)


def test_a_face_outside_of_the_image_is_refused(drawn):
    """Rather than filled with reflections alone."""
    face, points = drawn[0]
    with pytest.raises(alignment.AlignmentError, match="lies outside of the image \\(256x256\\)"):
        alignment.align(face, points + 300)
