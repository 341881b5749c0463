"""Command lines of studies: which runs they name, and what is refused in a line."""

import pytest

from fgnet_jax.train import command_line, study_arguments
from fgnet_jax.train.defaults import ConfigError


def _runs(*words):
    return study_arguments.single_runs(command_line.normalize(words))


def _names(*words):
    return [study_arguments.parse_config(run).name for run in _runs(*words)]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ("fold=all,seeds=2", ["disfa_f0", "disfa_f1", "disfa_f2", "disfa_f0_s1", "disfa_f1_s1", "disfa_f2_s1"]),
        ("fold=0-1", ["disfa_f0", "disfa_f1"]),
        ("fold=0+2,seed=7", ["disfa_f0_s7", "disfa_f2_s7"]),
        ("seed=4-5", ["disfa_f0_s4", "disfa_f0_s5"]),
        ("seeds=2,samples=100,fold=1", ["disfa_f1_n100", "disfa_f1_s1_n100"]),
    ],
)
def test_folds_and_seeds(arguments, names):
    """All folds of a seed come before the next seed; other arguments stay."""
    words = command_line.normalize(["--config", f"disfa:{arguments}"])
    assert study_arguments.is_study(words)
    assert _names("--config", f"disfa:{arguments}") == names


def test_several_configurations_with_overrides_of_all():
    """Each with its own values, and the overrides; tuples, too."""
    words = ["--config", "tiny:seeds=2", "--config=demo", "--config.optim.lr", "0.5", "--config.data.also_test=('a',)"]
    configs = [study_arguments.parse_config(run) for run in _runs(*words)]
    assert [(config.name, config.model.image_size) for config in configs] == [
        ("tiny", 32),
        ("tiny_s1", 32),
        ("demo", 64),
    ]
    assert {(config.optim.lr, config.data.also_test) for config in configs} == {(0.5, ("a",))}


@pytest.mark.parametrize("words", [["--config=disfa:fold=1,seed=2"], ["--config", "demo"], []])
def test_one_run_is_no_study(words):
    """It goes the way of a single run, whose workdir is given by its own name."""
    assert not study_arguments.is_study(command_line.normalize(words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config=disfa:fold=one"], "fold=one: expected all or numbers, such as 0, 0-2, 0\\+2"),
        (["--config=disfa:fold=2-0"], "fold=2-0: expected all or numbers"),
        (["--config=disfa:seed=all"], "seed=all: expected numbers, such as 0, 0-2"),
        (["--config=disfa:seeds=0"], "seeds=0: expected their number, at least 1"),
        (["--config=disfa:seeds=2,seed=1"], "seed or seeds, one or the other"),
        (["--config=own:fold=all", "--config.data.dir=nowhere"], "fold=all: no prepared corpus 'my_corpus' in nowhere"),
        (["--config=disfa:fold=0,fold=2,seeds=2"], "fold is given twice: expected one, such as fold=0\\+2"),
        (["--config=disfa:fold=all,fld=1"], "fld=1: expected key=value with a key of fold, seed, samples"),
        (["--config=disfa:fold=0-1", "--config.optim.lrr=1"], "did you mean --config.optim.lr\\?"),
        (["--config=disfa:fold=0-1", "--config.optim.lr=fast"], "could not convert string to float: 'fast'"),
        (["--config=disfa:fold=0-1", "--config.optim=1"], "--config.optim: is a section"),
    ],
)
def test_what_names_no_runs_is_refused(words, message):
    """With what was expected."""
    with pytest.raises(ConfigError, match=message):
        _names(*words)


@pytest.mark.parametrize(("override", "message"), [("data.fold=2", "fold=…"), ("seed=3", "seed=…")])
def test_what_the_arguments_choose_is_not_overridden(override, message):
    """The run's name would say something else."""
    first = _runs("--config=disfa:fold=0-1,seeds=2", f"--config.{override}")[0]
    with pytest.raises(ConfigError, match=f"give it once, as {message}"):
        study_arguments.check_chosen(first, study_arguments.parse_config(first))
    same = _runs("--config=disfa:fold=0-1,seeds=2")[0]
    study_arguments.check_chosen(same, study_arguments.parse_config(same))
