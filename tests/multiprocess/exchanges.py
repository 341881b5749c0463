"""Compile the steps of a network for all devices of this process, and print what they exchange, as JSON.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m tests.multiprocess.exchanges

Of training with whole and with split parameters, with whole ones also by the paths of GPUs and TPUs, and of evaluation
with split ones: how often each kind of exchange is made, and the bytes that a device holds before a step. Beside them,
how many kernels are split.
"""

import collections
import json
import re
from unittest import mock

import jax
import numpy as np

from fgnet_jax.models import fgnet
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.runtime import sharding
from fgnet_jax.train import run, steps, targets
from fgnet_jax.train.optimizer import OptimConfig
from tests.multiprocess.test_devices import MODEL

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
AUS = (1, 4, 6, 12, 25)
BATCH = 16


class _ForGpus(sharding.Sharding):
    """A placement on the devices of this process, for which programs are traced as for GPUs."""

    platform = "gpu"  # pyright: ignore[reportAssignmentType]


class _ForTpus(sharding.Sharding):
    """The same as for TPUs."""

    platform = "tpu"  # pyright: ignore[reportAssignmentType]


def count(text: str) -> dict[str, int]:
    """Count the exchanges in the HLO of a program."""
    return dict(collections.Counter(re.findall(rf" ({'|'.join(KINDS)})(?:-start)?\(", text)))


def describe(lowered: jax.stages.Lowered) -> dict:
    """Return the exchanges and the size of the arguments of a program."""
    compiled = lowered.compile()
    memory = compiled.memory_analysis()
    assert memory is not None
    return {"exchanges": count(compiled.as_text() or ""), "arguments": memory.argument_size_in_bytes}


def batch(layout: sharding.Sharding) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes of a batch of training and evaluation."""
    side = MODEL.image_size
    shapes = {
        "image": ((side, side, 3), np.uint8),
        "landmarks": ((68, 2), np.float32),
        "labels": ((len(AUS),), np.int8),
    }
    shapes |= {"index": ((), np.int32), "valid": ((), np.bool_)}
    return {
        name: jax.ShapeDtypeStruct((BATCH, *shape), dtype, sharding=layout.batch)
        for name, (shape, dtype) in shapes.items()
    }


def training(layout: sharding.Sharding) -> jax.stages.Lowered:
    """Trace a training step."""
    step = steps.StepConfig(MODEL, OptimConfig(), targets.au_centres(AUS))
    inputs = {name: shape for name, shape in batch(layout).items() if name in ("image", "landmarks", "labels")}
    key = jax.eval_shape(lambda: jax.random.key(0))
    return run.compile_steps(step, 1, layout).train.lower(run.state_shapes(step, 1), inputs, key)  # pyright: ignore[reportFunctionMemberAccess]


def training_elsewhere(layout: sharding.Sharding) -> jax.stages.Lowered:
    """Trace a training step for another platform, without its options, which CPUs do not know."""
    with mock.patch.object(compiler_options, "training", return_value={}):
        return training(layout)


def evaluation(layout: sharding.Sharding) -> jax.stages.Lowered:
    """Trace an evaluation step."""
    shapes = fgnet.abstract(MODEL)
    placed = jax.tree.map(
        lambda shape, place: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=place), shapes, layout.of(shapes)
    )
    inputs = {name: shape for name, shape in batch(layout).items() if name != "landmarks"}
    return run.compile_eval_steps(MODEL, len(AUS), layout).score.lower(placed, inputs)  # pyright: ignore[reportFunctionMemberAccess]


def main() -> None:
    """Compile and print."""
    whole, split = sharding.create(), sharding.create(shard_params=True)
    placed = jax.tree.leaves(split.of(fgnet.abstract(MODEL)))
    described = {
        "whole": describe(training(whole)),
        "gpu": describe(training_elsewhere(_ForGpus(whole.mesh))),
        "tpu": describe(training_elsewhere(_ForTpus(whole.mesh))),
        "split": describe(training(split)),
        "evaluation": describe(evaluation(split)),
        "kernels": sum(not place.is_fully_replicated for place in placed),
    }
    print(json.dumps(described))


if __name__ == "__main__":
    main()
