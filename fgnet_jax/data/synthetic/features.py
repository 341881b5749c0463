"""Painting of eyes, brows, nostrils and mouth over the skin."""

import functools
import math

import numpy as np

from fgnet_jax.data.synthetic.identity import Identity
from fgnet_jax.data.synthetic.paint import Patch, blend, lines, multiply, overlap, polygon, spline
from fgnet_jax.data.synthetic.projection import PosedFace, View
from fgnet_jax.data.synthetic.shape import LIP_STEPS, Half


def _distance(patch: Patch, centres: np.ndarray) -> np.ndarray:
    """Compute the distance of a patch's pixels to the nearer of two centres (2, 2)."""
    columns, rows = patch.grids()
    squares = [(columns - x) ** 2 + (rows - y) ** 2 for x, y in centres]
    return np.sqrt(np.minimum(*squares))


def _disc(patch: Patch, distance: np.ndarray, radius: float) -> Patch:
    """Compute an anti-aliased disc on a patch's window, times the patch's own coverage."""
    return Patch(patch.alpha * np.clip(radius + 0.5 - distance, 0, 1), patch.y, patch.x)


def _eyeballs(canvas: np.ndarray, face: PosedFace, slits: Patch) -> None:
    """Paint the visible part of both eyes between their lids."""
    identity, view = face.identity, face.view
    lit = min(1.0, view.ambient + 0.5)
    blend(canvas, slits, np.array((0.93, 0.91, 0.90)) * lit)
    rest = [(32 * identity.eye_distance * side + 3.4 * view.gaze[0], -1.0 + 1.6 * view.gaze[1]) for side in (-1, 1)]
    centres, scale = face.projection(np.array(rest, np.float32)), face.projection.scale
    distance = _distance(slits, centres)
    blend(canvas, _disc(slits, distance, 6.2 * scale), identity.iris * 0.55 * lit)
    blend(canvas, _disc(slits, distance, 5.0 * scale), np.minimum(identity.iris * 1.25, 1) * lit)
    blend(canvas, _disc(slits, distance, 2.5 * scale), (0.03, 0.03, 0.03))
    glints = centres + np.array((math.copysign(2.2, view.light[0]), -2.2), np.float32) * scale
    blend(canvas, _disc(slits, _distance(slits, glints), 1.1 * scale).times(0.9), (1.0, 1.0, 1.0))


def paint_eyes(canvas: np.ndarray, face: PosedFace) -> None:
    """Paint eyeballs between their lids, the lids' shadow and the lashes, in place."""
    sides = zip((-1, 1), face.shape.halves, strict=True)
    lids = [part * (side, 1) for side, half in sides for part in (half.upper_lid, half.lower_lid)]
    curves = face.projection(np.concatenate(lids)).reshape(2, 2, -1, 2)
    slits = polygon(*(np.concatenate([upper, lower[::-1]]) for upper, lower in curves))
    _eyeballs(canvas, face, slits)
    drop = np.array((0, 3.0 * face.projection.scale), np.float32)
    shadows = (np.concatenate([upper, (upper + drop)[::-1]]) for upper in curves[:, 0])
    multiply(canvas, polygon(*shadows).times(0.45), (0.45, 0.42, 0.45))
    _lashes(canvas, face, curves)


def _lashes(canvas: np.ndarray, face: PosedFace, curves: np.ndarray) -> None:
    identity, scale, tight = face.identity, face.projection.scale, face.shape.halves[0].amount[7]
    dark = identity.hair * 0.25 + 0.02
    blend(canvas, lines(curves[:, 0], [2.0 * scale] * 2, [1.0] * 2).times(0.85), dark)
    outer = curves[:, 0, :9] - np.array((0, 0.6), np.float32)
    blend(canvas, lines(outer, [1.6 * scale] * 2, [1.0] * 2).times(0.6), dark)
    blend(
        canvas,
        lines(curves[:, 1], [1.2 * scale] * 2, [1.0] * 2).times(0.4 + 0.3 * tight),
        identity.skin * (0.5, 0.38, 0.36),
    )


