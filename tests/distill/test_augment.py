"""Augmentation: face and heatmap move as one, and what is not configured changes nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.distill import augment
from fgnet_jax.distill.augment import AugmentConfig

SIDE, MAP = 64, 16
PLACES = AugmentConfig(flip=True, shift=0.1, scale=0.2, rotation=20)


def blob(side, centres, sigma=0.12):
    """Draw a Gaussian for each centre, x then y in shares of the side, (N, side, side, 1)."""
    place = (np.arange(side) + 0.5) / side
    x, y = (np.exp(-((place - centres[:, k, None]) ** 2) / (2 * sigma**2)) for k in (0, 1))
    return jnp.asarray((y[:, :, None] * x[:, None])[..., None], jnp.float32)


def centre(maps):
    """Compute the centre of mass of each map, x then y in shares of the side."""
    maps = np.asarray(maps, np.float64)[..., 0]
    place = (np.arange(maps.shape[1]) + 0.5) / maps.shape[1]
    total = maps.sum((1, 2))
    return np.stack([(maps.sum(1) * place).sum(1), (maps.sum(2) * place).sum(1)], 1) / total[:, None]


def test_a_blob_on_face_and_heatmap_lands_in_one_place():
    """Mirrored, shifted, turned and scaled: where the drawn moves say, on both, however coarse the heatmap."""
    centres = np.random.default_rng(0).uniform(0.4, 0.6, (16, 2))
    images, maps = blob(SIDE, centres, 0.06), blob(MAP, centres, 0.06)
    moves = augment.draw_moves(PLACES, 16, jax.random.key(1))
    on_face, on_map = (
        np.asarray(augment.move(x, moves, repeats_edge=edge)) for x, edge in ((images, True), (maps, False))
    )
    matrices = np.asarray(moves, np.float64)
    new = np.stack([np.linalg.solve(m[:, :2], 2 * c - 1 - m[:, 2]) for m, c in zip(matrices, centres, strict=True)])
    np.testing.assert_allclose(centre(on_face), (new + 1) / 2, atol=1e-3)
    np.testing.assert_allclose(centre(on_map), (new + 1) / 2, atol=4e-3)
    assert (np.linalg.det(matrices[:, :, :2]) < 0).any() and (np.linalg.det(matrices[:, :, :2]) > 0).any(), "mirrored"


def test_the_whole_augmentation_moves_both_with_one_draw():
    """By the same key; a face of three equal channels beside its heatmap."""
    images = jnp.repeat(blob(SIDE, np.full((8, 2), 0.5), 0.06), 3, -1)
    maps = blob(MAP, np.full((8, 2), 0.5), 0.06)
    moved, moved_maps = augment.augment(PLACES, images, maps, jax.random.key(2))
    assert moved.shape == images.shape and moved_maps.shape == maps.shape
    np.testing.assert_allclose(centre(moved[..., :1]), centre(moved_maps), atol=5e-3)
    assert np.ptp(centre(moved_maps), axis=0).min() > 0.02, "each face by itself"


def test_without_changes_everything_stays():
    """And a move by nothing is the identity."""
    images = jax.random.uniform(jax.random.key(0), (2, SIDE, SIDE, 3), minval=-1)
    maps = jax.random.normal(jax.random.key(1), (2, MAP, MAP, 4))
    same, same_maps = augment.augment(AugmentConfig(), images, maps, jax.random.key(2))
    np.testing.assert_array_equal(same, images)
    np.testing.assert_array_equal(same_maps, maps)
    still = jnp.tile(jnp.eye(2, 3), (2, 1, 1))
    np.testing.assert_allclose(augment.move(maps, still, repeats_edge=False), maps, atol=1e-5)


def test_outside_a_face_repeats_its_edge_and_heatmaps_are_zero():
    """Moved by half a side to the right."""
    ones, half = jnp.ones((1, MAP, MAP, 1)), jnp.eye(2, 3)[None].at[0, 0, 2].set(-1.0)
    np.testing.assert_array_equal(augment.move(ones, half, repeats_edge=True), ones)
    moved = np.asarray(augment.move(ones, half, repeats_edge=False))[0, :, :, 0]
    assert (moved[:, : MAP // 2 - 1] == 0).all() and (moved[:, MAP // 2 + 1 :] == 1).all()


def test_a_flat_face_stays_flat_when_it_is_degraded():
    """Blur and resolution are averages: rows of their matrices add up to 1, and neither shifts a face."""
    for matrix, values in ((augment._blur, (0.0, 1.0, 4.0)), (augment._coarser, (1.0, 2.0, 2.7, 4.0))):
        for value in values:
            rows = np.asarray(matrix(jnp.float32(value), SIDE))
            np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)
            shift = rows[8:-8] @ np.arange(SIDE) - np.arange(SIDE)[8:-8]
            assert np.abs(shift.mean()) < 0.05
    np.testing.assert_allclose(augment._coarser(jnp.float32(1.0), SIDE), np.eye(SIDE), atol=1e-6)
    np.testing.assert_allclose(augment._blur(jnp.float32(0.0), SIDE), np.eye(SIDE), atol=1e-6)


@pytest.mark.parametrize(
    "change", [{"colour": 0.3}, {"light": 0.4}, {"blur": 0.05}, {"resolution": 4.0}, {"noise": 0.1}]
)
def test_light_and_camera_change_the_face_alone(change):
    """Heatmaps keep their bits; faces stay within [-1, 1]; the same key draws the same."""
    images = jax.random.uniform(jax.random.key(0), (8, 32, 32, 3), minval=-1)
    maps = jax.random.normal(jax.random.key(1), (8, 8, 8, 2))
    changed, same = augment.augment(AugmentConfig(**change), images, maps, jax.random.key(3))
    again, _ = augment.augment(AugmentConfig(**change), images, maps, jax.random.key(3))
    np.testing.assert_array_equal(same, maps)
    np.testing.assert_array_equal(changed, again)
    assert np.abs(np.asarray(changed)).max() <= 1
    differs = np.asarray(changed != images).any((1, 2, 3))
    assert differs.any() and (differs.all() or not {"colour", "light"} & set(change))


def test_impossible_strengths_are_refused():
    """By name."""
    strengths: list[str] = [field.name for field in dataclasses.fields(AugmentConfig)]
    for name in strengths:
        with pytest.raises(ValueError, match=f"{name} must be at least 0"):
            dataclasses.replace(AugmentConfig(), **{name: -1})
    with pytest.raises(ValueError, match="must be below 1"):
        AugmentConfig(scale=1.0)
