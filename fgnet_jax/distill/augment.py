"""Augmentation on the device: faces that are worse aligned, lit and seen, their heatmaps moved with them.

Place, scale, rotation and mirroring move a face and its heatmaps alike. A heatmap's pixels are blocks of the face's:
pixel j of M lies at the face's pixel (j + 1/2) S / M - 1/2.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from fgnet_jax.train.augment import colour

_SHARE = 0.5  # of faces that are blurred, of lower resolution, and noisy, each drawn by itself


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """The most that each change does to a face; 0 for none.

    Attributes:
      flip: Whether half of the faces are mirrored.
      shift: In any direction, as a share of the side.
      scale: Larger or smaller by this share.
      rotation: Degrees.
      colour: Brightness, contrast and saturation (`train.augment.colour`).
      light: Brighter on one side, in the unit of faces in [-1, 1].
      blur: Standard deviation, as a share of the side; of half of the faces.
      resolution: Times fewer pixels along a side; of half of the faces.
      noise: Standard deviation, in the unit of faces in [-1, 1]; of half of the faces.
    """

    flip: bool = False
    shift: float = 0.0
    scale: float = 0.0
    rotation: float = 0.0
    colour: float = 0.0
    light: float = 0.0
    blur: float = 0.0
    resolution: float = 0.0
    noise: float = 0.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) >= 0:  # NaN neither
                raise ValueError(f"{field.name} must be at least 0, got {getattr(self, field.name)}")
        if self.scale >= 1 or self.shift >= 1:
            raise ValueError(f"shift and scale must be below 1, got {self.shift} and {self.scale}")


def augment(
    config: AugmentConfig, images: jax.Array, heatmaps: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Change faces at random, each by itself, and move their heatmaps with them.

    Args:
      config: The most that is changed.
      images: (N, S, S, 3) in [-1, 1].
      heatmaps: (N, M, M, C).
      key: Random key.

    Returns:
      Both of the same shapes. Where a face has left its square, its edge is repeated, and the heatmaps are 0.
    """
    keys = jax.random.split(key, 5)
    if config.flip or config.shift or config.scale or config.rotation:
        moves = draw_moves(config, len(images), keys[0])
        images, heatmaps = move(images, moves, repeats_edge=True), move(heatmaps, moves, repeats_edge=False)
    if config.blur or config.resolution > 1:
        images = _degraded(config, images, keys[1])
    if config.light:
        images = images + _light(images.shape[1], config.light, jax.random.split(keys[2], len(images)))
    if config.colour:
        images = colour(images, config.colour, keys[3])
    if config.noise:
        images = images + _noise(images.shape, config.noise, keys[4])
    return jnp.clip(images, -1, 1), heatmaps


def draw_moves(config: AugmentConfig, count: int, key: jax.Array) -> jax.Array:
    """Draw where each pixel of a moved face is taken from.

    Returns:
      (count, 2, 3): matrices from places in the new face to places in the old one, x then y, both from -1 to 1.
    """
    keys = jax.random.split(key, 4)
    angle = jnp.deg2rad(config.rotation) * jax.random.uniform(keys[0], (count,), minval=-1)
    size = 1 + config.scale * jax.random.uniform(keys[1], (count,), minval=-1)
    shift = 2 * config.shift * jax.random.uniform(keys[2], (count, 2), minval=-1)
    side = 1 - 2 * (jax.random.bernoulli(keys[3], 0.5, (count,)) & config.flip)
    cos, sin = jnp.cos(angle) / size, jnp.sin(angle) / size
    linear = jnp.stack([jnp.stack([side * cos, side * sin], -1), jnp.stack([-sin, cos], -1)], 1)
    return jnp.concatenate([linear, -jnp.einsum("nij,nj->ni", linear, shift)[..., None]], -1)


def move(maps: jax.Array, moves: jax.Array, *, repeats_edge: bool) -> jax.Array:
    """Resample maps (N, S, S, C) bilinearly at moved places.

    Args:
      maps: Images or heatmaps.
      moves: `draw_moves`.
      repeats_edge: What lies outside of a map: its edge, else 0.
    """
    side = maps.shape[1]
    place = (2 * jnp.arange(side, dtype=jnp.float32) + 1) / side - 1
    grid = jnp.stack([*jnp.meshgrid(place, place), jnp.ones((side, side))], -1)
    points = jnp.einsum("nij,yxj->nyxi", moves, grid, precision="highest")
    return jax.vmap(lambda image, at: _sample(image, at, repeats_edge))(maps, ((points + 1) * side - 1) / 2)


