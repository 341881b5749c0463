"""What training carries from step to step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fgnet_jax.models.fgnet import Arrays, Variables
from fgnet_jax.train.optimizer import OptimConfig, split


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """A pure pytree of flat dictionaries.

    Attributes:
      step: Number of updates made, int32 scalar.
      params: Parameters by path, trained and frozen ones.
      batch_stats: BatchNorm's running statistics.
      buffers: Noise maps and average latent, never changed.
      opt_state: Optimiser state over the trained parameters.
    """

    step: jax.Array
    params: Arrays
    batch_stats: Arrays
    buffers: Arrays
    opt_state: Any

    @property
    def variables(self) -> Variables:
        """The network's variables."""
        return Variables(self.params, self.batch_stats, self.buffers)


def create(variables: Variables, optim: OptimConfig, tx: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    trained, _ = split(variables.params, optim)
    step = jnp.zeros((), jnp.int32)
    return TrainState(step, variables.params, variables.batch_stats, variables.buffers, tx.init(trained))
