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
      averages: Moving averages of the trained parameters and of `batch_stats`, by path, in float32 at least: a step of
        an average is smaller than bfloat16 resolves. Empty where none are kept.
    """

    step: jax.Array
    params: Arrays
    batch_stats: Arrays
    buffers: Arrays
    opt_state: optax.OptState
    averages: Arrays = dataclasses.field(default_factory=dict)

    @property
    def variables(self) -> Variables:
        """The network's variables, without the optimiser's state."""
        return Variables(self.params, self.batch_stats, self.buffers)

    @property
    def evaluated(self) -> Variables:
        """The variables that are evaluated, selected and saved: averages, where they are kept."""
        params, batch_stats = (
            {path: _as_dtype(self.averages.get(path, value), value.dtype) for path, value in group.items()}
            for group in (self.params, self.batch_stats)
        )
        return Variables(params, batch_stats, self.buffers)


def create(
    variables: Variables, optim: OptimConfig, tx: optax.GradientTransformation, *, averaged: bool = False
) -> TrainState:
    """Create the state before the first step.

    Args:
      variables: The network's variables.
      optim: What is trained.
      tx: The optimiser.
      averaged: Whether averages are kept; they begin with these variables.
    """
    trained, _ = split(variables.params, optim)
    values = trained | variables.batch_stats if averaged else {}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables.params,
        batch_stats=variables.batch_stats,
        buffers=variables.buffers,
        opt_state=tx.init(trained),
        averages={path: _as_dtype(x, jnp.promote_types(x.dtype, jnp.float32)) for path, x in values.items()},
    )


def _as_dtype(value: jax.Array, dtype: jnp.dtype) -> jax.Array:
    return value if value.dtype == dtype else value.astype(dtype)


def averaged(averages: Arrays, values: Arrays, *, step: jax.Array, decay: float) -> Arrays:
    """Return the moving averages after an update: d a + (1 - d) v, with d = min(decay, (1 + t) / (10 + t)).

    t is the number of updates before this one. The decay is smaller at the beginning, so that a short run's averages
    are not those of the weights that it began with (TensorFlow's `ExponentialMovingAverage(num_updates=…)`, which
    EfficientNet was trained with). BatchNorm's statistics are averaged as parameters are: they belong to them.

    Args:
      averages: By path.
      values: The same paths, after the update.
      step: t, int32 scalar.
      decay: Such as 0.999.
    """
    beginning = (1 + step) / (10 + step)
    share = (1 - jnp.minimum(decay, beginning)).astype(jnp.float32)
    return {path: (old + share * (values[path] - old)).astype(old.dtype) for path, old in averages.items()}
