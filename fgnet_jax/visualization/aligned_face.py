"""Drawings of one aligned face: the heatmaps of its present AUs over it, and a legend of all AUs beside it."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from fgnet_jax.visualization import legend, painting

FACE_SIDE = 640
"""Side in pixels at which faces are drawn, whatever the network's size, so that names stay readable."""


def draw(
    image: np.ndarray,
    heatmaps: np.ndarray,
    *,
    scores: np.ndarray,
    present: np.ndarray,
    aus: Sequence[int],
    intensities: np.ndarray | None = None,
) -> Image.Image:
    """Draw one face with its present AUs, and the legend to its right.

    Args:
      image: uint8 (height, width, 3), square.
      heatmaps: float (h, w, K) in [-1, 1], over the whole image.
      scores: (K,) in [-1, 1].
      present: (K,) bool.
      aus: The K AU numbers.
      intensities: (K,), 0 to 5, NaN for an AU without one; None where none is known.

    Returns:
      An RGB image, at least `FACE_SIDE` high.
    """
    side = FACE_SIDE
    face = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))
    shown = [k for k in range(len(aus)) if present[k]]
    painted = painting.paint(face, [_enlarge(heatmaps[..., k], side) for k in shown], [aus[k] for k in shown])
    return legend.beside(painted, aus, [legend.LegendEntry("", scores, present, intensities=intensities)])


def _enlarge(heatmap: np.ndarray, side: int) -> np.ndarray:
    """Enlarge a heatmap to the size of the drawn face, smooth enough for rings."""
    image = Image.fromarray(np.asarray(heatmap, np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