_HAIRS = 34
_SPINE = np.linspace(0, 1, 4 * 8 + 1, dtype=np.float32)
_ROOTS = np.arange(_HAIRS) * (len(_SPINE) - 1) // (_HAIRS - 1)
_SWELL = 3.5 * (0.35 + 0.75 * np.minimum(_SPINE / 0.6, 1)) * (1 - 0.25 * np.maximum((_SPINE - 0.85) / 0.15, 0))
_SLANT = np.stack([0.3 + 1.0 * (1 - _SPINE[_ROOTS]), -(0.25 + 0.9 * _SPINE[_ROOTS])], 1)


@functools.lru_cache(maxsize=64)  # the same on every image of a subject
def _hairs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sample on which height of the brow each hair begins, and how long it is, (hairs, 1) each."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.3, 1.0, (_HAIRS, 1)), rng.uniform(0.7, 1.2, (_HAIRS, 1))


def _brow_hairs(identity: Identity, half: Half) -> tuple[np.ndarray, np.ndarray]:
    """Compute a brow's outline (L, 2) and the two ends of each hair (2 * hairs, 2), in half-face coordinates."""
    spine, thick = spline(half.brow, steps=8), _SWELL * identity.brow_thick
    offset = np.zeros_like(spine)
    offset[:, 1] = thick
    at, length = _hairs(identity.texture_seed + 1)
    root = spine[_ROOTS] + offset[_ROOTS] * at
    ends = root + _SLANT * (1.1 + thick[_ROOTS, None]) * length
    return np.concatenate([spine - offset, (spine + offset)[::-1]]), np.stack([root, ends], 1).reshape(-1, 2)


def paint_brows(canvas: np.ndarray, face: PosedFace) -> None:
    """Paint brows as soft bands under combed hairs, in place."""
    identity = face.identity
    colour = identity.hair * 0.55 + identity.skin * 0.08
    sides = [
        np.concatenate(_brow_hairs(identity, half)) * (side, 1)
        for side, half in zip((-1, 1), face.shape.halves, strict=True)
    ]
    pixels = face.projection(np.concatenate(sides)).reshape(2, -1, 2)
    band = 2 * len(_SPINE)
    blend(canvas, polygon(*pixels[:, :band]).times(0.55), colour)
    hairs = pixels[:, band:].reshape(-1, 2, 2)
    blend(canvas, lines(hairs, [1.0] * len(hairs), [0.8] * len(hairs)), colour * 0.7)


def paint_nostrils(canvas: np.ndarray, face: PosedFace) -> None:
    """Paint nostrils and the shadow under the nose, in place."""
    shape = face.shape
    rings = []
    for side, half in zip((-1, 1), shape.halves, strict=True):
        (wx, wy), (mx, my), _ = half.nose.tolist()
        hole = [
            (wx - 2.5, wy - 0.5),
            (mx + 1.5, my - 3.0),
            (mx - 2.5, my - 1.0),
            (mx - 2, my + 0.8),
            (mx + 2, my - 0.2),
        ]
        rings.append(spline(np.array(hole, np.float32) * (side, 1), steps=4, closed=True))
    base = np.concatenate([shape.landmarks[31:36], shape.landmarks[35:30:-1] + (0, 3.0)])
    left, right, base = np.split(face.projection(np.concatenate([*rings, base])), [len(rings[0]), 2 * len(rings[0])])
    multiply(canvas, polygon(left, right).times(0.8), (0.28, 0.18, 0.17))
    multiply(canvas, polygon(base).times(0.35), (0.6, 0.5, 0.48))


def _mouth_light(view: View) -> float:
    return min(1.05, view.ambient + 0.5)


def _teeth(canvas: np.ndarray, face: PosedFace, gap: Patch) -> None:
    """Paint the upper teeth below the upper lip, inside the gap between the lips."""
    top, projection = face.shape.lips.upper_inner, face.projection
    size = 7.5 * (1 - LIP_STEPS**4)
    row = polygon(projection(np.concatenate([top - (0, 1), (top + np.stack([0 * size, size], 1))[::-1]])))
    inside = overlap(row, gap)
    blend(canvas, inside, np.array((0.93, 0.90, 0.84)) * _mouth_light(face.view))
    middle = top[14, 0]
    seams = np.array([(middle + x, top[14, 1] + y) for x in (-11.5, -6.5, 0, 6.5, 11.5) for y in (-1, 7)])
    marks = lines(projection(seams).reshape(5, 2, 2), [0.8] * 5, [0.6] * 5)
    multiply(canvas, overlap(marks, inside).times(0.5), (0.6, 0.5, 0.45))


