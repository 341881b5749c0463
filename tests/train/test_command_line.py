"""The command line of training: spelling, names of configurations, help, and what is refused in a line."""

import pytest

from fgnet_jax.train import command_line, defaults
from fgnet_jax.train.defaults import ConfigError


@pytest.mark.parametrize(
    ("argument", "near"),
    [("--config.optim.lrr=1", "optim.lr"), ("--config.traim.epochs", "train.epochs"), ("-config.sed=3", "seed")],
)
def test_a_wrong_key_is_refused_with_the_nearest(argument, near):
    """A right one, and other flags, pass."""
    command_line.check_overrides(["train", "--config.optim.lr=1", "--workdir=x"], defaults.get_config())
    with pytest.raises(ConfigError, match=f"there is no such key; did you mean --config.{near}\\?"):
        command_line.check_overrides(["train", argument], defaults.get_config())


def test_absls_tracebacks_are_left_out():
    """Its message quotes one where a configuration file raised."""
    quoted = "flag --config=x:\nTraceback (most recent call last):\n  File\nValueError: expected key=value\n"
    assert str(command_line.without_traceback(ValueError(quoted))) == "expected key=value"
    assert str(command_line.without_traceback(ValueError("Unknown flag"))) == "Unknown flag"


def test_a_refusal_is_one_line_and_status_2(capsys):
    """On standard error."""
    with pytest.raises(SystemExit) as ended:
        command_line.exit_with(ConfigError("train.epochs must be at least 1"))
    assert ended.value.code == 2
    assert capsys.readouterr().err == "fgnet_jax.train: error: train.epochs must be at least 1\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--config.train.batch-size=8", "--work_dir", "a-b"], ["--config.train.batch_size=8", "--work_dir", "a-b"]),
        (["-config.optim.lr-encoder", "-1.0"], ["-config.optim.lr_encoder", "-1.0"]),
        (["--workdir=my-run", "--", "--a-b"], ["--workdir=my-run", "--", "--a-b"]),
    ],
)
def test_flags_are_spelled_either_way(words, expected):
    """Names with `-` become those with `_`; values, and all behind a bare `--`, stay."""
    assert command_line.normalize(words) == expected


@pytest.mark.parametrize("form", [["--config=tiny:steps=5"], ["--config", "tiny:steps=5"], ["-config=tiny:steps=5"]])
def test_names_of_configurations_become_files(form):
    """With their arguments."""
    words = command_line.normalize([*form, "--config.seed=1"])
    assert words[-1] == "--config.seed=1"
    assert words[-2].endswith(f"{defaults.config_files()['tiny']}:steps=5")


def test_the_help_is_about_the_configuration_that_it_is_asked_with():
    """Its docstring and its values; without one, the published values."""
    parser = command_line.parser("Train.", ())
    text = command_line.help_text(parser, ["--config", "tiny:steps=7", "--help"])
    assert "--config.train.steps_per_epoch=7 " in text and "Arguments: fold, seed, steps" in text
    assert "--config.train.steps_per_epoch=500 " in command_line.help_text(parser, ["--config", "nowhere", "--help"])
    assert {f"--config.{key}" for key in command_line.MOST_USED} <= set(text.replace("=", " ").split())


def test_a_section_takes_no_value():
    """The message has its keys."""
    with pytest.raises(ConfigError, match="--config.data: is a section; its keys are data.also_test, "):
        command_line.check_overrides(["train", "--config.data=abc"], defaults.get_config())


def test_home_folders_are_expanded(monkeypatch, tmp_path):
    """In flags, in overrides, in the name of a configuration's file, and in what a file of flags has."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.py").write_text("from fgnet_jax.train.defaults import get_config\n")
    (tmp_path / "flags").write_text("--workdir=~/run\n")
    words = ["--config=~/my.py", "--config.init_from=~/weights", "--config.data.dir", "~/data", "--flagfile=~/flags"]
    expected = [f"--config={tmp_path}/my.py", f"--config.init_from={tmp_path}/weights"]
    expected += ["--config.data.dir", f"{tmp_path}/data", f"--workdir={tmp_path}/run"]
    assert sorted(command_line.normalize(words)) == sorted(expected)
    with pytest.raises(ConfigError, match="no user 'nobody_at_all'"):
        command_line.normalize(["--workdir=~nobody_at_all/run"])


def test_names_of_configurations_in_a_file_of_flags_become_files(tmp_path):
    """As on the command line."""
    (tmp_path / "flags").write_text("--config\ntiny\n")
    assert command_line.normalize([f"--flagfile={tmp_path / 'flags'}"]) == [
        "--config",
        str(defaults.config_files()["tiny"]),
    ]
    with pytest.raises(ConfigError, match="nowhere"):
        command_line.normalize(["--flagfile=nowhere"])


@pytest.mark.parametrize("flag", [["--compile_for=v5e:2x2"], ["--compile_for", "v5e:2x2"], ["-compile_for", "h100"]])
def test_a_command_line_without_a_flag(flag):
    """As a shell takes it."""
    words = ["--config", "my config.py", *flag, "--config.seed=1"]
    assert command_line.without(words, ("compile_for",)) == "--config 'my config.py' --config.seed=1"


def test_a_students_configuration_is_not_trains():
    """It names the command that takes it; the help does not list it."""
    with pytest.raises(
        ConfigError, match="--config student: is a student's configuration: `fgnet-jax distill` takes it"
    ):
        command_line.normalize(["--config", "student:corpus=disfa"])
    assert "  student " not in command_line.help_text(command_line.parser("Train.", ()), [])
