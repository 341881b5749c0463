"""Number formats that numbers are kept in, beside the one that is computed in."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FLOAT32 = np.dtype(np.float32)
"""As `accum_dtype` gives it."""


def accum_dtype(dtype: Any) -> np.dtype:
    """What sums, statistics and results are kept in where `dtype` is computed in: float32, or float64 for float64."""
    return jnp.promote_types(dtype, jnp.float32)


def to_accum_dtype(x: jax.Array) -> jax.Array:
    """The same numbers in the format that results are kept in."""
    return x.astype(accum_dtype(x.dtype))
