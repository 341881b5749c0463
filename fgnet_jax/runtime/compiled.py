"""What a compiled program needs of each device, and the pace that the device's figures allow it."""

import dataclasses
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.runtime import roofline
from fgnet_jax.runtime.topologies import GIB, Chip, Target

Tree = Any
"""A pytree of `jax.ShapeDtypeStruct`, with shardings where it is passed to a program."""

_OUTSIDE_LOOPS = 3  # the optimiser moves its state twice, and the gradients, a third of it: so often at most

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program, in figures of one device; unknown ones are None.

    Attributes:
      images: Images that one device computes.
      arguments: Bytes of the arrays that it is called with.
      results: Bytes of its results that do not take the place of arguments.
      temporaries: Bytes that it needs while it runs.
      code: Bytes of its instructions, which are in the device's memory on TPUs.
      beside: Bytes of arrays that stay in memory and are not its own, such as the optimiser's state in evaluation.
      flops: FLOPs of a run.
      moved: Bytes read and written in a run.
      kernels: Kernels of a run, on GPUs.
      collectives: How often data are exchanged between devices in a run, by operation.
      exchanged: Bytes that it sends to other devices in a run.
      seconds: The least time of a run, by the roofline.
      refusal: What the compiler said where it refused the program because of its memory; empty otherwise.
      needed_by_refusal: Bytes that it named then.
      text: The program, as HLO.
    """

    images: int
    arguments: int
    results: int = 0
    temporaries: int | None = None
    code: int = 0
    beside: int = 0
    flops: float | None = None
    moved: float | None = None
    kernels: int | None = None
    collectives: Mapping[str, int] = dataclasses.field(default_factory=dict)
    exchanged: float = 0.0
    seconds: float | None = None
    refusal: str = ""
    needed_by_refusal: int | None = None
    text: str = dataclasses.field(default="", repr=False)

    @property
    def needed(self) -> int | None:
        """Bytes of memory that it takes at its peak, with what stays beside it; None if the compiler named none."""
        if self.temporaries is None:
            return self.needed_by_refusal and self.needed_by_refusal + self.beside
        return self.arguments + self.results + self.temporaries + self.code + self.beside

    def fits(self, chip: Chip) -> bool:
        """Return whether a device has memory for it; where the device's memory is not known, the compiler decides."""
        return not self.refusal and (not chip.memory or (self.needed or 0) <= chip.memory)


def compile_program(lowered: Callable[[], jax.stages.Lowered], target: Target, **known: Any) -> Program:  # noqa: ANN401
    """Compile a program for a target, and return its figures.

    Args:
      lowered: Traces the program for the target's devices.
      target: The target.
      **known: `images`, `arguments` (bytes) and `beside` of it; `float32`, the precision of products in float32, where
        these are computed; `options`, the compiler's, where its `jax.jit` has none; `repeats`, how often the loop runs
        that nearly all of the program is, such as over the parts of a batch.

    Returns:
      The program's figures; where the compiler refuses it because of its memory, those that are known.
    """
    precision, options, repeats = known.pop("float32", None), known.pop("options", None), known.pop("repeats", 1)
    try:
        compiled = lowered().compile(options)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        line = str(error).split("\n")[0].partition("RESOURCE_EXHAUSTED: ")[2]
        return Program(**known, refusal=line, needed_by_refusal=bytes_named(line))
    memory, text = compiled.memory_analysis(), compiled.as_text() or ""
    assert memory is not None, "all compilers of these platforms say what memory a program takes"
    is_tpu = target.platform == "tpu"
    program = Program(
        **{**known, "arguments": memory.argument_size_in_bytes},
        results=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes if is_tpu else 0,
        collectives=roofline.collectives(text, repeats),
        exchanged=sum(exchange.times * exchange.bytes for exchange in roofline.exchanges(text, repeats)),
        text=text,
    )
    if target.platform == "gpu":
        costs = _gpu_costs(text, target.chip)
    else:
        flops, moved = _costs(compiled, repeats, outside=_OUTSIDE_LOOPS * program.arguments)
        costs = {"flops": flops, "moved": moved, "seconds": _seconds(flops, moved, target.chip, precision)}
    return with_exchanges(dataclasses.replace(program, **costs), target)


def with_exchanges(program: Program, target: Target) -> Program:
    """Return a program whose run takes at least as long as its exchanges, where the devices' connection is known."""
    if not program.seconds or not target.chip.interconnect or (target.platform == "gpu" and target.hosts > 1):
        return program
    return dataclasses.replace(program, seconds=max(program.seconds, program.exchanged / target.chip.interconnect))


def _gpu_costs(text: str, chip: Chip) -> dict[str, Any]:
    """Return costs as this package reads them from the program: XLA has none of programs for absent GPUs."""
    every = roofline.kernels(text)
    return {
        "flops": sum(kernel.times * kernel.flops for kernel in every),
        "moved": float(sum(kernel.times * kernel.bytes for kernel in every)),
        "kernels": sum(kernel.times for kernel in every),
        "seconds": sum(kernel.seconds(chip) for kernel in every),
    }


