"""."""

import numpy as np
from PIL import Image
from scipy import ndimage

from fgnet_jax.faces.alignment import Alignment

_BLUR = 1 / 64  # of a heatmap's side, when its peak is looked for

_TOP = 0.97  # of its height: what counts as a peak's top


def warp_to_image(
    heatmaps: np.ndarray, alignment: Alignment, width: int, height: int, within: tuple[int, int, int, int] | None = None
) -> np.ndarray:
    """Heatmaps of an aligned face in pixels of its image.

    Args:
      heatmaps: (h, w, K).
      alignment: Where the aligned face lies in the image.
      width: Of the image.
      height: Of the image.
      within: Left, top, right and bottom of the part that is wanted; None for the whole image.

    Returns:
      float32 (height, width, K), bilinear; 0 outside of the face's square.
    """
    left, top, right, bottom = within or (0, 0, width, height)
    matrix = _to_heatmap(alignment, heatmaps.shape[0], np.array((left, top))).ravel().tolist()
    size = right - left, bottom - top
    maps = [Image.fromarray(np.ascontiguousarray(heatmaps[..., k], np.float32)) for k in range(heatmaps.shape[-1])]
    laid = [one.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR) for one in maps]
    return np.stack([np.asarray(one) for one in laid], -1) if laid else np.zeros((*size[::-1], 0), np.float32)


def bounds(alignment: Alignment, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of an image that a face's square covers."""
    corners = alignment.corners()
    first = np.clip(np.floor(corners.min(0)).astype(int), 0, (width, height))
    last = np.clip(np.ceil(corners.max(0)).astype(int) + 1, 0, (width, height))
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])


def peaks(heatmaps: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Where each heatmap is highest, in pixels of the image.

    Maps are clipped at 1, and the middle of a flat top is meant: of the largest region about as high as the highest
    place, the centre of mass, after a little blur. It lies between pixels.

    Args:
      heatmaps: (h, w, K) of an aligned face.
      alignment: Where that lies in the image.

    Returns:
      float64 (K, 2), x then y; NaN for a map that is nowhere above 0.
    """
    side = heatmaps.shape[0]
    places = np.full((heatmaps.shape[-1], 2), np.nan)
    for k in range(heatmaps.shape[-1]):
        soft = np.asarray(ndimage.gaussian_filter(heatmaps[..., k].astype(np.float64), side * _BLUR))
        if soft.max() > 0:
            places[k] = _peak(soft)
    return alignment.to_image(places * (alignment.size / side))


def _peak(heatmap: np.ndarray) -> tuple[float, float]:
    """Column and row of the highest place; of a top of a few pixels, by a parabola along each axis."""
    lowest = _TOP * heatmap.max()
    regions = np.zeros(heatmap.shape, np.int32)
    ndimage.label(heatmap >= lowest, output=regions)
    rows, columns = np.nonzero(regions == 1 + int(np.argmax(np.bincount(regions.ravel())[1:])))
    if len(rows) > 8:
        weights = heatmap[rows, columns] - lowest + 1e-6
        return float(np.average(columns, weights=weights)), float(np.average(rows, weights=weights))
    row, column = (int(i) for i in np.unravel_index(np.argmax(heatmap), heatmap.shape))
    return column + _vertex(heatmap[row], column), row + _vertex(heatmap[:, column], row)


def _vertex(line: np.ndarray, at: int) -> float:
    """How far from a highest pixel a parabola through it and its neighbours is highest."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, here, after = line[at - 1 : at + 2]
    bend = before - 2 * here + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0


def _to_heatmap(alignment: Alignment, side: int, origin: np.ndarray) -> np.ndarray:
    """(2, 3): from an image's part that begins at `origin` to the heatmap, both with edges at whole numbers."""
    inverse = np.linalg.inv(alignment.matrix[:, :2]) * (side / alignment.size)
    offset = inverse @ (origin - 0.5 - alignment.matrix[:, 2]) + 0.5
    return np.concatenate([inverse, offset[:, None]], 1)
