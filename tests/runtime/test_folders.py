"""Walks of folders: links are followed, never in a circle, and folders without a link come first."""

import os

from fgnet_jax.runtime.folders import walk


def _files(root):
    return [
        os.path.relpath(f"{folder.path}/{name}", root) for folder in walk(str(root)) for name in sorted(folder.names)
    ]


def _write(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def test_links_to_folders_are_followed(tmp_path):
    """Out of the root, through another link, and within it: then the folder itself comes first."""
    root = tmp_path / "root"
    _write(root / "z/1.jpg", tmp_path / "nas/2.jpg", tmp_path / "far/3.jpg")
    (root / "a").symlink_to(root / "z")
    (root / "b").symlink_to("../nas")
    (tmp_path / "nas/c").symlink_to(tmp_path / "far")
    assert _files(root) == ["z/1.jpg", "a/1.jpg", "b/2.jpg", "b/c/3.jpg"]
    assert [folder.is_linked for folder in walk(str(root)) if folder.names] == [False, True, True, True]


def test_links_in_a_circle_end(tmp_path):
    """To itself, upwards, beyond the root, and two folders to each other."""
    root = tmp_path / "root"
    _write(root / "a/1.jpg", root / "b/2.jpg", tmp_path / "other/3.jpg")
    (root / "a/self").symlink_to(root / "a")
    (root / "a/up").symlink_to("..")
    (root / "a/beyond").symlink_to(tmp_path)
    (root / "a/b").symlink_to(root / "b")
    (root / "b/a").symlink_to(root / "a")
    (root / "loop").symlink_to(root / "loop")
    assert sorted(set(_files(root))) == ["a/1.jpg", "a/b/2.jpg", "b/2.jpg", "b/a/1.jpg", "loop"]


def test_hidden_folders_and_files_are_left_out(tmp_path):
    """Such as those that macOS writes beside every file."""
    _write(tmp_path / ".git/1.jpg", tmp_path / "a/._1.jpg", tmp_path / "a/1.jpg")
    assert _files(tmp_path) == ["a/1.jpg"]
