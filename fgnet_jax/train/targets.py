"""Training targets: one heatmap per AU, computed from 68 landmarks on the device (FG-Net, section 3.4).

Published targets have height 1 where an AU is present and -1 where it is absent. Targets of intensities have, by the
AU's intensity I from 0 to 5, the height

    I / 5             where it is present: 0.4 at 2, 0.6 at 3, 0.8 at 4, 1 at 5
    I / 5 - 0.6       where it is absent: -0.6 at 0, -0.4 at 1

so that the sign, and with it presence, means the same, and a heatmap's mean grows with intensity.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.aus import CENTRES, MAX_INTENSITY, PRESENT_INTENSITY, Centres

SIGMA = 20 / 128
"""Standard deviation of a blob, as a share of the heatmap's side."""

CUTOFF = 0.01
"""Values of a blob below this are set to 0."""

PRESENCE, INTENSITY = "presence", "intensity"
"""Values of `config.data.target`."""

ABSENT_DROP = 0.6
"""How much lower the target of an absent AU is than its intensity, as a share of the highest.

More than the 0.4 of intensity 2, so that absent AUs are negative. The larger, the further apart are intensities 1 and
2, and the smaller is the share of the heights that tells intensities from each other.
"""

PRESENT_AS = 3.0
"""Intensity at which a present AU is drawn where only its presence was coded: C, the middle of FACS' codes A to E.

An absent one is drawn at 0."""

INNER_EYE_CORNERS = (39, 42)
"""Landmarks whose distance is the unit of `Centres.down`."""


def targets(
    landmarks: jax.Array,
    labels: jax.Array,
    centres: tuple[Centres, ...],
    *,
    size: int = 128,
    image_size: int = 256,
    intensities: jax.Array | None = None,
) -> jax.Array:
    """Compute target heatmaps: two blobs per AU, positive where it is present, negative where absent, sum clipped.

    Args:
      landmarks: (N, 68, 2), x then y, in pixels of the aligned face.
      labels: (N, K): 1 present, 0 absent, -1 unknown.
      centres: The two centres of each of the K AUs.
      size: Side of the heatmaps.
      image_size: Side of the aligned face that the landmarks refer to.
      intensities: (N, K), 0 to 5, -1 where only presence was coded; None for the published heights, 1 and -1.

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
    if intensities is None:
        heights = jnp.where(labels < 0, 0, 2 * labels - 1).astype(jnp.float32)
    else:
        heights = intensity_heights(labels, intensities)
        # Clipped before: where two blobs meet, a target is no higher than its intensity says.
        total = jnp.minimum(total, 1)
    return jnp.clip(jnp.einsum("nkyx,nk->nyxk", total, heights, precision="highest"), -1, 1)


def intensity_heights(labels: jax.Array, intensities: jax.Array) -> jax.Array:
    """Compute the heights of targets (N, K) float32, by intensity; their sign is the label's.

    Args:
      labels: (N, K): 1 present, 0 absent, -1 unknown, which has height 0.
      intensities: (N, K), 0 to 5; -1 where only presence was coded.
    """
    assumed = jnp.where(labels == 1, PRESENT_AS, 0.0)
    coded = jnp.where(intensities < 0, assumed, intensities).astype(jnp.float32)
    # A corpus may be prepared with another threshold of presence: an absent AU stays negative, whatever its intensity.
    absent = jnp.minimum(coded, PRESENT_INTENSITY) / MAX_INTENSITY - ABSENT_DROP
    return jnp.where(labels < 0, 0.0, jnp.where(labels == 1, jnp.maximum(coded, 1) / MAX_INTENSITY, absent))


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
