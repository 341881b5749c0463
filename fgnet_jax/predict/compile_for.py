"""Prediction, compiled for devices that are not there: what it needs of their memory, and how fast it may be.

What `python -m fgnet_jax.predict --weights DIR --compile_for TARGET` does.
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import numpy as np

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import NetworkConfig
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.predict import detector, network
from fgnet_jax.runtime import compiled, sharding
from fgnet_jax.runtime.compiled import Program, gib
from fgnet_jax.runtime.topologies import Device, Target

Report = Callable[[str], None]
"""Prints a line."""


def compile_for(
    weights: str, target: Target, *, batch_size: int | None, dtype: str | None, report: Report, output: Report = print
) -> bool:
    """Compile prediction for a target, print what it needs, and propose what fits where it does not.

    Args:
      weights: The weights directory.
      target: The devices.
      batch_size: Faces per batch, over all devices; None for the default of the devices.
      dtype: Number format to compute in; None for that of the weights.
      report: Prints lines of progress.
      output: Prints the result.

    Returns:
      Whether the batch fits.

    Raises:
      WeightsError: There are no such weights, or none that detect AUs.
    """
    described = detector.describe(weights, dtype=dtype)
    a_device = network.BATCH_SIZE_CPU if target.platform == "cpu" else network.BATCH_SIZE_ACCELERATOR
    size = batch_size or a_device * len(target.devices)
    one = "" if len(_devices(target, size)) == len(target.devices) else "; they do not divide, so one device computes"
    output(f"{target.name}: {len(target.devices)} {target.kind}; batches of {size}, {described.config.dtype}{one}")
    attempt = functools.partial(_compiled, described.config, len(described.meta.aus), target, report)
    program = attempt(size)
    output(compiled.table({"prediction": program}, target.chip))
    if program.fits(target.chip):
        pace = f". At most {compiled.three_digits(size / program.seconds)} images/s" if program.seconds else ""
        output(f"fits{pace}")
        return True
    output(compiled.does_not_fit(f"batch of {size}", program, target.chip))
    memory = target.chip.memory or math.inf
    possible = [smaller for smaller in halves(size) if at_least(program, smaller / size) <= memory]
    fitting = next((smaller for smaller in possible if attempt(smaller).fits(target.chip)), None)
    output("no batch fits" if fitting is None else f"this fits: --batch_size {fitting}")
    return False


def halves(size: int) -> list[int]:
    """Return the half, the quarter, … of a batch size, down to 1."""
    return [size >> power for power in range(1, size.bit_length())]


def at_least(program: Program, share: float) -> float:
    """Estimate, from below, the bytes that a program needs for a share of its images: at most as much goes away."""
    if program.needed is None:
        return 0.0
    temporaries = program.needed - program.arguments - program.beside
    return program.needed - (1 - share) * temporaries


def _compiled(config: NetworkConfig, count: int, target: Target, report: Report, size: int) -> Program:
    """Compile the network for batches of `size`, and report it."""
    report(f"compiling for batches of {size}")
    program, seconds = compiled.timed(lambda: compile_network(config, count, target, size))
    ended = f"refused: {program.refusal}" if program.refusal else f"{gib(program.needed)} a device"
    report(f"batches of {size}: {ended} (compiled in {seconds:.0f} s)")
    return program


def _devices(target: Target, size: int) -> Sequence[Device]:
    """Return the devices that compute a batch: all, or one where it does not divide over them."""
    return target.devices if size % len(target.devices) == 0 else target.devices[:1]


def compile_network(config: NetworkConfig, count: int, target: Target, size: int) -> Program:
    """Compile the network as `Network` does, for batches of `size` faces, of which each device has its share."""
    devices = _devices(target, size)
    layout = sharding.create(devices=devices)
    side, platform = config.image_size, layout.platform
    images = jax.ShapeDtypeStruct((size, side, side, 3), np.uint8, sharding=layout.batch)
    variables = compiled.placed(fgnet.abstract(config), layout.replicated)
    float32 = config.matmul_precision if config.dtype == "float32" else None
    options = compiler_options.inference(platform, is_small=config.is_small)
    build = functools.partial(compiled.compile_program, target=target, images=size // len(devices), float32=float32)
    if platform == "cpu":
        known = {"arguments": compiled.size_on_device((variables, images)), "options": options}
        return build(lambda: network.forward.lower(config, count, platform, variables, images), **known)
    prepare, finish = network.split_forward(config, count, platform, images)
    prepared = compiled.placed(jax.eval_shape(prepare, variables), layout.replicated)
    known = {"arguments": compiled.size_on_device((prepared, images)), "options": options}
    beside = compiled.size_on_device(variables)  # what they were prepared from stays
    return build(lambda: jax.jit(finish).lower(prepared, images), beside=beside, **known)
