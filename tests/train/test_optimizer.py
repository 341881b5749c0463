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
from fgnet_jax.train import optimizer
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


@pytest.mark.parametrize(("change", "message"), [({"name": "adam"}, "optim.name"), ({"schedule": "step"}, "schedule")])
def test_unknown_names_are_refused(change, message):
    """With the known ones."""
    with pytest.raises(ValueError, match=f'{message} must be "'):
        OptimConfig(**change)
