"""What all commands share: spelling of flags, help, version, checked values and messages."""

import argparse
import pwd
import subprocess
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


@pytest.mark.parametrize("words", [["--data_dir", "a", "--data-dir", "b"], ["--data_dir=a", "x", "--data_dir=a"]])
def test_a_flag_is_given_once(words, capsys):
    """The last one alone would count, without a word; a parser parses any number of command lines."""
    command = parser()
    for _ in range(2):
        assert command.parse_args(["--data_dir", "a"]).data_dir == "a"
    with pytest.raises(SystemExit, match="2"):
        command.parse_args(words)
    assert capsys.readouterr().err.splitlines()[-1] == "measure: error: argument --data_dir: given twice"


def test_a_flag_of_several_values_is_given_once(capsys):
    """Here the message says how several are given."""
    command = parser()
    command.add_argument("--runs", nargs="+")
    assert command.parse_args(["--runs", "a", "b"]).runs == ["a", "b"]
    with pytest.raises(SystemExit, match="2"):
        command.parse_args(["--runs", "a", "--runs", "b"])
    assert "argument --runs: given twice; several follow one: --runs A B" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    ("prog", "label"),
    [
        ("fgnet-jax predict", "fgnet_jax.predict"),
        ("python -m fgnet_jax.prepare disfa", "fgnet_jax.prepare disfa"),
        ("fgnet-jax convert fetch", "convert_weights fetch"),
        ("fgnet_jax.train", "fgnet_jax.train"),
        ("fgnet-jax", "fgnet-jax"),
    ],
)
def test_errors_have_one_prefix(prog, label, capsys):
    """However the command was started; the exit status comes back."""
    print("a table")
    assert command_line.fail(prog, ValueError("no faces"), 3) == 3
    assert capsys.readouterr() == ("a table\n", f"{label}: error: no faces\n")


def test_status_goes_to_standard_error(capsys):
    """With the command's name."""
    command_line.status("predict", "2 frames")
    assert capsys.readouterr() == ("", "fgnet_jax.predict: 2 frames\n")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("~", "/home/ada"),
        ("~/runs/*", "/home/ada/runs/*"),
        ("--data_dir=~/data", "--data_dir=/home/ada/data"),
        ("~root/data", f"{pwd.getpwnam('root').pw_dir}/data"),
        ("@~/list.txt", "@/home/ada/list.txt"),
        ("./~", "./~"),
        ("a~/b", "a~/b"),
        ("--data_dir=a=~", "--data_dir=a=~"),
    ],
)
def test_home_folders_are_expanded(word, expected, monkeypatch):
    """At the beginning of an argument or of a flag's value, and nowhere else."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert command_line.expanded(word) == expected


def test_a_user_who_does_not_exist_is_refused(tmp_path, monkeypatch, capsys):
    """In a line; but a file of that name is that file."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        parser().parse_args(["--data_dir=~nobody_at_all/x"])
    assert exit_.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("measure: error: ~nobody_at_all/x: this machine has no user 'nobody_at_all'; ")
    (tmp_path / "~draft.jpg").touch()
    assert parser().parse_args(["~draft.jpg"]).names == ["~draft.jpg"]


PROGRAM = """
import sys
from fgnet_jax.runtime import command_line, devices

@command_line.command("measure")
def main(argv=None):
    if sys.argv[1] == "print":
        for k in range(100_000):
            print("a line of a long report", k)
    if sys.argv[1] == "interrupt":
        raise KeyboardInterrupt
    if sys.argv[1] == "devices":
        raise devices.DevicesError("no card")
    return 0

sys.exit(main())
"""


@pytest.mark.parametrize(
    ("what", "status", "errors"),
    [
        ("nothing", 0, []),
        ("interrupt", 130, ["measure: error: interrupted"]),
        ("devices", 2, ["measure: error: no card"]),
    ],
)
def test_what_may_happen_to_any_command_is_one_line(what, status, errors):
    """As the last line, without a traceback."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, what], capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()) == (status, errors)


def test_output_that_is_closed_is_one_line():
    """As `head` does it: neither a traceback nor Python's own complaint at exit."""
    command = [sys.executable, "-c", PROGRAM, "print"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read().splitlines()
    assert errors == ["measure: error: standard output was closed before everything was printed"]
    assert process.returncode == command_line.CLOSED_OUTPUT


def test_output_to_a_full_disk_is_one_line():
    """Where a file takes what is printed: neither a traceback nor status 0."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", PROGRAM, "print"], stdout=full, stderr=subprocess.PIPE, text=True)
    (line,) = done.stderr.splitlines()
    assert line.startswith("measure: error: the disk that is written to is full") and done.returncode == 1
