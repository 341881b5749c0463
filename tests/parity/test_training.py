"""Three steps of the published training at full size, against the published code's numbers.

In float64, where nothing depends on rounding or on the processor, the computation is shown to be the same. Float32 can
only be as close as rounding allows: if every layer's result of the published network is off by its last bit or two,
some activations change sides of a ReLU's kink, and the first gradient's norm changes by 1e-5 to 4e-4. (18 GB)
"""

import dataclasses
import functools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.ops import platforms
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.train import losses, optimizer, state
from tests.parity import reference, reference_weights

pytestmark = [pytest.mark.full_size, pytest.mark.slow]  # slow ones come first: this process is still small then

OPTIM = optimizer.OptimConfig()
RATE_ENDS = 7500


def network(dtype: str, remat: str) -> ModelConfig:
    """Return the published network in this dtype, without dropout."""
    return dataclasses.replace(reference.PUBLISHED, dropout=0.0, dtype=dtype, param_dtype=dtype, remat=remat)


def begin(dtype: str) -> tuple[state.TrainState, jax.Array, jax.Array]:
    """Create the state before the first step, images and targets of the reference batch; for float64 in x64 mode."""
    variables = jax.tree.map(lambda array: jnp.array(array, dtype), reference.variables())
    first = state.create(variables, OPTIM, optimizer.optimizer(OPTIM, RATE_ENDS))
    images = fgnet.normalise(reference_weights.images()).astype(dtype)
    return first, images, jnp.asarray(reference_weights.target_heatmaps().transpose(0, 2, 3, 1), dtype)


def _step(config, tx, current, images, targets):
    """Update on given targets; return every gradient's norm, too."""
    trained, frozen = optimizer.split(current.params, OPTIM)

    def loss_fn(trained):
        variables = fgnet.Variables(trained | frozen, current.batch_stats, current.buffers)
        heatmaps, batch_stats = fgnet.apply_train(config, variables, images, None)
        return losses.heatmap_loss(heatmaps, targets, jnp.ones(targets.shape[::3], bool)), batch_stats

    (loss, batch_stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(trained)
    updates, opt_state = tx.update(grads, current.opt_state, trained)
    params = cast(dict, optax.apply_updates(trained, updates)) | frozen
    norms = {path: jnp.linalg.norm(grad.ravel()) for path, grad in grads.items()}
    following = state.TrainState(current.step + 1, params, batch_stats, current.buffers, opt_state)
    return following, {"loss": loss, "grad_norm": optax.tree.norm(grads), "norms": norms}


def train(config: ModelConfig, steps: int):
    """Train this many steps; return their metrics, and the norm of every tensor's change."""
    with jax.enable_x64(config.dtype == "float64"), jax.default_matmul_precision("highest"):
        current, images, targets = begin(config.dtype)
        update = functools.partial(_step, config, optimizer.optimizer(OPTIM, RATE_ENDS))
        step = jax.jit(update, donate_argnums=0, compiler_options=compiler_options.training(platforms.current()))
        metrics = []
        for _ in range(steps):
            current, out = step(current, images, targets)
            metrics.append(jax.device_get(out))
    before = reference.variables()
    before, after = before.params | before.batch_stats, current.params | current.batch_stats
    return metrics, {path: np.linalg.norm((np.asarray(after[path]) - before[path]).ravel()) for path in before}


def train_apart(config: ModelConfig, steps: int):
    """Train in a separate process, which frees its memory at its end; see `train`."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(train, config, steps).result()


@pytest.fixture(scope="module")
def exact():
    """The three steps in float64 with rematerialisation."""
    return train_apart(network("float64", "blocks"), 3)


@pytest.fixture(scope="module")
def run():
    """The three steps as in training, in float32."""
    return train_apart(network("float32", "none"), 3)


@pytest.fixture(scope="module")
def golden():
    """Numbers of the published code."""
    return reference.golden("training")


def tensors(golden, field: str):
    """Return (published name, path, number) of every tensor that both networks have."""
    paths = reference.published_names()
    pairs = zip(golden["names"].tolist(), golden[field], strict=True)
    return [(name, paths[name], value) for name, value in pairs if name in paths]


def _assert_near(metrics, golden, name: str, tolerances: tuple[float, float, float]) -> None:
    for step, expected, tolerance in zip(metrics, golden[name], tolerances, strict=True):
        np.testing.assert_allclose(step[name], expected, rtol=tolerance)


def test_the_first_gradient_is_that_of_the_published_network(exact):
    """In float64: loss, norm, and the norm of every tensor's gradient."""
    expected, (metrics, *_) = reference.golden("training_exact"), exact[0]
    np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-13)
    np.testing.assert_allclose(metrics["grad_norm"], expected["grad_norm"], rtol=1e-12)
    pairs = [(metrics["norms"][path], value) for _, path, value in tensors(expected, "first_grad_l2") if value > 0]
    assert len(pairs) > 580
    np.testing.assert_allclose(*zip(*pairs, strict=True), rtol=1e-11)


