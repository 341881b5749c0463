"""Painting of the lit skin: shading of the head, its bumps and creases; blush, stubble and mottling."""

import functools
import math

import numpy as np

from fgnet_jax.data.synthetic.identity import Identity
from fgnet_jax.data.synthetic.paint import Window, ribbons, slopes, soften, spots
from fgnet_jax.data.synthetic.projection import SIZE, PosedFace, Projection, View
from fgnet_jax.data.synthetic.relief import Relief
from fgnet_jax.data.synthetic.shape import Shape

_CREASE_HEIGHT = 3.4
_CREASE_TINT = np.array((0.70, 0.56, 0.53), np.float32)


@functools.cache
def _mottling() -> np.ndarray:
    """Return a fixed skin texture, factors around 1 of deviation 0.016, (SIZE + 64, SIZE + 64) float32."""
    rng = np.random.default_rng(11)
    tile = np.zeros((SIZE + 64, SIZE + 64), np.float32)
    for level in (2, 4, 8):
        coarse = rng.standard_normal(((SIZE + 64) // level, (SIZE + 64) // level)).astype(np.float32)
        tile += soften(soften(np.kron(coarse, np.ones((level, level), np.float32))))
    return (1 + 0.016 * tile / tile.std()).astype(np.float32)


def _head_normals(projection: Projection, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Compute normals of the head as an ellipsoid: x along columns (1, w) and y along rows (h, 1)."""
    middle = projection(np.array([(0.0, 10.0)], np.float32))[0]
    x = (np.arange(window[1].start, window[1].stop, dtype=np.float32) - middle[0]) / np.float32(84 * projection.scale)
    y = (np.arange(window[0].start, window[0].stop, dtype=np.float32) - middle[1]) / np.float32(128 * projection.scale)
    return (0.75 * x + 0.9 * x**3)[None], (0.25 * y + 0.75 * y**3)[:, None]


def _normals(
    projection: Projection, *, bumps: np.ndarray, creases: np.ndarray, window: Window
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the skin's normals (x, y, 1) from head, bumps and creases: x and y, (h, w) each."""
    slope_x, slope_y = slopes(bumps[:, :2], deviations=bumps[:, 2:4], heights=bumps[:, 4], window=window)
    nx, ny = _head_normals(projection, window)
    nx, ny = nx - slope_x, ny - slope_y
    steep = (0.5 * _CREASE_HEIGHT) * creases
    nx[:, 1:-1] += steep[:, 2:]
    nx[:, 1:-1] -= steep[:, :-2]
    ny[1:-1] += steep[2:]
    ny[1:-1] -= steep[:-2]
    return nx, ny


_RED, _BLUE = np.array((0.0, -0.10, -0.09)), np.array((-0.10, -0.10, -0.06))
_BEARD, _SOCKET = np.array((0.34, 0.30, 0.25)), np.array((-0.09, -0.10, -0.07))


def _tints(face: PosedFace, window: Window) -> np.ndarray:
    """Compute blush, sockets and stubble as a factor on the albedo, (3, h, w)."""
    rows = _tint_spots(face.identity, face.shape)
    centres = face.projection(np.array([row[:2] for row in rows], np.float32))
    deviations = np.array([row[2:4] for row in rows], np.float32) * face.projection.scale
    heights = np.array([row[4] for row in rows], np.float32)
    tints = spots(centres, deviations=deviations, heights=heights, window=window)
    tints += 1
    return tints


def _tint_spots(identity: Identity, shape: Shape) -> list[tuple[float, float, float, float, np.ndarray]]:
    """List tinted spots in face coordinates: (x, y, deviation x, deviation y, RGB)."""
    a = ((shape.halves[0].amount + shape.halves[1].amount) / 2).tolist()
    beard, socket = -identity.stubble * _BEARD, (1 + 0.6 * identity.age) * _SOCKET
    rows: list[tuple[float, float, float, float, np.ndarray]] = []
    for side in (-1, 1):
        rows += [
            (side * 43, 34, 17, 13, _RED * (1 + 0.8 * a[6] + 0.5 * a[12])),
            (side * 24, 0, 14, 9, socket),
            (side * 33, 13, 12, 4, socket * 0.8),
            (side * 40, 78, 20, 16, beard),
            (side * 74, 40, 10, 40, _BLUE),
            (side * 9, 55, 10, 6, beard * 0.9),
        ]
    return [*rows, (0, 36, 11, 8, _RED * 1.1), (0, 92, 24, 15, beard), (0, -78, 50, 12, _BLUE)]


def _lit(nx: np.ndarray, ny: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Compute diffuse light and shine, (h, w) each, on a surface with normal (nx, ny, 1)."""
    length = nx * nx
    length += ny * ny
    length += 1
    np.sqrt(length, out=length)
    light = _unit(view.light)
    diffuse = _cosine(nx, ny, length=length, light=light)
    diffuse *= 1.15 - view.ambient
    diffuse += view.ambient
    shine = _cosine(nx, ny, length=length, light=_unit((light[0], light[1], light[2] + 1)))
    for _ in range(4):
        shine *= shine
    return diffuse, shine


def _unit(v: tuple[float, float, float]) -> tuple[float, float, float]:
    length = math.hypot(*v)
    return v[0] / length, v[1] / length, v[2] / length


def _cosine(nx: np.ndarray, ny: np.ndarray, *, length: np.ndarray, light: tuple[float, float, float]) -> np.ndarray:
    """Compute the cosine between normals (nx, ny, 1) of a length and a unit vector, 0 where they face away."""
    facing = nx * light[0]
    facing += ny * light[1]
    facing += light[2]
    facing /= length
    return np.maximum(facing, 0, out=facing)


def paint_skin(face: PosedFace, relief: Relief, window: Window) -> np.ndarray:
    """Compute lit skin all over a window of the image, (3, h, w) float32, to be masked by the face's outline."""
    identity = face.identity
    creases = soften(soften(ribbons(relief.curves, widths=relief.widths, levels=relief.depths, window=window)))
    normals = _normals(face.projection, bumps=relief.bumps, creases=creases, window=window)
    diffuse, shine = _lit(*normals, face.view)
    row, column = identity.texture_seed % 61, identity.texture_seed // 61 % 61
    h, w = diffuse.shape
    diffuse *= _mottling()[row : row + h, column : column + w]
    shine *= 0.09
    skin = _tints(face, window)
    skin *= diffuse
    folded = creases * (_CREASE_TINT - 1)[:, None, None]
    folded += 1
    folded *= identity.skin[:, None, None]
    skin *= folded
    skin += shine
    return skin
