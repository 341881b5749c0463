"""Provenance of a run: complete, and of the right checkout."""

import json
import subprocess
import sys
from pathlib import Path

import fgnet_jax
from fgnet_jax.runtime import provenance


def _git(directory: Path, *command: str) -> None:
    author = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(directory), *author, *command], check=True, capture_output=True)


def test_provenance_is_complete_and_fits_json():
    """Versions, devices, host, time and command."""
    import jax

    record = json.loads(json.dumps(provenance.provenance()))
    assert record["versions"]["jax"] == jax.__version__ and record["versions"]["fgnet_jax"] == fgnet_jax.__version__
    assert all(record["versions"][name] for name in ("python", *provenance.PACKAGES))
    assert record["devices"]["count"] == jax.device_count() and record["devices"]["kind"]
    assert record["processes"] == 1 and record["hostname"] and record["argv"] and record["time"].endswith("+00:00")


def test_git_state_has_commit_and_changes(tmp_path):
    """Of a clean and of a changed checkout, with untracked files, and outside of a checkout."""
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


def test_git_state_is_not_that_of_a_surrounding_project(tmp_path):
    """A package installed into another project's checkout has no commit."""
    _git(tmp_path, "init")
    (tmp_path / "other.py").write_text("1")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "a")
    (tmp_path / "venv").mkdir()
    assert provenance.git_state(tmp_path / "venv") is None


def test_runtime_imports_no_jax():
    """Workers and preparation use the package, too."""
    names = ("command_line", "files", "logs", "progress", "provenance", "signals", "version", "workers")
    modules = ", ".join(f"fgnet_jax.runtime.{name}" for name in names)
    code = f"import sys, {modules}; print('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
