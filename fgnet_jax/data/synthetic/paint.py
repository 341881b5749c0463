"""Painting on a float canvas with NumPy and Pillow: anti-aliased shapes, hairs, creases and sums of soft spots."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fgnet_jax.data.synthetic.projection import SIZE

Window = tuple[slice, slice]
"""Rows and columns of the image."""


@dataclasses.dataclass(frozen=True)
class Patch:
    """Coverage of a part of the image.

    Attributes:
      alpha: (h, w) float32 in [0, 1].
      y: First row.
      x: First column.
    """

    alpha: np.ndarray
    y: int
    x: int

    @property
    def window(self) -> Window:
        """Return the rows and columns that the patch covers."""
        h, w = self.alpha.shape
        return slice(self.y, self.y + h), slice(self.x, self.x + w)

    def grids(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixel coordinates of the patch: columns (1, w) and rows (h, 1), float32."""
        h, w = self.alpha.shape
        columns = np.arange(self.x, self.x + w, dtype=np.float32)[None]
        return columns, np.arange(self.y, self.y + h, dtype=np.float32)[:, None]

    def times(self, factor: np.ndarray | float) -> "Patch":
        """Return the patch with its coverage multiplied."""
        return Patch(self.alpha * np.asarray(factor, np.float32), self.y, self.x)


@functools.cache
def _spline_matrix(count: int, steps: int, closed: bool) -> np.ndarray:
    """Return Catmull-Rom interpolation as a matrix from `count` points to the curve's."""
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
    """Compute a smooth curve through (N, 2) points, `steps` points a segment."""
    points = np.asarray(points, np.float32)
    return _spline_matrix(len(points), steps, closed) @ points


def _window(points: np.ndarray, margin: float) -> tuple[int, int, int, int] | None:
    """Compute the part of the image that (N, 2) points can touch: x0, y0, x1, y1; None if they lie outside of it."""
    (x0, y0), (x1, y1) = points.min(0).tolist(), points.max(0).tolist()
    x0, y0 = max(0, math.floor(x0 - margin)), max(0, math.floor(y0 - margin))
    x1, y1 = min(SIZE, math.ceil(x1 + margin) + 1), min(SIZE, math.ceil(y1 + margin) + 1)
    return None if x1 <= x0 or y1 <= y0 else (x0, y0, x1, y1)


def _scaled(points: np.ndarray, *, x: int, y: int, factor: int) -> np.ndarray:
    """Convert pixel coordinates to those of a crop that begins at (x, y) and is enlarged by `factor`."""
    scaled = points * factor
    scaled += np.array((factor * (0.5 - x) - 0.5, factor * (0.5 - y) - 0.5), np.float32)
    return scaled


def _coverage(image: Image.Image, factor: int) -> np.ndarray:
    small = image.reduce(factor)
    grey = np.frombuffer(small.tobytes(), np.uint8).reshape(small.height, small.width)
    return grey * np.float32(1 / 255)


EMPTY = Patch(np.zeros((0, 0), np.float32), 0, 0)
"""The coverage of no pixel."""


def polygon(*outlines: np.ndarray, factor: int = 4) -> Patch:
    """Compute the coverage of closed polygons, anti-aliased by supersampling.

    Args:
      *outlines: (N, 2) pixel coordinates; several for parts that are painted alike and lie near one another.
      factor: Supersampling.
    """
    box = _window(outlines[0] if len(outlines) == 1 else np.concatenate(outlines), 1)
    if box is None:
        return EMPTY
    x0, y0, x1, y1 = box
    image = Image.new("L", ((x1 - x0) * factor, (y1 - y0) * factor))
    draw = ImageDraw.Draw(image)
    for outline in outlines:
        draw.polygon(_scaled(outline, x=x0, y=y0, factor=factor).ravel().tolist(), fill=255)
    return Patch(_coverage(image, factor), y0, x0)


