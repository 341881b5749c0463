"""Locks that several machines share: another machine's is believed while it is touched, and no longer."""

import json
import os
import subprocess
import sys
import time

import pytest

from fgnet_jax.runtime import files, leases

OTHER = {"machine": "another kernel", "host": "node7", "pid": 4, "token": "t"}

HOLD = """
import sys
from fgnet_jax.runtime import leases
with leases.held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def _other_machine_holds(path, seconds_ago=0.0):
    """Write what a lock of another machine leaves, whose kernel shows nothing of it to this one."""
    lease = path.with_name(f"{path.name}.alive")
    lease.write_text(json.dumps(OTHER))
    os.utime(lease, times=(time.time() - seconds_ago, time.time() - seconds_ago))


def test_a_lock_names_its_holder_and_leaves_nothing_but_its_file(tmp_path):
    """Nobody holds it before and after; a second process is refused."""
    path = tmp_path / "run"
    assert leases.holder(path) is None
    with leases.held(path):
        assert (leases.holder(path) or "").startswith(f"process {os.getpid()} on ")
        with pytest.raises(files.LockedError, match=f"in use by process {os.getpid()} on "), leases.held(path):
            pass
    assert leases.holder(path) is None and os.listdir(tmp_path) == ["run"]


def test_a_lock_of_a_killed_process_is_free_at_once(tmp_path):
    """Its lease stays behind, and is of this machine, whose kernel has ended the lock."""
    path = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=-1, stdout=-1, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    with pytest.raises(files.LockedError, match=f"process {process.pid}"), leases.held(path):
        pass
    process.kill()
    process.communicate()
    assert (tmp_path / "run.alive").exists() and leases.holder(path) is None
    with leases.held(path):
        assert json.loads((tmp_path / "run.alive").read_text())["pid"] == os.getpid()


def test_another_machines_lock_is_believed_while_it_is_touched(tmp_path):
    """Although this machine's kernel knows nothing of it; the message says how long ago it was alive."""
    _other_machine_holds(tmp_path / "run", seconds_ago=20)
    with (
        pytest.raises(files.LockedError, match=r"process 4 on node7, which was alive 2\d s ago"),
        leases.held(tmp_path / "run"),
    ):
        pass
    assert "node7" in (leases.holder(tmp_path / "run") or "")


def test_a_lock_of_a_machine_that_died_is_free_after_its_lease(tmp_path, monkeypatch):
    """And is then this process' own."""
    monkeypatch.setattr(leases, "_SETTLING_SECONDS", 0.0)
    _other_machine_holds(tmp_path / "run", seconds_ago=leases.LEASE_SECONDS + 1)
    assert leases.holder(tmp_path / "run") is None
    with leases.held(tmp_path / "run"):
        assert json.loads((tmp_path / "run.alive").read_text())["machine"] == files.machine()
    assert os.listdir(tmp_path) == ["run"]


def test_of_two_machines_that_take_a_stale_lease_one_gets_it(tmp_path, monkeypatch):
    """The one whose name is there once both have written."""
    _other_machine_holds(tmp_path / "run", seconds_ago=leases.LEASE_SECONDS + 1)
    monkeypatch.setattr(leases.time, "sleep", lambda _: _other_machine_holds(tmp_path / "run"))
    with pytest.raises(files.LockedError, match="node7"), leases.held(tmp_path / "run"):
        pass


def test_a_lease_that_is_not_written_yet_is_another_machines(tmp_path, monkeypatch):
    """Its file is created before it has a name in it; whoever comes in between must not take it for none."""
    monkeypatch.setattr(leases, "_SETTLING_SECONDS", 0.0)
    lease = tmp_path / "run.alive"
    lease.touch()
    with pytest.raises(files.LockedError, match="in use by another process"), leases.held(tmp_path / "run"):
        pass
    assert lease.read_text() == ""
    os.utime(lease, times=(0, time.time() - leases.LEASE_SECONDS - 1))  # killed before it was
    with leases.held(tmp_path / "run"):
        assert json.loads(lease.read_text())["machine"] == files.machine()


def test_a_lease_that_another_machine_has_taken_is_said(tmp_path, monkeypatch, caplog):
    """While this one was suspended for too long: both may now do the same work; the other's lease is left to it."""
    monkeypatch.setattr(leases, "_BEAT_SECONDS", 0.01)
    with leases.held(tmp_path / "run"):
        _other_machine_holds(tmp_path / "run")
        for _ in range(1000):
            if not caplog.messages:
                time.sleep(0.01)
    assert "process 4 on node7" in caplog.messages[0] and "may do the same work" in caplog.messages[0]
    assert json.loads((tmp_path / "run.alive").read_text()) == OTHER


def test_a_lease_is_touched_while_it_is_held(tmp_path, monkeypatch):
    """Again and again, until the block ends."""
    monkeypatch.setattr(leases, "_BEAT_SECONDS", 0.01)
    with leases.held(tmp_path / "run"):
        os.utime(tmp_path / "run.alive", (0, 0))
        while (tmp_path / "run.alive").stat().st_mtime == 0:
            time.sleep(0.01)
