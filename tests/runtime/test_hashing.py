"""SHA-256 of files on a thread: each once, without pipes, and stopped at once."""

import hashlib
import os

from fgnet_jax.runtime.hashing import FileHasher, FileSum


def test_files_are_summed_beside_other_work(tmp_path):
    """Empty ones too; a file that is handed over twice is read once."""
    for name, content in {"a": b"face", "b": b""}.items():
        (tmp_path / name).write_bytes(content)
    hasher = FileHasher()
    for name in ("a", "b", "a"):
        hasher.add(str(tmp_path / name))
    assert hasher.close() == {
        str(tmp_path / name): FileSum(hashlib.sha256(content).hexdigest(), len(content))
        for name, content in {"a": b"face", "b": b""}.items()
    }


def test_what_is_no_file_has_no_sum(tmp_path):
    """Reading a pipe would take its content from whoever reads it."""
    os.mkfifo(tmp_path / "pipe")
    hasher = FileHasher()
    for name in ("pipe", "absent", "."):
        hasher.add(str(tmp_path / name))
    assert hasher.close() == {}


def test_a_long_file_is_not_waited_for(tmp_path):
    """After Ctrl-C: a sparse file of a terabyte would take an hour."""
    with open(tmp_path / "long", "wb") as file:
        file.truncate(2**40)
    hasher = FileHasher()
    hasher.add(str(tmp_path / "long"))
    assert hasher.close(lambda: True) == {}
