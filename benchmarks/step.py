"""What one training step costs at the published size, read from the compiled program: nothing is run."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from fgnet_jax import heatmaps, optim, state, steps
from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.train import COMPILER_OPTIONS


@dataclasses.dataclass(frozen=True)
class StepCost:
    """Of one compiled step.

    Attributes:
      remat: What is computed again in the backward pass.
      batch: Images.
      gflop: Of the step, two operations per multiply-add.
      temporaries: Peak bytes beside the state and the batch; the gradients are among them.
      gradients: Bytes of the gradients alone, which do not grow with the batch.
    """

    remat: str
    batch: int
    gflop: float
    temporaries: int
    gradients: int


def measure(config: ModelConfig, batch: int) -> StepCost:
    """Compiles FG-Net's training step on DISFA's AUs for a batch, and reads the compiler's own figures."""
    step = steps.StepConfig(config, optim.OptimConfig(), heatmaps.au_centres(CORPUS_AUS["disfa"]))
    tx = optim.optimizer(step.optim, 7500)
    shapes = jax.eval_shape(lambda v: state.create(v, step.optim, tx), fgnet.abstract(config))
    side = config.image_size
    faces = {
        "image": jax.ShapeDtypeStruct((batch, side, side, 3), jnp.uint8),
        "landmarks": jax.ShapeDtypeStruct((batch, 68, 2), jnp.float32),
        "labels": jax.ShapeDtypeStruct((batch, len(step.centres)), jnp.int8),
    }
    key = jax.eval_shape(lambda: jax.random.key(0))
    options = COMPILER_OPTIONS.get(jax.default_backend())
    jitted = jax.jit(functools.partial(steps.train_step, step, tx), donate_argnums=0, compiler_options=options)
    compiled = jitted.lower(shapes, faces, key).compile()
    cost: Any = compiled.cost_analysis()
    memory: Any = compiled.memory_analysis()
    trained, _ = optim.split(shapes.params, step.optim)
    gradients = sum(leaf.size * leaf.dtype.itemsize for leaf in trained.values())
    return StepCost(config.remat, batch, cost["flops"] / 1e9, memory.temp_size_in_bytes, gradients)


def table(costs: list[StepCost]) -> str:
    """The costs, a line each."""
    lines = ["remat   batch  GFLOP/image  temporaries, GB  of them gradients  rest, GB/image"]
    for cost in costs:
        rest = (cost.temporaries - cost.gradients) / cost.batch / 1e9
        lines.append(
            f"{cost.remat:7} {cost.batch:5}  {cost.gflop / cost.batch:11.0f}  {cost.temporaries / 1e9:15.2f}"
            f"  {cost.gradients / 1e9:17.2f}  {rest:14.2f}"
        )
    return "\n".join(lines)
