"""Files made by a grammar: each converts, or is refused in a message; nothing runs, and nothing is left behind.

A sample runs here. For 2,000: `FGNET_JAX_FUZZ_FILES=2000 python -m pytest tests/convert_weights/test_fuzz.py`, and
another seed with `FGNET_JAX_FUZZ_SEED=1`.
"""

import os

import pytest

from tests.convert_weights import grammar, measured

FILES = int(os.environ.get("FGNET_JAX_FUZZ_FILES", "100"))
SEED = int(os.environ.get("FGNET_JAX_FUZZ_SEED", "0"))
MEBIBYTES = 300


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Convert the files."""
    folder = tmp_path_factory.mktemp("drawn")
    grammar.save(folder, FILES, SEED)
    return measured.convert_all(folder)


def test_every_file_converts_or_is_refused(outcomes):
    """No traceback, no signal (memory and processor time are bounded), no program started."""
    assert len(outcomes) == FILES
    crashed = [outcome for outcome in outcomes if outcome.status not in (0, 1)]
    assert not crashed, crashed[:3]
    assert {outcome.status for outcome in outcomes} == {0, 1}, "the sample shows one of the ends only"


def test_refusals_are_safe_to_print(outcomes):
    """Every message is short, in printable characters, and has no line but its own."""
    for outcome in outcomes:
        for line in [*outcome.report.splitlines(), *outcome.error.splitlines()]:
            assert line.isprintable() and line.isascii() and len(line) < 1000, outcome
        first, *others = outcome.error.splitlines() or [""]
        assert "error: " in first if outcome.status else not outcome.error, outcome
        assert all(line.startswith("  ") for line in others) and len(others) <= 102, outcome


def test_nothing_is_left_behind(outcomes):
    """A refused file leaves nothing; a converted one its output alone."""
    assert not [outcome for outcome in outcomes if outcome.left]


def test_memory(outcomes):
    """A refusal takes little memory, whatever the file claims."""
    assert not [outcome for outcome in outcomes if outcome.status and outcome.mebibytes > MEBIBYTES]
