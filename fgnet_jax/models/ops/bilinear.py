"""Weights of linear interpolation with aligned corners, along one axis."""

import functools

import numpy as np

from fgnet_jax.models.ops.dtypes import FLOAT32


@functools.cache
def bilinear_matrix(size: int, new_size: int, dtype: np.dtype = FLOAT32) -> np.ndarray:
    """Compute weights (new_size, size) that interpolate linearly, first on first and last on last sample.

    Positions are rounded to `dtype`, as PyTorch rounds them to float32 (which moves them by up to 1e-4 of a pixel at
    1024), or to float64 if it computes in that.
    """
    position = np.arange(new_size, dtype=dtype) * dtype.type((size - 1) / max(new_size - 1, 1))
    low = np.minimum(position.astype(int), size - 1)
    high = np.minimum(low + 1, size - 1)
    matrix = np.zeros((new_size, size))
    np.add.at(matrix, (np.arange(new_size), low), 1 - (position - low))
    np.add.at(matrix, (np.arange(new_size), high), position - low)
    return matrix.astype(dtype)
