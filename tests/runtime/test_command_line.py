"""What all commands share: spelling of flags, help, version, checked values and messages."""

import argparse
import sys

import pytest

import fgnet_jax
from fgnet_jax.runtime import command_line
from fgnet_jax.runtime.command_line import Parser

DOC = """Measure things.

    python -m fgnet_jax.measure --data_dir DIR

measure  the first way
"""


def parser(**options) -> Parser:
    """A parser with flags of both spellings, and a positional argument."""
    command = Parser(DOC, "measure", **options)
    command.add_argument("--data_dir")
    command.add_argument("--dry-run", action="store_true")
    command.add_argument("--keep_order", action=argparse.BooleanOptionalAction)
    command.add_argument("names", nargs="*")
    return command


@pytest.mark.parametrize("flags", [["--data_dir", "x"], ["--data-dir", "x"], ["--data-dir=x"], ["--data_dir=x"]])
def test_flags_with_underscores_may_have_hyphens(flags):
    """With the value as the next argument or after an equals sign."""
    assert parser().parse_args(flags).data_dir == "x"


@pytest.mark.parametrize("flag", ["--dry-run", "--dry_run"])
def test_flags_with_hyphens_may_have_underscores(flag):
    """The attribute is argparse's own."""
    assert parser().parse_args([flag]).dry_run


@pytest.mark.parametrize("flag", ["--no-keep_order", "--no_keep_order", "--no-keep-order"])
def test_negated_flags_may_have_both(flag):
    """`BooleanOptionalAction` itself puts a hyphen after `no`."""
    assert parser().parse_args([flag]).keep_order is False


def test_values_keep_their_spelling():
    """Positional arguments, values of flags, and everything after a bare `--`."""
    arguments = parser().parse_args(["--data-dir=d-e_f", "a-b_c", "--", "--dry_run", "--data-dir"])
    assert arguments.names == ["a-b_c", "--dry_run", "--data-dir"]
    assert arguments.data_dir == "d-e_f" and not arguments.dry_run


def test_arguments_of_the_process_are_respelled_too(monkeypatch):
    """As argparse takes them where none are given."""
    monkeypatch.setattr(sys, "argv", ["measure", "--data-dir", "x"])
    assert parser().parse_args().data_dir == "x"


def test_flags_are_not_abbreviated(capsys):
    """An abbreviation would mean something else after the next release."""
    with pytest.raises(SystemExit) as exit_:
        parser().parse_args(["--data", "x"])
    assert exit_.value.code == 2 and "--data" in capsys.readouterr().err


def test_subcommands_spell_flags_alike():
    """Their parsers are of the same class, with `--version`, too."""
    command = Parser(DOC, "measure")
    sub = command.add_subparsers().add_parser("fast")
    sub.add_argument("--data_dir")
    assert isinstance(sub, Parser) and "--version" in sub.format_help()
    assert command.parse_args(["fast", "--data-dir", "x"]).data_dir == "x"


def test_help_is_the_docstring(capsys):
    """Its first paragraph above the options, the rest, laid out as it is, below; the exit status is 0."""
    with pytest.raises(SystemExit) as exit_:
        parser().parse_args(["--help"])
    text = capsys.readouterr().out
    assert exit_.value.code == 0 and text.startswith("usage: measure ")
    assert text.index("Measure things.") < text.index("  --data_dir DATA_DIR\n") < text.index("measure  the first way")
    assert "    python -m fgnet_jax.measure --data_dir DIR\n" in text


def test_version(capsys):
    """On standard output, with exit status 0."""
    with pytest.raises(SystemExit) as exit_:
        parser().parse_args(["--version"])
    assert exit_.value.code == 0 and capsys.readouterr().out == f"fgnet_jax {fgnet_jax.__version__}\n"


@pytest.mark.parametrize(
    ("started_as", "name", "expected"),
    [
        ("/venv/bin/fgnet-jax", "predict", "fgnet-jax predict"),
        ("/venv/Scripts/fgnet-jax.exe", "predict", "fgnet-jax predict"),
        ("/site-packages/fgnet_jax/predict/__main__.py", "predict", "python -m fgnet_jax.predict"),
        ("/site-packages/convert_weights/__main__.py", "convert", "python -m convert_weights"),
    ],
)
def test_a_command_is_named_as_it_was_started(started_as, name, expected, monkeypatch):
    """As a subcommand of the script, or as a module."""
    monkeypatch.setattr(sys, "argv", [started_as])
    assert command_line.program(name) == expected


def test_whole_numbers_are_checked():
    """From 1 or from 0 on; the message has the text."""
    assert command_line.positive("3") == 3 and command_line.natural("0") == 0
    for text in ("0", "-1", "1.5", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match=f"at least 1, got '{text}'"):
            command_line.positive(text)
    for text in ("-1", "1.5", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match=f"must be a whole number, got '{text}'"):
            command_line.natural(text)


def test_errors_and_status_go_to_standard_error(capsys):
    """An error with the command's name, and its exit status back."""
    assert command_line.fail("fgnet-jax predict", ValueError("no faces"), 3) == 3
    command_line.status("predict", "2 frames")
    assert capsys.readouterr() == ("", "fgnet-jax predict: error: no faces\nfgnet_jax.predict: 2 frames\n")
