"""Places for labels in a drawing: near what they name, within the image, and never one over another."""

import math
from collections.abc import Sequence

import numpy as np

Rectangle = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""

_REACH = 8  # heights of a label: how far from its place it may be moved
_COVERING = 6.0  # cost of a label that covers a face as a whole, in heights of the label that it is moved


class LabelPlaces:
    """The rectangles of a drawing that labels have taken, and faces that they should not cover."""

    def __init__(
        self,
        size: tuple[int, int],
        avoided: Sequence[Rectangle] = (),
        taken: Sequence[Rectangle] = (),
    ):
        """Begin with the labels that there are.

        Args:
          size: Width and height of the drawing.
          avoided: Rectangles that labels cover only where there is no other place.
          taken: Rectangles of labels.
        """
        self._size = size
        self._avoided = _array(avoided)
        self.taken = list(taken)

    def take(self, size: tuple[int, int], preferred: list[tuple[int, int]]) -> Rectangle | None:
        """Find a place for a label, and take it.

        Args:
          size: Its width and height.
          preferred: Corners (left, top) where it would be best, the best one first; others are as near as possible to
            them.

        Returns:
          The rectangle; None where everything near it is taken, or the label is larger than the drawing.
        """
        right, bottom = self._size[0] - size[0], self._size[1] - size[1]
        if right < 0 or bottom < 0:
            return None
        within = [(min(max(x, 0), right), min(max(y, 0), bottom)) for x, y in preferred]
        corner = self._best(np.array(within, np.float64), within[0], size)
        if corner is None:
            corner = self._best(_around(within[0], size, (right, bottom)), within[0], size)
        if corner is None:
            return None
        place = (*corner, corner[0] + size[0], corner[1] + size[1])
        self.taken.append(place)
        return place

    def _best(self, corners: np.ndarray, target: tuple[int, int], size: tuple[int, int]) -> tuple[int, int] | None:
        """Return the cheapest of some corners (n, 2) where a label would be over no other."""
        covered = _overlaps(corners, size, _array(self.taken)).sum(1)
        faces = _overlaps(corners, size, self._avoided).sum(1) / (size[0] * size[1])
        distance = np.hypot(*(corners - target).T) / size[1]
        cost = np.where(covered > 0, np.inf, distance + _COVERING * faces)
        best = int(np.argmin(cost))
        return (int(corners[best, 0]), int(corners[best, 1])) if np.isfinite(cost[best]) else None


def _around(corner: tuple[int, int], size: tuple[int, int], last: tuple[int, int]) -> np.ndarray:
    """Return corners (n, 2) of a grid around one, within the drawing."""
    step = max(1, math.ceil(size[1] / 4))
    reach = _REACH * size[1]
    columns, rows = (
        np.unique(np.clip(np.arange(at - reach, at + reach + 1, step), 0, end))
        for at, end in zip(corner, last, strict=True)
    )
    return np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2).astype(np.float64)


def _overlaps(corners: np.ndarray, size: tuple[int, int], rectangles: np.ndarray) -> np.ndarray:
    """Return the areas (n, m) that labels at corners (n, 2) would cover of rectangles (m, 4)."""
    spans = [
        np.minimum(corners[:, None, axis] + size[axis], rectangles[None, :, axis + 2])
        - np.maximum(corners[:, None, axis], rectangles[None, :, axis])
        for axis in (0, 1)
    ]
    return np.clip(spans[0], 0, None) * np.clip(spans[1], 0, None)


def _array(rectangles: Sequence[Rectangle]) -> np.ndarray:
    """Return rectangles as float64 (n, 4)."""
    return np.array(rectangles, np.float64).reshape(-1, 4)
