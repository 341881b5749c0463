"""What our own processes prepare, and measure when it is their turn: the machine, inference, training, gradients."""

import dataclasses
import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import machine as host
from benchmarks.gpu import card, parity, profiling, rooflines
from benchmarks.gpu.measuring import FREE, Measure, Result, first_loss, timings
from benchmarks.gpu.plan import Case
from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.models import fgnet
from fgnet_jax.models.ops import platforms
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.predict import network
from fgnet_jax.runtime import flops, provenance
from fgnet_jax.train import losses, optimizer, state, steps, targets

AUS = CORPUS_AUS["bp4d"]
PLATFORM = "gpu"
"""Programs are traced for GPUs on every machine: a machine without one then runs their paths, too."""

PROFILED_RUNS = 3
Tree = Any
"""A pytree of arrays, or of their shapes."""


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A program that is traced and lowered, but not compiled.

    Attributes:
      program: JAX's lowered program.
      gflop: Its operations, in 1e9, as they are counted before compilation.
      options: Options for its compilation.
    """

    program: jax.stages.Lowered
    gflop: float
    options: compiler_options.CompilerOptions


def machine(case: Case) -> Measure:
    """Measure the machine's rates: of products of square matrices in each format, and of copying."""
    size = 256 if case.is_tiny else 8192

    def measure() -> Iterator[Result]:
        record = host.describe()
        record["versions"] |= {name: found for name in _LIBRARIES if (found := provenance.version(name))}
        yield {"machine": record | {"card": card.describe()}}
        if jax.default_backend() != PLATFORM and not case.is_tiny:
            yield {"problem": f"JAX computes on {jax.devices()[0].device_kind}: expected a GPU"}
        rates = {}
        for format_, (dtype, precision) in _PRODUCTS.items():
            a = jax.random.normal(jax.random.key(0), (size, size), dtype)
            product = jax.jit(functools.partial(jnp.matmul, precision=precision))
            rates[format_] = 2 * size**3 / _seconds(functools.partial(product, a, a)) / 1e12
        yield {"teraflops": rates}
        a = jnp.ones((size, size, 8), jnp.float32)
        seconds = _seconds(functools.partial(jax.jit(lambda a: a + 1), a))
        yield {"terabytes_copied": 2 * a.nbytes / seconds / 1e12}

    return measure


_LIBRARIES = ("jax-cuda13-plugin", "jax-cuda12-plugin", "nvidia-cudnn-cu13", "nvidia-cudnn-cu12", "triton")
_PRODUCTS = {
    "bfloat16": (jnp.bfloat16, "default"),
    "tf32": (jnp.float32, "default"),
    "float32": (jnp.float32, "highest"),
}


def _seconds(start: Callable[[], object]) -> float:
    """Return the seconds of a run, after one that compiles."""
    return timings(start, jax.block_until_ready, batch=1, rounds=3, burst_seconds=0.05)["seconds"]


def inference(case: Case) -> Measure:
    """Prepare the network as `fgnet_jax.predict` runs it on a GPU: uint8 images to scores and heatmaps of 12 AUs."""
    config, count = case.config, len(AUS)
    weights, images = parity.variables(config), parity.images(config, case.batch)
    like = jax.ShapeDtypeStruct(images.shape, images.dtype)
    prepare, finish = network.split_forward(config, count, PLATFORM, like)
    lowered = _lower(finish, jax.eval_shape(prepare, fgnet.abstract(config)), like, case=case)

    def measure() -> Iterator[Result]:
        program, result = _compiled(lowered)
        yield result
        begin = time.perf_counter()
        arguments = jax.block_until_ready((jax.jit(prepare)(weights), jax.device_put(images)))
        yield {"weights_seconds": time.perf_counter() - begin}
        heatmaps = program(*arguments)[1]
        expected = parity.golden(config, "inference", case.folder)
        if expected is not None:
            yield _judged(case, parity.heatmap_errors(np.asarray(heatmaps), expected, config.num_heatmaps))
        yield from _timed(case, lambda: program(*arguments), program)

    return measure


def training(case: Case) -> Measure:
    """Prepare a step as `fgnet_jax.train` runs it on a GPU, on random landmarks and labels of BP4D's AUs."""
    config = case.config
    step = steps.StepConfig(model=config, optim=optimizer.OptimConfig(), centres=targets.au_centres(AUS))
    tx = optimizer.optimizer(step.optim, 7500)
    weights, faces, key = parity.variables(config), _faces(case), jax.random.key(0)
    states = jax.eval_shape(lambda: state.create(fgnet.abstract(config), step.optim, tx))
    fn = platforms.traced_for(PLATFORM, functools.partial(steps.train_step, step, tx))
    lowered = _lower(fn, states, faces, key, case=case, donate=True)

    def measure() -> Iterator[Result]:
        program, result = _compiled(lowered)
        yield result
        current = {"state": state.create(jax.device_put(weights), step.optim, tx)}
        on_device = jax.device_put(faces)

        def start() -> object:
            current["state"], metrics = program(current["state"], on_device, key)
            return metrics

        first = jax.device_get(start())
        yield {"grad_norm": float(first["grad_norm"])} | first_loss(float(first["loss"]))
        yield from _timed(case, start, program)

    return measure


