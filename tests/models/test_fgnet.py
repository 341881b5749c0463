"""The whole network at the tiny size, against a PyTorch network with the published names."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from convert_weights import rules
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY, ModelConfig
from fgnet_jax.models.ops import platforms
from fgnet_jax.models.ops.resize import shrink

CONFIG = dataclasses.replace(TINY, dropout=0.0)
TABLES = {"pspencoder": rules.encoder, "g_all": rules.generator, "interpreter": rules.interpreter}


@pytest.fixture(scope="module")
def torch_network():
    """A PyTorch network with random weights, noise strengths and running statistics included."""
    torch = pytest.importorskip("torch")
    from benchmarks.torch_fgnet import FGNet

    torch.manual_seed(0)
    network = FGNet(CONFIG)
    with torch.no_grad():
        for name, value in [*network.named_parameters(), *network.named_buffers()]:
            if name.endswith(("noise.weight", "activate.bias", "running_mean", "latent_avg")):
                value.normal_(0, 0.3)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
    return network


def _variables(network) -> fgnet.Variables:
    arrays = {"encoder/latent_avg": network.latent_avg.numpy()}
    for part, table in TABLES.items():
        state = network.get_submodule(part).state_dict()
        arrays |= {rule.path: rule.layout.from_file(state[rule.source].numpy()).copy() for rule in table(CONFIG)}
    shapes = fgnet.abstract(CONFIG)
    return fgnet.Variables(
        *({path: arrays[path] for path in group} for group in (shapes.params, shapes.batch_stats, shapes.buffers))
    )


def _images(count: int = 2) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, 64, 64, 3)).astype(np.float32)


@pytest.mark.parametrize("platform", platforms.PLATFORMS)
def test_heatmaps_equal_pytorchs(torch_network, platform):
    """In evaluation mode, by each platform's path."""
    import torch

    with torch.inference_mode():
        expected = torch_network.eval()(torch.from_numpy(_images().transpose(0, 3, 1, 2).copy())).numpy()
    with jax.default_matmul_precision("highest"):
        apply = platforms.traced_for(platform, fgnet.apply)
        actual = jax.jit(apply, static_argnums=0)(CONFIG, _variables(torch_network), _images())
    np.testing.assert_allclose(actual, expected.transpose(0, 2, 3, 1), rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def gradients(torch_network):
    """Gradients of the heatmaps' mean square, with updated statistics: PyTorch's network, and a function for ours."""
    import torch

    torch_network.train().zero_grad()
    variables = _variables(torch_network)
    torch_network(torch.from_numpy(_images(4).transpose(0, 3, 1, 2).copy())).square().mean().backward()

    def loss(params, config):
        current = fgnet.Variables(params, variables.batch_stats, variables.buffers)
        heatmaps, batch_stats = fgnet.apply_train(config, current, jnp.asarray(_images(4)), None)
        return jnp.square(heatmaps).mean(), batch_stats

    def compute(remat, platform):
        with jax.default_matmul_precision("highest"):
            config = dataclasses.replace(CONFIG, remat=remat)
            grad = platforms.traced_for(platform, jax.grad(loss, has_aux=True))
            return jax.jit(grad, static_argnums=1)(variables.params, config)

    return torch_network, compute


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["none", "blocks"])
@pytest.mark.parametrize("platform", platforms.PLATFORMS)
def test_gradients_and_statistics_equal_pytorchs(gradients, remat, platform):
    """In training mode, for every parameter, by each platform's path; without a gradient in PyTorch it is zero."""
    torch_network, compute = gradients
    grads, batch_stats = compute(remat, platform)
    for part, table in TABLES.items():
        module = torch_network.get_submodule(part)
        published = {name: p.grad for name, p in module.named_parameters()} | dict(module.named_buffers())
        for rule in table(CONFIG):
            if rule.path in grads:
                expected = published[rule.source]
                actual = np.asarray(grads[rule.path])
                expected = np.zeros_like(actual) if expected is None else rule.layout.from_file(expected.numpy())
                scale = max(np.abs(expected).max(), 1e-6)
                np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=2e-3, err_msg=rule.path)
            elif rule.path in batch_stats:
                expected = published[rule.source].numpy()
                np.testing.assert_allclose(batch_stats[rule.path], expected, rtol=1e-4, atol=1e-5, err_msg=rule.path)