def _costs(compiled: jax.stages.Compiled, repeats: int, *, outside: float) -> tuple[float | None, float | None]:
    """Return FLOPs and bytes as XLA counts them: a product in float32 is one FLOP, however it is computed.

    XLA counts what is in a loop once, however often it runs.

    Args:
      compiled: The program.
      repeats: How often the loop runs that nearly all of the program is.
      outside: Bytes that are moved outside of it, at most; its FLOPs are nearly all.
    """
    costs = compiled.cost_analysis() or {}
    flops, moved = costs.get("flops"), costs.get("bytes accessed")
    in_loop = 0.0 if moved is None else max(0.0, moved - outside)
    return flops and flops * repeats, moved and moved + (repeats - 1) * in_loop


def _seconds(flops: float | None, moved: float | None, chip: Chip, precision: str | None) -> float | None:
    """Return the least time of a run; None if a figure is not known."""
    if not (chip.rate and flops and moved):
        return None
    rate = chip.rate_of("float32" if precision else "bfloat16", precision or "default")
    return max(moved / chip.bandwidth, flops / rate)


def bytes_named(refusal: str) -> int | None:
    """Return the bytes that a program needs by the compiler's refusal, the larger number in it; None if it has none."""
    found = re.findall(r"([\d.]+)([KMGT]?)(?:i?B)?\b", refusal)
    sizes = [float(number) * _UNITS[unit] for number, unit in found if unit and number.strip(".")]
    return int(max(sizes)) if sizes else None


def size_on_device(tree: Tree) -> int:
    """Compute the bytes that a device holds of arrays, by their shapes and shardings."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)]
    return sum(int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize for leaf in leaves)


def placed(tree: Tree, shardings: Tree) -> Tree:
    """Return shapes with their placement: one for all, or a pytree of them."""
    if isinstance(shardings, jax.sharding.Sharding):
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=shardings), tree)
    return jax.tree.map(lambda leaf, s: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=s), tree, shardings)


def timed(fn: Callable[[], Program]) -> tuple[Program, float]:
    """Return a program's figures, and the seconds that it took to compile."""
    began = time.monotonic()
    return fn(), time.monotonic() - began


def table(programs: Mapping[str, Program], chip: Chip) -> str:
    """Format programs side by side, a column each: what one device holds, computes and moves."""
    rows = [
        ("images a device", [str(p.images) for p in programs.values()]),
        ("arguments", [gib(p.arguments) for p in programs.values()]),
        ("results", [gib(p.results) for p in programs.values()]),
        ("temporaries", [gib(p.temporaries) for p in programs.values()]),
        ("code", [gib(p.code) for p in programs.values()]),
        ("kept beside it", [gib(p.beside) for p in programs.values()]),
        ("peak", [gib(p.needed) for p in programs.values()]),
        ("memory of a device", [gib(chip.memory or None) for _ in programs]),
        ("FLOPs", [_scaled(p.flops, "FLOP") for p in programs.values()]),
        ("bytes moved", [_scaled(p.moved, "B") for p in programs.values()]),
        ("kernels", ["-" if p.kernels is None else f"{p.kernels:,}" for p in programs.values()]),
        ("exchanges", [_counts(p.collectives) for p in programs.values()]),
        ("bytes exchanged", [_scaled(p.exchanged, "B") if p.collectives else "0" for p in programs.values()]),
        ("pace at most", [_pace(p) for p in programs.values()]),
    ]
    return _aligned([("a device", list(programs)), *rows])


def _aligned(rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    columns = list(zip(*(cells for _, cells in rows), strict=True))
    widths = [max(map(len, column)) for column in columns]
    label = max(len(name) for name, _ in rows)
    lines = [
        f"  {name:<{label}}" + "".join(f"  {cell:>{w}}" for cell, w in zip(cells, widths, strict=True))
        for name, cells in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def does_not_fit(name: str, program: Program, chip: Chip) -> str:
    """Return the line about a program that a device has no memory for."""
    needed = "" if program.needed is None else f" needs {gib(program.needed)} of {gib(chip.memory or None)}"
    refusal = f" (the compiler: {program.refusal})" if program.refusal else ""
    return f"does not fit: the {name}{needed}{refusal}"


def gib(size: int | None) -> str:
    """Format bytes as GiB, fewer with smaller units, and unknown ones as a dash."""
    if size is None:
        return "-"
    if not size:
        return "0"
    if size >= 0.1 * GIB:
        return f"{size / GIB:.2f} GiB"
    if size >= 0.1 * 2**20:
        return f"{size / 2**20:.1f} MiB"
    return f"{size / 2**10:.1f} KiB" if size >= 0.1 * 2**10 else f"{size} B"


def _scaled(value: float | None, name: str) -> str:
    """Format a number with three digits and the prefix of its thousands, and an unknown one as a dash."""
    if value is None:
        return "-"
    power = next((k for k in range(4, 0, -1) if value >= 1000**k), 0)
    return f"{value / 1000**power:.3g} {('', 'k', 'M', 'G', 'T')[power]}{name}"


def _counts(collectives: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(collectives.items())) or "none"


def _pace(program: Program) -> str:
    return "-" if not program.seconds else f"{three_digits(program.images / program.seconds)} images/s"


def three_digits(value: float) -> str:
    """Format a number with three digits, larger ones as whole numbers."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
