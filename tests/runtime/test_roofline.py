"""The roofline of a program for GPUs, by a small one whose bytes and FLOPs are counted by hand."""

import pytest

from fgnet_jax.runtime import roofline
from fgnet_jax.runtime.roofline import Kernel
from fgnet_jax.runtime.topologies import Chip

CONVOLUTION = 'dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn$conv{}", backend_config={{"algo_id":"-1"}}'

PROGRAM = """HloModule jit_f, is_scheduled=true, entry_computation_layout={(bf16[8,16,16,4]{3,2,1,0})->f32[4]{0}}

%fused (p.1: bf16[8,16,16,4]) -> bf16[8,16,16,4] {
  %p.1 = bf16[8,16,16,4]{3,2,1,0} parameter(0)
  ROOT %multiply.1 = bf16[8,16,16,4]{3,2,1,0} multiply(%p.1, %p.1)
}

%body (state: (s32[], f32[10,20])) -> (s32[], f32[10,20]) {
  %state = (s32[], /*index=1*/f32[10,20]{1,0}) parameter(0)
  %a = f32[10,20]{1,0} get-tuple-element(%state), index=1
  %gemm = (f32[10,10]{1,0}, s8[4096]{0}) custom-call(%a, %a), custom_call_target="__cublas$gemm", \
backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]},\
"precision_config":{"operand_precision":["HIGHEST","HIGHEST"]}}}
  %next = f32[10,20]{1,0} copy(%a)
  ROOT %out = (s32[], f32[10,20]{1,0}) tuple(%state, %next)
}

%condition (state.2: (s32[], f32[10,20])) -> pred[] {
  %state.2 = (s32[], f32[10,20]{1,0}) parameter(0)
  ROOT %less = pred[] constant(false)
}

ENTRY %main (images: bf16[8,16,16,4], kernel: bf16[6,3,3,4]) -> f32[6] {
  %images = bf16[8,16,16,4]{3,2,1,0} parameter(0)
  %kernel = bf16[6,3,3,4]{3,2,1,0} parameter(1)
  %fusion = bf16[8,16,16,4]{3,2,1,0} fusion(%images), kind=kLoop, calls=%fused, metadata={op_name="a (b)"}
  %conv = (bf16[8,16,16,6]{3,2,1,0}, u8[1024]{0}) custom-call(%fusion, %kernel), dim_labels=b01f_o01i->b01f, \
custom_call_target="__cudnn$convForward"
  %map = bf16[8,16,16,6]{3,2,1,0} get-tuple-element(%conv), index=0
  %loop = (s32[], f32[10,20]{1,0}) while(%start), condition=%condition, body=%body, \
backend_config={"known_trip_count":{"n":"5"}}
  %sum-start = f32[6]{0} all-reduce-start(%partial), channel_id=1, to_apply=%add
  ROOT %sum = f32[6]{0} all-reduce-done(%sum-start)
}
"""


def test_kernels_are_counted_as_often_as_they_run():
    """A fusion once, a loop's body five times; parameters, tuples and the end of an exchange are no kernels."""
    kinds = {kernel.kind: kernel.times for kernel in roofline.kernels(PROGRAM)}
    loop = {"__cublas$gemm": 5, "copy": 5}
    assert kinds == {"fusion": 1, "__cudnn$convForward": 1, "all-reduce-start": 1} | loop


def test_bytes_are_those_of_arguments_and_results():
    """Scratch memory of a library's call is left out."""
    moved = {kernel.kind: kernel.bytes for kernel in roofline.kernels(PROGRAM)}
    image, kernel, result = 8 * 16 * 16 * 4 * 2, 6 * 3 * 3 * 4 * 2, 8 * 16 * 16 * 6 * 2
    assert moved["fusion"] == 2 * image
    assert moved["__cudnn$convForward"] == image + kernel + result
    assert moved["__cublas$gemm"] == 4 * (200 + 200 + 100)


def test_flops_are_those_of_convolutions_and_products():
    """Two for each multiplication; a product in float32 has its own rate."""
    found = {kernel.kind: kernel for kernel in roofline.kernels(PROGRAM)}
    assert found["fusion"].flops == 0
    assert found["__cudnn$convForward"].flops == 2 * (8 * 16 * 16) * (6 * 3 * 3 * 4)
    assert found["__cublas$gemm"].flops == 2 * 10 * 20 * 10
    assert (found["__cublas$gemm"].dtype, found["__cublas$gemm"].precision) == ("float32", "highest")
    assert found["__cudnn$convForward"].dtype == "bfloat16"


@pytest.mark.parametrize(
    ("kind", "operands", "result"),
    [
        ("Forward", ("8,32,32,4", "6,3,3,4"), "8,16,16,6"),
        ("BackwardInput", ("8,16,16,6", "6,3,3,4"), "8,32,32,4"),
        ("BackwardFilter", ("8,32,32,4", "8,16,16,6"), "6,3,3,4"),
    ],
)
def test_the_three_convolutions_of_a_layer_have_the_same_flops(kind, operands, result):
    """A strided one: each value of the kernel is multiplied once for each pixel of the layer's output."""
    x, y = operands
    text = f"ENTRY %main (x: f32[]) -> f32[] {{\n  %x = bf16[{x}]{{3,2,1,0}} parameter(0)\n"
    text += f"  %y = bf16[{y}]{{3,2,1,0}} parameter(1)\n"
    text += f"  %z = (bf16[{result}]{{3,2,1,0}}, u8[0]{{0}}) custom-call(%x, %y), {CONVOLUTION.format(kind)}\n}}\n"
    (kernel,) = roofline.kernels(text)
    assert kernel.flops == 2 * 8 * 16 * 16 * 6 * 3 * 3 * 4


def test_a_kernel_takes_the_larger_of_two_times():
    """As often as it runs."""
    chip = Chip(bandwidth=100.0, rate=1000.0, float32=(("highest", 0.1),))
    assert Kernel("copy", times=3, bytes=50).seconds(chip) == 1.5
    assert Kernel("conv", times=1, bytes=50, flops=2000).seconds(chip) == 2.0
    assert Kernel("conv", times=1, bytes=50, flops=2000, dtype="float32", precision="highest").seconds(chip) == 20.0


def test_exchanges_between_devices_are_counted_by_operation():
    """Their beginning and their end are one."""
    assert roofline.collectives(PROGRAM) == {"all-reduce": 1}


def test_sizes_of_shapes():
    """Tuples are the sum; layouts do not count."""
    assert roofline.size("f32[8,3]{1,0:T(8,128)}") == 96
    assert roofline.size("(bf16[2]{0}, pred[], /*index=2*/s64[3]{0}, f8e4m3fn[5], token[])") == 4 + 1 + 24 + 5
    with pytest.raises(ValueError, match="number format 'strange'"):
        roofline.size("strange[8]")


def test_what_is_no_program_is_refused():
    """Such as StableHLO."""
    with pytest.raises(ValueError, match="it has no ENTRY"):
        roofline.kernels("module @jit_f {\n}\n")
