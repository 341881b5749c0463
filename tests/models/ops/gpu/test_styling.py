"""All that lies between two convolutions, against the same written plainly, with gradients by autodiff."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops.activations import scaled_leaky_relu
from fgnet_jax.models.ops.gpu import patches
from fgnet_jax.models.ops.gpu.styling import NO_FILTER, Filter, Styling, finish, products
from fgnet_jax.models.ops.gpu.upsampling import LOW_PASS_FILTER
from tests.models.ops.comparing import random, same_with_gradients

STYLE = random(2, 3, seed=2)
STYLING = Styling(
    demodulation=jnp.abs(random(2, 3)) + 0.1, noise=random(8, 8), strength=jnp.float32(0.3), bias=random(3, seed=1),
    style=STYLE,
)  # fmt: skip


def _plainly(filtering: Filter, x: jax.Array, styling: Styling) -> tuple[jax.Array, jax.Array]:
    noise = jax.lax.stop_gradient(styling.noise)[None, :, :, None] * styling.strength
    y = scaled_leaky_relu(filtering.apply(x) * styling.demodulation[:, None, None] + noise + styling.bias)
    y = y if filtering.inside is None else jnp.where(filtering.inside, y, 0)
    return y, y if styling.style is None else y * styling.style[:, None, None]


def _joined(fn, filtering, styling):
    """Return a function of the map and all factors, whose result has both maps."""

    def joined(x, demodulation, strength, bias, style):
        own = dataclasses.replace(styling, demodulation=demodulation, strength=strength, bias=bias, style=style)
        return jnp.stack([map_ for map_ in fn(filtering, x, own) if map_ is not None][:2])

    return joined


def _compare(filtering: Filter, x: jax.Array, styling: Styling) -> None:
    arguments = (x, styling.demodulation, styling.strength, styling.bias, STYLE)
    same_with_gradients(_joined(finish, filtering, styling), _joined(_plainly, filtering, styling), *arguments)


@pytest.mark.parametrize(("filtering", "side"), [(NO_FILTER, 8), (LOW_PASS_FILTER, 9)])
def test_both_maps_and_all_gradients(filtering, side):
    """Of the map, demodulation, noise strength, bias and style."""
    _compare(filtering, random(2, side, side, 3), STYLING)


def test_at_patches():
    """Pixels outside the map are 0, and have no gradient."""
    noise = patches.take_patches(random(16, 16), 4)
    _compare(patches.low_pass_patches(16, 4), random(2, 17, 17, 3), dataclasses.replace(STYLING, noise=noise))


def test_after_the_last_layer():
    """There is no style, and no second map; the gradients come from the first alone."""
    x = random(2, 8, 8, 3)

    def loss(fn, x, styling):
        y = fn(NO_FILTER, x, dataclasses.replace(styling, style=None))[0]
        return jnp.vdot(y, random(*y.shape))

    assert finish(NO_FILTER, x, dataclasses.replace(STYLING, style=None))[1] is None
    actual, expected = (jax.grad(loss, argnums=(1, 2))(fn, x, STYLING) for fn in (finish, _plainly))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), actual, expected)


def test_a_style_of_zero_hides_the_map():
    """The next layer then reads zeros, and no gradient comes back but the map's own."""
    styling = dataclasses.replace(STYLING, style=STYLE.at[:, 1].set(0))
    result, transpose = jax.vjp(lambda x: jnp.asarray(finish(NO_FILTER, x, styling)[1]), random(2, 8, 8, 3))
    assert not result[..., 1].any()
    (gradient,) = transpose(jnp.ones_like(result))
    assert np.isfinite(gradient).all() and not gradient[..., 1].any() and gradient[..., 0].any()


def test_maps_keep_their_number_format():
    """bfloat16 maps stay so, gradients too; what is summed is summed in float32."""
    x = random(2, 8, 8, 3).astype(jnp.bfloat16)
    result, transpose = jax.vjp(lambda x, styling: finish(NO_FILTER, x, styling), x, STYLING)
    of_x, of_styling = transpose(jax.tree.map(jnp.ones_like, result))
    assert {each.dtype for each in jax.tree.leaves((result, of_x))} == {jnp.dtype(jnp.bfloat16)}
    assert {each.dtype for each in jax.tree.leaves(of_styling)} == {jnp.dtype(jnp.float32)}


def test_products_of_several_sizes_at_once():
    """Each vector by its own matrix; what a narrower one lacks is 0."""
    x, wide, narrow = random(2, 3, 4), random(4, 5), random(4, 2)
    actual = products(x, [wide, narrow])
    np.testing.assert_allclose(actual[0], x[0] @ wide, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(actual[1, :, :2], x[1] @ narrow, rtol=1e-6, atol=1e-6)
    assert actual.shape == (2, 3, 5) and not actual[1, :, 2:].any()
