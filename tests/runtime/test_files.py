"""Files that are written whole or not at all, and folders that can be written to."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fgnet_jax.runtime import files


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """After an error in the middle the former text is there, and no other file."""
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


def test_a_block_that_raises_changes_nothing(tmp_path):
    """The former file stays, and the temporary one is removed; its error is not hidden."""
    path = tmp_path / "table.csv"
    path.write_text("former")
    with pytest.raises(RuntimeError, match="in the middle"), files.replacing(path) as temporary:
        temporary.write_text("half of the")
        raise RuntimeError("in the middle")
    assert path.read_text() == "former" and os.listdir(tmp_path) == ["table.csv"]


def test_a_block_that_writes_no_file_changes_nothing(tmp_path):
    """Whether there is a former file or not."""
    for former in (None, "former"):
        path = tmp_path / "table.csv"
        if former:
            path.write_text(former)
        with files.replacing(path):
            pass
        assert (path.read_text() if path.exists() else None) == former
        assert os.listdir(tmp_path) == (["table.csv"] if former else [])


def test_the_file_replaces_the_former_one_at_the_end_of_the_block(tmp_path):
    """Not before; the path may be a string, and the temporary file is in the same folder."""
    path = tmp_path / "table.csv"
    path.write_text("former")
    with files.replacing(str(path)) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path and path.read_text() == "former"
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["table.csv"]


def test_the_file_behind_a_link_is_replaced(tmp_path):
    """And the link stays one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real/table.csv").write_text("former")
    link = tmp_path / "table.csv"
    link.symlink_to(tmp_path / "real/table.csv")
    files.write_text(link, "new")
    assert link.is_symlink() and (tmp_path / "real/table.csv").read_text() == "new"
    assert os.listdir(tmp_path / "real") == ["table.csv"]


