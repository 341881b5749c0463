"""The optimiser, against PyTorch's, and its learning rates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY
from fgnet_jax.models.ops import platforms
from fgnet_jax.train import optimizer, optimizer_names
from fgnet_jax.train.optimizer import OptimConfig

PATHS = ("encoder/a/kernel", "generator/b/bias", "interpreter/c/kernel")


def _params(seed=0):
    rng = np.random.default_rng(seed)
    return {path: rng.normal(size=(3, 4)).astype(np.float32) for path in PATHS}


def _gradients(step, scale=1.0):
    return {path: scale * value for path, value in _params(100 + step).items()}


def _train(config, steps=5, scale=1.0, total=5):
    tx = optimizer.optimizer(config, total)
    params = jax.tree.map(jnp.asarray, _params())
    opt_state = tx.init(params)
    for step in range(steps):
        updates, opt_state = tx.update(_gradients(step, scale), opt_state, params)
        params = optax.apply_updates(params, updates)
    return params


def _assert_close(actual, expected, rtol=1e-6):
    for path, value in expected.items():
        np.testing.assert_allclose(actual[path], value.detach().numpy(), rtol=rtol, atol=1e-7, err_msg=path)


@pytest.mark.parametrize("scale", [1e-4, 1.0], ids=["unclipped", "clipped"])
@pytest.mark.parametrize("platform", platforms.PLATFORMS)
def test_adamw_equals_pytorchs(platform, scale):
    """Five steps of clipping and AdamW with the published rates, decay on every parameter, biases too."""
    torch = pytest.importorskip("torch")
    params = {path: torch.nn.Parameter(torch.tensor(value)) for path, value in _params().items()}
    reference = torch.optim.AdamW(params.values(), lr=5e-3, weight_decay=5e-2)
    for step in range(5):
        for path, grad in _gradients(step, scale).items():
            params[path].grad = torch.tensor(grad)
        torch.nn.utils.clip_grad_norm_(params.values(), 0.1)
        reference.step()
    with platforms.tracing_for(platform):
        _assert_close(_train(OptimConfig(lr=5e-3, weight_decay=5e-2), scale=scale), params)


@pytest.mark.parametrize("platform", platforms.PLATFORMS)
def test_the_norm_is_that_of_all_gradients(platform):
    """Of small arrays, scalars and large ones together."""
    rng = np.random.default_rng(0)
    shapes = [(), (7,), (3, 3, 16, 32), (64, 64), (5000,)]
    gradients = {str(shape): rng.normal(size=shape).astype(np.float32) for shape in shapes}
    expected = np.linalg.norm(np.concatenate([array.ravel() for array in gradients.values()]).astype(np.float64))
    with platforms.tracing_for(platform):
        np.testing.assert_allclose(jax.jit(optimizer.global_norm)(gradients), expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_clipping_equals_pytorchs(scale):
    """The factor is max_norm / (norm + 1e-6): gradients below the norm are unchanged, at the norm slightly scaled."""
    torch = pytest.importorskip("torch")
    grads = _gradients(0, scale)
    norm = float(optax.tree.norm(grads))
    for max_norm in (0.1, norm, 10 * norm):
        params = {path: torch.nn.Parameter(torch.zeros(3, 4)) for path in PATHS}
        for path, grad in grads.items():
            params[path].grad = torch.tensor(grad)
        torch.nn.utils.clip_grad_norm_(params.values(), max_norm)
        tx = optimizer.clip_by_global_norm(max_norm)
        clipped: Any = tx.update(grads, tx.init(grads))[0]
        for path in PATHS:
            grad = params[path].grad
            assert grad is not None
            np.testing.assert_allclose(clipped[path], grad.numpy(), rtol=1e-6)


def test_each_part_has_its_own_rate():
    """Plain descent: the change is the rate times the gradient."""
    config = OptimConfig("sgd", lr=0.1, lr_encoder=0.3, lr_generator=0.0, clip=0)
    assert config.trained == ("encoder", "interpreter")
    tx = optimizer.optimizer(config, 10)
    trained, frozen = optimizer.split(_params(), config)
    assert list(frozen) == ["generator/b/bias"]
    grads = {path: _gradients(0)[path] for path in trained}
    updates: Any = tx.update(grads, tx.init(trained), trained)[0]
    np.testing.assert_allclose(updates["encoder/a/kernel"], -0.3 * grads["encoder/a/kernel"], rtol=1e-6)
    np.testing.assert_allclose(updates["interpreter/c/kernel"], -0.1 * grads["interpreter/c/kernel"], rtol=1e-6)


def _rates(config, total):
    """Return the learning rate of every step, as the update of plain descent on a gradient of 1."""
    tx = optimizer.optimizer(config, total)
    params = {"encoder/a": jnp.zeros(())}
    opt_state, rates = tx.init(params), []
    updates: Any
    for _ in range(total):
        updates, opt_state = tx.update({"encoder/a": jnp.ones(())}, opt_state, params)
        rates.append(-float(updates["encoder/a"]))
    return np.array(rates)


@pytest.mark.parametrize("config", [
    OptimConfig("sgd", lr=2.0, warmup_steps=4, schedule="cosine", clip=0),
    OptimConfig("sgd", lr=2.0, schedule="cosine", clip=0),
    OptimConfig("sgd", lr=2.0, warmup_steps=3, clip=0),
])  # fmt: skip
def test_the_logged_rate_is_the_one_that_is_used(config):
    """At every step; the last one of a cosine is near 0."""
    logged = [optimizer.learning_rates(config, step, 12)["lr"] for step in range(12)]
    np.testing.assert_allclose(logged, _rates(config, 12), rtol=1e-5, atol=1e-6)


def test_rates_of_parts_are_logged_where_they_differ():
    """`lr` is that of the last part that is trained."""
    config = OptimConfig(lr=0.1, lr_encoder=0.3, lr_interpreter=0.0, warmup_steps=2)
    assert optimizer.learning_rates(config, 1, 10) == {"lr": 0.05, "lr/encoder": 0.15, "lr/generator": 0.05}
    assert optimizer.learning_rates(OptimConfig(lr=0.1), 1, 10) == {"lr": 0.1}


def test_warm_up_and_cosine():
    """Linear from 0 to the peak, reached by the first step after warm-up; then half a cosine, 0 after the last step."""
    rates = _rates(OptimConfig("sgd", lr=2.0, warmup_steps=4, schedule="cosine", clip=0), 12)
    np.testing.assert_allclose(rates[:5], [0, 0.5, 1.0, 1.5, 2.0], rtol=1e-6)
    np.testing.assert_allclose(rates[4:], 1 + np.cos(np.pi * np.arange(8) / 8), rtol=1e-5)
    rates = _rates(OptimConfig("sgd", lr=2.0, warmup_steps=2, clip=0), 5)
    np.testing.assert_allclose(rates, [0, 1, 2, 2, 2], rtol=1e-6)
    np.testing.assert_allclose(_rates(OptimConfig("sgd", lr=2.0, clip=0), 3), 2.0)


def test_what_is_trained_of_the_network():
    """Everything but ToRGB; not the parts whose rate is 0."""
    paths = list(fgnet.abstract(TINY).params)
    everything = {path for path in paths if optimizer.is_trained(path, OptimConfig())}
    assert set(paths) - everything == {path for path in paths if path.startswith("generator/to_rgbs/")} != set()
    alone = OptimConfig(lr_encoder=0.0, lr_generator=0.0)
    assert {path.split("/")[0] for path in paths if optimizer.is_trained(path, alone)} == {"interpreter"}


@pytest.mark.parametrize(("change", "message"), [({"name": "adm"}, "optim.name"), ({"schedule": "step"}, "schedule")])
def test_unknown_names_are_refused(change, message):
    """With the known ones."""
    with pytest.raises(ValueError, match=f'{message} must be "'):
        OptimConfig(**change)


def test_the_nearest_optimiser_and_argument_are_named():
    """Of optax; the rate has its own key."""
    with pytest.raises(ValueError, match="got 'rmspop'; did you mean \"rmsprop\".*; there are adabelief, .*yogi"):
        OptimConfig("rmspop")
    with pytest.raises(ValueError, match="optax.sgd has no argument 'momentun'; did you mean \"momentum\""):
        OptimConfig("sgd", options=(("momentun", 0.9),))
    with pytest.raises(ValueError, match="optim.options: learning_rate is set by optim.lr"):
        OptimConfig(options=(("learning_rate", 1.0),))
    with pytest.raises(ValueError, match="optim.options: optax.adamw does not take .*mu_dtype"):
        optimizer.optimizer(OptimConfig(options=(("mu_dtype", "float17"),)), 5)


@pytest.mark.parametrize("name", optimizer_names.OPTIMIZERS)
def test_every_optimiser_updates_parameters(name):
    """Two steps of each, with a state that a checkpoint can hold: arrays of numbers."""
    config = OptimConfig(name, lr=1e-3, clip=0)
    tx = optimizer.optimizer(config, 5)
    arrays = jax.tree.leaves(tx.init(jax.tree.map(jnp.asarray, _params())))
    assert all(np.issubdtype(np.asarray(x).dtype, np.number) or x.dtype == bool for x in arrays)
    trained: Any = _train(config, steps=2)
    assert all(np.isfinite(trained[path]).all() and np.any(trained[path] != value) for path, value in _params().items())


def test_options_reach_the_optimiser():
    """Momentum, as optax has it; weight decay where there is one."""
    options: Any = (("momentum", 0.5), ("nesterov", True))
    config, reference = OptimConfig("sgd", lr=0.1, clip=0, options=options), optax.sgd(0.1, 0.5, True)
    tx, grads = optimizer.optimizer(config, 5), _gradients(0)
    state, expected_state = tx.init(_params()), reference.init(_params())
    updates: Any = {}
    expected: Any = {}
    for _ in range(3):
        updates, state = tx.update(grads, state, _params())
        expected, expected_state = reference.update(grads, expected_state)
    for path, value in expected.items():
        np.testing.assert_allclose(updates[path], value, rtol=1e-6)
    assert [optimizer_names.decays(name) for name in ("adamw", "lion", "adam", "sgd")] == [True, True, False, False]


def test_layers_have_rates_of_their_own():
    """Half the rate from one layer to the one before it: of those that are trained."""
    paths = (
        "encoder/input_conv/kernel", "encoder/body/2/conv1/kernel", "encoder/body/10/conv1/kernel",
        "encoder/styles/3/linear/kernel", "encoder/lateral1/bias", "generator/mapping/7/kernel", "generator/constant",
        "generator/convs/0/kernel", "generator/convs/1/kernel", "interpreter/stages/0/kernel",
        "interpreter/output/bias",
    )  # fmt: skip
    factors = optimizer.layer_factors(paths, 0.5)
    assert [float(np.log2(factors[path])) for path in paths] == [-7, -6, -5, -4, -4, -3, -3, -2, -1, 0, 0]
    config = OptimConfig("sgd", lr=1.0, clip=0, layer_decay=0.5)
    tx = optimizer.optimizer(config, 5)
    ones = {path: jnp.ones(2) for path in paths}
    updates: Any = tx.update(ones, tx.init(ones), ones)[0]
    for path in paths:
        np.testing.assert_array_equal(updates[path], -factors[path])


def test_checkpoints_name_what_they_named():
    """Keys that are off add nothing to the optimiser's state."""
    state = optimizer.optimizer(OptimConfig(), 5).init(jax.tree.map(jnp.asarray, _params()))
    names = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)}
    assert "[1].inner_states['encoder'].inner_state[0].mu['encoder/a/kernel']" in names
    assert all(name.startswith("[1].inner_states[") for name in names)


def test_frozen_modules():
    """By whole names of modules; a part that is frozen whole is not trained."""
    config = OptimConfig(frozen=("encoder/body/1", "generator"))
    assert config.trained == ("encoder", "interpreter")
    names = {"encoder/body/1/a": False, "encoder/body/10/a": True, "generator/convs/0/a": False, "interpreter/b": True}
    assert {path: optimizer.is_trained(path, config) for path in names} == names


def test_norms_by_part():
    """Their squares add up to that of all."""
    norms = {name: float(value) for name, value in optimizer.gradient_norms(_gradients(0)).items()}
    assert norms["grad_norm/generator"] == pytest.approx(float(np.linalg.norm(_gradients(0)["generator/b/bias"])))
    assert len(norms) == 4
    assert norms.pop("grad_norm") == pytest.approx(np.linalg.norm(list(norms.values())))
