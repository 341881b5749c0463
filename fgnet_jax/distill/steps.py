"""A training step and an evaluation step of a student: pure functions, which callers jit."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from fgnet_jax.aus import Centres
from fgnet_jax.distill.augment import AugmentConfig, augment
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import StudentConfig
from fgnet_jax.models.fgnet import Arrays, Variables
from fgnet_jax.train import optimizer_names
from fgnet_jax.train.losses import heatmap_loss
from fgnet_jax.train.optimizer import clip_by_global_norm, global_norm
from fgnet_jax.train.state import TrainState, averaged
from fgnet_jax.train.targets import targets

Batch = Mapping[str, jax.Array]
"""`image` (N, S, S, 3) uint8; `heatmaps` (N, M, M, K) float16, the teachers', NaN for an AU that is not known; with
labels, `landmarks` (N, 68, 2) float32 in pixels of the face and `labels` (N, K) int8, -1 unknown."""


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """How parameters are updated: warm-up, then a cosine down to 0.

    Attributes:
      name: An optimiser of optax (`optimizer_names.OPTIMIZERS`).
      lr: Peak learning rate.
      weight_decay: Decoupled, multiplied by the rate; of no effect where the optimiser has none.
      clip: Largest global norm of the gradient; 0 for no clipping.
      warmup_steps: Steps of linear warm-up from 0.
      steps: Steps in all.
      options: Further arguments of the optimiser, as (name, value).
    """

    name: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 1e-2
    clip: float = 1.0
    warmup_steps: int = 0
    steps: int = 1
    options: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self):
        optimizer_names.check(self.name, self.options)
        for key in ("weight_decay", "clip", "warmup_steps"):
            if not getattr(self, key) >= 0:  # NaN neither
                raise ValueError(f"optim.{key} must be at least 0, got {getattr(self, key)}")
        if not self.lr > 0:
            raise ValueError(f"optim.lr must be above 0, got {self.lr}")
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"optim.warmup_steps must be fewer than the run's steps (train.steps), got {self.warmup_steps} of "
                f"{self.steps}"
            )

    def rates(self) -> optax.Schedule:
        """Return the learning rate by step."""
        rest = optax.cosine_decay_schedule(self.lr, self.steps - self.warmup_steps)
        warmup = optax.linear_schedule(0.0, self.lr, max(self.warmup_steps, 1))
        return optax.join_schedules([warmup, rest], [self.warmup_steps]) if self.warmup_steps else rest

    def rate(self, step: int) -> float:
        """Return the learning rate of the update from `step` to `step + 1`: `rates` as plain arithmetic."""
        if step < self.warmup_steps:
            return self.lr * step / self.warmup_steps
        done = (step - self.warmup_steps) / (self.steps - self.warmup_steps)
        return self.lr * (1 + math.cos(math.pi * min(done, 1.0))) / 2


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """Everything static that a step is compiled for.

    Attributes:
      model: The student.
      optim: How it is updated.
      augment: How faces are changed.
      label_weight: Weight of the published loss on labels; 0 for none.
      centres: Heatmap centres of the K AUs, in channel order, for labels.
      ema: Decay of the moving averages of the weights; 0 to keep none.
    """

    model: StudentConfig
    optim: OptimConfig = OptimConfig()
    augment: AugmentConfig = AugmentConfig()
    label_weight: float = 0.0
    centres: tuple[Centres, ...] = ()
    ema: float = 0.0


def optimizer(config: OptimConfig) -> optax.GradientTransformation:
    """Build the transformation of gradients (by path) into updates."""
    clip = clip_by_global_norm(config.clip) if config.clip else optax.identity()
    rule = optimizer_names.build(config.name, config.rates(), weight_decay=config.weight_decay, options=config.options)
    return optax.chain(clip, rule)


def create(variables: Variables, config: StepConfig) -> TrainState:
    """Create the state before the first step."""
    values = variables.params | variables.batch_stats if config.ema else {}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables.params,
        batch_stats=variables.batch_stats,
        buffers=variables.buffers,
        opt_state=optimizer(config.optim).init(variables.params),
        averages={path: jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32)) for path, x in values.items()},
    )


def train_step(
    config: StepConfig, state: TrainState, batch: Batch, key: jax.Array
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Update the state by one batch.

    Randomness is `key` folded with the step, so a resumed run draws the same numbers as an uninterrupted one.

    Returns:
      The next state, and the step's metrics, float32 scalars: `loss` and `grad_norm`; and, with labels, the two parts
      `loss/teachers` and `loss/labels`.
    """
    with jax.default_matmul_precision(config.model.matmul_precision):
        return _updated(config, state, batch, jax.random.fold_in(key, state.step))


