"""Traces of steps: which are traced, and what is said of them."""

import gzip
import json

import jax
import jax.numpy as jnp
import pytest

from fgnet_jax.train import profiling
from fgnet_jax.train.defaults import ConfigError


def _run(folder, steps, first, last, *, active=True):
    """Run steps of a small computation; return what was said."""
    said, compute = [], jax.jit(lambda x: x * 2)
    with profiling.Profiler(folder, steps, say=said.append, active=active) as profiler:
        for step in range(first, last + 1):
            with profiler.step(step):
                result = compute(jnp.ones(8))
            profiler.end(step, result)
    return said


def _traced(folder):
    """Return the numbers of the steps that a trace marks."""
    (file,) = folder.rglob("perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    return sorted({int(event["args"]["step_num"]) for event in events if "step_num" in event.get("args", {})})


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(1, 9, [3, 4, 5]), (5, 9, [5]), (1, 4, [3, 4])],
    ids=["all", "resumed within", "stopped within"],
)
def test_steps_are_traced(tmp_path, first, last, expected):
    """Those of the range that this process runs; with how to look at it."""
    (said,) = _run(tmp_path, (3, 5), first, last)
    assert _traced(tmp_path / "profile") == expected
    count = f"{len(expected)} step{'s' * (len(expected) > 1)}"
    assert said.startswith(f"Trace of {count}: drop {tmp_path}/profile/") and "xprof --logdir" in said


def test_steps_that_are_done_are_not_traced(tmp_path):
    """And it is said; nor is anything without the flag, or in other processes."""
    assert _run(tmp_path, (3, 5), 6, 7) == ["--profile 3:5: none of these steps was left to run: nothing was traced"]
    assert _run(tmp_path, None, 1, 3) == [] == _run(tmp_path, (1, 3), 1, 3, active=False)
    assert not (tmp_path / "profile").exists()


@pytest.mark.parametrize("text", ["10", "15:10", "0:3", "a:b", ":", "1:2:3"])
def test_other_ranges_are_refused(text):
    """In one line."""
    assert profiling.parse("10:15") == (10, 15)
    with pytest.raises(ConfigError, match=f"--profile {text}: expected the first and the last step"):
        profiling.parse(text)
