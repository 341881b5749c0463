"""Roofline of a program that XLA compiled for a GPU, read from its HLO text kernel by kernel (Williams et al. 2009).

A kernel takes the larger of two times: its bytes at the bandwidth, and its FLOPs at the rate of its number format.
Launches, and what the algorithm of a convolution does beside its arithmetic, cost nothing. Collectives are counted in
the programs of TPUs, too.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from fgnet_jax.runtime.topologies import Chip

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "ragged-all-to-all")
"""Operations that exchange data between devices, by their names in HLO."""

_BITS = {"pred": 8, "token": 0, "opaque": 0}  # other formats end their names' letters with their bits: bf16, s8, f8e5m2
_FREE = {
    *("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id", "replica-id"),
}
_HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) .*\{$")
_ROW = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (.+?) ([a-z][\w\-]*)\((.*)$")
_SHAPE = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_TRIPS = re.compile(r'known_trip_count":\s*\{"n":"(\d+)"')


@dataclasses.dataclass(frozen=True)
class Instruction:
    """A line of HLO.

    Attributes:
      name: Its name in its computation.
      shape: Shape of its result, as HLO writes it.
      opcode: Its operation.
      rest: The line behind the opening bracket: operands and attributes.
    """

    name: str
    shape: str
    opcode: str
    rest: str

    @property
    def operands(self) -> list[str]:
        """Names of its arguments."""
        return re.findall(r"%([\w.\-]+)", self.rest.partition(")")[0])

    def called(self, attribute: str) -> list[str]:
        """Return names of the computations that an attribute names: one, or several in braces."""
        match = re.search(rf"\b{attribute}=(\{{[^}}]*\}}|%[\w.\-]+)", self.rest)
        return re.findall(r"%([\w.\-]+)", match[1]) if match else []


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What a device executes at once.

    Attributes:
      kind: Its operation; of calls of libraries, what is called.
      times: How often it runs.
      bytes: That one run reads and writes.
      flops: Of one run, of convolutions and matrix products.
      dtype: The number format of these: "float32" or another.
      precision: The precision of products in float32.
      name: The name of its instruction, by which profilers know it.
    """

    kind: str
    times: int
    bytes: int
    flops: float = 0.0
    dtype: str = "bfloat16"
    precision: str = "default"
    name: str = ""

    def seconds(self, chip: Chip) -> float:
        """Compute the least time that all its runs take."""
        return self.times * max(self.bytes / chip.bandwidth, self.flops / chip.rate_of(self.dtype, self.precision))


@dataclasses.dataclass(frozen=True)
class Exchange:
    """Data that devices exchange at once.

    Attributes:
      kind: Its operation, one of `COLLECTIVES`.
      times: How often it runs.
      bytes: That one device sends in one run, if the devices are passed in a ring.
    """

    kind: str
    times: int
    bytes: float


@dataclasses.dataclass(frozen=True)
class _Run:
    """An instruction that a program executes, how often, and the shapes of its arguments."""

    row: Instruction
    times: int
    operands: Sequence[str]


def kernels(text: str) -> list[Kernel]:
    """Return the kernels of a compiled program from its HLO text; those in loops run as often as the loop does."""
    computations, entry = _computations(text)
    return [
        dataclasses.replace(_kernel(run.row, run.operands, run.times), name=run.row.name)
        for run in _runs(computations, entry, 1)
    ]


def exchanges(text: str, repeats: int = 1) -> list[Exchange]:
    """Return the exchanges of data between devices that one run of a compiled program makes.

    Args:
      text: The program, as HLO.
      repeats: How often an outermost loop runs where the program does not say so: those for TPUs do not.
    """
    computations, entry = _computations(text)
    partitions = re.search(r"num_partitions=(\d+)", text)
    devices = int(partitions[1]) if partitions else 1
    return [
        exchange
        for run in _runs(computations, entry, 1, repeats)
        for exchange in _exchanges_of(run, computations, devices=devices)
    ]


def collectives(text: str, repeats: int = 1) -> dict[str, int]:
    """Count the exchanges of data between devices that one run of a program makes, by operation; see `exchanges`."""
    counts: dict[str, int] = {}
    for exchange in exchanges(text, repeats):
        counts[exchange.kind] = counts.get(exchange.kind, 0) + exchange.times
    return counts


