"""The conversion by tables: every tensor once, every variable once, all problems listed at once."""

import dataclasses
import re

import ml_dtypes
import numpy as np
import pytest

from convert_weights import engine, layouts, rules
from convert_weights.engine import Group
from convert_weights.errors import Mismatch
from convert_weights.rules import Extra, Rule
from convert_weights.tensors import from_array

RULES = (Rule("a.weight", "a/kernel", layouts.CONV), Rule("a.bias", "a/bias", layouts.SAME))
SHAPES = {"a/kernel": (3, 3, 2, 4), "a/bias": (4,)}
EXTRAS = (Extra("steps", "a counter"), rules.BLUR)


def good() -> dict[str, np.ndarray]:
    """Return tensors that fit."""
    rng = np.random.default_rng(0)
    shapes = {"a.weight": (4, 2, 3, 3), "a.bias": (4,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def group(arrays: dict[str, np.ndarray], table=RULES) -> Group:
    """Return a group of these tensors."""
    tensors = {name: from_array(array) for name, array in arrays.items()}
    return Group(name="x.pt: net", tensors=tensors, rules=table, extras=EXTRAS)


def problems(arrays: dict[str, np.ndarray], table=RULES, shapes=SHAPES) -> tuple[str, ...]:
    """Return the problems that the engine finds."""
    with pytest.raises(Mismatch) as mismatch:
        engine.convert([group(arrays, table)], shapes)
    return mismatch.value.problems


def test_fitting_tensors_are_converted():
    """Values go to their paths in our layout, float32 and contiguous."""
    arrays = good()
    converted = engine.convert([group(arrays)], SHAPES)
    np.testing.assert_array_equal(converted["a/kernel"], arrays["a.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(converted["a/bias"], arrays["a.bias"])
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in converted.values())
    assert {path: array.shape for path, array in converted.items()} == SHAPES


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_converted_and_reported(half):
    """Half precision becomes float32 without loss, and the report tells it."""
    arrays = {name: array.astype(half) for name, array in good().items()}
    converted = engine.convert([group(arrays)], SHAPES)
    np.testing.assert_array_equal(converted["a/bias"].astype(half), arrays["a.bias"])
    assert "2 tensors used, 2 of them converted from half precision" in engine.report(group(arrays))[0]


def test_extras_are_named():
    """Known extras are counted in the report with their description."""
    blur = {"x.blur.kernel": 4 * rules.LOW_PASS, "steps": np.zeros((), np.int64)}
    engine.convert([group(good() | blur)], SHAPES)
    assert engine.report(group(good() | blur))[1:] == [
        "x.pt: net: 1 ignored: a counter",
        "x.pt: net: 1 ignored: the fixed low-pass filters, checked to be [1, 3, 3, 1]",
    ]


def test_unknown():
    """A tensor without a rule that is not a known extra is refused."""
    assert problems(good() | {"b": np.zeros(1, np.float32)}) == ("x.pt: net: b: unknown",)


def test_missing():
    """A rule without a tensor is refused."""
    arrays = good()
    del arrays["a.bias"]
    assert problems(arrays) == ("x.pt: net: a.bias: missing (for a/bias)",)


def test_wrong_shape():
    """A tensor of another shape, also of another rank, is refused with the one that was expected."""
    for shape in ((4, 2, 3, 1), (4, 2), ()):
        listed = problems(good() | {"a.weight": np.zeros(shape, np.float32)})
        assert listed == (f"x.pt: net: a.weight: has shape {shape}, expected (4, 2, 3, 3)",)


@pytest.mark.parametrize("kind", [np.float64, np.int32, np.bool_])
def test_wrong_dtype(kind):
    """Only single and half precision are weights; any other dtype is refused."""
    (problem,) = problems(good() | {"a.bias": np.zeros(4, kind)})
    assert re.search(r"a\.bias: has dtype \w+, expected float32, float16 or bfloat16", problem)


def test_another_filter():
    """A low-pass filter with other taps, or of another size, belongs to another network."""
    for value in (rules.LOW_PASS, np.ones((2, 2), np.float32)):
        (problem,) = problems(good() | {"x.blur.kernel": value})
        assert "is not the [1, 3, 3, 1] low-pass filter" in problem


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_values_that_are_no_numbers(value, kind):
    """NaN and infinity are refused by the tensor's name, all such tensors at once, in any precision."""
    arrays = {name: array.astype(kind) for name, array in good().items()}
    arrays["a.bias"][1:3] = value
    assert problems(arrays) == ("x.pt: net: a.bias: 2 of its 4 values are NaN or infinite",)
    arrays["a.weight"][0, 0, 0, 0] = value
    assert len(problems(arrays)) == 2


def test_many_problems_are_counted():
    """A message has a hundred problems at most, those of tensors before missing ones; the rest are counted."""
    names = {f"tensor{k}": np.zeros(1, np.float32) for k in range(3000)}
    with pytest.raises(Mismatch, match=r"\(3,002 problems\)") as mismatch:
        engine.convert([group(names)], SHAPES)
    lines = str(mismatch.value).splitlines()
    assert len(lines) == 102 and "tensor0: unknown" in lines[1] and lines[-1] == "  and 2,902 more"


def test_names_are_escaped_and_cut():
    """A tensor's name reaches the terminal in one short line without control characters."""
    (problem,) = problems(good() | {"\x1b[2Jx\nok": np.zeros(1, np.float32)})
    assert problem == "x.pt: net: \\x1b[2Jx\\nok: unknown"
    (problem,) = problems(good() | {"x" * 100_000: np.zeros(1, np.float32)})
    assert problem.endswith("x...: unknown") and len(problem) < 120


def test_used_twice():
    """Two tensors for one variable are refused, in one table or in two groups."""
    table = (*RULES, Rule("b.bias", "a/bias", layouts.SAME))
    assert problems(good() | {"b.bias": good()["a.bias"]}, table) == ("a/bias: filled twice",)
    with pytest.raises(Mismatch, match="a/kernel: filled twice"):
        engine.convert([group(good()), group(good())], SHAPES)


def test_variables_without_a_table():
    """A variable that no table fills, or a rule for none, is refused."""
    assert problems(good(), shapes=SHAPES | {"c": (1,)}) == ("c: filled by no table",)
    (problem,) = problems(good(), shapes={"a/kernel": (3, 3, 2, 4)})
    assert "a/bias, which the network does not have" in problem


def test_everything_at_once():
    """All problems are in one message, and nothing was read before it."""
    arrays = {"a.weight": np.zeros((1, 1), np.float32), "b": np.zeros(1, np.float32), "steps": np.zeros(1)}
    with pytest.raises(Mismatch, match=r"\(4 problems\); nothing was written") as mismatch:
        engine.convert([dataclasses.replace(group(arrays), problems=["broken"])], SHAPES)
    text = str(mismatch.value)
    for part in ("x.pt: net: broken", "a.weight: has shape", "b: unknown", "a.bias: missing"):
        assert part in text


@pytest.mark.parametrize(
    "layout, shape",
    [
        (layouts.SAME, (3,)),
        (layouts.LINEAR, (2, 3)),
        (layouts.CONV, (3, 3, 2, 4)),
        (layouts.POINTWISE, (2, 4)),
        (layouts.MODULATED, (3, 3, 2, 4)),
        (layouts.MODULATED_POINTWISE, (2, 3)),
        (layouts.RGB_BIAS, (3,)),
        (layouts.CONSTANT, (4, 4, 2)),
        (layouts.NOISE, (4, 4)),
        (layouts.ONE_NUMBER, ()),
        (layouts.ADA_CONSTANT, (4, 4, 2)),
        (layouts.TF_FLIPPED, (3, 3, 2, 4)),
        (layouts.TF_POINTWISE, (2, 3)),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_layouts_are_inverses(layout, shape):
    """Conversion to the file's layout and back gives the same bits."""
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    in_file = layout.to_file(array)
    assert in_file.shape == layouts.source_shape(layout, shape)
    np.testing.assert_array_equal(layout.from_file(in_file), array)
