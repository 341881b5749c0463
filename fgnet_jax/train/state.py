"""The state that training carries from step to step."""

import dataclasses

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
      step: Number of updates so far, int32 scalar.
      params: Parameters by path, trained and frozen.
      batch_stats: BatchNorm's running statistics.
      buffers: Noise maps and average latent, never changed.
      opt_state: Optimiser state over the trained parameters.
    """

    step: jax.Array
    params: Arrays
    batch_stats: Arrays
    buffers: Arrays
    opt_state: optax.OptState

    @property
    def variables(self) -> Variables:
        """The network's variables, without the optimiser's state."""
        return Variables(self.params, self.batch_stats, self.buffers)


def create(variables: Variables, optim: OptimConfig, tx: optax.GradientTransformation) -> TrainState:
    """Create the state before the first step."""
    trained, _ = split(variables.params, optim)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables.params,
        batch_stats=variables.batch_stats,
        buffers=variables.buffers,
        opt_state=tx.init(trained),
    )