def test_the_published_metrics(exact, golden):
    """They are float32's: the first norm differs by 5.7e-5. Later, Adam's division amplifies errors."""
    _assert_near(exact[0], golden, "loss", (1e-5, 1e-4, 5e-4))
    _assert_near(exact[0], golden, "grad_norm", (1e-4, 5e-3, 5e-2))


def test_float32_has_the_published_metrics(run, golden):
    """Losses and norms are as close, but the first norm only as close as rounding allows."""
    _assert_near(run[0], golden, "loss", (1e-5, 1e-4, 5e-4))
    _assert_near(run[0], golden, "grad_norm", (5e-4, 5e-3, 5e-2))


def test_every_first_gradient_in_float32(run):
    """Against float64's: half of them are within 0.05 %, 99 in a hundred within 0.5 %, all within 2.5 %.

    The hundredth has less than a thousandth of the whole norm, and its terms cancel; so do those of noise strengths
    (single numbers), which are within 10 %.

    PyTorch's own float32: half within 0.1 %, 94 in a hundred within 0.5 %, the worst off by 8 %.
    """
    expected = reference.golden("training_exact")
    rows = [(name, path, value) for name, path, value in tensors(expected, "first_grad_l2") if value > 0]
    errors = {name: abs(run[0][0]["norms"][path] / value - 1) for name, path, value in rows}
    assert len(errors) > 580 and max(errors.values()) < 0.1
    maps = {name: error for name, error in errors.items() if not name.endswith("noise.weight")}
    values = np.array(list(maps.values()))
    assert np.median(values) < 5e-4 and np.mean(values < 5e-3) > 0.99 and values.max() < 2.5e-2
    heavy = [maps[name] for name, _, value in rows if name in maps and value > 1e-3 * expected["grad_norm"]]
    assert len(heavy) > 300 and max(heavy) < 5e-3


@pytest.mark.parametrize("format_", ["exact", "run"])
def test_the_change_of_every_tensor(format_, golden, request):
    """Within 3 % for nine in ten, running statistics included."""
    changes = request.getfixturevalue(format_)[1]
    near = [
        abs(changes[path] - expected) <= 0.03 * expected
        for _, path, expected in tensors(golden, "delta_l2")
        if expected > 0 and path in changes
    ]
    assert len(near) > 650 and np.mean(near) >= 0.9


def test_tensors_without_gradient_are_not_changed(run, golden):
    """ToRGB and style block 17: neither by steps nor by weight decay."""
    idle = [path for _, path, expected in tensors(golden, "delta_l2") if expected == 0 and path in run[1]]
    assert {path.rsplit("/", 2)[0] for path in idle} >= {"generator/to_rgbs/0", "encoder/styles/17"}
    assert not any(run[1][path] for path in idle)
    assert not any(
        value for path, value in run[1].items() if path.startswith(("generator/to_rgbs/", "encoder/styles/17/"))
    )
