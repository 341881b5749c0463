"""What XLA is told about the network."""

import functools
from typing import Any

import jax
import numpy as np

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY
from fgnet_jax.models.ops.cpu import compiler_options


def test_the_compiler_takes_every_option():
    """Of this JAX, on CPUs: were one left out, memory would be taken twice, or steps would round otherwise."""
    assert [*compiler_options.inference()] == ["xla_cpu_scheduler_type"]
    assert [*compiler_options.training()] == ["xla_cpu_scheduler_type", "xla_cpu_experimental_ynn_fusion_type"]


def test_memory_is_minded():
    """A sixth less for eight faces of the tiny network; half for one of the published, whose maps are larger."""
    shapes = fgnet.abstract(TINY), jax.ShapeDtypeStruct((8, TINY.image_size, TINY.image_size, 3), np.float32)
    lowered = jax.jit(functools.partial(fgnet.apply, TINY)).lower(*shapes)
    usual, mindful = (_temporaries(lowered.compile(options)) for options in (None, compiler_options.inference()))
    assert mindful < 0.9 * usual


def _temporaries(compiled: jax.stages.Compiled) -> int:
    memory: Any = compiled.memory_analysis()
    return memory.temp_size_in_bytes


def test_an_option_of_another_release_is_left_out(monkeypatch):
    """A name, or a value, that XLA does not know; nothing fails for it."""
    monkeypatch.setattr(compiler_options, "_MEMORY", {"xla_cpu_renamed": "1", "xla_cpu_scheduler_type": "RENAMED"})
    assert compiler_options.inference() == {}
    assert jax.jit(lambda x: x + 1, compiler_options=compiler_options.inference())(1) == 2
