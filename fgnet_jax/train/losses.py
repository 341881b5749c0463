"""The training loss as published, and its weights against imbalance, which are off by default."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """How a loss is weighted; the defaults are the published one, without weights.

    Attributes:
      positive_weights: Weight of the faces on which an AU is present, for each of the K AUs; empty for 1.
      focal: Exponent of the focal factor, 0 for none; see `focal_errors`.
    """

    positive_weights: tuple[float, ...] = ()
    focal: float = 0.0

    @property
    def is_weighted(self) -> bool:
        """Whether it differs from the published loss."""
        return bool(self.positive_weights) or self.focal > 0


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


def weighted_heatmap_loss(
    heatmaps: jax.Array, targets: jax.Array, weights: jax.Array, *, focal: float = 0.0
) -> jax.Array:
    """Compute the mean over faces of the sum over AUs of `weights` times the (focal) mean squared error over space.

    Args:
      heatmaps: (N, H, W, C) float32, not clipped; channels beyond the K AUs are ignored.
      targets: (N, H, W, K) float32.
      weights: (N, K) float32, of `face_weights` for the whole batch: the mean of this loss over parts of equal size is
        that of the whole batch, whatever labels are unknown in which part.
      focal: Exponent of the focal factor.

    Returns:
      A float32 scalar; with `face_weights` without positive weights, and no focal factor, `heatmap_loss`.
    """
    errors = focal_errors(heatmaps[..., : targets.shape[-1]], targets, focal).mean((1, 2))
    return jnp.where(weights > 0, weights * errors, 0).sum(1).mean()


def face_weights(labels: jax.Array, positive_weights: tuple[float, ...] = ()) -> jax.Array:
    """Compute the weight of every face and AU of a whole batch in `weighted_heatmap_loss`.

        w[n, k] = N p[k] / (n_k K')   where AU k is present in face n
                  N / (n_k K')        where it is absent
                  0                   where its label is unknown

    n_k faces of the N have a known label of AU k, and K' of the K AUs have one in some face. p are positive weights as
    PyTorch's `BCEWithLogitsLoss(pos_weight=…)` has them: the terms of positive faces are multiplied by p[k], and the
    sum is divided by the number of faces, not of weights.

    Args:
      labels: (N, K): 1 present, 0 absent, -1 unknown.
      positive_weights: p, of the K AUs; empty for 1.

    Returns:
      (N, K) float32.
    """
    known = labels >= 0
    counts = known.sum(0)
    shares = len(labels) / (jnp.maximum(counts, 1) * jnp.maximum((counts > 0).sum(), 1))
    of_present = jnp.asarray(positive_weights or (1.0,), jnp.float32)
    return jnp.where(known, jnp.where(labels == 1, of_present, 1.0) * shares, 0.0).astype(jnp.float32)


def focal_errors(heatmaps: jax.Array, targets: jax.Array, focal: float) -> jax.Array:
    """Compute squared errors with a focal factor, so that what is predicted well counts little.

        (|h - t| / 2)^focal (h - t)^2   for |h - t| < 2, else (h - t)^2

    The focal loss (Lin et al., ICCV 2017) multiplies a term by (1 - p_t)^gamma, p_t being the probability of the true
    class; for continuous targets t in [0, 1], the factor is |t - p|^gamma (Quality Focal Loss: Li et al., Generalized
    Focal Loss, NeurIPS 2020, equation 3). Heatmaps here are in [-1, 1], which is twice as wide, so their error is
    halved; beyond it, where |h - t| is above 2, the factor stays 1. As there, the gradient flows through the factor.

    Args:
      heatmaps: Any shape, float32, not clipped.
      targets: The same shape, in [-1, 1].
      focal: Gamma, at least 0.

    Returns:
      The same shape.
    """
    squared = jnp.square(heatmaps - targets)
    if not focal:
        return squared
    # One power: the derivative of the factor alone is infinite where the error is 0.
    small = jnp.minimum(squared, 4.0)
    return jnp.where(squared < 4, small ** (1 + focal / 2) / 2**focal, squared)


def inverse_frequency(labels: np.ndarray) -> tuple[float, ...]:
    """Compute positive weights that make present and absent faces of an AU count alike.

        p[k] = absent faces of AU k / present faces

    which is what PyTorch's documentation of `BCEWithLogitsLoss` recommends as `pos_weight`, and the ratio of scikit-
    learn's `class_weight="balanced"` (King and Zeng, Political Analysis 2001).

    Args:
      labels: (N, K) of all training faces: 1 present, 0 absent; -1, unknown, counts as neither.

    Returns:
      K numbers; 1 for an AU that is never, or always, present.
    """
    present, absent = (labels == 1).sum(0), (labels == 0).sum(0)
    ratios = np.where((present > 0) & (absent > 0), absent / np.maximum(present, 1), 1.0)
    return tuple(ratios.tolist())
