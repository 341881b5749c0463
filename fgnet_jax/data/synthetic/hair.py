"""Everything around the face: background, clothes, neck, ears and hair."""

import functools
import math

import numpy as np

from fgnet_jax.data.synthetic.identity import Identity
from fgnet_jax.data.synthetic.paint import Patch, blend, lines, multiply, overlap, polygon, spline
from fgnet_jax.data.synthetic.projection import SIZE, Projection, View
from fgnet_jax.data.synthetic.shape import Shape


def paint_background(view: View) -> np.ndarray:
    """A canvas filled with a vertical gradient and a softer side light, (3, SIZE, SIZE) float32."""
    return _backdrop(view.background, math.copysign(0.10, view.light[0])).copy()


@functools.lru_cache(maxsize=8)  # a studio has one, lit from either side
def _backdrop(colours: tuple[tuple[float, float, float], tuple[float, float, float]], side: float) -> np.ndarray:
    top, bottom = np.array(colours, np.float32)
    t = np.linspace(0, 1, SIZE, dtype=np.float32)[None, :, None]
    x = np.linspace(-1, 1, SIZE, dtype=np.float32)[None, None, :]
    return (top[:, None, None] * (1 - t) + bottom[:, None, None] * t) * (1 + side * x)


def _both(half: list[tuple[float, float]]) -> np.ndarray:
    """A closed outline from its right half, listed from the top down."""
    right = np.array(half, np.float32)
    return np.concatenate([right, right[::-1] * (-1, 1)])


def _skull(who: Identity, shape: Shape) -> np.ndarray:
    """The face's closed outline in face coordinates: jaw and forehead."""
    jaw = shape.landmarks[:17]
    top = np.array([(72, -28), (63, -56), (40, -82), (0, -92), (-40, -82), (-63, -56), (-72, -28)], np.float32)
    return np.concatenate([jaw, top * (who.face_width, 1)])


def face_outline(who: Identity, shape: Shape, frame: Projection) -> Patch:
    """Coverage of the face without hair, neck and ears."""
    return polygon(frame(spline(_skull(who, shape), steps=4, closed=True)), factor=2)


_VOLUME = {"short": 1.06, "long": 1.12, "bob": 1.14, "fringe": 1.1, "buzz": 1.02, "tied": 1.05}
_LENGTH = {"long": 140.0, "bob": 72.0}


def _cap(who: Identity) -> list[tuple[float, float]]:
    """Right half of the hair's outer edge, from the top to where it ends."""
    v = _VOLUME[who.hair_style] * who.face_width
    lift = who.forehead + (10 if who.hair_style != "buzz" else 4)
    edge = [
        (0.0, -100.0 - lift),
        (38 * v, -92.0 - lift),
        (66 * v, -66.0 - 0.6 * lift),
        (79 * v, -30.0),
        (77.5 * v, -2.0),
    ]
    end = _LENGTH.get(who.hair_style)
    if not end:
        edge.append((74 * who.face_width, 16.0))
    else:
        edge += [(87 * v, 40.0), (84 * v if end < 100 else 92 * v, end), (50 * v, end + 4)]
    return edge


def _hairline(who: Identity) -> list[tuple[float, float]]:
    """Right half of the hair's inner edge, from the middle of the forehead to the sideburn."""
    y, w = -68 - who.forehead, who.face_width
    if who.hair_style == "fringe":
        return [(0, y + 20), (25 * w, y + 22), (48 * w, y + 26), (64 * w, -26), (69.5 * w, -6), (73.5 * w, 16)]
    if who.hair_style == "long":
        return [(0, y - 4), (30 * w, y + 6), (56 * w, -38), (67 * w, -6), (69 * w, 40), (62 * w, 90), (70 * w, 140)]
    if who.hair_style == "bob":
        return [(0, y), (30 * w, y + 4), (56 * w, -40), (67 * w, -8), (70 * w, 30), (64 * w, 70)]
    return [(0, y), (30 * w, y + 3), (52 * w, -50), (62 * w, -30), (69 * w, -8), (73.5 * w, 16)]


