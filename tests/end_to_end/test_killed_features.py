"""A run with every feature that carries something from step to step, killed at random moments, ends with the same."""

import random
import signal
import time

import pytest

from tests.end_to_end import command

pytestmark = pytest.mark.slow  # runs that are killed

KILLS = 4
FEATURES = (
    "--config.train.epochs=6",
    "--config.train.steps_per_epoch=4",
    "--config.train.checkpoint_steps=1",
    "--config.train.evaluate_steps=3",
    "--config.train.keep_best=3",
    "--config.train.ema=0.9",
    "--config.train.select_metric=average_precision",
    "--config.train.loggers=('csv',)",
    "--config.loss.positive_weight=inverse_frequency",
    "--config.loss.focal=1.0",
    "--config.data.sampler=balanced",
    "--config.optim.name=lion",
    "--config.optim.options=(('b1',0.8),)",
    "--config.optim.layer_decay=0.9",
    "--config.optim.frozen=('generator/mapping',)",
    "--config.optim.schedule=constant",
)
BEST = ("best", "best_2", "best_3")


@pytest.fixture(scope="module")
def undisturbed(train, tmp_path_factory):
    """Return the workdir of a run that was not interrupted."""
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    train(workdir, *FEATURES)
    return workdir


def table(workdir):
    """Return the rows of metrics.csv without their times."""
    rows = [line.split(",") for line in (workdir / "metrics.csv").read_text().splitlines()]
    return [[*row[:1], *row[2:]] for row in rows]


def assert_ends_alike(workdir, undisturbed):
    """Check the last checkpoint and all kept weights to the bit, metrics, table, and that nothing else is left."""
    command.assert_same_bits(command.last(workdir), command.last(undisturbed))
    for name in BEST:
        command.assert_same_bits(command.weights_arrays(workdir / name), command.weights_arrays(undisturbed / name))
    assert command.metrics(workdir) == command.metrics(undisturbed)
    assert table(workdir) == table(undisturbed)
    assert command.f1(workdir) == command.f1(undisturbed)
    assert sorted(p.name for p in workdir.iterdir()) == sorted(p.name for p in undisturbed.iterdir())


def test_averages_and_kept_weights_survive_kills(train, undisturbed, tmp_path):
    """Send `kill -9` in steps, saves and evaluations."""
    moments = random.Random(1)
    for _ in range(KILLS):
        process = train.start(tmp_path / "run", *FEATURES)
        before = _count_lines(tmp_path / "run")
        while process.poll() is None and _count_lines(tmp_path / "run") == before:
            before = min(before, _count_lines(tmp_path / "run"))  # lines of steps that will be done again go first
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it had ended: more steps"
    train(tmp_path / "run", *FEATURES)
    assert_ends_alike(tmp_path / "run", undisturbed)


def _count_lines(workdir):
    file = workdir / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def test_averages_are_evaluated_and_saved(undisturbed):
    """The kept weights are averages, in the order of their metric; other weights are in the checkpoints."""
    metas = [command.weights.load_meta(undisturbed / name).extra for name in BEST]
    values = [meta["selection_metric"]["value"] for meta in metas]
    assert values == sorted(values, reverse=True) and len({meta["step"] for meta in metas}) == 3
    logged = {
        line["step"]: line["mean_average_precision"] for line in command.metrics(undisturbed) if "mean_f1" in line
    }
    assert sorted(logged) == [3, 6, 9, 12, 15, 18, 21, 24]
    assert values == sorted(logged.values(), reverse=True)[:3] == [logged[meta["step"]] for meta in metas]
    state = command.last(undisturbed)
    averages = {name.removeprefix(".averages") for name in state if name.startswith(".averages")}
    assert averages and not any("generator/mapping" in name for name in averages)
    assert any(state[f".params{name}"].tobytes() != state[f".averages{name}"].tobytes()
               for name in averages if f".params{name}" in state)  # fmt: skip


def test_more_epochs_are_those_of_a_longer_run(train, undisturbed, tmp_path):
    """A finished run of two epochs fewer goes on, says so, and ends as if it had had them from the beginning."""
    settings = [*FEATURES[1:], "--config.train.epochs=3"]  # twelve steps: a multiple of three
    train(tmp_path / "run", *settings)
    assert (tmp_path / "run/results.json").exists()
    output = train(tmp_path / "run", *FEATURES)
    assert f"{tmp_path / 'run'} was begun for 3 epochs, and goes on to 6 now" in output
    assert "at step 12 of 24" in output
    assert_ends_alike(tmp_path / "run", undisturbed)
