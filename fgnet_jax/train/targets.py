"""Training targets: one heatmap per AU, computed from 68 landmarks on the device (FG-Net, section 3.4)."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.aus import CENTRES, Centres

SIGMA = 20 / 128
"""Standard deviation of a blob, as a share of the heatmap's side."""

CUTOFF = 0.01
"""Values of a blob below this are set to 0."""

INNER_EYE_CORNERS = (39, 42)
"""Landmarks whose distance is the unit of `Centres.down`."""


def targets(
    landmarks: jax.Array, labels: jax.Array, centres: tuple[Centres, ...], *, size: int = 128, image_size: int = 256
) -> jax.Array:
    """Compute target heatmaps: two blobs per AU, positive where it is present, negative where absent, sum clipped.

    Args:
      landmarks: (N, 68, 2), x then y, in pixels of the aligned face.
      labels: (N, K): 1 present, 0 absent, -1 unknown.
      centres: The two centres of each of the K AUs.
      size: Side of the heatmaps.
      image_size: Side of the aligned face that the landmarks refer to.

    Returns:
      (N, size, size, K) float32 in [-1, 1]; all zero where the label is unknown. Pixel (column x, row y) lies at
      coordinate (x, y), as published: no half-pixel shift.
    """
    points = blob_centres(landmarks.astype(jnp.float32) * (size / image_size), centres)
    grid = jnp.arange(size, dtype=jnp.float32)
    # exp(-d^2 / 2 sigma^2) is the product of its factors along x and y: 2 x size exponentials in place of size^2.
    falloff = jnp.exp(-jnp.square(grid - points[..., None]) / (2 * (SIGMA * size) ** 2))
    blobs = falloff[:, :, :, 1, :, None] * falloff[:, :, :, 0, None, :]
    total = jnp.where(blobs < CUTOFF, 0, blobs).sum(2)
    sign = jnp.where(labels < 0, 0, 2 * labels - 1).astype(jnp.float32)
    return jnp.clip(jnp.einsum("nkyx,nk->nyxk", total, sign, precision="highest"), -1, 1)


def blob_centres(landmarks: jax.Array, centres: tuple[Centres, ...]) -> jax.Array:
    """Compute the two centres (N, K, 2, 2), x then y, of each AU, in the unit of the landmarks (N, 68, 2)."""
    weights, down = _centre_matrices(centres)
    left, right = (landmarks[:, corner] for corner in INNER_EYE_CORNERS)
    distance = jnp.linalg.norm(right - left, axis=-1)
    points = jnp.einsum("kbl,nlc->nkbc", weights, landmarks, precision="highest")
    return points.at[..., 1].add((distance[:, None] * down)[:, :, None])


@functools.cache
def _centre_matrices(centres: tuple[Centres, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return averaging weights (K, 2, 68), and the shift down (K,) in inter-ocular distances."""
    weights = np.zeros((len(centres), 2, 68), np.float32)
    for k, centre in enumerate(centres):
        for blob, points in enumerate((centre.first, centre.second)):
            weights[k, blob, list(points)] = 1 / len(points)
    return weights, np.array([centre.down for centre in centres], np.float32)


def au_centres(aus: tuple[int, ...], own: Mapping[int, Centres] | None = None) -> tuple[Centres, ...]:
    """Return the blob centres of these AUs.

    Args:
      aus: The K AU numbers.
      own: Custom centres by AU, which take precedence over the published ones.

    Raises:
      ValueError: An AU has neither published nor custom centres.
    """
    known = CENTRES | dict(own or {})
    unknown = [au for au in aus if au not in known]
    if unknown:
        names = ", ".join(map(str, unknown))
        raise ValueError(f"no heatmap centres are known for AU {names}; known: {sorted(known)}")
    return tuple(known[au] for au in aus)
