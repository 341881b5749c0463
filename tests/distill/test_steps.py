"""A student's steps: the loss, what it leaves out, its parts with labels, and that it falls."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.distill import steps
from fgnet_jax.distill.steps import OptimConfig, StepConfig
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY_STUDENT
from fgnet_jax.train.losses import heatmap_loss
from fgnet_jax.train.targets import au_centres, targets

AUS = (1, 12, 25)
MODEL = dataclasses.replace(TINY_STUDENT, num_heatmaps=3)
CONFIG = StepConfig(MODEL, OptimConfig(lr=1e-2, steps=20), ema=0.9)
LABELLED = dataclasses.replace(CONFIG, label_weight=0.5, centres=au_centres(AUS))


@pytest.fixture(scope="module")
def batch():
    """Return four faces with blobs for heatmaps, landmarks, and labels of which one is not known."""
    rng = np.random.default_rng(0)
    place = np.linspace(-1, 1, 8)
    blob = np.exp(-(place[:, None] ** 2 + place**2))[None, :, :, None] * rng.choice([-1, 1], (4, 1, 1, 3))
    labels = np.array([[0, 1, 1], [1, -1, 0], [0, 0, 1], [1, 1, 0]], np.int8)
    return {
        "image": rng.integers(0, 256, (4, 32, 32, 3), np.uint8),
        "heatmaps": blob.astype(np.float16),
        "landmarks": rng.uniform(4, 28, (4, 68, 2)).astype(np.float32),
        "labels": labels,
    }


def test_the_loss_is_the_mean_over_aus_of_the_squared_errors(batch):
    """An AU whose heatmap is not known on a face is left out there, and nowhere else."""
    predicted = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    maps = batch["heatmaps"].astype(np.float32)
    loss, parts = steps.losses(CONFIG, predicted, steps._maps(CONFIG, batch), batch)
    assert float(loss) == pytest.approx(np.square(np.asarray(predicted) - maps).mean(), rel=1e-6) and not parts
    holes = batch["heatmaps"].copy()
    holes[0, ..., 1] = np.nan
    partial = {**batch, "heatmaps": holes}
    loss, _ = steps.losses(CONFIG, predicted, steps._maps(CONFIG, partial), partial)
    errors = np.square(np.asarray(predicted) - maps).mean((1, 2))
    assert float(loss) == pytest.approx(np.mean([errors[:, 0].mean(), errors[1:, 1].mean(), errors[:, 2].mean()]))


def test_labels_add_the_published_loss(batch):
    """`losses.heatmap_loss` on targets of known labels, times its weight."""
    predicted = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    loss, parts = steps.losses(LABELLED, predicted, steps._maps(LABELLED, batch), batch)
    of_labels = targets(batch["landmarks"], batch["labels"], LABELLED.centres, size=8, image_size=32)
    expected = heatmap_loss(predicted, of_labels, batch["labels"] >= 0)
    assert float(parts["loss/labels"]) == float(expected)
    alone, _ = steps.losses(CONFIG, predicted, steps._maps(CONFIG, batch), batch)
    assert float(loss) == pytest.approx(float(alone) + 0.5 * float(expected))


def test_a_face_without_labels_leaves_the_gradient_finite(batch):
    """As those of files beside a corpus are: no labels, and landmarks that are not known."""
    labels, landmarks = batch["labels"].copy(), batch["landmarks"].copy()
    labels[3], landmarks[3] = -1, np.nan
    mixed = {**batch, "labels": labels, "landmarks": landmarks}
    predicted = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    maps = steps._maps(LABELLED, mixed)
    gradient = jax.grad(lambda x: steps.losses(LABELLED, x, maps, mixed)[0])(predicted)
    assert np.isfinite(gradient).all() and np.abs(np.asarray(gradient)[3]).max() > 0


def test_larger_heatmaps_are_averaged_and_smaller_ones_enlarged():
    """Blocks of pixels, none left out; a constant stays what it is."""
    large = jnp.arange(64.0).reshape(1, 8, 8, 1)
    np.testing.assert_allclose(steps.shrink(large, 4)[0, 0, 0, 0], np.mean([0, 1, 8, 9]))
    np.testing.assert_allclose(steps.shrink(large, 2).mean(), large.mean())
    np.testing.assert_array_equal(steps.shrink(large, 8), large)
    np.testing.assert_allclose(steps.shrink(jnp.full((1, 4, 4, 2), 3.0), 8), 3.0)


def test_the_loss_falls(batch):
    """Within twenty steps to less than half; averages follow the weights, and are what is evaluated."""
    step = jax.jit(lambda state: steps.train_step(CONFIG, state, batch, jax.random.key(0)))
    state, losses = steps.create(fgnet.init(MODEL), CONFIG), []
    for _ in range(20):
        state, metrics = step(state)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.5 * losses[0] and int(state.step) == 20
    assert set(state.averages) == set(state.params) | set(state.batch_stats)
    result = steps.evaluate_step(CONFIG, state.evaluated, batch)
    assert result["scores"].shape == result["errors"].shape == (4, 3)
    assert float(result["errors"].mean()) < losses[0]


def test_the_rate_rises_and_then_falls_as_a_cosine():
    """As optax computes it."""
    optim = OptimConfig(lr=0.1, warmup_steps=3, steps=10)
    rates = [optim.rate(step) for step in range(10)]
    np.testing.assert_allclose(rates, [np.asarray(optim.rates()(step)) for step in range(10)], atol=1e-8)
    assert rates[0] == 0 and rates[3] == pytest.approx(0.1) and rates[-1] < 0.01
    with pytest.raises(ValueError, match="optim.warmup_steps must be fewer than the run's steps"):
        OptimConfig(warmup_steps=10, steps=10)
