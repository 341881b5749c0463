"""Files of a folder, and partitions, whatever the disk they are on."""

import os

import pytest

from fgnet_jax.prepare.layouts import records
from fgnet_jax.prepare.layouts.records import LayoutError


def _write(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_files_behind_links_come_last(tmp_path):
    """So that a file that is there without a link is found by that path, as it was before links were followed."""
    root = tmp_path / "root"
    _write(root / "z/1.jpg", root / "z/.hidden.jpg", root / "z/._1.jpg", tmp_path / "nas/2.jpg")
    (root / "a").symlink_to(root / "z")
    (root / "b").symlink_to(tmp_path / "nas")
    (tmp_path / "nas/up").symlink_to(root)
    assert list(map(str, records.files_under(root))) == ["z/1.jpg", "a/1.jpg", "b/2.jpg"]
    assert records.is_same(root / "a/1.jpg", root / "z/1.jpg")
    assert not records.is_same(root / "b/2.jpg", root / "z/1.jpg")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    """Its files would be left out without a word; what a file system keeps for itself does not matter."""
    _write(tmp_path / "a/1.jpg", tmp_path / "lost+found/2.jpg")
    scandir, closed = os.scandir, {"lost+found"}

    def guarded(path):
        if os.path.basename(path) in closed:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert list(map(str, records.files_under(tmp_path))) == ["a/1.jpg"]
    closed.add("a")
    with pytest.raises(LayoutError, match="/a cannot be listed: Permission denied"):
        records.files_under(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_partitions_in_any_utf(tmp_path, encoding):
    """As editors on Windows write them."""
    file = tmp_path / "folds.json"
    file.write_bytes('[["a", "b"], ["c"], ["d"]]'.encode(encoding))
    assert records.read_partition(file) == {"a": 0, "b": 0, "c": 1, "d": 2}
