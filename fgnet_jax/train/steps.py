"""One training step and one evaluation step: pure functions, jitted by the mains, testable without a loop."""

import dataclasses
from collections.abc import Mapping
from typing import cast

import jax
import jax.numpy as jnp
import optax

from fgnet_jax.aus import Centres
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.fgnet import Arrays, Variables, apply_train, au_heatmaps, normalise, scores
from fgnet_jax.train import augment
from fgnet_jax.train.losses import heatmap_loss
from fgnet_jax.train.optimizer import OptimConfig, split
from fgnet_jax.train.state import TrainState
from fgnet_jax.train.targets import targets

Batch = Mapping[str, jax.Array]
"""`image` (N, S, S, 3) uint8, `landmarks` (N, 68, 2) float32 in pixels of that image, `labels` (N, K) int8."""


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """Everything static that a step is compiled for.

    Attributes:
      model: The network.
      optim: What is trained, and how.
      centres: Heatmap centres of the K AUs, in channel order.
      accumulate: Parts that a batch is worked through in, one after the other, to save memory.
      flip: Whether half of the faces are mirrored.
      colour: Strength of colour changes, 0 for none.
    """

    model: ModelConfig
    optim: OptimConfig
    centres: tuple[Centres, ...]
    accumulate: int = 1
    flip: bool = False
    colour: float = 0.0


def train_step(
    config: StepConfig, tx: optax.GradientTransformationExtraArgs, state: TrainState, batch: Batch, key: jax.Array
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update on one batch, in the precision that `config.model` names.

    Randomness is `key` folded with the step, so a resumed run draws what an uninterrupted one does.

    Returns:
      The next state, and `loss` and `grad_norm` (before clipping), float32 scalars.
    """
    with jax.default_matmul_precision(config.model.matmul_precision):
        return _updated(config, tx, state, batch, key)


def _updated(
    config: StepConfig, tx: optax.GradientTransformationExtraArgs, state: TrainState, batch: Batch, key: jax.Array
) -> tuple[TrainState, dict[str, jax.Array]]:
    trained, frozen = split(state.params, config.optim)
    key = jax.random.fold_in(key, state.step)

    def loss_fn(trained: Arrays, batch_stats: Arrays, batch: Batch, key: jax.Array):
        variables = Variables(trained | frozen, batch_stats, state.buffers)
        return batch_loss(config, variables, batch, key)

    loss, batch_stats, grads = _gradients(loss_fn, trained, state.batch_stats, batch, key, config.accumulate)
    updates, opt_state = tx.update(grads, state.opt_state, trained)
    moved = cast(Arrays, optax.apply_updates(trained, updates))
    params = moved | frozen
    metrics = {"loss": loss, "grad_norm": optax.tree.norm(grads)}
    return TrainState(state.step + 1, params, batch_stats, state.buffers, opt_state), metrics


def batch_loss(config: StepConfig, variables: Variables, batch: Batch, key: jax.Array) -> tuple[jax.Array, Arrays]:
    """The loss of one batch in training mode, and the running statistics that it moved."""
    images, wanted, dropout_key = _prepared(config, batch, key)
    heatmaps, batch_stats = apply_train(config.model, variables, images, dropout_key, train=config.optim.trained)
    return heatmap_loss(heatmaps, wanted, batch["labels"] >= 0), batch_stats


def _prepared(config: StepConfig, batch: Batch, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Images in [-1, 1] and targets, both augmented as configured, and a key for dropout."""
    image_size, labels = batch["image"].shape[1], batch["labels"]
    dropout_key, flip_key, colour_key = jax.random.split(key, 3)
    images, landmarks = normalise(batch["image"]), batch["landmarks"]
    if config.flip:
        images, landmarks = augment.flip(images, landmarks, flip_key)
    if config.colour > 0:
        images = augment.colour(images, config.colour, colour_key)
    wanted = targets(landmarks, labels, config.centres, config.model.heatmap_size, image_size)
    return images, wanted, dropout_key


def eval_step(config: StepConfig, variables: Variables, batch: Batch) -> jax.Array:
    """Scores (N, K) in [-1, 1] of a batch's images; an AU is present where its score is above 0."""
    return scores(au_heatmaps(config.model, variables, batch["image"], len(config.centres)))


def _gradients(loss_fn, trained: Arrays, batch_stats: Arrays, batch: Batch, key: jax.Array, accumulate: int):
    """Loss, moved statistics and gradients; over `accumulate` parts of the batch, their mean."""
    value_and_grad = jax.value_and_grad(loss_fn, has_aux=True)
    if accumulate == 1:
        (loss, batch_stats), grads = value_and_grad(trained, batch_stats, batch, key)
        return loss, batch_stats, grads

    def part(carry, index_and_part):
        loss, batch_stats, grads = carry
        index, piece = index_and_part
        (here, batch_stats), new = value_and_grad(trained, batch_stats, piece, jax.random.fold_in(key, index))
        return (loss + here / accumulate, batch_stats, jax.tree.map(lambda a, b: a + b / accumulate, grads, new)), None

    # Every accumulate-th image: neighbours lie on one device, so each part is spread over all devices.
    parts = {name: x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1) for name, x in batch.items()}
    start = (jnp.zeros(()), batch_stats, jax.tree.map(jnp.zeros_like, trained))
    (loss, batch_stats, grads), _ = jax.lax.scan(part, start, (jnp.arange(accumulate), parts))
    return loss, batch_stats, grads
