"""What must not silently get worse in the programs for TPUs and GPUs, compiled without any.

Figures are compared with recorded ones; those that have become better are recorded anew (`tests/topology/figures.py`).
"""

import json

import pytest

from fgnet_jax.runtime import topologies
from tests.topology import figures
from tests.topology.figures import CASES, Case

pytestmark = [pytest.mark.topology, pytest.mark.slow]

RECORDED = json.loads(figures.RECORDED.read_text())
TOLERANCE = 0.05
PARAMS = [
    pytest.param(case, id=str(case), marks=[pytest.mark.full_size] * (case.network == "published")) for case in CASES
]


@pytest.mark.parametrize("case", PARAMS)
def test_a_program_is_no_worse_than_recorded(case: Case):
    """It fits, computes nothing in float64, leaves the host alone, and moves no more bytes in no more kernels."""
    try:
        topologies.check_name(case.target)
    except topologies.TargetError as error:
        pytest.skip(str(error))
    assert str(case) in RECORDED, f"record it: python -m tests.topology.figures --record {case}"
    found, recorded = figures.in_own_process(case), RECORDED[str(case)]
    assert found["fits"], f"{found['needed']} bytes of {found['memory']}"
    assert not found["float64"] and not found["host"]
    check_collectives(case, found["collectives"], recorded["collectives"])
    if case.shard_params:
        assert found["split_kernels"] > 0
    if case.shard_params and case.network == "published":  # of the tiny one's, XLA gathers some small ones more often
        assert found["collectives"]["all-gather"] <= 2 * found["split_kernels"]
        assert found["collectives"].get("reduce-scatter", 0) <= found["split_kernels"]
    for name in ("kernels", "bytes_an_image", "bytes_exchanged"):
        assert found[name] == pytest.approx(recorded[name], rel=TOLERANCE), name


def check_collectives(case: Case, found: dict[str, int], recorded: dict[str, int]) -> None:
    """One device exchanges nothing; replicated parameters need sums alone; others, what is recorded."""
    if case.target in ("v5e:1x1", "h100"):
        assert found == {}
    elif not case.shard_params:
        assert set(found) == {"all-reduce"}
    assert not {"all-to-all", "collective-permute"} & set(found), "activations are exchanged, not parameters"
    assert set(found) <= set(recorded)
    assert sum(found.values()) <= (1 + TOLERANCE) * sum(recorded.values())
