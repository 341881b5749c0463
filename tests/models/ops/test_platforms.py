"""The platform that programs are traced for: named, or that of this process."""

import jax
import jax.numpy as jnp
import pytest

from fgnet_jax.models.ops import platforms
from fgnet_jax.models.ops.conv import conv2d


def test_it_is_that_of_jax_devices_unless_one_is_named():
    """Names nest, and end with their block."""
    assert platforms.current() == jax.default_backend()
    with platforms.tracing_for("tpu"):
        with platforms.tracing_for("gpu"):
            assert platforms.current() == "gpu"
        assert platforms.current() == "tpu"
    assert platforms.current() == jax.default_backend()


def test_an_unknown_platform_is_refused():
    """The message lists the known ones."""
    with pytest.raises(ValueError, match="'cuda': expected cpu, gpu, tpu"), platforms.tracing_for("cuda"):
        pass


def test_the_named_platform_decides_whatever_was_traced_before():
    """A convolution is one operation of the compiler on GPUs and TPUs, and products by taps on CPUs."""

    def text(platform: str) -> str:
        fn = jax.jit(jax.grad(platforms.traced_for(platform, lambda x, k: conv2d(x, k).sum()), argnums=1))
        return fn.lower(jnp.zeros((1, 8, 8, 32)), jnp.zeros((3, 3, 32, 8))).as_text()

    texts = {platform: text(platform) for platform in platforms.PLATFORMS}
    assert "stablehlo.convolution" not in texts["cpu"]
    assert "stablehlo.convolution" in texts["gpu"]
    assert "stablehlo.convolution" in texts["tpu"]
    assert [text(platform) for platform in reversed(platforms.PLATFORMS)] == [*reversed(texts.values())]
