"""The network as it is traced for TPUs, against the same traced for CPUs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY
from fgnet_jax.models.ops import platforms
from fgnet_jax.models.ops.resize import shrink

PLATFORMS = ("tpu", "cpu")


def _random(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


def _on_both(fn, *args):
    """Compile for either platform, and compute both on this one."""
    with jax.default_matmul_precision("highest"):
        return [jax.jit(platforms.traced_for(platform, fn))(*args) for platform in PLATFORMS]


def _nearly_equal(results, atol):
    """Compare trees of arrays, relative to the largest value of each."""
    for actual, expected in zip(*map(jax.tree.leaves, results), strict=True):
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=atol)


def test_features_and_their_gradients():
    """Strips at the last resolution, sums of blocks, published upsampling convolutions."""
    variables = fgnet.init(TINY)

    strengths = {path: x for path, x in variables.params.items() if path.endswith("noise_strength")}

    def with_gradients(w, strengths):
        def loss(w, strengths):
            params = variables.params | strengths
            generator = fgnet.merge(TINY, dataclasses.replace(variables, params=params)).generator
            maps = generator.features(w, TINY.heatmap_size)
            return sum(jnp.square(feature).mean() for feature in maps), maps

        (_, maps), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(w, strengths)
        return maps, gradients

    w = _random(2, TINY.num_layers, TINY.style_dim)
    _nearly_equal(_on_both(with_gradients, w, strengths), atol=5e-6)


def test_heatmaps():
    """From images on: style blocks side by side, too."""
    variables = fgnet.init(TINY)
    images = _random(2, TINY.image_size, TINY.image_size, 3)
    _nearly_equal(_on_both(lambda images: fgnet.apply(TINY, variables, images), images), atol=2e-5)


def test_the_shrink_is_one_sum_of_the_map_as_it_lies():
    """No slices, which a TPU would copy; values as on CPUs."""
    x = _random(2, 16, 16, 3)
    _nearly_equal(_on_both(lambda x: shrink(x, 4), x), atol=1e-6)
    with platforms.tracing_for("tpu"):
        assert "slice" not in jax.jit(lambda x: shrink(x, 4)).lower(x).as_text()
