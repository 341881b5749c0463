"""The training loss."""

import jax
import jax.numpy as jnp


def heatmap_loss(heatmaps: jax.Array, targets: jax.Array, known: jax.Array) -> jax.Array:
    """Compute the mean over AUs of the mean squared error over batch and space.

    Args:
      heatmaps: (N, H, W, C) float32, not clipped; channels beyond the K AUs are ignored.
      targets: (N, H, W, K) float32.
      known: (N, K) bool; an unknown label contributes no loss, and an AU unknown in the whole batch is left out of the
        mean.

    Returns:
      A float32 scalar; with every label known, the published loss.
    """
    errors = jnp.square(heatmaps[..., : targets.shape[-1]] - targets).mean((1, 2))
    counts = known.sum(0)
    per_au = jnp.where(known, errors, 0).sum(0) / jnp.maximum(counts, 1)
    return per_au.sum() / jnp.maximum((counts > 0).sum(), 1)
