"""Prediction compiled beforehand, for this machine's CPUs with less memory than they have."""

import dataclasses

import pytest

from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.predict import __main__ as main_lib
from fgnet_jax.predict import compile_for
from fgnet_jax.runtime import topologies
from fgnet_jax.runtime.compiled import Program
from fgnet_jax.runtime.topologies import Chip

CPU = topologies.open_target("cpu")


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> str:
    """Weights of a tiny network."""
    path = tmp_path_factory.mktemp("weights") / "tiny"
    weights.save(path, TINY, fgnet.init(TINY), weights.WeightsMeta(aus=(1, 12), corpus="disfa"))
    return str(path)


def test_the_network_is_compiled_as_it_predicts(directory):
    """For batches of the given size, with the weights as arguments, but for those that nothing reads."""
    program = compile_for.compile_network(TINY, 2, CPU, 3)
    variables = fgnet.abstract(TINY)
    assert program.images == 3
    assert program.arguments > 0.9 * 4 * sum(x.size for x in variables.params.values())
    assert program.fits(CPU.chip)


@pytest.mark.slow
def test_a_smaller_batch_is_proposed(directory):
    """Half of it, if that fits."""
    one, four = (compile_for.compile_network(TINY, 2, CPU, size).needed for size in (1, 4))
    assert one is not None and four is not None and one < four
    output: list[str] = []
    between = dataclasses.replace(CPU, chip=Chip(memory=(one + four) // 2))
    fits = compile_for.compile_for(
        directory, between, batch_size=4, dtype=None, report=output.append, output=output.append
    )
    assert not fits
    assert any(line.startswith("does not fit: the batch of 4 needs ") for line in output)
    assert output[-1] in ("this fits: --batch_size 2", "this fits: --batch_size 1")


def test_the_search_halves():
    """Down to one; what cannot fit by the bytes of the whole batch is not compiled."""
    assert compile_for.halves(48) == [24, 12, 6, 3, 1]
    assert compile_for.halves(1) == []
    program = Program(images=64, arguments=10, temporaries=80, beside=2)
    assert compile_for.at_least(program, 1 / 4) == 10 + 2 + 80 / 4
    refused = Program(images=64, arguments=10, refusal="no memory", needed_by_refusal=90, beside=2)
    assert compile_for.at_least(refused, 1 / 4) == 10 + 2 + 80 / 4
    assert compile_for.at_least(Program(images=64, arguments=10, refusal="no memory"), 1 / 4) == 0


def test_the_command_needs_no_inputs(directory, capsys, monkeypatch):
    """Status 0, and the figures on standard output."""
    monkeypatch.setattr(topologies, "set_environment", lambda: None)  # for tests after this one
    monkeypatch.setattr(main_lib.compilation_cache, "enable", lambda *args, **options: None)
    assert main_lib.main(["--weights", directory, "--compile_for", "cpu", "--batch-size", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("cpu: 1 cpu; batches of 2, float32\n") and out.endswith("\nfits\n")
    assert main_lib.main(["--weights", directory, "--compile_for", "v9"]) == 2
    assert capsys.readouterr().err.startswith("fgnet_jax.predict: error: --compile_for v9: expected a TPU topology")
    assert main_lib.main(["--weights", "nowhere", "--compile_for", "cpu"]) == 2
    assert capsys.readouterr().err.startswith("fgnet_jax.predict: error: nowhere: no such weights directory")
