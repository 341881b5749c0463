"""AdamW as FG-Net uses it: PyTorch's gradient clipping, a rate per part of the network, schedules."""

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp
import optax

from fgnet_jax.models.fgnet import Arrays
from fgnet_jax.models.ops import gathering, platforms

PARTS = ("encoder", "generator", "interpreter")
"""Parts of the network: what the paths of their parameters begin with."""

_SMALL = 2**12
"""Elements from which on an array is large; it may then be split over devices (`runtime.sharding`)."""

_TOGETHER = 16
"""Small arrays of one shape that a GPU updates with one kernel."""


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """How parameters are updated. The defaults are the published ones.

    Attributes:
      name: "adamw", or "sgd" (plain, for comparisons across devices).
      lr: Learning rate of every part whose own rate is None.
      lr_encoder: Learning rate of the encoder; 0 freezes it: no gradient, and BatchNorm uses its running statistics.
      lr_generator: The same for the generator.
      lr_interpreter: The same for the interpreter.
      weight_decay: Decoupled weight decay, multiplied by the learning rate, on every trained parameter.
      clip: Largest global norm of the gradient; 0 for no clipping.
      warmup_steps: Steps of linear warm-up from 0.
      schedule: "constant", or "cosine" down to 0 at the last step.
    """

    name: str = "adamw"
    lr: float = 5e-5
    lr_encoder: float | None = None
    lr_generator: float | None = None
    lr_interpreter: float | None = None
    weight_decay: float = 5e-4
    clip: float = 0.1
    warmup_steps: int = 0
    schedule: str = "constant"

    def __post_init__(self):
        if self.name not in ("adamw", "sgd"):
            raise ValueError(f'optim.name must be "adamw" or "sgd", got {self.name!r}')
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(f'optim.schedule must be "constant" or "cosine", got {self.schedule!r}')

    def rate(self, part: str) -> float:
        """Return the peak learning rate of a part of the network."""
        own = getattr(self, f"lr_{part}")
        return self.lr if own is None else own

    @property
    def trained(self) -> tuple[str, ...]:
        """The parts whose learning rate is above 0."""
        return tuple(part for part in PARTS if self.rate(part) > 0)


def is_trained(path: str, config: OptimConfig) -> bool:
    """Return whether the parameter at this path is trained.

    ToRGB never is: the heatmaps do not depend on it, so it has no gradient, and PyTorch skips parameters without a
    gradient altogether, weight decay included.
    """
    return path.split("/", 1)[0] in config.trained and not path.startswith("generator/to_rgbs/")


def split(params: Arrays, config: OptimConfig) -> tuple[Arrays, Arrays]:
    """Split parameters by path into the trained and the frozen ones."""
    trained = {path: value for path, value in params.items() if is_trained(path, config)}
    return trained, {path: value for path, value in params.items() if path not in trained}


def optimizer(config: OptimConfig, total_steps: int) -> optax.GradientTransformation:
    """Build the transformation of the trained parameters' gradients (by path) into updates.

    Args:
      config: Rule, learning rates, clipping.
      total_steps: Steps of the run, at whose end a cosine schedule reaches 0.
    """

    def rule(part: str) -> optax.GradientTransformation:
        rate = _schedule(config, config.rate(part), total_steps)
        if config.name == "sgd":
            return optax.sgd(rate)
        return optax.adamw(rate, weight_decay=config.weight_decay)

    def labels(params: Arrays) -> dict[str, str]:
        return {path: path.split("/", 1)[0] for path in params}

    clip = clip_by_global_norm(config.clip) if config.clip > 0 else optax.identity()
    tx = optax.chain(clip, optax.partition({part: rule(part) for part in config.trained}, labels))

    def update(
        gradients: Arrays, state: optax.OptState, params: Arrays | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        return tx.update(_side_by_side(gradients), state, params)

    return optax.GradientTransformation(tx.init, cast(optax.TransformUpdateFn, update))


def clip_by_global_norm(max_norm: float) -> optax.GradientTransformation:
    """Build PyTorch's `clip_grad_norm_`: a factor of max_norm / (norm + 1e-6), at most 1 (optax' has no 1e-6)."""

    def clip(gradients: optax.Updates, params: optax.Params | None) -> optax.Updates:
        del params
        factor = jnp.minimum(1, max_norm / (global_norm(gradients) + 1e-6))
        return jax.tree.map(lambda gradient: gradient * factor, gradients)

    return optax.stateless(clip)


def global_norm(gradients: optax.Updates) -> jax.Array:
    """Return the Euclidean norm of all gradients (by path), a scalar."""
    # Shares of split kernels would have to change devices for a concatenation.
    if platforms.current() != "gpu" or gathering.is_split():
        return optax.tree.norm(gradients)
    # A GPU starts a kernel for the rows of each large array and one for all small ones, not two for every array.
    arrays = jax.tree.leaves(gradients)
    small = [array.reshape(-1) for array in arrays if array.size < _SMALL]
    rows = [jnp.square(array).sum(-1).reshape(-1) for array in arrays if array.size >= _SMALL]
    # Without them, XLA would take the concatenations apart again.
    rows = jax.lax.optimization_barrier(rows)
    small, rows = jax.lax.optimization_barrier([jnp.concatenate([jnp.zeros(1), *part]) for part in (small, rows)])
    return jnp.sqrt(jnp.square(small).sum() + rows.sum())


def _side_by_side(gradients: Arrays) -> Arrays:
    """Lay small gradients of one shape side by side in an array and return them as its slices, for GPUs.

    Two thirds of the parameters are vectors. XLA would start a kernel to update each, but updates several with one
    where they read the same array. Its time for finding out grows with their square: `_TOGETHER` at most.
    """
    if platforms.current() != "gpu":
        return gradients
    alike: dict[tuple[tuple[int, ...], jnp.dtype], list[str]] = {}
    for path, gradient in sorted(gradients.items()):
        if gradient.size < _SMALL:
            alike.setdefault((gradient.shape, gradient.dtype), []).append(path)
    groups = [paths[k : k + _TOGETHER] for paths in alike.values() for k in range(0, len(paths), _TOGETHER)]
    arrays = jax.lax.optimization_barrier([jnp.stack([gradients[path] for path in paths]) for paths in groups])
    slices = {
        path: part for paths, array in zip(groups, arrays, strict=True) for path, part in zip(paths, array, strict=True)
    }
    return gradients | slices


def _schedule(config: OptimConfig, peak: float, total_steps: int) -> optax.Schedule:
    warmup = optax.linear_schedule(0.0, peak, max(config.warmup_steps, 1))
    rest = max(total_steps - config.warmup_steps, 1)
    main = optax.constant_schedule(peak) if config.schedule == "constant" else optax.cosine_decay_schedule(peak, rest)
    return optax.join_schedules([warmup, main], [config.warmup_steps]) if config.warmup_steps else main
