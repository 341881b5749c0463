"""Which parts are measured, in which order, and with which networks."""

import pytest

from benchmarks.gpu import plan

OPTIONS = {"rivals": True, "compiled": True, "is_tiny": False, "rounds": 5, "folder": "/tmp"}


def test_what_matters_most_comes_first():
    """The machine, inference and its parity in float32, a training step, each with all networks; nothing twice."""
    cases = plan.cases(plan.parts(is_tiny=False), **OPTIONS)
    networks = [plan.OURS, plan.COMPILED, plan.BEST, plan.PUBLISHED]
    inference, training = ([(part, network) for network in networks] for part in plan.FIRST)
    exact = [("inference-float32-8", network) for network in networks if network != plan.COMPILED]
    expected = [("machine", plan.OURS), *inference, *exact, *training]
    assert [(case.part, case.network) for case in cases][: len(expected)] == expected
    assert len(set(cases)) == len(cases)


def test_what_compiles_longest_comes_last():
    """After the first parts, torch.compile waits until all else is measured."""
    cases = [case for case in plan.cases(plan.parts(is_tiny=False), **OPTIONS) if case.part not in plan.FIRST]
    compiled = [case.network == plan.COMPILED for case in cases]
    assert compiled == sorted(compiled) and any(compiled)


def test_every_batch_and_format_of_both_tasks_is_among_them():
    """Inference with 1, 8 and 32, training with 1 and 16, each in three formats, beside PyTorch's three variants."""
    parts = {"inference": (1, 8, 32), "training": (1, 16)}
    expected = {f"{t}-{f}-{n}" for t, sizes in parts.items() for n in sizes for f in ("bfloat16", "tf32", "float32")}
    cases = plan.cases(plan.parts(is_tiny=False), **OPTIONS)
    assert all(sum(case.part == part for case in cases) == 4 for part in expected)


def test_a_case_knows_its_network():
    """Task, format and batch are in the part's name; precision goes with the format."""
    (case, *_) = plan.cases(["inference-tf32-8"], **OPTIONS)
    assert (case.task, case.format, case.batch) == ("inference", "tf32", 8)
    assert (case.config.dtype, case.config.precision) == ("float32", "default")
    assert case.factory == "benchmarks.gpu.ours:inference"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("gradients", ["gradients-float32-2", "gradients-tf32-2"]),
        ("training-*-16", ["training-bfloat16-16", "training-tf32-16", "training-float32-16"]),
    ],
)
def test_parts_are_named_by_their_beginnings(pattern: str, expected: list[str]):
    """The description of the machine is always among them."""
    assert plan.chosen([pattern], is_tiny=False)[1:] == tuple(sorted(expected, key=plan.parts(False).index))
    assert plan.chosen([pattern], is_tiny=False)[0] == "machine"


def test_an_unknown_part_is_refused():
    """The message lists those that there are."""
    with pytest.raises(ValueError, match=r"no part is called 'infrence': expected some of machine, inference-"):
        plan.chosen(["infrence"], is_tiny=False)


def test_the_tiny_network_has_smaller_batches():
    """And it needs reference numbers of its own."""
    tiny = plan.parts(is_tiny=True)
    assert tiny[:2] == ("machine", "reference") and "inference-bfloat16-3" in tiny
    assert all(int(part.split("-")[2]) <= 3 for part in tiny if "-" in part)
