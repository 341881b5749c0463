"""The step that computes gradients twice: the same step, and never all gradients at once."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fgnet_jax.train import two_pass as twice
from fgnet_jax.runtime import xla
from fgnet_jax.models import fgnet
from fgnet_jax.models.stages import stages
from fgnet_jax.train.optimizer import OptimConfig
from tests import test_steps
from tests.test_steps import MODEL, PIXEL, start


def _config(remat, model=MODEL, **how):
    """The configuration of the tests of the step, with this policy."""
    return dataclasses.replace(test_steps.CONFIG, model=dataclasses.replace(model, remat=remat), **how)


def _two_steps(config):
    """State and figures after two steps on one batch: the second knows the first one's moments."""
    current = start(config)
    for _ in range(2):
        current, figures = test_steps.step(config, current)
    return current, figures


def _assert_close(ours, expected):
    """Every array, to 1e-11 of its largest value."""
    for (path, wanted), value in zip(jax.tree.leaves_with_path(expected), jax.tree.leaves(ours), strict=True):
        size = max(float(jnp.abs(wanted).max()), 1e-30)
        np.testing.assert_allclose(value / size, wanted / size, rtol=0, atol=1e-11, err_msg=jax.tree_util.keystr(path))


EXACT = dataclasses.replace(MODEL, dtype="float64", param_dtype="float64")


@pytest.mark.parametrize(
    "how",
    [
        {"optim": OptimConfig(), "flip": True, "colour": 0.3, "model": dataclasses.replace(EXACT, dropout=0.1)},
        {"optim": OptimConfig(lr_encoder=0.0), "model": dataclasses.replace(EXACT, interpreter="pixel")},
        {"optim": OptimConfig("sgd", lr=0.1, lr_generator=0.0, clip=0), "model": EXACT},
    ],
    ids=["augmented", "only the generator and DatasetGAN's interpreter", "sgd, generator frozen"],
)
def test_the_step_is_the_usual_one(how, monkeypatch):
    """Parameters, moments, running statistics, loss and norm after two steps, in float64."""
    monkeypatch.setattr(twice, "_LARGE", 256)  # so that kernels of this tiny network are moved strip by strip
    with jax.enable_x64(True):
        (usual, usual_figures), (ours, figures) = (
            _two_steps(_config("none", **how)),
            _two_steps(_config("twice", **how)),
        )
        assert jax.tree.structure(usual) == jax.tree.structure(ours)
        for name, value in usual_figures.items():
            np.testing.assert_allclose(figures[name], value, rtol=1e-12, err_msg=name)
        _assert_close((ours.batch_stats, ours.opt_state), (usual.batch_stats, usual.opt_state))
        _assert_close(ours.params, usual.params)
        first = start(_config("none", **how)).params
        assert test_steps.moved(first, ours.params) == test_steps.moved(first, usual.params)


def test_every_parameter_belongs_to_one_stage():
    """But ToRGB's, which are not on the way to the heatmaps."""
    for model in (MODEL, PIXEL):
        parts = stages(model, ())
        for path in fgnet.abstract(model).params:
            owners = [part.prefixes for part in parts if part.owns(path)]
            assert len(owners) == (0 if path.startswith("generator/to_rgbs/") else 1), path


def test_no_two_links_gradients_are_there_at_once():
    """Eight links of a matrix each: the compiled program's temporaries are a few matrices, not all eight and more."""
    side = 512
    params = {str(k): jnp.eye(side) for k in range(8)}
    links = [
        twice.Link((path,), lambda own, x, carried: (jnp.tanh(x @ [*own.values()][0]), carried)) for path in params
    ]
    links.append(twice.Link((), lambda own, x, carried: (jnp.square(x).mean(), carried)))
    tx = optax.chain(optax.adam(1e-3))

    def temporaries(fn):
        options = xla.training("twice")
        jitted = jax.jit(fn, donate_argnums=(0, 1), compiler_options=options)
        program = jitted.lower(params, tx.init(params), jnp.ones((4, side))).compile()
        memory: Any = program.memory_analysis()
        return memory.temp_size_in_bytes / params["0"].nbytes

    def ours(params, opt_state, x):
        moved = twice.update(links, optax.with_extra_args_support(tx), params, opt_state, x, ())
        return moved.params, moved.opt_state, moved.norm

    def usual(params, opt_state, x):
        def loss(params):
            now = x
            for link in links:
                now, _ = link.run({path: params[path] for path in link.paths}, now, ())
            return now

        grads = jax.grad(loss)(params)
        norm = optax.tree.norm(grads)
        updates, opt_state = tx.update(jax.tree.map(lambda g: g / norm, grads), opt_state, params)
        return optax.apply_updates(params, updates), opt_state, norm

    assert temporaries(ours) < 5 < 8 < temporaries(usual)


def test_a_gradient_that_is_not_finite_shows():
    """In the figures, where the loop looks for it."""
    config = _config("twice")
    state = start(config)
    path = "interpreter/output/bias"
    broken = dataclasses.replace(state, params=state.params | {path: jnp.full_like(state.params[path], np.nan)})
    _, figures = test_steps.step(config, broken)
    assert not np.isfinite(figures["loss"]) and not np.isfinite(figures["grad_norm"])


def test_accumulated_parts_are_refused():
    """What is moved at once has nothing to add up."""
    with pytest.raises(ValueError, match=r'remat "twice"'):
        _config("twice", accumulate=2)
