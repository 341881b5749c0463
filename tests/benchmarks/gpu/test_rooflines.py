"""The roofline of a small program in the form that XLA writes for GPUs."""

import pytest

from benchmarks.gpu import rooflines

HLO = """
HloModule jit_f

ENTRY %main (x: bf16[8,128,128,64], k: bf16[3,3,64,64]) -> bf16[8,128,128,64] {
  %x = bf16[8,128,128,64]{3,2,1,0} parameter(0)
  %k = bf16[3,3,64,64]{3,2,1,0} parameter(1)
  %loop_add_fusion.1 = bf16[8,128,128,64]{3,2,1,0} fusion(%x), kind=kLoop, calls=%fused
  ROOT %copy.2 = bf16[8,128,128,64]{3,2,1,0} copy(%loop_add_fusion.1)
}
"""
BYTES = 2 * 2 * 8 * 128 * 128 * 64
"""That each of its kernels reads and writes."""


@pytest.mark.parametrize(("device", "bandwidth"), [("NVIDIA H100 80GB HBM3", 3.0e12), ("NVIDIA H200", 4.3e12)])
def test_a_program_takes_the_time_of_its_kernels(device: str, bandwidth: float):
    """Each card's, and by the names of instructions."""
    whole, each = rooflines.read(HLO, device=device, batch=8)
    assert whole["kernels"] == 2 and whole["gigabytes"] == pytest.approx(2 * BYTES / 1e9)
    assert each["copy.2"] == pytest.approx(BYTES / bandwidth)
    assert whole["seconds"] == pytest.approx(2 * BYTES / bandwidth)
    assert whole["images_a_second"] == pytest.approx(8 / whole["seconds"])


def test_measured_kernels_are_found_by_instruction_or_by_name():
    """XLA names kernels after their instructions; others are not known."""
    _, each = rooflines.read(HLO, device="NVIDIA H100", batch=8)
    named = {"operation": "copy.2", "name": "MemcpyD2D"}
    assert rooflines.of_kernel(named, each) == each["copy.2"]
    assert rooflines.of_kernel({"operation": "", "name": "loop_add_fusion_1"}, each) == each["loop_add_fusion.1"]
    assert rooflines.of_kernel({"operation": "", "name": "sm90_xmma"}, each) is None