_STRANDS = 100
_WIDTHS = np.linspace(0.5, 1.7, _STRANDS // 2).tolist()
_LEVELS = np.linspace(0.7, 0.3, _STRANDS // 2).tolist()


@functools.lru_cache(maxsize=64)  # the same on every image of a person
def _draws(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where strands lie along the hair's edges, (N,), and by how much they miss their end and middle, (N, 2) each."""
    rng = np.random.default_rng(seed)
    return rng.random(_STRANDS), rng.normal(0, 3, (_STRANDS, 2)), rng.normal(0, 2, (_STRANDS, 2))


def _strands(who: Identity, outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Fine lines from the outer edge to the hairline, as the hair is combed, in face coordinates (N, 3, 2)."""
    a, b = spline(outer, steps=9), spline(inner, steps=9)
    at, end, middle = _draws(who.texture_seed)
    strands = np.empty((_STRANDS, 3, 2), np.float32)
    strands[:, 0] = a[(at * len(a)).astype(int)]
    strands[:, 2] = b[(at * len(b)).astype(int)] + end
    strands[:, 1] = (strands[:, 0] + strands[:, 2]) / 2 + middle
    strands[::2, :, 0] *= -1
    return strands


def _comb(canvas: np.ndarray, who: Identity, strands: np.ndarray, inside: Patch) -> None:
    """Paints half of the strands (pixels) lighter and half darker than the hair, where there is hair."""
    half = len(strands) // 2
    for part, colour in ((strands[:half], np.minimum(who.hair * 1.5 + 0.06, 1)), (strands[half:], who.hair * 0.45)):
        drawn = overlap(lines(part, _WIDTHS, _LEVELS, factor=2), inside)
        blend(canvas, drawn.times(0.6), colour)


def paint_behind(canvas: np.ndarray, who: Identity, shape: Shape, frame: Projection, view: View) -> None:
    """Paints in place what the face covers: hair at the back, neck, clothes, ears."""
    shade = view.ambient + 0.35
    if who.hair_style in _LENGTH:
        back = _both([*_cap(who)])
        blend(canvas, polygon(frame(spline(back, steps=4, closed=True)), factor=2), who.hair * 0.6 * shade)
    drop = shape.landmarks[8, 1] - 109
    neck = _both([(40, 60), (41, 100 + drop / 2), (50, 122), (80, 180)])
    blend(canvas, polygon(frame(neck), factor=2), who.skin * (0.78, 0.69, 0.66) * shade)
    collar = _both([(0, 136), (24, 131), (48, 121), (90, 128), (150, 150), (150, 240)])
    blend(canvas, polygon(frame(collar), factor=2), who.shirt * shade)
    if who.hair_style not in _LENGTH:
        for side in (-1, 1):
            _ear(canvas, who, frame, view, side)


def _ear(canvas: np.ndarray, who: Identity, frame: Projection, view: View, side: int) -> None:
    w = who.face_width
    lit = view.ambient + 0.45 + math.copysign(0.2, view.light[0]) * side
    outer = np.array([(72, -8), (80, -16), (87, -10), (87, 8), (82, 24), (74, 30)], np.float32) * (side * w, 1)
    inner = np.array([(78, -8), (83, -6), (82, 8), (77, 16)], np.float32) * (side * w, 1)
    blend(canvas, polygon(frame(spline(outer, closed=True))), who.skin * lit * (0.95, 0.86, 0.84))
    multiply(canvas, polygon(frame(spline(inner, closed=True))).times(0.45), (0.7, 0.58, 0.55))


def paint_hair(canvas: np.ndarray, who: Identity, frame: Projection, view: View) -> None:
    """Paints in place the hair that lies over the forehead and beside the face."""
    outer, inner = np.array(_cap(who), np.float32), np.array(_hairline(who), np.float32)
    edge, line = spline(outer, steps=5), spline(inner, steps=5)
    ring = np.concatenate([edge, line[::-1], line[1:] * (-1, 1), edge[::-1] * (-1, 1)])
    patch = polygon(frame(ring), factor=2)
    if who.hair_style == "buzz":
        blend(canvas, patch, who.skin * (view.ambient + 0.3))
    strength = 0.6 if who.hair_style == "buzz" else 1.0
    columns, rows = patch.grids()
    crown = frame(np.array([(math.copysign(12, view.light[0]), -70.0)], np.float32))[0]
    glow = np.exp(-(((columns - crown[0]) / 60) ** 2)) * np.exp(-(((rows - crown[1]) / 26) ** 2))
    colour = glow * (0.35 * who.hair + 0.05)[:, None, None]
    colour += ((view.ambient + 0.25) * who.hair)[:, None, None]
    blend(canvas, patch.times(strength), colour)
    if who.hair_style != "buzz":
        strands = _strands(who, outer, inner)
        _comb(canvas, who, frame(strands.reshape(-1, 2)).reshape(-1, 3, 2), patch)