def _lip(canvas: np.ndarray, upper: np.ndarray, lower: np.ndarray, *, colour: np.ndarray, shine: float) -> None:
    """Paint one lip between two pixel curves, with a highlight along its middle."""
    patch = polygon(np.concatenate([upper, lower[::-1]]))
    if patch.alpha.size == 0:
        return
    columns, rows = patch.grids()
    top = np.interp(columns[0], upper[:, 0], upper[:, 1])[None]
    bottom = np.interp(columns[0], lower[:, 0], lower[:, 1])[None]
    t = np.clip((rows - top) / np.maximum(bottom - top, 1.0), 0, 1).astype(np.float32)
    x = (columns - columns.mean()) / max(columns.shape[1] / 2, 1)
    light = 0.82 + 0.28 * t * (1 - t) * 4 * (1 - 0.6 * x**2) if shine > 0 else 0.92 - 0.25 * t
    glow = shine * np.exp(-(((t - 0.42) / 0.2) ** 2) - (x / 0.45) ** 2)
    grain = 1 + 0.05 * np.sin(columns * 1.9 + 2 * np.sin(columns * 0.7))
    blend(canvas, patch, colour[:, None, None] * (light * grain)[None] + glow[None])


def paint_mouth(canvas: np.ndarray, face: PosedFace) -> None:
    """Paint the gap with teeth and tongue, both lips and the line between them, in place."""
    lips = face.shape.lips
    parts = (lips.upper_outer, lips.upper_inner, lips.lower_inner, lips.lower_outer)
    curves = face.projection(np.concatenate(parts)).reshape(4, -1, 2)
    height = float((lips.lower_inner - lips.upper_inner)[14, 1])
    is_open = height > 0.3
    if is_open:
        _gap(canvas, face, curves, height=height)
    colour = face.identity.lips * _mouth_light(face.view)
    _lip(canvas, curves[0], curves[1], colour=colour * 0.9, shine=0.0)
    _lip(canvas, curves[2], curves[3], colour=colour, shine=0.10)
    _seam(canvas, face, curves, is_open=is_open)


def _gap(canvas: np.ndarray, face: PosedFace, curves: np.ndarray, *, height: float) -> None:
    """Paint the inside of an open mouth of a height at the middle: tongue and teeth."""
    gap = polygon(np.concatenate([curves[1], curves[2][::-1]]))
    blend(canvas, gap, (0.16, 0.04, 0.05))
    drop = np.stack([0 * LIP_STEPS, 0.35 * height * (1 - LIP_STEPS**2)], 1)
    tongue = polygon(np.concatenate([face.projection(face.shape.lips.lower_inner - drop), curves[2][::-1]]))
    blend(canvas, overlap(tongue, gap).times(0.8), (0.45, 0.16, 0.17))
    _teeth(canvas, face, gap)


def _seam(canvas: np.ndarray, face: PosedFace, curves: np.ndarray, *, is_open: bool) -> None:
    """Paint the line where the lips meet, or their inner edges, and the mouth's corners."""
    a = (face.shape.halves[0].amount + face.shape.halves[1].amount) / 2
    scale = face.projection.scale
    seam = [curves[1], curves[2]] if is_open else [(curves[1] + curves[2]) / 2]
    pen = 0.9 * scale if is_open else (1.5 + 1.3 * a[24] + 0.6 * a[23]) * scale
    multiply(canvas, lines(np.stack(seam), [pen] * len(seam), [1.0] * len(seam)).times(0.75), (0.38, 0.22, 0.22))
    ends = np.stack([curves[1][:2], curves[1][:-3:-1]])
    multiply(canvas, lines(ends, [2.4, 2.4], [1.0, 1.0]).times(0.4), (0.5, 0.35, 0.35))
