"""Painting of everything around the face: background, clothes, neck, ears and hair."""

import functools
import math

import numpy as np

from fgnet_jax.data.synthetic.identity import Identity
from fgnet_jax.data.synthetic.paint import Patch, blend, lines, multiply, overlap, polygon, spline
from fgnet_jax.data.synthetic.projection import SIZE, PosedFace, View


def paint_background(view: View) -> np.ndarray:
    """Return a canvas with a vertical gradient and a softer side light, (3, SIZE, SIZE) float32."""
    return _backdrop(view.background, math.copysign(0.10, view.light[0])).copy()


@functools.lru_cache(maxsize=8)  # a studio has one background, lit from either side
def _backdrop(colours: tuple[tuple[float, float, float], tuple[float, float, float]], side: float) -> np.ndarray:
    top, bottom = np.array(colours, np.float32)
    t = np.linspace(0, 1, SIZE, dtype=np.float32)[None, :, None]
    x = np.linspace(-1, 1, SIZE, dtype=np.float32)[None, None, :]
    return (top[:, None, None] * (1 - t) + bottom[:, None, None] * t) * (1 + side * x)


def _both(half: list[tuple[float, float]]) -> np.ndarray:
    """Return a closed outline for its right half, listed from the top down."""
    right = np.array(half, np.float32)
    return np.concatenate([right, right[::-1] * (-1, 1)])


def _skull(face: PosedFace) -> np.ndarray:
    """Return the face's closed outline in face coordinates: jaw and forehead."""
    jaw = face.shape.landmarks[:17]
    top = np.array([(72, -28), (63, -56), (40, -82), (0, -92), (-40, -82), (-63, -56), (-72, -28)], np.float32)
    return np.concatenate([jaw, top * (face.identity.face_width, 1)])


def face_outline(face: PosedFace) -> Patch:
    """Compute the coverage of the face without hair, neck and ears."""
    return polygon(face.projection(spline(_skull(face), steps=4, closed=True)), factor=2)


_VOLUME = {"short": 1.06, "long": 1.12, "bob": 1.14, "fringe": 1.1, "buzz": 1.02, "tied": 1.05}
_LENGTH = {"long": 140.0, "bob": 72.0}


def _cap(identity: Identity) -> list[tuple[float, float]]:
    """Return the right half of the hair's outer edge, from the top down."""
    v = _VOLUME[identity.hair_style] * identity.face_width
    lift = identity.forehead + (10 if identity.hair_style != "buzz" else 4)
    edge = [
        (0.0, -100.0 - lift),
        (38 * v, -92.0 - lift),
        (66 * v, -66.0 - 0.6 * lift),
        (79 * v, -30.0),
        (77.5 * v, -2.0),
    ]
    end = _LENGTH.get(identity.hair_style)
    if not end:
        edge.append((74 * identity.face_width, 16.0))
    else:
        edge += [(87 * v, 40.0), (84 * v if end < 100 else 92 * v, end), (50 * v, end + 4)]
    return edge


def _hairline(identity: Identity) -> list[tuple[float, float]]:
    """Return the right half of the hair's inner edge, from the middle of the forehead to the sideburn."""
    y, w = -68 - identity.forehead, identity.face_width
    if identity.hair_style == "fringe":
        return [(0, y + 20), (25 * w, y + 22), (48 * w, y + 26), (64 * w, -26), (69.5 * w, -6), (73.5 * w, 16)]
    if identity.hair_style == "long":
        return [(0, y - 4), (30 * w, y + 6), (56 * w, -38), (67 * w, -6), (69 * w, 40), (62 * w, 90), (70 * w, 140)]
    if identity.hair_style == "bob":
        return [(0, y), (30 * w, y + 4), (56 * w, -40), (67 * w, -8), (70 * w, 30), (64 * w, 70)]
    return [(0, y), (30 * w, y + 3), (52 * w, -50), (62 * w, -30), (69 * w, -8), (73.5 * w, 16)]


