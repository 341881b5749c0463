"""Strided convolutions side by side, as groups of channels, with a gradient that XLA has for single ones only.

Kernels are in cuDNN's order, (features out, rows, columns, features in), one after the other along the first axis.
"""

import functools

import jax
import jax.numpy as jnp

from fgnet_jax.models.ops import direct


def stack(kernels: tuple[jax.Array, ...]) -> jax.Array:
    """Stack K kernels (3, 3, Cin, Cout) to (K * Cout, 3, 3, Cin)."""
    # Concatenated before they are transposed, and their gradients transposed before they are split: XLA then starts one
    # kernel for all.
    # The barrier is for the map's gradient: XLA would write them in the other order, too, for its products.
    return jax.lax.optimization_barrier(direct.features_first(jnp.concatenate(kernels, axis=-1)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def halve(x: jax.Array, kernels: jax.Array, groups: int) -> jax.Array:
    """Convolve each group of a map's channels by its kernel, with a stride of 2 and a padding of 1.

    Args:
      x: (N, H, W, groups * Cin), H and W even.
      kernels: (groups * Cout, 3, 3, Cin).
      groups: Number of groups.

    Returns:
      (N, H / 2, W / 2, groups * Cout).
    """
    return direct.conv_features_first(x, kernels, ((1, 1), (1, 1)), 2, groups)


def _halve_forward(x: jax.Array, kernels: jax.Array, groups: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return halve(x, kernels, groups), (x, kernels)


def _halve_backward(groups: int, kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernels = kept

    def convolve(x: jax.Array, kernels: jax.Array) -> jax.Array:
        return direct.conv_features_first(x, kernels, ((1, 1), (1, 1)), 2, groups)

    of_x, of_kernels = jax.vjp(convolve, x, kernels)[1](gradient)
    return of_x if groups == 1 else _of_map(kernels, gradient, groups), of_kernels


halve.defvjp(_halve_forward, _halve_backward)


def _of_map(kernels: jax.Array, gradient: jax.Array, groups: int) -> jax.Array:
    """Compute the map's gradient, by a matrix product per group and the sum of its pixels' shares.

    XLA calls cuDNN for it only where there is one group: others it convolves with three zeros for each pixel.
    """
    n, height, width, _ = gradient.shape
    matrices = kernels.reshape(groups, -1, 9 * kernels.shape[-1])
    products = jnp.einsum("nhwgo,gok->gnhwk", gradient.reshape(n, height, width, groups, -1), matrices)
    taps = products.reshape(groups, n, height, width, 3, 3, -1)
    taps = _interleaved(taps[..., 0, :, :], taps[..., 1, :, :], taps[..., 2, :, :], axis=2)
    taps = _interleaved(taps[..., 0, :], taps[..., 1, :], taps[..., 2, :], axis=3)
    return taps.transpose(1, 2, 3, 0, 4).reshape(n, 2 * height, 2 * width, -1)


def _interleaved(before: jax.Array, at: jax.Array, after: jax.Array, axis: int) -> jax.Array:
    """Add up what each pixel of a halved map gives to the pixels before, at and after twice its place."""
    edge = [(0, 1) if k == axis else (0, 0) for k in range(before.ndim)]
    of_next = jax.lax.slice_in_dim(jnp.pad(before, edge), 1, None, axis=axis)
    pairs = jnp.stack([at, after + of_next], axis=axis + 1)
    return pairs.reshape(*at.shape[:axis], 2 * at.shape[axis], *at.shape[axis + 1 :])