def _sample(image: jax.Array, points: jax.Array, repeats_edge: bool) -> jax.Array:
    """Interpolate (S, S, C) at points (T, T, 2), x then y, in pixels."""
    side = image.shape[0]
    if repeats_edge:
        points = jnp.clip(points, 0, side - 1)
    first = jnp.floor(points)
    weight = points - first
    flat, first = image.reshape(side * side, -1), first.astype(jnp.int32)
    total = jnp.zeros((*points.shape[:2], image.shape[2]), image.dtype)
    for right in (0, 1):
        for below in (0, 1):
            x, y = first[..., 0] + right, first[..., 1] + below
            share = jnp.abs(1 - right - weight[..., 0]) * jnp.abs(1 - below - weight[..., 1])
            share = jnp.where((x >= 0) & (x < side) & (y >= 0) & (y < side), share, 0)
            at = jnp.clip(y, 0, side - 1) * side + jnp.clip(x, 0, side - 1)
            total += share[..., None] * flat[at]
    return total


def _degraded(config: AugmentConfig, images: jax.Array, key: jax.Array) -> jax.Array:
    """Blur faces, and shrink and enlarge them again: one product with a matrix along each side."""
    side, keys = images.shape[1], jax.random.split(key, 2)
    sigma = side * config.blur * _some(keys[0], len(images))
    factor = 1 + max(config.resolution - 1, 0) * _some(keys[1], len(images))
    matrices = jax.vmap(_of_side(_coarser, side))(factor) @ jax.vmap(_of_side(_blur, side))(sigma)
    return jnp.einsum("nyv,nxu,nvuc->nyxc", matrices, matrices, images)


def _of_side(matrix: Callable[[jax.Array, int], jax.Array], side: int) -> Callable[[jax.Array], jax.Array]:
    return lambda value: matrix(value, side)


def _blur(sigma: jax.Array, side: int) -> jax.Array:
    """Return the (side, side) matrix of a Gaussian blur; its rows add up to 1."""
    distance = jnp.arange(side)[:, None] - jnp.arange(side)
    weights = jnp.exp(-jnp.square(distance) / (2 * jnp.maximum(sigma, 1e-2) ** 2))
    return weights / weights.sum(1, keepdims=True)


def _coarser(factor: jax.Array, side: int) -> jax.Array:
    """Return the (side, side) matrix that averages over `factor` pixels, and interpolates between these averages."""
    pixels = jnp.arange(side, dtype=jnp.float32)
    blocks = jnp.arange(side, dtype=jnp.float32)[:, None]
    inside = jnp.clip(jnp.minimum(pixels + 1, (blocks + 1) * factor) - jnp.maximum(pixels, blocks * factor), 0, 1)
    shrink = inside / jnp.maximum(inside.sum(1, keepdims=True), 1e-6)
    # Interpolated at the pixel's centre; blocks that lie outside have no pixels, and no share.
    distance = jnp.abs((pixels[:, None] + 0.5) / factor - (blocks.T + 0.5))
    enlarge = jnp.clip(1 - distance, 0) * (inside.sum(1) > 0)
    return enlarge / enlarge.sum(1, keepdims=True) @ shrink


def _light(side: int, strength: float, keys: jax.Array) -> jax.Array:
    """Return ramps of light (N, side, side, 1), each in a direction of its own."""
    place = (2 * jnp.arange(side, dtype=jnp.float32) + 1) / side - 1

    def ramp(key: jax.Array) -> jax.Array:
        x, y = strength * jax.random.uniform(key, (2,), minval=-1)
        return (x * place + y * place[:, None])[..., None]

    return jax.vmap(ramp)(keys)


def _noise(shape: tuple[int, ...], strength: float, key: jax.Array) -> jax.Array:
    """Return noise of any of the strengths up to this one, of half of the faces."""
    keys = jax.random.split(key, 2)
    return strength * _some(keys[0], shape[0])[:, None, None, None] * jax.random.normal(keys[1], shape)


def _some(key: jax.Array, count: int) -> jax.Array:
    """Draw from 0 to 1 for a share of the faces, 0 for the others; (count,)."""
    keys = jax.random.split(key, 2)
    return jax.random.uniform(keys[0], (count,)) * jax.random.bernoulli(keys[1], _SHARE, (count,))
