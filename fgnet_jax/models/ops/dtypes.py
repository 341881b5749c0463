"""Number formats: the one that sums and results are accumulated in, beside the one that layers compute in."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

FLOAT32 = np.dtype(np.float32)
"""float32 as `accum_dtype` returns it."""


def accum_dtype(dtype: DTypeLike) -> np.dtype:
    """Return the dtype of sums, statistics and results where `dtype` is computed in: float32, for float64 float64."""
    return jnp.promote_types(dtype, jnp.float32)


def to_accum_dtype(x: jax.Array) -> jax.Array:
    """Convert an array to the dtype that sums and results of its dtype are kept in."""
    return x.astype(accum_dtype(x.dtype))
