"""Walks through folders, symlinked ones among them."""

import os
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import NamedTuple


class Folder(NamedTuple):
    """A folder of a walk.

    Attributes:
      path: Its path, which begins with that of the walk's root.
      names: Names of the files in it, hidden ones left out.
      is_linked: Whether a link leads to it, so that the same folder may be met by another path.
    """

    path: str
    names: list[str]
    is_linked: bool


def walk(root: str, on_error: Callable[[OSError], None] | None = None) -> Iterator[Folder]:
    """Walk a folder and all below it, first those that no link leads to; hidden ones are left out.

    A link to a folder is followed, unless it leads back to a folder that the walk is in.

    Args:
      root: The folder.
      on_error: Called for a folder that cannot be listed; by default such folders are left out.
    """
    waiting: list[tuple[str, tuple[str, ...]]] = [(root, (os.path.realpath(root),))]
    for top, within in waiting:  # grows while it is read
        for path, folders, names in os.walk(top, onerror=on_error):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            here = (*within, os.path.realpath(path)) if any(map(_is_link, _joined(path, folders))) else within
            for link in filter(_is_link, _joined(path, folders)):
                target = os.path.realpath(link)
                if not any(_is_inside(folder, target) for folder in here):
                    waiting.append((link, (*here, target)))
            yield Folder(path, [name for name in names if not name.startswith(".")], top != root)


def _joined(folder: str, names: list[str]) -> list[str]:
    """Return the paths of a folder's members."""
    return [os.path.join(folder, name) for name in names]


def _is_link(path: str) -> bool:
    """Tell whether a path is a symbolic link."""
    return os.path.islink(path)


def _is_inside(path: str, folder: str) -> bool:
    """Tell whether a path is a folder or below it, both without links."""
    return PurePath(path).is_relative_to(folder)
