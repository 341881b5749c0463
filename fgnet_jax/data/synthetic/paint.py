"""Painting with NumPy and Pillow: anti-aliased shapes, hairs, creases and sums of soft spots on a float canvas."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fgnet_jax.data.synthetic.frame import SIZE


@dataclasses.dataclass(frozen=True)
class Patch:
    """Coverage of a part of the picture.

    Attributes:
      alpha: (h, w) float32 in [0, 1].
      y: First row.
      x: First column.
    """

    alpha: np.ndarray
    y: int
    x: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns that the patch covers."""
        h, w = self.alpha.shape
        return slice(self.y, self.y + h), slice(self.x, self.x + w)

    def grids(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixel coordinates of the patch: columns (1, w) and rows (h, 1), float32."""
        h, w = self.alpha.shape
        columns = np.arange(self.x, self.x + w, dtype=np.float32)[None]
        return columns, np.arange(self.y, self.y + h, dtype=np.float32)[:, None]

    def times(self, factor: np.ndarray | float) -> "Patch":
        """The patch with its coverage multiplied."""
        return Patch(self.alpha * factor, self.y, self.x)


@functools.cache
def _spline_matrix(count: int, steps: int, closed: bool) -> np.ndarray:
    """Catmull-Rom interpolation as a matrix from `count` points to the curve's."""
    rows = []
    for segment in range(count if closed else count - 1):
        for t in np.arange(steps) / steps:
            weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3)
            row = np.zeros(count)
            for k, weight in enumerate(weights):
                index = segment + k - 1
                row[index % count if closed else min(max(index, 0), count - 1)] += weight / 2
            rows.append(row)
    if not closed:
        rows.append(np.eye(count)[-1])
    return np.array(rows, np.float32)


def spline(points: np.ndarray, *, steps: int = 6, closed: bool = False) -> np.ndarray:
    """A smooth curve through (N, 2) points, `steps` points a segment."""
    points = np.asarray(points, np.float32)
    return _spline_matrix(len(points), steps, closed) @ points


def _window(points: np.ndarray, margin: float) -> tuple[int, int, int, int] | None:
    low = np.clip(np.floor(points.min(0) - margin), 0, SIZE).astype(int)
    high = np.clip(np.ceil(points.max(0) + margin) + 1, 0, SIZE).astype(int)
    if (high <= low).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _scaled(points: np.ndarray, x: int, y: int, factor: int) -> list[float]:
    return ((points - (x, y) + 0.5) * factor - 0.5).ravel().tolist()


EMPTY = Patch(np.zeros((0, 0), np.float32), 0, 0)


def polygon(points: np.ndarray, *, factor: int = 4) -> Patch:
    """Coverage of a closed polygon, anti-aliased by drawing it `factor` times larger.

    Args:
      points: (N, 2) pixel coordinates.
      factor: Supersampling.
    """
    box = _window(points, 1)
    if box is None:
        return EMPTY
    x0, y0, x1, y1 = box
    image = Image.new("L", ((x1 - x0) * factor, (y1 - y0) * factor))
    ImageDraw.Draw(image).polygon(_scaled(points, x0, y0, factor), fill=255)
    return Patch(np.asarray(image.reduce(factor), np.float32) * np.float32(1 / 255), y0, x0)


def lines(
    strokes: Sequence[np.ndarray], widths: Sequence[float], levels: Sequence[float], *, factor: int = 3
) -> Patch:
    """Coverage of many thin lines, drawn in order.

    Args:
      strokes: (N, 2) pixel coordinates each.
      widths: Width of each in pixels.
      levels: Coverage of each, 0 to 1.
      factor: Supersampling.
    """
    if not strokes:
        return EMPTY
    box = _window(np.concatenate(strokes), 1 + max(widths))
    if box is None:
        return EMPTY
    x0, y0, x1, y1 = box
    image = Image.new("L", ((x1 - x0) * factor, (y1 - y0) * factor))
    draw = ImageDraw.Draw(image)
    for stroke, width, level in zip(strokes, widths, levels, strict=True):
        pen = max(1, round(width * factor))
        draw.line(_scaled(stroke, x0, y0, factor), fill=round(255 * min(level, 1.0)), width=pen)
    return Patch(np.asarray(image.reduce(factor), np.float32) * np.float32(1 / 255), y0, x0)