@pytest.mark.slow
def test_what_only_the_image_needs_has_no_gradient():
    """Gradients of ToRGB and of the last style block are exactly zero."""
    variables = fgnet.init(CONFIG)

    def loss(params):
        current = fgnet.Variables(params, variables.batch_stats, variables.buffers)
        return jnp.square(fgnet.apply(CONFIG, current, jnp.asarray(_images()))).mean()

    grads = jax.jit(jax.grad(loss))(variables.params)
    last = f"encoder/styles/{CONFIG.num_styles - 1}/"
    idle = {path for path, grad in grads.items() if not np.any(grad)}
    assert {path for path in grads if path.startswith(("generator/to_rgbs/", last))} <= idle
    assert not any(path.startswith("interpreter/") for path in idle)


def test_init_is_the_same_on_every_call_and_differs_by_seed():
    """Byte by byte, not just in shapes."""
    first, again, other = fgnet.init(TINY, 1), fgnet.init(TINY, 1), fgnet.init(TINY, 2)
    path = "interpreter/stages/0/conv/kernel"
    assert first.params[path].tobytes() == again.params[path].tobytes() != other.params[path].tobytes()
    assert 0.018 < first.params[path].std() < 0.022
    assert (first.params["generator/convs/0/modulation/bias"] == 1).all()


def test_abstract_and_init_have_the_same_shapes():
    """`abstract` just does not allocate them."""
    shapes, arrays = fgnet.abstract(TINY), fgnet.init(TINY)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), arrays) == jax.tree.map(lambda s: (s.shape, s.dtype), shapes)


def test_published_size():
    """The three networks have as many values as the published checkpoints."""
    shapes = fgnet.abstract(ModelConfig())
    count = sum(s.size for s in jax.tree.leaves(shapes))
    assert count == 267_170_240 + 33_166_236 + 26_436_128


def test_codes_can_be_w_already():
    """pSp's own use, without the mapping network."""
    variables = jax.tree.map(jnp.asarray, fgnet.init(TINY))
    plain = dataclasses.replace(TINY, map_codes=False)
    images = jnp.asarray(_images())
    mapped = fgnet.merge(TINY, variables).latents(images)
    codes = fgnet.merge(plain, variables).latents(images)
    np.testing.assert_array_equal(codes, fgnet.merge(TINY, variables).encoder(images))
    np.testing.assert_allclose(mapped, fgnet.merge(TINY, variables).generator.map(codes), rtol=1e-6)


def test_the_generator_alone_synthesises_an_image():
    """For inversion, (N, size, size, 3)."""
    model = fgnet.merge(TINY, jax.tree.map(jnp.asarray, fgnet.init(TINY)))
    image = jax.jit(lambda w: model.generator.image(w))(jnp.ones((2, TINY.num_styles, TINY.style_dim)))
    assert image.shape == (2, 64, 64, 3) and np.isfinite(image).all() and np.std(image) > 0


def test_bfloat16_compute_stays_near_float32():
    """With its own tolerance: eight bits of mantissa over some forty layers."""
    variables = fgnet.init(TINY)
    exact = jax.jit(fgnet.apply, static_argnums=0)(TINY, variables, _images())
    rough = jax.jit(fgnet.apply, static_argnums=0)(dataclasses.replace(TINY, dtype="bfloat16"), variables, _images())
    assert rough.dtype == jnp.float32
    assert 0 < np.abs(rough - exact).max() < 0.1 * np.abs(exact).max()


def test_dropout_needs_a_key_and_follows_it():
    """In training mode, with one key twice, with another, and with none."""
    variables = fgnet.init(TINY)
    predict = jax.jit(lambda key: fgnet.apply_train(TINY, variables, jnp.asarray(_images()), key)[0])
    first, again, other, none = (
        predict(key) for key in (jax.random.key(0), jax.random.key(0), jax.random.key(1), None)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0 and np.abs(first - none).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 16])
def test_features_as_they_are_read(size):
    """Where maps are shrunk, only part of the largest is computed: values and gradients are the same."""
    variables = fgnet.init(CONFIG)
    w = jnp.asarray(np.random.default_rng(2).standard_normal((2, CONFIG.num_layers, CONFIG.style_dim)), jnp.float32)

    def read(w, in_part):
        generator = fgnet.merge(CONFIG, variables).generator
        if in_part:
            return generator.features(w, size)
        return [shrink(feature, min(feature.shape[1], size)) for feature in generator.features(w)]

    def with_gradient(w, in_part):
        maps = read(w, in_part)
        gradient = jax.grad(lambda w: sum(jnp.square(feature).mean() for feature in read(w, in_part)))(w)
        return *maps, gradient

    with jax.default_matmul_precision("highest"):
        both = [jax.jit(with_gradient, static_argnums=1)(w, in_part) for in_part in (True, False)]
    for actual, expected in zip(*both, strict=True):
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=5e-6)
