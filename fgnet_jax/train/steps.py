"""One training step and one evaluation step: pure functions, which callers jit, testable without a training loop."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from fgnet_jax.aus import Centres
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.fgnet import Arrays, Variables, apply_train, normalise
from fgnet_jax.train import augment
from fgnet_jax.train.losses import LossConfig, face_weights, heatmap_loss, weighted_heatmap_loss
from fgnet_jax.train.optimizer import OptimConfig, gradient_norms, split
from fgnet_jax.train.state import TrainState, averaged
from fgnet_jax.train.targets import INTENSITY, PRESENCE, targets

Batch = Mapping[str, jax.Array]
"""`image` (N, S, S, 3) uint8, `landmarks` (N, 68, 2) float32 in pixels of that image, `labels` (N, K) int8; and for
targets of intensity `intensities` (N, K) float32."""

LossFn = Callable[[Arrays, Arrays, Batch, jax.Array], tuple[jax.Array, Arrays]]
"""Trained parameters, running statistics, a batch and a random key to the loss and the updated running statistics."""


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """Everything static that a step is compiled for.

    Attributes:
      model: The network.
      optim: What is trained, and how.
      centres: Heatmap centres of the K AUs, in channel order.
      target: What target heatmaps show, `targets.PRESENCE` or `targets.INTENSITY`.
      accumulate: Parts that a batch is split into; their gradients are computed one after the other, to save memory.
      flip: Whether half of the faces are mirrored.
      colour: Strength of colour augmentation, 0 for none.
      loss: Weights of the loss.
      ema: Decay of the moving averages of what is trained; 0 to keep none.
    """

    model: ModelConfig
    optim: OptimConfig
    centres: tuple[Centres, ...]
    accumulate: int = 1
    flip: bool = False
    colour: float = 0.0
    target: str = PRESENCE
    loss: LossConfig = LossConfig()
    ema: float = 0.0


class UpdateResult(NamedTuple):
    """The result of a forward and backward pass.

    Attributes:
      loss: Float32 scalar.
      batch_stats: BatchNorm's running statistics, updated.
      gradients: Of the trained parameters, by path.
    """

    loss: jax.Array
    batch_stats: Arrays
    gradients: Arrays


def train_step(
    config: StepConfig, tx: optax.GradientTransformation, state: TrainState, batch: Batch, key: jax.Array
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Update the state by one batch, in the precision that `config.model` names.

    Randomness is `key` folded with the step, so a resumed run draws the same numbers as an uninterrupted one.

    Returns:
      The next state, and the step's metrics, float32 scalars: `loss`, and `grad_norm` before clipping, of all gradients
      and by part (`grad_norm/encoder`).
    """
    with jax.default_matmul_precision(config.model.matmul_precision):
        return _updated(config, tx, state, batch, key)


def _updated(
    config: StepConfig, tx: optax.GradientTransformation, state: TrainState, batch: Batch, key: jax.Array
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Return the updated state and the step's metrics."""
    trained, frozen = split(state.params, config.optim)
    key = jax.random.fold_in(key, state.step)

    def loss_fn(trained: Arrays, batch_stats: Arrays, batch: Batch, key: jax.Array) -> tuple[jax.Array, Arrays]:
        variables = Variables(trained | frozen, batch_stats, state.buffers)
        return batch_loss(config, variables, batch, key)

    batch = _with_weights(config, batch)
    result = _gradients(loss_fn, trained, state.batch_stats, batch, key, accumulate=config.accumulate)
    updates, opt_state = tx.update(result.gradients, state.opt_state, trained)
    trained = cast(Arrays, optax.apply_updates(trained, updates))
    values = trained | result.batch_stats
    updated = TrainState(
        step=state.step + 1,
        params=trained | frozen,
        batch_stats=result.batch_stats,
        buffers=state.buffers,
        opt_state=opt_state,
        averages=averaged(state.averages, values, step=state.step, decay=config.ema) if config.ema else {},
    )
    return updated, {"loss": result.loss, **gradient_norms(result.gradients)}


def _with_weights(config: StepConfig, batch: Batch) -> Batch:
    """Return a batch with the weights (N, K) of its loss, if it is weighted: of all faces, before they are divided."""
    if not config.loss.is_weighted:
        return batch
    return {**batch, "weights": face_weights(batch["labels"], config.loss.positive_weights)}


def batch_loss(config: StepConfig, variables: Variables, batch: Batch, key: jax.Array) -> tuple[jax.Array, Arrays]:
    """Compute the loss of a batch in training mode, and the running statistics, updated by the batch.

    Where the loss is weighted, the batch has `weights` (N, K), too.
    """
    images, target_maps, dropout_key = _network_inputs(config, batch, key)
    heatmaps, batch_stats = apply_train(config.model, variables, images, dropout_key, train=config.optim.trained)
    if config.loss.is_weighted:
        return weighted_heatmap_loss(heatmaps, target_maps, batch["weights"], focal=config.loss.focal), batch_stats
    return heatmap_loss(heatmaps, target_maps, batch["labels"] >= 0), batch_stats


def _network_inputs(config: StepConfig, batch: Batch, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return images in [-1, 1] and target heatmaps, both augmented as configured, and a key for dropout."""
    dropout_key, flip_key, colour_key = jax.random.split(key, 3)
    images, landmarks = normalise(batch["image"]), batch["landmarks"]
    if config.flip:
        images, landmarks = augment.flip(images, landmarks, flip_key)
    if config.colour > 0:
        images = augment.colour(images, config.colour, colour_key)
    target_maps = batch_targets(config, {**batch, "landmarks": landmarks})
    return images, target_maps, dropout_key


def batch_targets(config: StepConfig, batch: Batch) -> jax.Array:
    """Compute the target heatmaps (N, H, H, K) of a batch."""
    return targets(
        batch["landmarks"],
        batch["labels"],
        config.centres,
        size=config.model.heatmap_size,
        image_size=batch["image"].shape[1],
        intensities=batch["intensities"] if config.target == INTENSITY else None,
    )


def _gradients(
    loss_fn: LossFn, trained: Arrays, batch_stats: Arrays, batch: Batch, key: jax.Array, *, accumulate: int
) -> UpdateResult:
    """Compute loss, updated running statistics and gradients; means over `accumulate` parts of the batch.

    The running statistics are updated part by part.
    """
    value_and_grad = jax.value_and_grad(loss_fn, has_aux=True)
    if accumulate == 1:
        (loss, batch_stats), gradients = value_and_grad(trained, batch_stats, batch, key)
        return UpdateResult(loss, batch_stats, gradients)

    def add_part(total: UpdateResult, index_and_part: tuple[jax.Array, Batch]) -> tuple[UpdateResult, None]:
        index, part = index_and_part
        part_key = jax.random.fold_in(key, index)
        (loss, batch_stats), gradients = value_and_grad(trained, total.batch_stats, part, part_key)
        return UpdateResult(
            loss=total.loss + loss / accumulate,
            batch_stats=batch_stats,
            gradients=jax.tree.map(lambda a, b: a + b / accumulate, total.gradients, gradients),
        ), None

    # Every accumulate-th image: neighbours lie on one device, so each part is spread over all devices.
    parts = {name: x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1) for name, x in batch.items()}
    zero = UpdateResult(jnp.zeros(()), batch_stats, jax.tree.map(jnp.zeros_like, trained))
    return jax.lax.scan(add_part, zero, (jnp.arange(accumulate), parts))[0]