_STRANDS = 100
_WIDTHS = np.linspace(0.5, 1.7, _STRANDS // 2).tolist()
_LEVELS = np.linspace(0.7, 0.3, _STRANDS // 2).tolist()


@functools.lru_cache(maxsize=64)  # the same on every image of a subject
def _strand_samples(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sample strands' positions along the hair's edges, (N,), and offsets of their ends and middles, (N, 2) each."""
    rng = np.random.default_rng(seed)
    return rng.random(_STRANDS), rng.normal(0, 3, (_STRANDS, 2)), rng.normal(0, 2, (_STRANDS, 2))


def _strands(identity: Identity) -> np.ndarray:
    """Compute fine lines from the outer edge to the hairline, in face coordinates (N, 3, 2)."""
    edge = spline(np.array(_cap(identity), np.float32), steps=9)
    line = spline(np.array(_hairline(identity), np.float32), steps=9)
    at, end, middle = _strand_samples(identity.texture_seed)
    strands = np.empty((_STRANDS, 3, 2), np.float32)
    strands[:, 0] = edge[(at * len(edge)).astype(int)]
    strands[:, 2] = line[(at * len(line)).astype(int)] + end
    strands[:, 1] = (strands[:, 0] + strands[:, 2]) / 2 + middle
    strands[::2, :, 0] *= -1
    return strands


def _comb(canvas: np.ndarray, face: PosedFace, inside: Patch) -> None:
    """Paint half of the strands lighter and half darker than the hair, inside the hair's coverage."""
    identity = face.identity
    pixels, half = face.projection(_strands(identity).reshape(-1, 2)).reshape(-1, 3, 2), _STRANDS // 2
    colours = np.minimum(identity.hair * 1.5 + 0.06, 1), identity.hair * 0.45
    for part, colour in zip((pixels[:half], pixels[half:]), colours, strict=True):
        coverage = overlap(lines(part, _WIDTHS, _LEVELS, factor=2), inside)
        blend(canvas, coverage.times(0.6), colour)


def paint_behind(canvas: np.ndarray, face: PosedFace) -> None:
    """Paint in place what the face covers: hair at the back, neck, clothes, ears."""
    identity, projection, view = face.identity, face.projection, face.view
    shade = view.ambient + 0.35
    if identity.hair_style in _LENGTH:
        back = _both([*_cap(identity)])
        blend(canvas, polygon(projection(spline(back, steps=4, closed=True)), factor=2), identity.hair * 0.6 * shade)
    drop = face.shape.landmarks[8, 1] - 109
    neck = _both([(40, 60), (41, 100 + drop / 2), (50, 122), (80, 180)])
    blend(canvas, polygon(projection(neck), factor=2), identity.skin * (0.78, 0.69, 0.66) * shade)
    collar = _both([(0, 136), (24, 131), (48, 121), (90, 128), (150, 150), (150, 240)])
    blend(canvas, polygon(projection(collar), factor=2), identity.shirt * shade)
    if identity.hair_style not in _LENGTH:
        for side in (-1, 1):
            _ear(canvas, face, side)


def _ear(canvas: np.ndarray, face: PosedFace, side: int) -> None:
    """Paint the left (-1) or the right (1) ear."""
    identity, projection, view = face.identity, face.projection, face.view
    w = identity.face_width
    lit = view.ambient + 0.45 + math.copysign(0.2, view.light[0]) * side
    outer = np.array([(72, -8), (80, -16), (87, -10), (87, 8), (82, 24), (74, 30)], np.float32) * (side * w, 1)
    inner = np.array([(78, -8), (83, -6), (82, 8), (77, 16)], np.float32) * (side * w, 1)
    blend(canvas, polygon(projection(spline(outer, closed=True))), identity.skin * lit * (0.95, 0.86, 0.84))
    multiply(canvas, polygon(projection(spline(inner, closed=True))).times(0.45), (0.7, 0.58, 0.55))


def paint_hair(canvas: np.ndarray, face: PosedFace) -> None:
    """Paint in place the hair over the forehead and beside the face."""
    identity, projection, view = face.identity, face.projection, face.view
    outer, inner = np.array(_cap(identity), np.float32), np.array(_hairline(identity), np.float32)
    edge, line = spline(outer, steps=5), spline(inner, steps=5)
    ring = np.concatenate([edge, line[::-1], line[1:] * (-1, 1), edge[::-1] * (-1, 1)])
    patch = polygon(projection(ring), factor=2)
    if identity.hair_style == "buzz":
        blend(canvas, patch, identity.skin * (view.ambient + 0.3))
    strength = 0.6 if identity.hair_style == "buzz" else 1.0
    columns, rows = patch.grids()
    crown = projection(np.array([(math.copysign(12, view.light[0]), -70.0)], np.float32))[0]
    glow = np.exp(-(((columns - crown[0]) / 60) ** 2)) * np.exp(-(((rows - crown[1]) / 26) ** 2))
    colour = glow * (0.35 * identity.hair + 0.05)[:, None, None]
    colour += ((view.ambient + 0.25) * identity.hair)[:, None, None]
    blend(canvas, patch.times(strength), colour)
    if identity.hair_style != "buzz":
        _comb(canvas, face, patch)
