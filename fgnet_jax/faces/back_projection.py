"""Back-projection: an aligned face's heatmaps warped to the image that the face is from, and their peaks there.

An aligned face's heatmap lies over that face; the face's `Alignment` says where in the image that is. As in training
(`train.targets`), a heatmap's pixel (x, y) lies at (x, y) of the aligned face times the ratio of the sides.
"""

import numpy as np
from PIL import Image
from scipy import ndimage

from fgnet_jax.faces.alignment import Alignment

_BLUR = 1 / 64  # standard deviation of the blur before a peak is searched, as a share of the heatmap's side

_TOP = 0.97  # share of the peak's height from which on pixels belong to its top

Region = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; right and bottom are not part of it."""


def warp_to_image(
    heatmaps: np.ndarray, alignment: Alignment, width: int, height: int, region: Region | None = None
) -> np.ndarray:
    """Warp an aligned face's heatmaps to the pixels of its image.

    Args:
      heatmaps: (h, w, K).
      alignment: Where the aligned face lies in the image.
      width: Of the image.
      height: Of the image.
      region: The part of the image to return; None for all of it.

    Returns:
      float32 (height, width, K) of the region, bilinear; 0 outside of the face's square.
    """
    left, top, right, bottom = region or (0, 0, width, height)
    matrix = _image_to_heatmap(alignment, heatmaps.shape[0], np.array((left, top))).ravel().tolist()
    size = right - left, bottom - top
    maps = [Image.fromarray(np.ascontiguousarray(heatmaps[..., k], np.float32)) for k in range(heatmaps.shape[-1])]
    warped = [one_map.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR) for one_map in maps]
    return (
        np.stack([np.asarray(channel) for channel in warped], -1) if warped else np.zeros((*size[::-1], 0), np.float32)
    )


def bounds(alignment: Alignment, width: int, height: int) -> Region:
    """Compute the region of an image of this size that a face's square covers."""
    corners = alignment.corners()
    first = np.clip(np.floor(corners.min(0)).astype(int), 0, (width, height))
    last = np.clip(np.ceil(corners.max(0)).astype(int) + 1, 0, (width, height))
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])


def peaks(heatmaps: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Locate each heatmap's peak, in pixels of the image, between pixels.

    Heatmaps are clipped at 1, so that a peak may have a flat top. After a slight blur, the peak is the centre of mass
    of the largest region within 3 % of the maximum.

    Args:
      heatmaps: (h, w, K) of an aligned face.
      alignment: Where that face lies in the image.

    Returns:
      float64 (K, 2), x then y; NaN for a heatmap that is nowhere above 0.
    """
    side = heatmaps.shape[0]
    places = np.full((heatmaps.shape[-1], 2), np.nan)
    for k in range(heatmaps.shape[-1]):
        blurred = np.asarray(ndimage.gaussian_filter(heatmaps[..., k].astype(np.float64), side * _BLUR))
        if blurred.max() > 0:
            places[k] = _peak(blurred)
    return alignment.to_image(places * (alignment.size / side))


def _peak(heatmap: np.ndarray) -> tuple[float, float]:
    """Return column and row of the peak; where its top has few pixels, by a parabola along each axis."""
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
    """Return the offset, from the highest pixel `at`, of the vertex of the parabola through it and its neighbours."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, centre, after = line[at - 1 : at + 2]
    bend = before - 2 * centre + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0


def _image_to_heatmap(alignment: Alignment, side: int, origin: np.ndarray) -> np.ndarray:
    """Return the map (2, 3) from a region of the image that begins at `origin` to the heatmap, in Pillow's coordinates.

    There, edges of pixels are at whole numbers, not their centres.
    """
    inverse = np.linalg.inv(alignment.matrix[:, :2]) * (side / alignment.size)
    offset = inverse @ (origin - 0.5 - alignment.matrix[:, 2]) + 0.5
    return np.concatenate([inverse, offset[:, None]], 1)
