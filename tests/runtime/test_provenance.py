"""Provenance, signals, whole files, writable directories, the log."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import fgnet_jax
from fgnet_jax.runtime import files, provenance, signals


def _git(directory: Path, *command: str) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(directory), *who, *command], check=True, capture_output=True)


def test_provenance_is_complete_and_fits_json():
    """Versions, devices, host, time and command."""
    import jax

    told = json.loads(json.dumps(provenance.provenance()))
    assert told["versions"]["jax"] == jax.__version__ and told["versions"]["fgnet_jax"] == fgnet_jax.__version__
    assert all(told["versions"][name] for name in ("python", *provenance.PACKAGES))
    assert told["devices"]["count"] == jax.device_count() and told["devices"]["kind"]
    assert told["processes"] == 1 and told["hostname"] and told["argv"] and told["time"].endswith("+00:00")


def test_git_state_tells_commit_and_changes(tmp_path):
    """Clean, changed, with files of no concern, and outside of a checkout."""
    assert provenance.git_state(tmp_path) is None
    _git(tmp_path, "init")
    (tmp_path / "package").mkdir()
    (tmp_path / "package/a.py").write_text("1")
    assert provenance.git_state(tmp_path / "package") is None  # nothing committed yet
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "a")
    clean = provenance.git_state(tmp_path / "package")
    assert clean and len(clean["commit"]) == 40 and not clean["dirty"]
    (tmp_path / "notes.txt").write_text("not tracked")
    assert provenance.git_state(tmp_path / "package") == clean
    (tmp_path / "package/a.py").write_text("2")
    assert provenance.git_state(tmp_path / "package") == clean | {"dirty": True}


def test_git_state_is_not_that_of_a_project_around(tmp_path):
    """A package installed into somebody else's checkout has no commit."""
    _git(tmp_path, "init")
    (tmp_path / "theirs.py").write_text("1")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "a")
    (tmp_path / "venv").mkdir()
    assert provenance.git_state(tmp_path / "venv") is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted(number, capfd):
    """Nothing is raised, and the user is told."""
    former = signal.getsignal(number)
    with signals.StopSignal() as stop:
        assert stop.received is None
        signal.raise_signal(number)
        assert stop.received == number.name
    assert signal.getsignal(number) is former
    assert f"{number.name} received" in capfd.readouterr().err


def test_only_a_second_interrupt_interrupts():
    """A repeated SIGTERM does not; handlers are back even then."""
    former = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), signals.StopSignal() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.received == "SIGTERM"
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is former


def test_with_nothing_left_to_save_a_signal_raises():
    """Where the program is; or at once, where it came before."""
    with signals.StopSignal() as stop, pytest.raises(signals.Stopped, match="SIGTERM"):
        stop.raise_from_now_on()
        signal.raise_signal(signal.SIGTERM)
    with signals.StopSignal() as stop:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(signals.Stopped, match="SIGTERM"):
            stop.raise_from_now_on()


def test_inactive_leaves_signals_to_others():
    """To JAX, on several hosts."""
    former = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with signals.StopSignal(active=False) as stop:
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == former
    assert stop.received is None


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """After an error in the middle the former text stands, and nothing lies beside it."""
    path = tmp_path / "results.json"
    files.write_text(path, "first ü\n")
    assert path.read_bytes() == "first ü\n".encode()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_text(path, "second")
    assert path.read_text(encoding="utf-8") == "first ü\n"
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_writable_directory_is_made_and_left_empty(tmp_path):
    """With its parents."""
    files.check_writable(tmp_path / "a/b", need_bytes=1)
    assert os.listdir(tmp_path / "a/b") == []


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    """A file in its place, a file system that takes no files, too little room."""
    (tmp_path / "file").write_text("")
    with pytest.raises(files.NotWritableError, match=r"file/run: Not a directory"):
        files.check_writable(tmp_path / "file/run")
    with pytest.raises(files.NotWritableError, match=r"file: File exists"):
        files.check_writable(tmp_path / "file")
    with pytest.raises(files.NotWritableError, match=r"1073741824\.0 GiB are needed, \S+ GiB are free"):
        files.check_writable(tmp_path, need_bytes=2**60)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux's /proc")
def test_a_file_system_that_takes_no_files_is_named():
    """Even root cannot write there."""
    with pytest.raises(files.NotWritableError, match=r"cannot write to /proc"):
        files.check_writable("/proc/fgnet")


_LOGGER = """
import sys, types
from absl import flags, logging
flags.FLAGS(["program", *sys.argv[2:]])
from fgnet_jax.runtime import provenance as runtime
logs.setup_logging(active=sys.argv[1] == "1")
logs.setup_logging(active=sys.argv[1] == "1")
exec(compile("logging.info('ours'); logging.warning('ours too')", runtime.__file__, "exec"), {"logging": logging})
logging.info("a library's"); logging.warning("a library's warning")
"""


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["1"], ["I ours", "W ours too", "W a library's warning"]),
        (["0"], ["W ours too", "W a library's warning"]),
        (["1", "--verbosity=0"], ["I ours", "W ours too", "I a library's", "W a library's warning"]),
    ],
    ids=["first process", "other process", "asked for all"],
)
def test_the_log_is_short(arguments, lines):
    """Time, level and message; of libraries their warnings, unless all was asked for."""
    done = subprocess.run([sys.executable, "-c", _LOGGER, *arguments], capture_output=True, text=True, check=True)
    shown = done.stderr.splitlines()
    assert [line.split(" ", 1)[1] for line in shown] == lines
    assert all(len(line.split(" ", 1)[0]) == len("12:34:56") for line in shown)


def test_runtime_imports_no_jax():
    """Workers and preparation use it too."""
    code = "import sys, fgnet_jax.runtime; print('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_signals_are_for_the_main_thread():
    """Python allows no other; the error is not hidden."""
    errors = []

    def enter() -> None:
        try:
            signals.StopSignal().__enter__()
        except ValueError as error:
            errors.append(str(error))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert errors and "main thread" in errors[0]
