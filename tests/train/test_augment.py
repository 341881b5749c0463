"""Augmentation, on an image whose landmarks are marked with different colours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.aus import CENTRES
from fgnet_jax.train import augment
from fgnet_jax.train.targets import au_centres, targets

SIZE = 96


def _marked():
    """Return an image with 68 pixels of different colours, and landmarks at these pixels."""
    rng = np.random.default_rng(0)
    places = rng.permutation(SIZE * SIZE)[:68]
    landmarks = np.stack([places % SIZE, places // SIZE], 1).astype(np.float32)
    image = np.zeros((SIZE, SIZE, 3), np.float32)
    image[places // SIZE, places % SIZE] = rng.uniform(0.1, 1, (68, 3))
    return image, landmarks


def _both(count=16):
    image, landmarks = _marked()
    images, points = jnp.tile(image[None], (count, 1, 1, 1)), jnp.tile(landmarks[None], (count, 1, 1))
    return image, landmarks, *map(np.asarray, augment.flip(images, points, jax.random.key(0)))


def test_about_half_of_the_faces_are_mirrored():
    """The others are untouched."""
    image, landmarks, images, points = _both(64)
    same = np.array([np.array_equal(face, image) for face in images])
    assert 20 < same.sum() < 44
    for face, face_points in zip(images[same], points[same], strict=True):
        np.testing.assert_array_equal(face, image)
        np.testing.assert_array_equal(face_points, landmarks)
    for face in images[~same]:
        np.testing.assert_array_equal(face, image[:, ::-1])


def test_landmarks_follow_the_image_and_change_sides():
    """Landmark i of a mirrored face lies on the pixel of its partner across the face, identified by its colour."""
    image, landmarks, images, points = _both()
    first = next(k for k in range(16) if not np.array_equal(images[k], image))
    for i in range(68):
        x, y = points[first, i].astype(int)
        before = landmarks[augment.MIRRORED[i]].astype(int)
        np.testing.assert_array_equal(images[first, y, x], image[before[1], before[0]])


def test_partners_across_the_face():
    """Some well-known pairs; the partner of a partner is the landmark itself; landmarks on the midline have none."""
    pairs = {0: 16, 17: 26, 21: 22, 36: 45, 39: 42, 37: 44, 41: 46, 31: 35, 48: 54, 50: 52, 60: 64, 61: 63, 58: 56}
    assert all(augment.MIRRORED[a] == b for a, b in pairs.items())
    np.testing.assert_array_equal(augment.MIRRORED[augment.MIRRORED], np.arange(68))
    assert set(np.flatnonzero(augment.MIRRORED == np.arange(68))) == {8, 27, 28, 29, 30, 33, 51, 57, 62, 66}


def test_mirrored_targets_are_targets_of_the_mirrored_face():
    """For every AU: targets of mirrored landmarks equal mirrored targets (pixel x becomes S - 1 - x)."""
    _, landmarks, images, points = _both()
    mirrored = next(k for k in range(16) if not np.array_equal(points[k], landmarks))
    labels = jnp.ones((1, len(CENTRES)), jnp.int8)
    original, of_mirrored = (
        targets(jnp.asarray(p)[None], labels, au_centres(tuple(CENTRES)), size=SIZE, image_size=SIZE)
        for p in (landmarks, points[mirrored])
    )
    np.testing.assert_allclose(of_mirrored, original[:, :, ::-1], atol=1e-5)


def test_colour_changes_each_face_differently_and_keeps_the_range():
    """And strength 0 changes nothing."""
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)).astype(np.float32))
    changed = augment.colour(images, 0.3, jax.random.key(0))
    assert changed.min() >= -1 and changed.max() <= 1
    offsets = np.asarray((changed - images).mean((1, 2, 3)))
    assert len(np.unique(offsets.round(4))) == 4
    np.testing.assert_array_equal(changed, augment.colour(images, 0.3, jax.random.key(0)))
    np.testing.assert_allclose(augment.colour(images, 0.0, jax.random.key(0)), images, atol=1e-6)


@pytest.mark.parametrize("strength", [0.1, 0.4])
def test_brightness_shifts_grey_images_by_up_to_the_strength(strength):
    """A uniform grey has neither contrast nor saturation to change."""
    grey = jnp.zeros((200, 2, 2, 3))
    values = np.asarray(augment.colour(grey, strength, jax.random.key(1)))
    assert np.ptp(values, axis=(1, 2, 3)).max() < 1e-6
    assert 0.9 * strength < np.abs(values).max() <= strength
