"""Kernels read from a trace: of this machine's CPU, and of a GPU, written as text."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from benchmarks.gpu import profiling

GPU = """
planes {
  name: "/device:GPU:0"
  event_metadata { key: 1 value { id: 1 name: "sm90_xmma_fprop" } }
  event_metadata { key: 2 value { id: 2 name: "loop_add_fusion" } }
  stat_metadata { key: 1 value { id: 1 name: "hlo_op" } }
  lines {
    name: "Stream #20(Compute)"
    events { metadata_id: 1 duration_ps: 3000000 stats { metadata_id: 1 str_value: "custom-call.7" } }
    events { metadata_id: 2 duration_ps: 1000000 }
    events { metadata_id: 1 duration_ps: 5000000 stats { metadata_id: 1 str_value: "custom-call.7" } }
  }
  lines { name: "XLA Ops" events { metadata_id: 2 duration_ps: 9000000 } }
}
planes { name: "/host:CPU" lines { name: "python" events { metadata_id: 1 duration_ps: 7000000 } } }
"""


def test_kernels_of_a_gpu_are_added_up_by_name(tmp_path: Path):
    """Per run, the longest first; lines that show the same a second time are left out, and so is the host."""
    data = jax.profiler.ProfileData.text_proto_to_serialized_xspace(GPU)
    (tmp_path / "vm.xplane.pb").write_bytes(data)
    convolution, addition = profiling.kernels(tmp_path, runs=2)
    assert (convolution.name, convolution.operation, convolution.calls) == ("sm90_xmma_fprop", "custom-call.7", 1)
    assert convolution.seconds == pytest.approx(4e-6)
    assert (addition.name, addition.operation, addition.calls) == ("loop_add_fusion", "", 0.5)


def test_a_trace_of_this_machine_has_kernels(tmp_path: Path):
    """Each run's, with the HLO instruction that it belongs to."""
    fn, x = jax.jit(lambda x: jnp.sort(x) @ x), jnp.ones((64, 64))
    fn(x).block_until_ready()
    with jax.profiler.trace(str(tmp_path)):
        for _ in range(2):
            fn(x).block_until_ready()
    found = profiling.summary(profiling.kernels(tmp_path, runs=2), count=1)
    assert found["kernels"] >= 2 and found["seconds"] > 0
    assert len(found["largest"]) == 1 and found["largest"][0]["operation"]


def test_a_trace_without_kernels_is_an_error(tmp_path: Path):
    """As where a GPU's counters may not be read."""
    with pytest.raises(profiling.NoKernelsError, match="has no kernels of a device"):
        profiling.kernels(tmp_path, runs=1)
