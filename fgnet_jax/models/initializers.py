"""Initial values of every variable, by its path: the published initialisations, drawn by NumPy."""

import math
import zlib

import numpy as np

from fgnet_jax.models.stylegan2 import MAPPING_LR_MUL

INTERPRETER_STD = 0.02
"""Standard deviation of the interpreter's convolutions and BatchNorm scales."""

PRELU_SLOPE = 0.25
"""Initial slope of every PReLU."""


def initial(path: str, shape: tuple[int, ...], dtype: np.dtype, seed: int) -> np.ndarray:
    """Draw the initial value of one variable, which depends on its path and the seed alone.

    Encoder: convolutions of variance 1 / fan-in. Generator: standard normal, as equalised learning rates require.
    Interpreter: convolutions N(0, 0.02), BatchNorm scales N(1, 0.02). Biases 0, but 1 where they modulate.
    """
    leaf = path.rsplit("/", 1)[-1]
    mean, std = _mean_and_std(path, leaf, shape)
    if std == 0:
        return np.full(shape, mean, dtype)
    rng = np.random.default_rng([seed, zlib.crc32(path.encode())])
    values = rng.standard_normal(shape, dtype=np.float32)
    values *= np.float32(std)
    values += np.float32(mean)
    return values.astype(dtype, copy=False)


def _mean_and_std(path: str, leaf: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return mean and standard deviation of a variable's initial values."""
    in_interpreter = path.startswith("interpreter/")
    if leaf == "kernel":
        return 0.0, _kernel_std(path, shape)
    if leaf in ("noise", "constant"):
        return 0.0, 1.0
    if leaf == "scale":
        return 1.0, INTERPRETER_STD if in_interpreter else 0.0
    constants = {"bias": float("/modulation/" in path), "mean": 0.0, "var": 1.0, "slope": PRELU_SLOPE}
    constants |= {"noise_strength": 0.0, "latent_avg": 0.0}
    return constants[leaf], 0.0


def _kernel_std(path: str, shape: tuple[int, ...]) -> float:
    if path.startswith("interpreter/"):
        return INTERPRETER_STD
    if path.startswith("generator/mapping/"):
        return 1 / MAPPING_LR_MUL
    if path.startswith("generator/") or path.endswith("/linear/kernel"):
        return 1.0
    return 1 / math.sqrt(math.prod(shape[:-1]))
