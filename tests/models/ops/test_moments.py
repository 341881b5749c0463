"""Normalisation of GPUs and TPUs, against what is written out and differentiated by JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops import moments, platforms

RNG = np.random.default_rng(0)


def _normal(*shape):
    return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


def _assert_equal_with_gradients(actual_fn, expected_fn, *arguments, atol=1e-5):
    """Compare the results of two functions, and the gradients for random ones of the results."""
    actual, backward = jax.vjp(actual_fn, *arguments)
    expected, expected_backward = jax.vjp(expected_fn, *arguments)
    gradients = jax.tree.map(lambda result: _normal(*result.shape), actual)
    for ours, theirs in (
        *zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True),
        *zip(backward(gradients), expected_backward(gradients), strict=True),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize(("platform", "side"), [("tpu", 6), ("gpu", 6), ("gpu", 64)])
def test_moments_and_their_gradients(platform, side):
    """Mean and biased variance of each image and channel; GPUs sum large maps row by row."""
    with platforms.tracing_for(platform):
        _assert_equal_with_gradients(
            moments.moments, lambda x: (x.mean((1, 2)), x.var((1, 2))), _normal(3, side, side + 2, 4) + 2
        )


@pytest.mark.parametrize("mean", [0, 1e3, -1e4])
def test_a_large_mean_does_not_cancel(mean):
    """The variance keeps its digits, as far as the values themselves have them."""
    x = np.asarray(_normal(2, 16, 16, 3) + mean, np.float32)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(moments.moments(x)[0], exact.mean((1, 2)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(moments.moments(x)[1], exact.var((1, 2)), rtol=1e-5)


def test_affine_and_its_gradients():
    """Of the map, the gain and the offset; the centre has none."""
    x, centre, gain, offset = _normal(2, 4, 4, 3), _normal(2, 3), _normal(2, 3), _normal(2, 3)

    def written_out(x, centre, gain, offset):
        centre, gain, offset = (v[:, None, None] for v in (jax.lax.stop_gradient(centre), gain, offset))
        return (x - centre) * gain + offset

    _assert_equal_with_gradients(moments.affine, written_out, x, centre, gain, offset)


def test_prelu_and_its_gradients():
    """Of the map and of the slopes."""
    x, slope = _normal(2, 4, 4, 3), _normal(3)
    _assert_equal_with_gradients(moments.prelu, lambda x, slope: jnp.where(x >= 0, x, slope * x), x, slope)


def test_bfloat16_is_rounded_once():
    """Maps are bfloat16, as are their gradients; vectors are float32."""
    x = _normal(2, 4, 4, 3).astype(jnp.bfloat16)
    mean, variance = moments.moments(x)
    assert mean.dtype == variance.dtype == jnp.float32
    result, backward = jax.vjp(moments.affine, x, mean, variance, mean)
    np.testing.assert_array_equal(
        result, moments.affine(x.astype(jnp.float32), mean, variance, mean).astype(jnp.bfloat16)
    )
    assert [gradient.dtype for gradient in backward(result)] == [jnp.bfloat16, *[jnp.float32] * 3]
