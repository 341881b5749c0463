"""The optimiser: AdamW as FG-Net uses it, or another of optax; rates per part and layer of the network, schedules."""

import dataclasses
import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from fgnet_jax.models.fgnet import Arrays
from fgnet_jax.models.ops import gathering, platforms
from fgnet_jax.train import optimizer_names

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
      name: "adamw", or another optimiser of optax (`optimizer_names.OPTIMIZERS`).
      lr: Learning rate of every part whose own rate is None.
      lr_encoder: Learning rate of the encoder; 0 freezes it: no gradient, and BatchNorm uses its running statistics.
      lr_generator: The same for the generator.
      lr_interpreter: The same for the interpreter.
      weight_decay: Decoupled weight decay, multiplied by the learning rate, on every trained parameter; of no effect
        where the optimiser has none.
      clip: Largest global norm of the gradient; 0 for no clipping.
      warmup_steps: Steps of linear warm-up from 0.
      schedule: "constant", or "cosine" down to 0 at the last step.
      options: Further arguments of the optimiser, as (name, value).
      layer_decay: Factor on the rate from one trained layer to the one before it (`layer_factors`); 1 for none.
      frozen: Paths of modules whose parameters are not trained, such as "encoder/body/0" or "generator/mapping". A part
        that is named whole is as one of rate 0; within a part, BatchNorm goes on with the batch's statistics.
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
    options: tuple[tuple[str, Any], ...] = ()
    layer_decay: float = 1.0
    frozen: tuple[str, ...] = ()

    def __post_init__(self):
        optimizer_names.check(self.name, self.options)
        for key in ("weight_decay", "clip", "warmup_steps"):
            if not getattr(self, key) >= 0:  # NaN is none of these, either
                raise ValueError(f"optim.{key} must be at least 0, got {getattr(self, key)}")
        for key in ("lr", *(f"lr_{part}" for part in PARTS)):
            value = getattr(self, key)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"optim.{key} must be a finite number, at least 0, got {value}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"optim.layer_decay must be above 0, and 1 at most, got {self.layer_decay}")
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(f'optim.schedule must be "constant" or "cosine", got {self.schedule!r}')

    def rate(self, part: str) -> float:
        """Return the peak learning rate of a part of the network."""
        own = getattr(self, f"lr_{part}")
        return self.lr if own is None else own

    @property
    def trained(self) -> tuple[str, ...]:
        """The parts whose learning rate is above 0, and that are not frozen whole."""
        return tuple(part for part in PARTS if self.rate(part) > 0 and part not in self.frozen)


def is_trained(path: str, config: OptimConfig) -> bool:
    """Return whether the parameter at this path is trained.

    ToRGB never is: the heatmaps do not depend on it, so it has no gradient, and PyTorch skips parameters without a
    gradient altogether, weight decay included.
    """
    if path.split("/", 1)[0] not in config.trained or path.startswith("generator/to_rgbs/"):
        return False
    return not any(is_within(path, module) for module in config.frozen)


def is_within(path: str, module: str) -> bool:
    """Return whether the parameter at this path is of the module at another: encoder/body/1, not encoder/body/10."""
    return path == module or path.startswith(f"{module.rstrip('/')}/")


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
        return optimizer_names.build(config.name, rate, weight_decay=config.weight_decay, options=config.options)

    def labels(params: Arrays) -> dict[str, str]:
        return {path: path.split("/", 1)[0] for path in params}

    clip = clip_by_global_norm(config.clip) if config.clip > 0 else optax.identity()
    rules = optax.partition({part: rule(part) for part in config.trained}, labels)
    # No third link where it is not needed: a checkpoint names the links, and earlier ones had two.
    tx = optax.chain(clip, rules, *([by_layer(config.layer_decay)] if config.layer_decay < 1 else []))

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


def by_layer(decay: float) -> optax.GradientTransformation:
    """Build the transformation that multiplies updates (by path) with the factors of their layers."""

    def scale(updates: optax.Updates, params: optax.Params | None) -> optax.Updates:
        del params
        by_path = cast(Arrays, updates)
        factors = layer_factors(tuple(by_path), decay)
        return {path: update * factors[path] for path, update in by_path.items()}

    return optax.stateless(scale)


def layer_factors(paths: tuple[str, ...], decay: float) -> dict[str, float]:
    """Compute the factor on the rate of each parameter: decay ^ (number of layers behind its own).

    Layer-wise rate decay (Howard and Ruder, ACL 2018; Clark et al., ELECTRA, ICLR 2020), so that what is nearest to the
    output, and furthest from what it was pre-trained for, learns fastest. Layers in the order in which a face passes
    them: the encoder's input; each block of its body; its style heads; the mapping network; each convolution of the
    generator; the interpreter. Only those that these parameters are of are counted.

    Args:
      paths: Paths of the trained parameters.
      decay: Factor from one layer to the one before it.
    """
    layers = {path: _layer(path) for path in paths}
    behind = {layer: k for k, layer in enumerate(sorted(set(layers.values()), reverse=True))}
    return {path: decay ** behind[layer] for path, layer in layers.items()}


def _layer(path: str) -> tuple[int, int, int]:
    """Return the place of a parameter's layer: part, group within the part, number within the group."""
    part, name, number = [*path.split("/"), ""][:3]
    groups = {"encoder": {"body": 1, "styles": 2, "lateral1": 2, "lateral2": 2}, "generator": {"convs": 1}}
    group = groups.get(part, {}).get(name, 0)
    return PARTS.index(part), group, int(number) if name in ("body", "convs") else 0


def gradient_norms(gradients: Arrays) -> dict[str, jax.Array]:
    """Return the norm of all gradients (by path) as `grad_norm`, and of each part as `grad_norm/encoder` and so on."""
    parts = {part: {path: x for path, x in gradients.items() if is_within(path, part)} for part in PARTS}
    norms = {f"grad_norm/{part}": global_norm(group) for part, group in parts.items() if group}
    return {"grad_norm": global_norm(gradients)} | norms


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


def learning_rates(config: OptimConfig, step: int, total_steps: int) -> dict[str, float]:
    """Return the rate of the update from `step` to `step + 1`, for the log.

    Returns:
      `lr`, that of the last part that is trained; and `lr/encoder` and so on, where parts have rates of their own.
    """
    factor = _factor(config, step, total_steps)
    rates = {part: config.rate(part) * factor for part in config.trained}
    parts = {f"lr/{part}": rate for part, rate in rates.items()} if len(set(rates.values())) > 1 else {}
    return {"lr": rates[config.trained[-1]]} | parts


def _factor(config: OptimConfig, step: int, total_steps: int) -> float:
    """Return the rate as a share of its peak: `_schedule` as plain arithmetic, which keeps no device waiting."""
    if step < config.warmup_steps:
        return step / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    done = (step - config.warmup_steps) / max(total_steps - config.warmup_steps, 1)
    return (1 + math.cos(math.pi * min(done, 1.0))) / 2


def _schedule(config: OptimConfig, peak: float, total_steps: int) -> optax.Schedule:
    warmup = optax.linear_schedule(0.0, peak, max(config.warmup_steps, 1))
    rest = max(total_steps - config.warmup_steps, 1)
    main = optax.constant_schedule(peak) if config.schedule == "constant" else optax.cosine_decay_schedule(peak, rest)
    return optax.join_schedules([warmup, main], [config.warmup_steps]) if config.warmup_steps else main
