"""XLA's options for compiling the network on CPUs."""

import functools
from typing import Any

import jax
import numpy as np

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY
from fgnet_jax.models.ops.cpu import compiler_options


def test_the_compiler_knows_every_option():
    """This JAX does, on CPUs: without one of them, memory would double, or steps would round otherwise."""
    assert [*compiler_options.inference("cpu")] == ["xla_cpu_scheduler_type"]
    assert compiler_options.inference("cpu", is_small=True) == compiler_options.training("cpu")
    assert [*compiler_options.training("cpu")] == ["xla_cpu_scheduler_type", "xla_cpu_experimental_ynn_fusion_type"]


def test_gpus_save_bfloat16_as_such():
    """The option is one of XLA's for all platforms, so that CPUs know it, too."""
    options = compiler_options.training("gpu")
    assert options == {"xla_allow_excess_precision": False} and compiler_options.inference("gpu") == {}
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2


def test_tpus_do_not_cut_up_maps(monkeypatch):
    """Compiled for one that is absent, by all options; on one, by those that its compiler knows."""
    options = compiler_options.training("tpu")
    assert [*options] == ["xla_tpu_run_space_to_batch", "xla_tpu_run_space_to_batch_on_new_platforms"]
    assert not any(options.values()) and compiler_options.inference("tpu") == {}
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")  # whose compiler then is that of CPUs
    assert compiler_options.training("tpu") == {}


def test_the_schedule_saves_memory():
    """A sixth for eight faces of the tiny network; half for one face of the published one, whose maps are larger."""
    shapes = fgnet.abstract(TINY), jax.ShapeDtypeStruct((8, TINY.image_size, TINY.image_size, 3), np.float32)
    lowered = jax.jit(functools.partial(fgnet.apply, TINY)).lower(*shapes)
    default, saving = (_temporaries(lowered.compile(options)) for options in (None, compiler_options.inference("cpu")))
    assert saving < 0.9 * default


def _temporaries(compiled: jax.stages.Compiled) -> int:
    memory: Any = compiled.memory_analysis()
    return memory.temp_size_in_bytes


def test_an_option_of_another_release_is_left_out(monkeypatch):
    """Nothing fails for a name or a value that XLA does not know."""
    monkeypatch.setattr(compiler_options, "_MEMORY", {"xla_cpu_renamed": "1", "xla_cpu_scheduler_type": "RENAMED"})
    assert compiler_options.inference("cpu") == {}
    assert jax.jit(lambda x: x + 1, compiler_options=compiler_options.inference("cpu"))(1) == 2