def overlap(a: Patch, b: Patch) -> Patch:
    """Multiply two coverages on the window that both have."""
    if a.alpha.size == 0 or b.alpha.size == 0:
        return EMPTY
    y0, x0 = max(a.y, b.y), max(a.x, b.x)
    y1 = max(y0, min(a.y + a.alpha.shape[0], b.y + b.alpha.shape[0]))
    x1 = max(x0, min(a.x + a.alpha.shape[1], b.x + b.alpha.shape[1]))
    part_a = a.alpha[y0 - a.y : y1 - a.y, x0 - a.x : x1 - a.x]
    part_b = b.alpha[y0 - b.y : y1 - b.y, x0 - b.x : x1 - b.x]
    return Patch(part_a * part_b, y0, x0)


def lines(strokes: np.ndarray, widths: Sequence[float], levels: Sequence[float], *, factor: int = 3) -> Patch:
    """Compute the coverage of thin lines, the later ones on top.

    Args:
      strokes: (N, K, 2) pixel coordinates: N lines through K points.
      widths: Width of each in pixels.
      levels: Coverage of each, 0 to 1.
      factor: Supersampling.
    """
    box = _window(strokes.reshape(-1, 2), 1 + max(widths))
    if box is None:
        return EMPTY
    x0, y0, x1, y1 = box
    image = Image.new("L", ((x1 - x0) * factor, (y1 - y0) * factor))
    draw = ImageDraw.Draw(image)
    flat = _scaled(strokes, x=x0, y=y0, factor=factor).reshape(len(strokes), -1).tolist()
    pens = [(round(255 * level), max(1, round(width * factor))) for width, level in zip(widths, levels, strict=True)]
    for stroke, (fill, width) in zip(flat, pens, strict=True):
        draw.line(stroke, fill, width)
    return Patch(_coverage(image, factor), y0, x0)


_NORMAL = np.array((-1, 1), np.float32)


@functools.cache
def _taper(count: int) -> np.ndarray:
    return np.sin(np.pi * np.linspace(0.04, 0.96, count, dtype=np.float32)) ** 0.7