def test_a_device_is_written_to_and_stays_one(tmp_path):
    """As root, a rename would put a file in its place, for all programs of the machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write_text(pipe, "new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and os.listdir(tmp_path) == ["pipe"]
    with files.replacing("/dev/null") as temporary:
        assert temporary == Path("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    """Not the temporary one."""
    path = tmp_path / "missing/table.csv"
    with pytest.raises(FileNotFoundError) as caught:
        files.write_text(path, "text")
    assert caught.value.filename == str(path)


_HANG = """
import sys
from fgnet_jax.runtime import files
with files.replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(temporary.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """Start a process that is in the middle of writing a file; return it and its temporary file."""
    command = [sys.executable, "-c", _HANG, str(tmp_path / "table.csv")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, tmp_path / process.stdout.readline().strip()
        process.kill()


def test_what_a_killed_process_left_is_removed_when_the_file_is_written_next(writer, tmp_path):
    """At once; while that process lives, its file stays, however old."""
    process, temporary = writer
    os.utime(temporary, (0, 0))
    files.write_text(tmp_path / "table.csv", "first")
    assert temporary.read_text() == "half"
    process.kill()
    process.wait()
    os.utime(temporary)
    files.write_text(tmp_path / "table.csv", "second")
    assert os.listdir(tmp_path) == ["table.csv"] and (tmp_path / "table.csv").read_text() == "second"


def test_what_another_machine_left_is_removed_after_ten_minutes(writer, tmp_path):
    """As what older versions left, which did not name the machine; other files' stay."""
    process, temporary = writer
    process.kill()
    process.wait()
    others = [tmp_path / f".table.csv.{process.pid}{table}.tmp" for table in ("", ".01234567")]
    unlike = [tmp_path / f".table.csv.{process.pid}{rest}" for rest in (".5.01234567.tmp", "x.tmp", ".tmp.bak")]
    for path in (*others, *unlike):
        path.write_text("half")
    temporary.unlink()
    files.write_text(tmp_path / "table.csv", "first")
    assert sorted(tmp_path.iterdir()) == sorted([*others, *unlike, tmp_path / "table.csv"])
    for path in (*others, *unlike):
        os.utime(path, (0, 0))
    files.write_text(tmp_path / "table.csv", "second")
    assert sorted(tmp_path.iterdir()) == sorted([*unlike, tmp_path / "table.csv"])


def test_readers_never_see_part_of_a_file(tmp_path):
    """While it is replaced again and again, each reading is one of the texts."""
    path, texts = tmp_path / "table.csv", ["a" * 100_000, "b" * 100_000]
    files.write_text(path, texts[0])
    done = threading.Event()

    def replace() -> None:
        for k in range(50):
            files.write_text(path, texts[k % 2])
        done.set()

    thread = threading.Thread(target=replace)
    thread.start()
    readings = {path.read_text() for _ in iter(done.is_set, True)}
    thread.join()
    assert readings <= set(texts)


def test_a_missing_folder_is_an_error(tmp_path):
    """It is not created: `check_writable` does that."""
    with pytest.raises(FileNotFoundError):
        files.write_text(tmp_path / "none/table.csv", "text")


def test_a_writable_directory_is_made_and_left_empty(tmp_path):
    """Its parents are created, too."""
    files.check_writable(tmp_path / "a/b", need_bytes=1)
    assert os.listdir(tmp_path / "a/b") == []


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    """A file in its place, one above it, and too little free space are errors."""
    (tmp_path / "file").write_text("")
    with pytest.raises(files.NotWritableError, match=r"file/run: Not a directory"):
        files.check_writable(tmp_path / "file/run")
    with pytest.raises(files.NotWritableError, match=r"file: File exists"):
        files.check_writable(tmp_path / "file")
    with pytest.raises(files.NotWritableError, match=r"1073741824\.0 GiB are needed, \S+ GiB are free"):
        files.check_writable(tmp_path, need_bytes=2**60)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux's /proc")
def test_a_file_system_that_takes_no_files_is_named():
    """In /proc even root cannot write."""
    with pytest.raises(files.NotWritableError, match=r"cannot write to /proc"):
        files.check_writable("/proc/fgnet")


_HOLD = """
import sys
from fgnet_jax.runtime import files
with files.locked(sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds a lock until its standard input ends; return it and the lock's file."""
    path = tmp_path / ".lock"
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "locked\n"
        yield process, path
        process.kill()


def test_a_lock_that_another_process_holds_names_it(holder):
    """With its machine, and since when."""
    process, path = holder
    message = rf"{path.parent} is in use by process {process.pid} on {socket.gethostname()}, since 20.*T.*\+00:00$"
    with pytest.raises(files.LockedError, match=message), files.locked(path):
        pass


def test_who_holds_a_lock_is_seen_without_taking_it(holder, tmp_path):
    """Nobody holds one without a file, or one whose process has ended; nothing is written."""
    process, path = holder
    before = path.read_text()
    assert (files.holder(path) or "").startswith(f"process {process.pid} on ") and path.read_text() == before
    process.kill()
    process.wait()
    assert files.holder(path) is None and files.holder(tmp_path / "none") is None and not (tmp_path / "none").exists()


def test_a_lock_ends_with_the_process_that_holds_it(holder):
    """Killed with SIGKILL, it leaves nothing that has to be removed; the same process can lock again and again."""
    process, path = holder
    process.kill()
    process.wait()
    for _ in range(2):
        with files.locked(path):
            assert json.loads(path.read_text())["pid"] == os.getpid()


def test_whoever_waits_for_a_lock_says_for_whom(holder):
    """Once, before the wait."""
    process, path = holder
    calls = []

    def let_go(name: str) -> None:
        calls.append(name)
        process.stdin.close()

    with files.locked(path, wait=True, on_wait=let_go):
        assert process.wait() == 0 and len(calls) == 1 and f"process {process.pid} on " in calls[0]


def test_a_lock_whose_file_is_removed_still_locks(tmp_path):
    """Whoever locked the removed file while it was there tries again with the new one."""
    path = tmp_path / ".lock"
    with files.locked(path):
        path.unlink()
        with files.locked(path), pytest.raises(files.LockedError), files.locked(path):
            pass
