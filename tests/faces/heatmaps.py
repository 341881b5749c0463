"""Heatmaps with known peaks, of a face that is turned in its image."""

import numpy as np

from fgnet_jax.faces.alignment import Alignment


def turned(width=640, height=480, degrees=20.0, scale=1.1, size=256):
    """Build the alignment of a face in the middle of an image, turned."""
    angle = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([width / 2, height / 2])
    return Alignment(np.concatenate([linear, (middle - linear @ np.full(2, (size - 1) / 2))[:, None]], 1), size)


def blobs(places, side=128, width=6.0):
    """Make heatmaps (side, side, K) with one peak each, at places (x, y) in pixels of the aligned face of 256."""
    down, across = np.mgrid[:side, :side]
    at = [(x * side / 256, y * side / 256) for x, y in places]
    maps = [np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * width**2)) for x, y in at]
    return np.stack(maps, -1).astype(np.float32)


PLACES = np.array([(80.0, 60.0), (200.25, 130.5), (128.0, 214.75)])
"""Places (x, y) of three peaks, in pixels of the aligned face."""
