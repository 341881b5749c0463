"""Names of the files that are written for each input: tables, drawings and aligned faces, all different.

`a/smile.jpg` gives `smile`. Where several inputs would share a name, folders are put in front (`a-smile`, `b-smile`),
and what is still equal (`smile.jpg` and `smile.png`, or an image given twice) is numbered (`smile-2`). The same inputs
in the same order have the same names.
"""

import os
import re
from collections.abc import Sequence

from fgnet_jax.media.frames import SEVERAL_KINDS
from fgnet_jax.media.sources import Source

_LONGEST = 200  # bytes of a name: every file system takes 255


def stems(sources: Sequence[str]) -> list[str]:
    """Return a name without suffix for each input, in the same order, all different on any file system.

    Args:
      sources: Names of the inputs.
    """
    names = [_base_name(source, 1) for source in sources]
    for depth in (2, 3):
        counts: dict[str, int] = {}
        for name in names:
            counts[name.casefold()] = counts.get(name.casefold(), 0) + 1
        names = [
            _base_name(source, depth) if counts[name.casefold()] > 1 else name
            for source, name in zip(sources, names, strict=True)
        ]
    taken: set[str] = set()
    return [_numbered(name, taken) for name in names]


class ImageFolder:
    """A folder of PNGs: one for each image, and for each video, animation or file of pages a folder of its frames'.

    Names in it are relative and with slashes, as tables have them.

    Attributes:
      path: The folder.
    """

    def __init__(self, path: str, sources: Sequence[Source], *, per_face: bool, part: range | None = None):
        """Name what is written of the inputs.

        Args:
          path: The folder; it need not exist.
          sources: The inputs.
          per_face: Whether there is a PNG for each face, `smile-0.png` or `clip/000012-0.png` with the face_id, instead
            of one for each frame, `smile.png` or `clip/000012.png`.
          part: Which of the inputs this folder is for, named as among all; None for all.
        """
        self.path = path
        self._per_face = per_face
        own = slice(part.start, part.stop) if part is not None else slice(None)
        has_frames = [source.kind in SEVERAL_KINDS for source in sources]
        self._stems = _without_suffix(stems([source.name for source in sources]), has_frames)[own]
        self._has_frames = has_frames[own]

    def name(self, source: int, frame: int, face_id: int | None = None) -> str:
        """Return the name of a PNG: that of a frame (from 1) of a source, or of one of its faces."""
        face = "" if face_id is None else f"-{face_id}"
        within = f"/{frame:06d}" if self._has_frames[source] else ""
        return f"{self._stems[source]}{within}{face}.png"

    def file(self, name: str) -> str:
        """Return the path of a PNG by its name, after its folder was created.

        Raises:
          OSError: The folder cannot be created.
        """
        path = os.path.join(self.path, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def folders(self) -> list[str]:
        """Return the folders of videos, animations and files of pages."""
        named = zip(self._stems, self._has_frames, strict=True)
        return [os.path.join(self.path, stem) for stem, has_frames in named if has_frames]

    def existing(self) -> list[str]:
        """Return the files of the names that these inputs may give, as earlier runs left them: a run replaces them."""
        face = r"-\d+" if self._per_face else ""
        images = {stem for stem, has_frames in zip(self._stems, self._has_frames, strict=True) if not has_frames}
        found = [
            os.path.join(self.path, name)
            for name in _files(self.path)
            if (match := re.fullmatch(rf"(.*?)({face})\.png", name, re.DOTALL)) and match[1] in images
        ]
        for folder in self.folders():
            frames = (name for name in _files(folder) if re.fullmatch(rf"\d{{6,}}{face}\.png", name))
            found += [os.path.join(folder, name) for name in frames]
        return found


def _files(folder: str) -> list[str]:
    """Return the names of a folder's files, sorted; none where there is no such folder."""
    if not os.path.isdir(folder):
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_file())


def _base_name(source: str, depth: int) -> str:
    """Return the last `depth` parts of a path, joined, without suffix; cut to what every file system takes."""
    parts = [part for part in os.path.splitext(source)[0].split(os.sep) if part not in ("", ".", "..")]
    name = "-".join(parts[-depth:]) or "image"
    return name if len(os.fsencode(name)) <= _LONGEST else name[-50:]


def _without_suffix(names: Sequence[str], has_frames: Sequence[bool]) -> list[str]:
    """Return names for PNGs and folders of PNGs, where no folder has the name of a file; all different, as before."""
    taken = {name.casefold() for name in names}
    return [
        _numbered(f"{name}_", taken) if is_folder and name.lower().endswith(".png") else name
        for name, is_folder in zip(names, has_frames, strict=True)
    ]


def _numbered(name: str, taken: set[str]) -> str:
    """Return `name`, or `name-2`, `name-3`, … where that is taken, and mark it as taken."""
    candidate, count = name, 1
    while candidate.casefold() in taken:
        count += 1
        candidate = f"{name}-{count}"
    taken.add(candidate.casefold())
    return candidate
