"""Augmentation of a batch on the device; landmarks are transformed with their images."""

import jax
import jax.numpy as jnp
import numpy as np

_PAIRS = [(i, 16 - i) for i in range(8)]  # jaw
_PAIRS += [(17 + i, 26 - i) for i in range(5)]  # brows
_PAIRS += [(31, 35), (32, 34)]  # nostrils
_PAIRS += [(36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)]  # eyes
_PAIRS += [(48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67)]  # mouth


def _mirror() -> np.ndarray:
    order = np.arange(68)
    for left, right in _PAIRS:
        order[[left, right]] = right, left
    return order


MIRRORED = _mirror()
"""For each of the 68 landmarks, the number of the landmark that takes its place in a mirrored face."""


def flip(images: jax.Array, landmarks: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mirror each face with probability 1/2; landmarks are mirrored too, and renumbered so that left and right swap.

    Args:
      images: (N, S, S, 3).
      landmarks: (N, 68, 2), x then y, in pixels of the images.
      key: Random key.

    Returns:
      Images and landmarks of the same shapes.
    """
    chosen = jax.random.bernoulli(key, 0.5, (images.shape[0],))
    mirrored = landmarks[:, MIRRORED] * jnp.array([-1.0, 1.0]) + jnp.array([images.shape[2] - 1.0, 0.0])
    images = jnp.where(chosen[:, None, None, None], images[:, :, ::-1], images)
    return images, jnp.where(chosen[:, None, None], mirrored, landmarks)


def colour(images: jax.Array, strength: float, key: jax.Array) -> jax.Array:
    """Change brightness, contrast and saturation of each face at random.

    Args:
      images: (N, S, S, 3) in [-1, 1].
      strength: Brightness is shifted by up to this; contrast and saturation are scaled by factors within 1 ± this.
      key: Random key.

    Returns:
      Images of the same shape, clipped to [-1, 1].
    """
    draw = jax.random.uniform(key, (3, images.shape[0], 1, 1, 1), minval=-strength, maxval=strength)
    grey = images.mean(-1, keepdims=True)
    images = grey + (images - grey) * (1 + draw[0])
    mean = images.mean((1, 2, 3), keepdims=True)
    return jnp.clip(mean + (images - mean) * (1 + draw[1]) + draw[2], -1, 1)
