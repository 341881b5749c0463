"""Cost of a training step and of the forward pass, counted and read from the compiled program: nothing is run."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.ops import platforms
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.runtime import flops
from fgnet_jax.train import optimizer, state, steps, targets


@dataclasses.dataclass(frozen=True)
class StepCost:
    """Cost of one compiled step.

    Attributes:
      remat: Policy of rematerialisation.
      dtype: Number format of computation.
      batch: Images.
      gflop: Operations of the step in 1e9, two per multiply-add.
      temporaries: Peak bytes beside the state and the batch; the gradients are among them.
      gradients: Bytes of the gradients alone, which do not grow with the batch.
    """

    remat: str
    dtype: str
    batch: int
    gflop: float
    temporaries: int
    gradients: int


def measure(config: ModelConfig, batch: int) -> StepCost:
    """Compile FG-Net's training step on DISFA's AUs for a batch, and read its cost from the program."""
    centres = targets.au_centres(CORPUS_AUS["disfa"])
    step = steps.StepConfig(model=config, optim=optimizer.OptimConfig(), centres=centres)
    tx = optimizer.optimizer(step.optim, 7500)
    shapes = jax.eval_shape(lambda v: state.create(v, step.optim, tx), fgnet.abstract(config))
    side = config.image_size
    faces = {
        "image": jax.ShapeDtypeStruct((batch, side, side, 3), jnp.uint8),
        "landmarks": jax.ShapeDtypeStruct((batch, 68, 2), jnp.float32),
        "labels": jax.ShapeDtypeStruct((batch, len(step.centres)), jnp.int8),
    }
    key = jax.eval_shape(lambda: jax.random.key(0))
    fn = functools.partial(steps.train_step, step, tx)
    options = compiler_options.training(platforms.current())
    compiled = jax.jit(fn, donate_argnums=0, compiler_options=options).lower(shapes, faces, key).compile()
    trained, _ = optimizer.split(shapes.params, step.optim)
    gradients = sum(leaf.size * leaf.dtype.itemsize for leaf in trained.values())
    gflop = flops.count(fn, shapes, faces, key) / 1e9
    return StepCost(
        remat=config.remat,
        dtype=config.dtype,
        batch=batch,
        gflop=gflop,
        temporaries=_temporaries(compiled),
        gradients=gradients,
    )


def _temporaries(compiled: jax.stages.Compiled) -> int:
    memory: Any = compiled.memory_analysis()
    return memory.temp_size_in_bytes


def table(costs: list[StepCost]) -> str:
    """Format the costs, a line each."""
    lines = ["remat   dtype     batch  GFLOP/image  temporaries, GB  of them gradients  rest, GB/image"]
    for cost in costs:
        rest, gflop = (cost.temporaries - cost.gradients) / cost.batch / 1e9, cost.gflop / cost.batch
        lines.append(
            f"{cost.remat:7} {cost.dtype:9} {cost.batch:4}  {gflop:11.0f}  {cost.temporaries / 1e9:15.2f}"
            f"  {cost.gradients / 1e9:17.2f}  {rest:14.2f}"
        )
    return "\n".join(lines)


def scaling(config: ModelConfig) -> list[dict[str, float]]:
    """Measure the forward pass at batch sizes 1 to 8, and with generators of a quarter and a half of the side."""
    smaller = [
        dataclasses.replace(config, generator_channels=config.generator_channels[:-removed])
        for removed in (2, 1)
        if len(config.generator_channels) - removed > 3
    ]
    return [_forward(c, 1) for c in smaller] + [_forward(config, batch) for batch in (1, 2, 4, 8)]


def _forward(config: ModelConfig, batch: int) -> dict[str, float]:
    images = jax.ShapeDtypeStruct((batch, config.image_size, config.image_size, 3), jnp.float32)
    fn, variables = functools.partial(fgnet.apply, config), fgnet.abstract(config)
    gflop = flops.count(fn, variables, images) / 1e9
    temporaries = _temporaries(
        jax.jit(fn).lower(variables, images).compile(compiler_options.inference(platforms.current()))
    )
    return {"side": config.generator_size, "batch": batch, "gflop": gflop, "temporaries": temporaries}


def scaling_table(costs: list[dict[str, float]]) -> str:
    """Format the results of `scaling`, a line each."""
    lines = ["generator's side  batch  GFLOP/image  temporaries, GB"]
    for cost in costs:
        gflop, temporaries = cost["gflop"] / cost["batch"], cost["temporaries"] / 1e9
        lines.append(f"{cost['side']:16} {cost['batch']:6} {gflop:12.1f} {temporaries:16.2f}")
    return "\n".join(lines)