def gradients(case: Case) -> Measure:
    """Prepare the first gradient of the reference step, without dropout, to compare it with golden numbers."""
    config = dataclasses.replace(case.config, dropout=0.0)
    weights, optim = parity.variables(config), optimizer.OptimConfig()
    images = fgnet.normalise(parity.images(config, 2))
    maps = parity.target_heatmaps(config)

    def norms(trained: fgnet.Arrays, frozen: fgnet.Arrays, rest: fgnet.Variables) -> tuple[jax.Array, fgnet.Arrays]:
        def loss_fn(trained: fgnet.Arrays) -> jax.Array:
            merged = fgnet.Variables(trained | frozen, rest.batch_stats, rest.buffers)
            heatmaps, _ = fgnet.apply_train(config, merged, images, None)
            return losses.heatmap_loss(heatmaps, jnp.asarray(maps), jnp.ones(maps.shape[::3], bool))

        with jax.default_matmul_precision(config.matmul_precision):
            loss, grads = jax.value_and_grad(loss_fn)(trained)
        return loss, {path: jnp.linalg.norm(grad.ravel()) for path, grad in grads.items()}

    rest = fgnet.Variables({}, weights.batch_stats, weights.buffers)
    arguments = (*optimizer.split(weights.params, optim), rest)
    lowered = _lower(platforms.traced_for(PLATFORM, norms), *arguments, case=case)

    def measure() -> Iterator[Result]:
        program, result = _compiled(lowered)
        yield result
        loss, found = jax.device_get(program(*arguments))
        expected = parity.golden(config, "training_exact", case.folder)
        if expected is not None:
            values = {path: float(norm) for path, norm in found.items()}
            yield _judged(case, parity.gradient_errors(config, float(loss), values, expected))

    return measure


def _lower(fn: Callable[..., Any], *arguments: Tree, case: Case, donate: bool = False) -> Lowered:
    options = compiler_options.training if case.task != "inference" else compiler_options.inference
    jitted = jax.jit(fn, donate_argnums=0 if donate else None)
    traced = jitted.trace(*arguments)
    gflop = flops.count_jaxpr(traced.jaxpr.jaxpr) / 1e9
    return Lowered(traced.lower(), gflop, options(jax.default_backend()))


def _compiled(lowered: Lowered) -> tuple[jax.stages.Compiled, Result]:
    begin = time.perf_counter()
    program = lowered.program.compile(lowered.options)
    result = {"gflop": lowered.gflop, "compile_seconds": time.perf_counter() - begin}
    memory: Any = program.memory_analysis()
    if memory:
        result |= {"temporaries": memory.temp_size_in_bytes, "arguments": memory.argument_size_in_bytes}
    return program, result


def _timed(case: Case, start: Callable[[], object], program: jax.stages.Compiled) -> Iterator[Result]:
    """Time a program, and profile it if its case says so."""
    wait = jax.block_until_ready
    result = timings(start, wait, batch=case.batch, rounds=case.rounds, burst_seconds=case.burst_seconds)
    yield result | {"peak": host.peak()}
    if case.is_profiled:
        folder = tempfile.mkdtemp(dir=case.folder)
        with jax.profiler.trace(folder):
            for _ in range(PROFILED_RUNS):
                wait(start())
        yield FREE
        yield from _by_kernel(case, program, Path(folder))


def _by_kernel(case: Case, program: jax.stages.Compiled, folder: Path) -> Iterator[Result]:
    """Read the roofline, and the profile beside it: the latter also where the former cannot be read."""
    each: dict[str, float] = {}
    try:
        whole, each = rooflines.read(program.as_text() or "", device=jax.devices()[0].device_kind, batch=case.batch)
        yield {"roofline": whole}
    finally:
        profile = profiling.summary(profiling.kernels(folder, PROFILED_RUNS))
        for kernel in profile["largest"]:
            kernel["roofline_seconds"] = rooflines.of_kernel(kernel, each)
        yield {"profile": profile}


def _judged(case: Case, errors: dict[str, float]) -> Result:
    """Return errors as a result; that of a wrong measurement if they are beyond their bounds."""
    problem = parity.beyond(errors, case.format)
    return {"errors": errors} | ({"problem": problem} if problem else {})


def _faces(case: Case) -> dict[str, np.ndarray]:
    rng, side = np.random.default_rng(0), case.config.image_size
    return {
        "image": parity.images(case.config, case.batch),
        "landmarks": rng.uniform(0.2, 0.8, (case.batch, 68, 2)).astype(np.float32) * side,
        "labels": rng.integers(0, 2, (case.batch, len(AUS))).astype(np.int8),
    }
