"""Kernels that are split over devices, as programs are traced; programs on several devices are tested elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops import gathering
from fgnet_jax.runtime import sharding

IMAGES = jax.ShapeDtypeStruct((16, 128), np.float32)
KERNEL = jax.ShapeDtypeStruct((128, 64), np.float32)


def _layout(devices=8):
    mesh = jax.sharding.AbstractMesh((devices,), (sharding.AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
    return sharding.Sharding(mesh, shard_params=True)  # pyright: ignore[reportArgumentType]


def _placement(devices=8):
    return _layout(devices).of_kernel


def _loss(x, kernel):
    return jnp.square(gathering.gathered(jnp.matmul)(x, kernel)).sum()


def _program(fn, *shapes, placement=None, images=None):
    """Return the program of a function, as text, and its results."""
    with gathering.split_as(placement, images):
        program = jax.make_jaxpr(fn)(*shapes)
    return str(program), program.out_avals


@pytest.mark.parametrize("placement", [None, _placement(devices=3)], ids=["whole", "does not divide"])
def test_a_kernel_that_is_not_split_is_used_as_it_is(placement):
    """The program is that of the function itself."""
    own = str(jax.make_jaxpr(jnp.matmul)(IMAGES, KERNEL))
    assert _program(gathering.gathered(jnp.matmul), IMAGES, KERNEL, placement=placement)[0] == own
    assert "sharding_constraint" not in _program(gathering.whole, KERNEL, placement=placement)[0]


def test_a_kernel_that_is_split_is_gathered_where_it_is_used():
    """Once; each device multiplies two of the 16 images."""
    text, (result,) = _program(gathering.gathered(jnp.matmul), IMAGES, KERNEL, placement=_placement())
    assert text.count("all_gather[") == 1
    assert "f32[2,128]" in text and "f32[16,64]" in text  # its images, its share of the kernel
    assert result.shape == (16, 64)


def test_the_backward_pass_gathers_again_and_splits_the_gradient():
    """Nothing but the shares is kept between the passes."""
    text, results = _program(jax.grad(_loss, argnums=(0, 1)), IMAGES, KERNEL, placement=_placement())
    assert text.count("all_gather[") == 2
    assert text.count("reduce_scatter[") == 1
    assert [result.shape for result in results] == [(16, 128), (128, 64)]


def test_kernels_of_which_some_are_split_are_given_in_their_order():
    """A small one is whole on every device."""

    def fn(x, first, second, factor):
        return factor * (x @ first) @ second

    shapes = (IMAGES, KERNEL, jax.ShapeDtypeStruct((64, 8), np.float32))
    text, (result,) = _program(gathering.gathered(fn, 2), *shapes, placement=_placement())
    assert text.count("all_gather[") == 1
    assert result.shape == (16, 8)


def test_devices_that_share_images_compute_their_own():
    """With whole kernels, whose gradient is the sum over all devices; on one device it is the function itself."""
    by_image, images = gathering.by_image(jnp.matmul), _layout().images
    text, (result,) = _program(by_image, IMAGES, KERNEL, images=images)
    assert "f32[2,64] = dot_general[" in text and "gather" not in text
    assert result.shape == (16, 64)

    def loss(x, kernel):
        return jnp.square(by_image(x, kernel)).sum()

    text, (of_kernel,) = _program(jax.grad(loss, argnums=1), IMAGES, KERNEL, images=images)
    assert text.count("psum[") == 1 and "gather" not in text
    assert of_kernel.shape == KERNEL.shape
    alone = gathering.by_image(jnp.matmul)  # another function: JAX remembers what it has traced
    assert _program(alone, IMAGES, KERNEL)[0] == str(jax.make_jaxpr(jnp.matmul)(IMAGES, KERNEL))


def test_devices_that_share_images_gather_a_kernel_that_is_split():
    """As they do otherwise."""
    by_image, gathered = gathering.by_image(jnp.matmul), gathering.gathered(jnp.matmul)
    known = {"placement": _placement(), "images": _layout().images}
    assert _program(by_image, IMAGES, KERNEL, **known)[0] == _program(gathered, IMAGES, KERNEL, **known)[0]


def test_outside_of_a_layer_a_kernel_is_gathered_by_the_partitioner():
    """Its gradient goes both steps back: whole, then split."""
    text, _ = _program(
        jax.grad(lambda kernel: jnp.square(gathering.whole(kernel)).sum()), KERNEL, placement=_placement()
    )
    assert text.count("sharding_constraint[") == 4


def test_a_program_knows_whether_its_kernels_are_split():
    """Inside of the block alone."""
    assert not gathering.is_split()
    assert gathering.traced_as(_placement(), _layout().images, gathering.is_split)()
    assert not gathering.traced_as(None, _layout().images, gathering.is_split)()