def _ribbon(curve: np.ndarray, width: float) -> np.ndarray:
    """Outline of a stroke that tapers at both ends, (2N, 2)."""
    along = np.gradient(curve, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)[:, None]
    taper = np.sin(np.pi * np.linspace(0.04, 0.96, len(curve)))[:, None] ** 0.7
    offset = normal * (taper * width / 2)
    return np.concatenate([curve + offset, (curve - offset)[::-1]])


def ribbons(curves: Sequence[np.ndarray], widths: Sequence[float], levels: Sequence[float]) -> np.ndarray:
    """A full-frame map of tapered strokes, the deepest on top, (SIZE, SIZE) float32 in [0, 1].

    Args:
      curves: (N, 2) pixel coordinates each.
      widths: Width of each at its middle, in pixels.
      levels: Depth of each, 0 to 1.
    """
    factor = 2
    image = Image.new("L", (SIZE * factor, SIZE * factor))
    draw = ImageDraw.Draw(image)
    for k in np.argsort(levels):
        if levels[k] > 0.01:
            outline = _ribbon(spline(curves[k], steps=4), widths[k])
            draw.polygon(_scaled(outline, 0, 0, factor), fill=round(255 * min(float(levels[k]), 1.0)))
    return np.asarray(image.reduce(factor), np.float32) * np.float32(1 / 255)


@functools.cache
def _pixels() -> np.ndarray:
    return np.arange(SIZE, dtype=np.float32)


def _bells(centres: np.ndarray, spreads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    offset = (_pixels()[None] - centres[:, None]) / spreads[:, None]
    return np.exp(-0.5 * offset**2), offset


def spots(centres: np.ndarray, spreads: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Sum of Gaussian spots over the whole picture.

    Args:
      centres: (K, 2) pixel coordinates.
      spreads: (K, 2) standard deviations along x and y.
      heights: (K,) or (K, C) values at the centres.

    Returns:
      (SIZE, SIZE) or (C, SIZE, SIZE) float32.
    """
    across, _ = _bells(centres[:, 0], spreads[:, 0])
    down, _ = _bells(centres[:, 1], spreads[:, 1])
    if heights.ndim == 1:
        return down.T @ (across * heights[:, None])
    return np.stack([down.T @ (across * h[:, None]) for h in heights.T])


def slopes(centres: np.ndarray, spreads: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes along x and y of the sum of Gaussian spots that `spots` returns, (SIZE, SIZE) float32 each."""
    across, off_x = _bells(centres[:, 0], spreads[:, 0])
    down, off_y = _bells(centres[:, 1], spreads[:, 1])
    along_x = down.T @ (across * off_x * (-heights / spreads[:, 0])[:, None])
    along_y = (down * off_y * (-heights / spreads[:, 1])[:, None]).T @ across
    return along_x, along_y


def soften(image: np.ndarray) -> np.ndarray:
    """Blurs an (h, w) array a little: [1, 2, 1] / 4 along both axes, edges repeated."""
    rows = np.empty_like(image)
    rows[1:-1] = 0.25 * (image[:-2] + image[2:]) + 0.5 * image[1:-1]
    rows[0], rows[-1] = image[0], image[-1]
    out = np.empty_like(image)
    out[:, 1:-1] = 0.25 * (rows[:, :-2] + rows[:, 2:]) + 0.5 * rows[:, 1:-1]
    out[:, 0], out[:, -1] = rows[:, 0], rows[:, -1]
    return out


def blend(canvas: np.ndarray, patch: Patch, colour: np.ndarray | Sequence[float]) -> None:
    """Lays a colour over the canvas in place.

    Args:
      canvas: (3, SIZE, SIZE) float32.
      patch: Where and how much.
      colour: RGB (3,), or one per pixel of the patch (3, h, w).
    """
    if patch.alpha.size == 0:
        return
    colour = np.asarray(colour, np.float32)
    colour = colour[:, None, None] if colour.ndim == 1 else colour
    part = canvas[(slice(None), *patch.window)]
    part += patch.alpha * (colour - part)


def multiply(canvas: np.ndarray, patch: Patch, colour: Sequence[float] | np.ndarray) -> None:
    """Darkens the canvas in place towards `canvas * colour` by the patch's coverage."""
    if patch.alpha.size == 0:
        return
    part = canvas[(slice(None), *patch.window)]
    part *= 1 - patch.alpha * (1 - np.asarray(colour, np.float32)[:, None, None])