def size(shape: str) -> int:
    """Return the bytes of a shape as HLO writes it, `f32[8,3]{1,0}`, or of a tuple of them."""
    return sum(math.prod(_sizes(sizes)) * _bits(kind) // 8 for kind, sizes in _SHAPE.findall(shape))


def _bits(kind: str) -> int:
    if kind in _BITS:
        return _BITS[kind]
    match = re.match(r"[a-z]+(\d+)", kind)
    if match is None:
        raise ValueError(f"HLO has a number format {kind!r}, which is not known")
    return int(match[1])


def _sizes(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


def _computations(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """Return the computations of a module by name, and the name of its entry."""
    found: dict[str, list[Instruction]] = {}
    entry = current = ""
    for line in text.splitlines():
        if not line.startswith(" ") and "->" in line and (head := _HEAD.match(line)):
            current = head[2]
            found[current] = []
            entry = current if head[1] else entry
        elif current and (row := _ROW.match(line)):
            found[current].append(Instruction(*row.groups()))
    if not entry:
        raise ValueError("expected the HLO text of a compiled program: it has no ENTRY")
    return found, entry


def _runs(computations: Mapping[str, Sequence[Instruction]], name: str, times: int, repeats: int = 1) -> Iterator[_Run]:
    """Yield what a computation executes, fusions as one; loops' and others' bodies in their place.

    A loop that does not say how often it runs does so `repeats` times, or once within another such loop.
    """
    shapes = {row.name: row.shape for row in computations[name]}
    for row in computations[name]:
        if row.opcode in _FREE or row.opcode.endswith(("-done", "-update")):
            continue
        if row.opcode == "while":
            trips = _TRIPS.search(row.rest)
            inside = (times * int(trips[1]), repeats) if trips else (times * repeats, 1)
            for body in row.called("body"):
                yield from _runs(computations, body, *inside)
        elif row.opcode in ("call", "conditional", "async-start"):
            called = row.called("to_apply") + row.called("calls") + row.called("branch_computations")
            for other in called:
                yield from _runs(computations, other, times, repeats)
        else:
            yield _Run(row, times, [shapes.get(operand, "") for operand in row.operands])


def _exchanges_of(run: _Run, computations: Mapping[str, Sequence[Instruction]], *, devices: int) -> Iterator[Exchange]:
    """Yield the exchanges of an instruction: its own, or those within a fusion.

    TPUs spread an exchange over several fusions that compute something else meanwhile: it is in each of them, and
    counts where it begins.
    """
    if run.row.opcode != "fusion":
        if run.row.opcode.removesuffix("-start") in COLLECTIVES:
            yield _exchange(run, devices)
        return
    for name in run.row.called("calls"):
        rows = computations.get(name, ())
        begins = any("AsyncCollectiveStart" in row.rest for row in rows)
        for inner in _runs(computations, name, run.times) if rows else ():
            if begins or "chain_id=" not in inner.row.rest:
                yield from _exchanges_of(inner, computations, devices=devices)


def _exchange(run: _Run, devices: int) -> Exchange:
    kind, group = run.row.opcode.removesuffix("-start"), _group_size(run.row.rest, devices)
    others = (group - 1) / group
    share = {"all-gather": group - 1, "all-reduce": 2 * others, "collective-permute": 1}.get(kind, others)
    return Exchange(kind, run.times, share * sum(map(size, run.operands)))


def _group_size(rest: str, devices: int) -> int:
    """Return how many devices exchange with each other: `{{0,1},{2,3}}` and `[2,2]<=[4]` are two, none are all."""
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", rest):
        return listed[1].count(",") + 1
    if counted := re.search(r"replica_groups=\[\d+,(\d+)\]", rest):
        return int(counted[1])
    return devices


def _kernel(row: Instruction, operands: Sequence[str], times: int) -> Kernel:
    if row.opcode != "custom-call":
        return Kernel(row.opcode, times, sum(map(size, operands)) + size(row.shape))
    target = re.search(r'custom_call_target="([^"]*)"', row.rest)
    kind = target[1] if target else row.opcode
    results = _SHAPE.findall(row.shape)
    if len(results) > 1 and results[-1][0] in ("u8", "s8"):  # scratch memory
        results = results[:-1]
    written = sum(size(f"{kind}[{sizes}]") for kind, sizes in results)
    flops = _flops(kind, operands, _sizes(results[0][1]), row.rest) if results and operands else 0.0
    dtype = "float32" if operands and operands[0].startswith("f32") else "bfloat16"
    precision = "highest" if "operand_precision={highest" in row.rest or '"HIGHEST"' in row.rest else "default"
    return Kernel(kind, times, sum(map(size, operands)) + written, flops, dtype, precision)


def _flops(kind: str, operands: Sequence[str], result: Sequence[int], rest: str) -> float:
    """Compute the FLOPs of a call of cuDNN or cuBLAS; 0 for any other."""
    first, *others = [_sizes(shape.group(2)) if (shape := _SHAPE.search(text)) else [] for text in operands]
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", rest)
    if labels and others:
        second, output = others[0], labels[3]
        # A kernel's value is multiplied once for each pixel of the output, its channels left out.
        if "BackwardFilter" in kind:
            return 2.0 * math.prod(result) * _pixels(second, output)
        if "BackwardInput" in kind:
            return 2.0 * math.prod(second) * _pixels(first, output)
        return 2.0 * math.prod(second) * _pixels(result, output)
    if "gemm" in kind or "matmul" in kind:
        axis = re.search(r'lhs_contracting_dimensions":\["?(\d+)', rest)
        return 2.0 * math.prod(result) * first[int(axis[1]) if axis else -1]
    return 0.0


def _pixels(sizes: Sequence[int], labels: str) -> int:
    return math.prod(length for length, label in zip(sizes, labels, strict=False) if label != "f")
