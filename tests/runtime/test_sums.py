"""Sums of a folder's files: each kind of damage is found, and named."""

import json
from pathlib import Path

import pytest

from fgnet_jax.runtime import sums
from fgnet_jax.runtime.sums import Damage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three files, with sums."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.bin").write_bytes(bytes(range(100)))
    (tmp_path / "inner/b.json").write_text('{"x": 1}')
    (tmp_path / "inner/empty").touch()
    sums.write(tmp_path)
    return tmp_path


def test_an_intact_folder_has_no_damage(folder):
    """Files that it gains, and what other processes keep in it for a while, are no damage."""
    assert sums.has_sums(folder) and not sums.has_sums(folder / "inner")
    (folder / "notes.txt").write_text("mine")
    assert sums.verify(folder) == []


def test_every_damaged_file_is_named_with_what_is_wrong(folder):
    """A changed bit, another length, a file that is gone."""
    content = bytearray((folder / "a.bin").read_bytes())
    content[50] ^= 1
    (folder / "a.bin").write_bytes(content)
    (folder / "inner/b.json").write_text('{"x": 1')
    (folder / "inner/empty").unlink()
    assert sums.verify(folder) == [
        Damage(folder / "a.bin", "is damaged (its SHA-256 is another)"),
        Damage(folder / "inner/b.json", "has 7 bytes in place of 8"),
        Damage(folder / "inner/empty", "is missing"),
    ]
    assert str(sums.verify(folder, only=["inner/empty"])[0]) == f"{folder}/inner/empty is missing"


def test_the_content_of_large_files_can_be_left_to_the_caller(folder):
    """Their sizes are compared, nevertheless."""
    (folder / "a.bin").write_bytes(bytes(100))
    assert sums.verify(folder, content_up_to=99) == [] and len(sums.verify(folder, content_up_to=100)) == 1
    assert sums.resized(folder) == []
    (folder / "a.bin").write_bytes(bytes(99))
    assert sums.resized(folder) == [Damage(folder / "a.bin", "has 99 bytes in place of 100")]


def test_every_bit_of_the_sums_is_protected(folder):
    """A flip anywhere in `sums.json` is damage to it, whatever it makes of the text."""
    file = folder / "sums.json"
    content = file.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        file.write_bytes(changed)
        assert [damage.file for damage in sums.verify(folder)] == [file], (place, bytes(changed))
    file.unlink()
    assert sums.verify(folder) == [Damage(file, "is missing")]


def test_a_file_without_a_sum_is_not_verified(folder):
    """Where it is asked for by name."""
    (folder / "new").touch()
    assert sums.verify(folder, only=["new"]) == [Damage(folder / "new", "has no sum in sums.json")]


def test_locks_and_temporary_files_have_no_sums(folder):
    """They come and go."""
    for name in (".a.bin.123.tmp", "prepare.lock", ".DS_Store"):
        (folder / name).touch()
    sums.write(folder)
    assert sorted(json.loads((folder / "sums.json").read_text())["files"]) == ["a.bin", "inner/b.json", "inner/empty"]
    sums.write(folder, leave_out=["inner/empty", "a.bin"])
    assert list(json.loads((folder / "sums.json").read_text())["files"]) == ["inner/b.json"]


def test_sums_of_a_later_format_say_so(folder):
    """They are intact, and cannot be read."""
    text = sums._text({}, number=2)
    (folder / "sums.json").write_text(text)
    assert "a later version" in sums.verify(folder)[0].reason
