"""Relief of the skin: the soft bumps of bone and flesh, and the creases that AUs cause.

Half-face coordinates (x away from the middle), as in `shape`.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from fgnet_jax.data.synthetic.identity import Identity
from fgnet_jax.data.synthetic.projection import PosedFace
from fgnet_jax.data.synthetic.shape import Half, Shape


class Crease(NamedTuple):  # created about seventy times per face, three times as fast as a frozen dataclass
    """A fold of the skin.

    Attributes:
      points: (N, 2) half-face coordinates.
      width: Width at the middle.
      depth: 0 (none) to 1 (deep).
    """

    points: list[tuple[float, float]]
    width: float
    depth: float


@dataclasses.dataclass(frozen=True)
class Relief:
    """Creases and bumps in pixels.

    Attributes:
      curves: Creases, (N, 2) pixel coordinates each.
      widths: Their widths in pixels, (N,).
      depths: Their depths, 0 to 1, (N,).
      bumps: Gaussian bumps, rows of (x, y, deviation x, deviation y, height) in pixels, (K, 5).
    """

    curves: list[np.ndarray]
    widths: np.ndarray
    depths: np.ndarray
    bumps: np.ndarray


def _forehead(identity: Identity, a: list[float]) -> list[Crease]:
    rise = 4 * a[1] + 3 * a[2]
    creases = []
    for k, y in enumerate((-41.0, -51.0, -61.0)):
        y -= 0.6 * rise + identity.brow_height
        weight = 1.0 - 0.15 * k
        creases.append(
            Crease([(0, y - 1), (10, y - 0.5), (20, y + 1.5), (25, y + 4)], 3.4, weight * a[1] + 0.15 * identity.age)
        )
        y += 1.5
        creases.append(Crease([(27, y + 3), (38, y - 1), (50, y + 0.5), (60, y + 7)], 3.4, weight * a[2]))
    return creases


def _glabella(half: Half) -> list[Crease]:
    a, (x, y) = half.amount.tolist(), half.brow[4].tolist()
    root = [
        Crease([(0, 6.5), (6, 5), (12, 0)], 2.8, a[9]),
        Crease([(0, 12), (7, 11), (13, 6)], 2.8, a[9]),
        Crease([(0, 18), (7, 17.5), (13, 13)], 2.8, 0.9 * a[9]),
    ]
    furrows = [
        Crease([(x - 4, y - 13), (x - 5, y - 4), (x - 4, y + 6), (x - 5.5, y + 12)], 4.0, 1.05 * a[4]),
        Crease([(x + 1, y - 14), (x, y - 5)], 3.0, 0.7 * a[4]),
        Crease([(0, y + 13), (6, y + 12)], 2.5, 0.6 * a[4]),
    ]
    return root + furrows


def _eye(identity: Identity, half: Half) -> list[Crease]:
    a, lower, upper = half.amount.tolist(), half.lower_lid.tolist(), half.upper_lid.tolist()
    x, y = upper[0]
    fold = [(px, py - 3.6 - 1.2 * a[1] - 1.2 * a[2] + 1.6 * a[4]) for px, py in upper[1:-1:3]]
    feet = 0.25 * identity.age + 1.0 * a[6]
    lift = 3.0 * a[6]
    return [
        Crease(fold, 1.8, 0.6),
        Crease([(x + 3, y - 3), (x + 10, y - 8), (x + 17, y - 14)], 3.0, feet),
        Crease([(x + 4, y + 0.5), (x + 12, y - 0.5), (x + 20, y - 2)], 3.0, feet),
        Crease([(x + 3, y + 4), (x + 11, y + 8), (x + 18, y + 13)], 3.0, feet),
        Crease(
            [(16, 11), (24, 15 - lift), (36, 15.5 - lift), (48, 9 - lift)], 3.6, 0.18 + 0.1 * identity.age + 0.8 * a[6]
        ),
        Crease([(px, py + 3.4) for px, py in lower[2:-2:3]], 2.4, 0.12 + 0.95 * a[7]),
    ]


def _cheek(identity: Identity, half: Half, corner: np.ndarray) -> list[Crease]:
    a, (wing, base) = half.amount.tolist(), half.nose[0].tolist()
    cx, cy = corner.tolist()
    fall = (0.5 * (wing + 7) + 0.5 * (cx + 8) + 1.5, 0.5 * base + 0.5 * (cy + 2) - 2)
    laugh = [(wing + 2.5, base - 7), (wing + 7, base), fall, (cx + 7.5, cy + 3)]
    upper = [(wing + 1, base - 11), (wing + 8, base - 4), (wing + 13, base + 8), (wing + 14, base + 17)]
    return [
        Crease(laugh, 4.2, 0.12 + 0.25 * identity.age + 0.85 * a[12]),
        Crease(upper, 4.6, 0.95 * a[10] + 0.55 * a[9]),
        Crease([(wing - 2, base - 8), (wing + 1.5, base - 4), (wing, base + 1)], 2.4, 0.5 + 0.5 * a[9]),
        Crease([(wing - 3, base - 18), (wing + 2, base - 13), (wing + 5, base - 7)], 3.0, 0.9 * a[9]),
    ]


def _mouth_side(half: Half, corner: np.ndarray) -> list[Crease]:
    a, (cx, cy) = half.amount.tolist(), corner.tolist()
    pit = [(cx + 4, cy - 8), (cx + 7.5, cy - 1), (cx + 5, cy + 8)]
    return [
        Crease(pit, 6.5, 1.1 * a[14]),
        Crease([(cx + 11, cy - 6), (cx + 13, cy), (cx + 11, cy + 6)], 3.0, 0.6 * a[14]),
        Crease([(cx - 1, cy + 2), (cx + 5, cy + 8), (cx + 6, cy + 19)], 5.0, 1.0 * a[15]),
        Crease([(cx + 1, cy - 2), (cx + 4, cy - 4), (cx + 6, cy - 8)], 2.5, 0.35 * a[12]),
    ]


def _lips(shape: Shape, half: Half) -> list[Crease]:
    a = half.amount.tolist()
    top, bottom = _lip_edges(shape)
    creases = [Crease([(x, top - 1 + 0.06 * x), (1.25 * x + 1, top - 11)], 2.4, 0.8 * a[23]) for x in (4.5, 9.5, 14.5)]
    creases += [Crease([(x, bottom + 1.5), (1.2 * x + 1, bottom + 10)], 2.4, 0.7 * a[23]) for x in (3.5, 9.5)]
    creases += [
        Crease([(0, top - 8), (9, top - 7), (19, top - 2)], 3.0, 0.75 * a[24]),
        Crease([(0, bottom + 7.5), (10, bottom + 7), (20, bottom + 2)], 3.4, 0.9 * a[24]),
    ]
    return creases


def _lip_edges(shape: Shape) -> tuple[float, float]:
    """Return y of the upper and the lower lip's outer edge at the middle."""
    return float(shape.lips.upper_outer[14, 1]), float(shape.lips.lower_outer[14, 1])


