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


# As TPUs have it: an exchange that goes on while two fusions compute, then one at once, and one within a loop.
ASYNC = """HloModule jit_step, is_scheduled=true, num_partitions=4

%begin (share: bf16[3,3,32,128]) -> (bf16[3,3,32,128], bf16[3,3,128,128], u32[]) {
  %share = bf16[3,3,32,128]{3,2,1,0:T(8,128)(2,1)S(1)} parameter(0)
  %all-gather.1 = bf16[3,3,128,128]{3,2,1,0:T(8,128)(2,1)} all-gather(%share), channel_id=1, \
replica_groups={{0,1,2,3}}, dimensions={2}, frontend_attributes={chain_id="0"}
  ROOT %start = (bf16[3,3,32,128], bf16[3,3,128,128], u32[]) custom-call(%all-gather.1), \
custom_call_target="AsyncCollectiveStart"
}

%async_collective_fusion (share.1: bf16[3,3,32,128], x: bf16[32,8]) -> (bf16[32,8], bf16[3,3,128,128]) {
  %share.1 = bf16[3,3,32,128]{3,2,1,0:T(8,128)(2,1)S(1)} parameter(0)
  %x = bf16[32,8]{1,0} parameter(1)
  %negate = bf16[32,8]{1,0} negate(%x)
  %all-gather.2 = bf16[3,3,128,128]{3,2,1,0:T(8,128)(2,1)} all-gather(%share.1), channel_id=1, \
replica_groups={{0,1,2,3}}, dimensions={2}, frontend_attributes={chain_id="0"}
  ROOT %both = (bf16[32,8], bf16[3,3,128,128]) tuple(%negate, %all-gather.2)
}

%end (share.2: bf16[3,3,32,128], whole: bf16[3,3,128,128]) -> bf16[3,3,128,128] {
  %share.2 = bf16[3,3,32,128]{3,2,1,0:T(8,128)(2,1)S(1)} parameter(0)
  %whole = bf16[3,3,128,128]{3,2,1,0:T(8,128)(2,1)S(1)} parameter(1)
  %all-gather.3 = bf16[3,3,128,128]{3,2,1,0:T(8,128)(2,1)} all-gather(%share.2), channel_id=1, \
replica_groups={{0,1,2,3}}, dimensions={2}, frontend_attributes={chain_id="0"}
  ROOT %done = bf16[3,3,128,128] custom-call(%share.2, %whole, %all-gather.3), custom_call_target="AsyncCollectiveDone"
}

%all-reduce-scatter (gradient: f32[64,8]) -> f32[16,8] {
  %gradient = f32[64,8]{1,0} parameter(0)
  %sum = f32[64,8]{1,0} all-reduce(%gradient), channel_id=2, replica_groups=[1,4]<=[4], to_apply=%add
  ROOT %slice = f32[16,8]{1,0} dynamic-slice(%sum, %start), dynamic_slice_sizes={16,8}
}

%body (state: f32[16]) -> f32[16] {
  %state = f32[16]{0} parameter(0)
  ROOT %sums = f32[16]{0} all-reduce(%state), channel_id=3, replica_groups={{0,1},{2,3}}, to_apply=%add
}

ENTRY %main (kernel: bf16[3,3,32,128], x.1: bf16[32,8], gradient.1: f32[64,8]) -> f32[16,8] {
  %kernel = bf16[3,3,32,128]{3,2,1,0} parameter(0)
  %x.1 = bf16[32,8]{1,0} parameter(1)
  %gradient.1 = f32[64,8]{1,0} parameter(2)
  %async-collective-start = (bf16[3,3,32,128], bf16[3,3,128,128], u32[]) fusion(%kernel), kind=kCustom, calls=%begin
  %fusion.1 = (bf16[32,8], bf16[3,3,128,128]) fusion(%kernel, %x.1), kind=kOutput, calls=%async_collective_fusion
  %async-collective-done = bf16[3,3,128,128] fusion(%kernel, %kernel), kind=kCustom, calls=%end
  %loop = f32[16]{0} while(%x.1), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  ROOT %fusion.2 = f32[16,8]{1,0} fusion(%gradient.1), kind=kCustom, calls=%all-reduce-scatter
}
"""


def test_an_exchange_that_is_spread_over_fusions_counts_once():
    """TPUs compute while they exchange; those within fusions and loops count, too."""
    assert roofline.collectives(ASYNC) == {"all-gather": 1, "all-reduce": 6}


def test_a_loop_that_does_not_say_how_often_it_runs_is_known_otherwise():
    """Programs for TPUs do not."""
    untold = ASYNC.replace(', backend_config={"known_trip_count":{"n":"5"}}', "")
    assert untold != ASYNC and roofline.collectives(untold, repeats=5) == roofline.collectives(ASYNC)
    assert roofline.collectives(ASYNC, repeats=3) == roofline.collectives(ASYNC)
    assert sum(roofline.collectives(untold).values()) == sum(roofline.collectives(ASYNC).values()) - 4


def test_bytes_of_exchanges_are_those_that_a_device_sends_in_a_ring():
    """A share to each of three others; a sum needs two rounds of quarters, or of halves between two devices."""
    gather, loop, scatter = roofline.exchanges(ASYNC)
    assert (gather.times, gather.bytes) == (1, 3 * 3 * 3 * 32 * 128 * 2)
    assert (loop.times, loop.bytes) == (5, 2 * 1 / 2 * 16 * 4)
    assert (scatter.times, scatter.bytes) == (1, 2 * 3 / 4 * 64 * 8 * 4)


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
