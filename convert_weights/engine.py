"""Conversion by tables of rules: every tensor used once, every variable filled once, or nothing is converted."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import ml_dtypes
import numpy as np

from convert_weights.errors import ConversionError, Mismatch
from convert_weights.layouts import source_shape
from convert_weights.rules import Extra, Rule
from convert_weights.tensors import Tensor
from convert_weights.untrusted import shown

VariableShapes = Mapping[str, tuple[int, ...]]
"""Shape of each variable by its path."""

HALF = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
"""Dtypes that are converted to float32, without loss."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Tensors of a file with the table that converts them.

    Attributes:
      name: Its name in messages.
      tensors: The tensors by their name in the file, without the prefix `module.`.
      rules: The table.
      extras: Other tensors that may be among them.
      problems: Errors found while the file was read.
      notes: Lines for the report besides the tensors' counts.
    """

    name: str
    tensors: Mapping[str, Tensor]
    rules: Sequence[Rule]
    extras: Sequence[Extra] = ()
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()


def convert(groups: Sequence[Group], shapes: VariableShapes) -> dict[str, np.ndarray]:
    """Convert tensors of files to the network's variables, float32.

    Args:
      groups: The tensors, with their tables.
      shapes: Shape by path of every variable that must be filled, no more and no fewer.

    Raises:
      Mismatch: for tensors unknown, missing, used twice, or of the wrong shape or dtype, all of them at once. It is
        raised before anything large is read; and then for all that have values that are no finite numbers.
    """
    problems = [problem for group in groups for problem in _problems(group, shapes)]
    problems += _path_problems(groups, shapes)
    problems += [problem for group in groups for problem in _missing(group)]  # last, since they may be most
    if problems:
        raise Mismatch(problems)
    arrays = {}
    for group in groups:
        for rule in group.rules:
            arrays[rule.path] = _read(group, rule)
            problems += _value_problems(f"{group.name}: {rule.source}", arrays[rule.path])
    if problems:
        raise Mismatch(problems)
    return arrays


def report(group: Group) -> list[str]:
    """Describe a converted group, in lines for the user."""
    half = sum(group.tensors[rule.source].dtype in HALF for rule in group.rules)
    from_half = f", {half} of them converted from half precision" if half else ""
    lines = [f"{group.name}: {len(group.rules)} tensor{'s' * (len(group.rules) > 1)} used{from_half}"]
    for extra in group.extras:
        count = sum(extra.matches(name) for name in group.tensors)
        if count:
            lines.append(f"{group.name}: {count} ignored: {extra.meaning}")
    return [*lines, *(f"{group.name}: {line}" for line in group.notes)]


def _read(group: Group, rule: Rule) -> np.ndarray:
    # One tensor at a time, so that the copies are the network and nothing else.
    try:
        values = group.tensors[rule.source].array().astype(np.float32, copy=False)
    except ConversionError as error:
        raise ConversionError(f"{group.name}: {rule.source}: {error}") from None
    return np.array(rule.layout.from_file(values), np.float32, order="C")


def _value_problems(name: str, array: np.ndarray) -> list[str]:
    count = array.size - np.count_nonzero(np.isfinite(array))
    return [f"{name}: {count:,} of its {array.size:,} values are NaN or infinite"] if count else []


def _problems(group: Group, shapes: VariableShapes) -> Iterator[str]:
    yield from (f"{group.name}: {problem}" for problem in group.problems)
    by_source = {rule.source: rule for rule in group.rules}
    for name, tensor in group.tensors.items():
        problem = _tensor_problem(name, tensor, rules=by_source, extras=group.extras, shapes=shapes)
        if problem:
            yield f"{group.name}: {shown(name)}: {problem}"


def _missing(group: Group) -> Iterator[str]:
    for rule in group.rules:
        if rule.source not in group.tensors:
            yield f"{group.name}: {rule.source}: missing (for {rule.path})"


def _tensor_problem(
    name: str, tensor: Tensor, *, rules: Mapping[str, Rule], extras: Iterable[Extra], shapes: VariableShapes
) -> str | None:
    """Return why a tensor does not fit the network; None where it fits."""
    if name not in rules:
        extra = next((extra for extra in extras if extra.matches(name)), None)
        return _extra_problem(tensor, extra) if extra else "unknown"
    rule = rules[name]
    if rule.path not in shapes:
        return f"is for {rule.path}, which the network does not have"
    expected = source_shape(rule.layout, shapes[rule.path])
    if tensor.shape != expected:
        return f"has shape {tensor.shape}, expected {expected}"
    if tensor.dtype != np.float32 and tensor.dtype not in HALF:
        return f"has dtype {tensor.dtype.name}, expected float32, float16 or bfloat16"
    return None


def _extra_problem(tensor: Tensor, extra: Extra) -> str | None:
    if extra.value is None:
        return None
    try:
        is_equal = tensor.shape == extra.value.shape and np.array_equal(tensor.array().astype(np.float32), extra.value)
    except ConversionError as error:
        return str(error)
    if not is_equal:
        return "is not the [1, 3, 3, 1] low-pass filter, so it is another network"
    return None


def _path_problems(groups: Sequence[Group], shapes: VariableShapes) -> Iterator[str]:
    paths = [rule.path for group in groups for rule in group.rules]
    filled = set()
    for path in paths:
        if path in filled:
            yield f"{path}: filled twice"
        filled.add(path)
    yield from (f"{path}: filled by no table" for path in shapes if path not in filled)