@functools.lru_cache(maxsize=64)  # the same on every image of a subject
def _dots(seed: int) -> list[list[float]]:
    """Sample positions of the chin's dimples, (7, 2) in -1 to 1."""
    return np.random.default_rng(seed).uniform(-1, 1, (7, 2)).tolist()


def _chin(identity: Identity, shape: Shape, half: Half) -> list[Crease]:
    a, bottom, chin = half.amount.tolist(), _lip_edges(shape)[1], float(half.jaw[8, 1])
    fold = bottom + 6
    creases = [Crease([(0, fold), (9, fold + 0.5), (18, fold + 5)], 4.5, 0.22 + 0.85 * a[17])]
    for dx, dy in _dots(identity.texture_seed):
        x, y = 8 + 8 * dx, chin - 13 + 6 * dy
        creases.append(Crease([(x - 2, y), (x + 2, y + 0.8)], 3.6, 0.9 * a[17]))
    return creases


def _bumps(face: PosedFace, half: Half, corner: np.ndarray) -> list[tuple[float, ...]]:
    """List the bumps of one half: (x, y, deviation x, deviation y, height)."""
    identity, shape = face.identity, face.shape
    a, (cx, cy) = half.amount.tolist(), corner.tolist()
    wing, base = half.nose[0].tolist()
    tip, chin, brow = float(shape.bridge[3, 1]), float(half.jaw[8, 1]), half.brow.tolist()
    top, bottom = _lip_edges(shape)
    cheek = 6.0 * a[6] + 3.5 * a[12]
    return [
        (0, -60, 42, 22, 3.0),
        (brow[2][0], brow[2][1] + 2, 20, 7, 2.6 + 1.5 * a[4]),
        (brow[4][0] - 3, brow[4][1] + 4, 6, 6, 3.5 * a[4] + 1.5 * a[9]),
        (33 * identity.eye_distance, -4, 17, 9, -5.5),
        (32 * identity.eye_distance, 0, 12, 8, 3.5),
        (0, 8, 5.5, 20, 3.6),
        (0, tip - 1, 8.5 * identity.nose_width, 8, 4.5),
        (wing - 2.5, base - 4, 4.5, 5, 2.4 + 1.2 * a[9]),
        (41, 32 - 8 * a[6] - 3 * a[12], 16, 13, 3.5 + cheek),
        (30, 58, 12, 14, -1.2),
        (0, (base + top) / 2 + 2, 2.6, 5, -0.8),
        (0, top - 4.5, 16, 4, 2.2 * a[24]),
        (0, bottom + 4, 16, 4, 2.2 * a[24]),
        (0, bottom + 6, 15, 5, -1.6),
        (0, chin - 13, 14, 9, 2.2 + 3.0 * a[17]),
        (cx + 7, cy, 3.8, 6.0, -4.5 * a[14]),
        (cx + 14, cy + 1, 5, 9, 2.5 * a[14]),
        (cx + 3, cy + 10, 5, 6, -2.0 * a[15]),
    ]


