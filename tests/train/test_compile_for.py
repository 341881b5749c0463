"""A run compiled beforehand, for this machine's CPUs with less memory than they have."""

import dataclasses
import re

import jax
import pytest

from fgnet_jax.runtime import compiled, sharding, topologies
from fgnet_jax.runtime.compiled import Program
from fgnet_jax.runtime.topologies import Chip, Target
from fgnet_jax.train import compile_for, run
from fgnet_jax.train import config as config_lib
from fgnet_jax.train.defaults import ConfigError
from fgnet_jax.train.planned import PlannedRun
from fgnet_jax.train.proposals import Setting
from tests.train import tiny

CPU = topologies.open_target("cpu")


def with_memory(size: int) -> Target:
    """This machine's CPUs, with so many bytes and rates of their own."""
    return dataclasses.replace(CPU, chip=Chip(memory=size, bandwidth=1e9, rate=1e9))


def config(folder, **changes):
    """A tiny run whose corpus is absent."""
    return tiny.short_run(folder, **changes)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> compile_for.Prepared:
    """The tiny run on this machine."""
    return compile_for.Prepared(config(tmp_path_factory.mktemp("data")), CPU, aus=(1, 2, 4), steps=None)


@pytest.fixture(scope="module")
def needed(prepared) -> int:
    """Bytes that its training step needs."""
    size = prepared.training().needed
    assert size is not None
    return size


def compile_with(memory: int, folder, **changes) -> tuple[bool, str, list[str]]:
    """Whether the run fits, what is printed, and the lines of progress."""
    output: list[str] = []
    report: list[str] = []
    fits = compile_for.compile_for(
        config(folder, **changes), with_memory(memory), command="train", report=report.append, output=output.append
    )
    return fits, "\n".join(output), report


def test_the_arguments_are_those_of_the_run(prepared):
    """The state of the run itself, by its shapes, and a batch."""
    state, batch, _ = prepared.arguments
    step = config_lib.step_config(prepared.config, prepared.aus)
    assert [leaf.shape for leaf in jax.tree.leaves(state)] == [
        leaf.shape for leaf in jax.tree.leaves(run.state_shapes(step, 0))
    ]
    assert {name: (x.shape, x.dtype.name) for name, x in batch.items()} == {
        "image": ((8, 16, 16, 3), "uint8"),
        "landmarks": ((8, 68, 2), "float32"),
        "labels": ((8, 3), "int8"),
    }
    assert prepared.argument_bytes > 8 * 16 * 16 * 3


def test_the_arguments_of_a_setting_are_known_without_its_devices(prepared, monkeypatch):
    """The same bytes as those of the given one; half of the images and of split kernels on two devices."""
    setting = Setting("cpu", devices=1, batch_size=8)
    assert compile_for._argument_bytes(prepared, setting) == prepared.argument_bytes
    two = dataclasses.replace(setting, devices=2)
    state, batch, _ = prepared.arguments
    half = sum(x.size * x.dtype.itemsize for x in batch.values()) // 2
    assert compile_for._argument_bytes(prepared, two) == prepared.argument_bytes - half
    monkeypatch.setattr(sharding, "SMALLEST_SPLIT", 1)
    kernels = [x for path, x in state.params.items() if path.endswith("/kernel") and x.shape[-2] % 2 == 0]
    split = compile_for._argument_bytes(prepared, dataclasses.replace(two, shard_params=True))
    saved = prepared.argument_bytes - half - split
    assert saved == pytest.approx(3 * sum(x.size * 4 for x in kernels) / 2, rel=0.1)


def test_all_parts_of_a_batch_are_counted(prepared, monkeypatch):
    """XLA counts the loop over them once: a step in two parts would seem to take half as long."""
    known: list[dict[str, object]] = []

    def compile_program(lowered: object, target: Target, **given: object) -> Program:
        known.append(given)
        return Program(images=4, arguments=0)

    monkeypatch.setattr(compiled, "compile_program", compile_program)
    halved = config(prepared.config.data.dir, **{"train.accumulate": 2})
    in_parts = compile_for.Prepared(halved, CPU, prepared.aus, steps=None)
    in_parts.training()
    in_parts.evaluation()
    assert [given.get("repeats", 1) for given in known] == [2, 1]