def _outlines(curves: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Compute outlines (N, 2 L, 2) of strokes through (N, K, 2) points that taper at both ends."""
    smooth = _spline_matrix(curves.shape[1], 4, False) @ curves
    along = np.empty_like(smooth)
    along[:, 1:-1] = smooth[:, 2:] - smooth[:, :-2]
    along[:, 0], along[:, -1] = smooth[:, 1] - smooth[:, 0], smooth[:, -1] - smooth[:, -2]
    along /= np.maximum(np.hypot(along[..., 0], along[..., 1]), 1e-6)[..., None]
    taper = _taper(smooth.shape[1])
    offset = along[..., ::-1] * ((taper * widths[:, None] / 2)[..., None] * _NORMAL)
    return np.concatenate([smooth + offset, (smooth - offset)[:, ::-1]], 1)


def ribbons(curves: Sequence[np.ndarray], *, widths: np.ndarray, levels: np.ndarray, window: Window) -> np.ndarray:
    """Compute a map of tapered strokes, the deepest on top, float32 in [0, 1].

    Args:
      curves: (K, 2) pixel coordinates each; K may differ.
      widths: (N,) width of each at its middle, in pixels.
      levels: (N,) depth of each, 0 to 1.
      window: The part of the image to compute.
    """
    factor, (rows, columns) = 2, window
    image = Image.new("L", ((columns.stop - columns.start) * factor, (rows.stop - rows.start) * factor))
    draw = ImageDraw.Draw(image)
    lengths = np.array([len(c) for c in curves])
    outlines: dict[int, list[float]] = {}
    for length in set(lengths.tolist()):
        indices = np.flatnonzero(lengths == length)
        pixels = _outlines(np.stack([curves[int(k)] for k in indices]), widths[indices])
        scaled = _scaled(pixels, x=columns.start, y=rows.start, factor=factor)
        outlines.update(zip(indices.tolist(), scaled.reshape(len(indices), -1).tolist(), strict=True))
    fills = np.rint(255 * np.minimum(levels, 1)).astype(int).tolist()
    for k in np.argsort(levels, kind="stable").tolist():
        draw.polygon(outlines[k], fill=fills[k])
    return _coverage(image, factor)


def _gaussians(centres: np.ndarray, deviations: np.ndarray, part: slice) -> tuple[np.ndarray, np.ndarray]:
    """Compute K Gaussians of height 1 at the pixels of one axis, and the pixels' normalised offsets, (K, n) each."""
    pixels = np.arange(part.start, part.stop, dtype=np.float32)
    offset = (pixels - centres[:, None]) / deviations[:, None]
    return np.exp(-0.5 * offset * offset), offset


def spots(centres: np.ndarray, *, deviations: np.ndarray, heights: np.ndarray, window: Window) -> np.ndarray:
    """Compute sums of Gaussian spots.

    Args:
      centres: (K, 2) pixel coordinates.
      deviations: (K, 2) standard deviations along x and y, pixels.
      heights: (K, C) values at the centres.
      window: The part of the image to compute.

    Returns:
      (C, h, w) float32.
    """
    across, _ = _gaussians(centres[:, 0], deviations[:, 0], window[1])
    down, _ = _gaussians(centres[:, 1], deviations[:, 1], window[0])
    return down.T @ (heights.T[:, :, None] * across)


def slopes(
    centres: np.ndarray, *, deviations: np.ndarray, heights: np.ndarray, window: Window
) -> tuple[np.ndarray, np.ndarray]:
    """Compute slopes along x and y of a sum of Gaussian spots of heights (K,), (h, w) float32 each; see `spots`."""
    across, off_x = _gaussians(centres[:, 0], deviations[:, 0], window[1])
    down, off_y = _gaussians(centres[:, 1], deviations[:, 1], window[0])
    along_x = down.T @ (across * off_x * (-heights / deviations[:, 0])[:, None])
    along_y = (down * off_y * (-heights / deviations[:, 1])[:, None]).T @ across
    return along_x, along_y


def soften(image: np.ndarray) -> np.ndarray:
    """Blur (..., h, w) by [1, 2, 1] / 4 along both axes, edges repeated; a deviation of 0.7 pixels."""
    rows = image + image
    rows[..., 1:-1, :] += image[..., :-2, :]
    rows[..., 1:-1, :] += image[..., 2:, :]
    rows[..., 0, :] += rows[..., 0, :]
    rows[..., -1, :] += rows[..., -1, :]
    out = rows + rows
    out[..., 1:-1] += rows[..., :-2]
    out[..., 1:-1] += rows[..., 2:]
    out[..., 0] += out[..., 0]
    out[..., -1] += out[..., -1]
    out *= np.float32(1 / 16)
    return out


def blend(canvas: np.ndarray, patch: Patch, colour: np.ndarray | Sequence[float]) -> None:
    """Blend a colour into the canvas in place.

    Args:
      canvas: (3, SIZE, SIZE) float32.
      patch: Weight of the colour per pixel.
      colour: RGB (3,), or one per pixel of the patch (3, h, w).
    """
    if patch.alpha.size == 0:
        return
    colour = np.asarray(colour, np.float32)
    part = canvas[(slice(None), *patch.window)]
    step = (colour[:, None, None] if colour.ndim == 1 else colour) - part
    step *= patch.alpha
    part += step


def multiply(canvas: np.ndarray, patch: Patch, colour: Sequence[float] | np.ndarray) -> None:
    """Darken the canvas in place towards `canvas * colour` by the patch's coverage."""
    if patch.alpha.size == 0:
        return
    part = canvas[(slice(None), *patch.window)]
    factor = patch.alpha * (np.asarray(colour, np.float32) - 1)[:, None, None]
    factor += 1
    part *= factor