def _mouth_corners(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Return the mouth corners in half-face coordinates, left and right."""
    return shape.landmarks[48] * (-1, 1), shape.landmarks[54].copy()


def _half_creases(face: PosedFace, half: Half, corner: np.ndarray) -> list[Crease]:
    identity, shape = face.identity, face.shape
    return [
        *_forehead(identity, half.amount.tolist()),
        *_glabella(half),
        *_eye(identity, half),
        *_cheek(identity, half, corner),
        *_mouth_side(half, corner),
        *_lips(shape, half),
        *_chin(identity, shape, half),
    ]


def face_relief(face: PosedFace) -> Relief:
    """Compute all creases and bumps of a face, in pixels."""
    projection = face.projection
    creases, points, bumps = [], [], []
    for side, half, corner in zip((-1, 1), face.shape.halves, _mouth_corners(face.shape), strict=True):
        visible = [crease for crease in _half_creases(face, half, corner) if crease.depth > 0.02]
        creases += visible
        points += [(side * x, y) for crease in visible for x, y in crease.points]
        rows = np.array(_bumps(face, half, corner), np.float32)
        rows[rows[:, 0] == 0, 4] /= 2  # bumps on the midline come from both halves
        bumps.append(rows * np.array((side, 1, 1, 1, 1), np.float32))
    ends = np.cumsum([len(crease.points) for crease in creases])
    hills = np.concatenate(bumps)
    hills = np.concatenate([projection(hills[:, :2]), hills[:, 2:] * projection.scale], 1).astype(np.float32)
    return Relief(
        curves=np.split(projection(np.array(points, np.float32)), ends[:-1]),
        widths=np.array([crease.width * projection.scale for crease in creases], np.float32),
        depths=np.array([crease.depth for crease in creases], np.float32),
        bumps=hills,
    )
