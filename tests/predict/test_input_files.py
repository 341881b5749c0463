"""Files that are known again, and others in their place."""

import os

import pytest

from fgnet_jax.predict import input_files
from fgnet_jax.runtime.files import sha256


@pytest.fixture
def path(tmp_path):
    """A file."""
    (tmp_path / "a.png").write_bytes(b"first")
    return tmp_path / "a.png"


def change(path, content):
    """Write a file again, at another date."""
    date = path.stat().st_mtime_ns + 10**9
    path.write_bytes(content)
    os.utime(path, ns=(date, date))


def test_size_and_date_are_told_of_files_alone(path, tmp_path):
    """Neither of cameras, nor of folders, nor of what does not exist."""
    assert input_files.facts(str(path)) == {"bytes": 5, "mtime_ns": path.stat().st_mtime_ns}
    for other in (None, 0, str(tmp_path), str(tmp_path / "none"), os.devnull):
        assert input_files.facts(other) == {}


@pytest.mark.parametrize(
    ("content", "is_summed", "message"),
    [
        (b"first", True, None),
        (b"other", True, "its SHA-256 is another"),
        (b"other", False, "its rows may be those of another file"),
        (b"first", False, "its rows may be those of another file"),
        (b"longer", False, "it had 5 bytes and has 6"),
        (b"longer", True, "it had 5 bytes and has 6"),
    ],
)
def test_a_file_of_another_date_is_known_by_its_sum_alone(path, content, is_summed, message):
    """Where the sum is not known, it may be another file."""
    recorded = input_files.facts(str(path)) | ({"sha256": sha256(path)} if is_summed else {})
    change(path, content)
    difference = input_files.change(str(path), recorded)
    assert difference is None if message is None else difference is not None and message in difference


def test_what_is_not_recorded_is_not_known(path):
    """Compare what there is; a file that is gone is no other one."""
    assert input_files.change(str(path), {}) is None
    old = {"bytes": 5, "sha256": sha256(path)}  # of a version that recorded no date
    assert input_files.change(str(path), old) is None
    change(path, b"other")
    assert input_files.change(str(path), old) == "its SHA-256 is another"
    path.unlink()
    assert input_files.change(str(path), old) is None and input_files.change("-", {"bytes": 5}) is None


def test_an_unchanged_file_is_not_read(path, monkeypatch):
    """A folder of large videos is compared at once."""
    recorded = input_files.facts(str(path)) | {"sha256": "of another"}
    assert input_files.change(str(path), recorded) is None