def test_evaluation_has_the_optimiser_beside_it(prepared):
    """Two moments of each trained parameter stay in memory."""
    state = prepared.arguments[0]
    program = prepared.evaluation()
    assert program.images == 8
    assert program.beside > 1.9 * sum(x.size * 4 for path, x in state.params.items() if "to_rgbs" not in path)


@pytest.mark.slow
def test_a_run_that_fits(tmp_path, needed):
    """A table of both programs, and the hours."""
    fits, text, report = compile_with(2 * needed, tmp_path)
    assert fits
    assert text.startswith(f"cpu: 1 cpu; synthetic_bp4d is not in {tmp_path}; 34 faces by data.frames, about\n")
    assert "training step  " in text and "  peak " in text and "\nfits. At most " in text
    assert "the run's 4 steps of 8 images take" in text
    assert [line.partition(" (")[0] for line in report[::2]] == [
        "compiling the training step",
        "compiling the evaluation",
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_run_that_does_not_fit_gets_flags_with_which_it_does(tmp_path, needed):
    """The first setting that was tried and fits: with the proposed flags, the run fits."""
    memory = int(0.9 * needed)
    fits, text, report = compile_with(memory, tmp_path)
    assert not fits and "\ndoes not fit: the training step needs" in text
    assert re.fullmatch(r"this fits on cpu with .* MiB of .* MiB, at most .* images/s:", text.splitlines()[-2])
    assert text.splitlines()[-1].startswith("  train --config.")
    assert any(line.startswith("trying: --config.") for line in report)
    flags = dict(flag.removeprefix("--config.").split("=") for flag in text.splitlines()[-1].split()[1:])
    assert set(flags) <= {"train.accumulate", "model.remat", "train.batch_size"}
    changes = {key: int(value) if value.isdecimal() else value for key, value in flags.items()}
    assert compile_with(memory, tmp_path, **changes)[0]


def test_where_nothing_fits_that_is_said(tmp_path):
    """Less memory than the parameters take: nothing is compiled a second time."""
    fits, text, report = compile_with(1000, tmp_path)
    assert not fits and text.endswith("nothing that was tried fits")
    assert all(line.startswith("left out: ") for line in report[2:])


def test_a_run_that_does_not_divide_is_refused(tmp_path):
    """By the same line as when it is started."""
    with pytest.raises(ConfigError, match="train.batch_size 8 in 3 parts"):
        compile_with(10**9, tmp_path, **{"train.accumulate": 3})


def test_the_duration_of_a_run():
    """At the roofline's pace; of a thousand steps, if their number is not known."""
    program, settings = Program(images=8, arguments=0, seconds=2.0), tiny.config()

    def duration(seconds: float | None = 2.0, **length: int | None) -> str:
        programs = {
            compile_for.TRAINING: dataclasses.replace(program, seconds=seconds),
            compile_for.EVALUATION: dataclasses.replace(program, seconds=0.5),
        }
        return compile_for.duration(programs, settings, PlannedRun(aus=(1,), remark="", **length))

    pace = "At most 4 images/s on all devices, so "
    assert duration(steps=9000, evaluated=28800) == (
        pace + "the run's 9,000 steps of 8 images take 5.0 hours at least; "
        "5.5 hours with evaluation, of 28,800 faces in all epochs and at the end"
    )
    assert duration(steps=None) == pace + "1,000 steps of 8 images take 33.3 minutes at least, without evaluation"
    assert "the run's 6 steps of 8 images take 12.0 seconds" in duration(steps=6)
    assert duration(seconds=None, steps=9000).startswith("There is no roofline for it")


def test_a_run_on_intensities_has_them_in_its_batches(tmp_path):
    """As its loader has."""
    settings = config(tmp_path, **{"data.target": "intensity"})
    _, batch, _ = compile_for.Prepared(settings, CPU, aus=(1, 2, 4), steps=None).arguments
    assert (batch["intensities"].shape, batch["intensities"].dtype) == ((8, 3), "float32")