def _updated(
    config: StepConfig, state: TrainState, batch: Batch, key: jax.Array
) -> tuple[TrainState, dict[str, jax.Array]]:
    images, maps = augment(config.augment, fgnet.normalise(batch["image"]), _maps(config, batch), key)

    def loss_fn(params: Arrays) -> tuple[jax.Array, tuple[Arrays, dict[str, jax.Array]]]:
        variables = Variables(params, state.batch_stats, state.buffers)
        heatmaps, batch_stats = fgnet.apply_train(config.model, variables, images, None)
        loss, parts = losses(config, heatmaps, maps, batch)
        return loss, (batch_stats, parts)

    (loss, (batch_stats, parts)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    updates, opt_state = optimizer(config.optim).update(gradients, state.opt_state, state.params)
    params = cast(Arrays, optax.apply_updates(state.params, updates))
    values = params | batch_stats
    updated = TrainState(
        step=state.step + 1,
        params=params,
        batch_stats=batch_stats,
        buffers=state.buffers,
        opt_state=opt_state,
        averages=averaged(state.averages, values, step=state.step, decay=config.ema) if config.ema else {},
    )
    return updated, {"loss": loss, "grad_norm": global_norm(gradients), **parts}


def _maps(config: StepConfig, batch: Batch) -> jax.Array:
    """Return the heatmaps to learn (N, M, M, K), 0 where not known; with labels, behind them theirs (N, M, M, 2 K)."""
    heatmaps = jnp.nan_to_num(batch["heatmaps"].astype(jnp.float32))
    if not config.label_weight:
        return heatmaps
    of_labels = targets(
        jnp.nan_to_num(batch["landmarks"]),  # of faces without labels, whose targets are 0
        batch["labels"],
        config.centres,
        size=heatmaps.shape[1],
        image_size=batch["image"].shape[1],
    )
    return jnp.concatenate([heatmaps, of_labels], -1)


def losses(
    config: StepConfig, predicted: jax.Array, maps: jax.Array, batch: Batch
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Compute the loss: the mean over AUs of the mean squared error to the teachers' heatmaps, and to those of labels.

    Args:
      config: Says how much labels weigh.
      predicted: (N, H, H, K) float32, H a multiple of M.
      maps: `_maps`, augmented.
      batch: Says what is known.

    Returns:
      The loss, and its two parts by name, if there are two.
    """
    count = batch["heatmaps"].shape[-1]
    predicted = shrink(predicted, maps.shape[1])
    known = jnp.isfinite(batch["heatmaps"]).all((1, 2))
    of_teachers = heatmap_loss(predicted, maps[..., :count], known)
    if not config.label_weight:
        return of_teachers, {}
    of_labels = heatmap_loss(predicted, maps[..., count:], batch["labels"] >= 0)
    parts = {"loss/teachers": of_teachers, "loss/labels": of_labels}
    return of_teachers + config.label_weight * of_labels, parts


def shrink(maps: jax.Array, size: int) -> jax.Array:
    """Bring maps (N, H, H, C) to (N, size, size, C): means of blocks; smaller ones are enlarged bilinearly."""
    n, side, _, channels = maps.shape
    if side < size:
        return jax.image.resize(maps, (n, size, size, channels), "bilinear")
    factor = side // size
    return maps.reshape(n, size, factor, size, factor, channels).mean((2, 4))


def evaluate_step(config: StepConfig, variables: Variables, batch: Batch) -> dict[str, jax.Array]:
    """Compare a student with its teachers.

    Returns:
      `scores` (N, K) in [-1, 1], and `errors` (N, K), mean squared errors of the heatmaps; NaN where not known.
    """
    heatmaps = fgnet.au_heatmaps(config.model, variables, batch["image"], batch["heatmaps"].shape[-1])
    expected = batch["heatmaps"].astype(jnp.float32)
    errors = jnp.square(shrink(heatmaps, expected.shape[1]) - expected).mean((1, 2))
    return {"scores": fgnet.scores(heatmaps), "errors": errors}
