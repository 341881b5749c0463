"""Turns the paths of a command line, or values from Python, into sources: images, videos and cameras.

No file is decoded here. A path that is wrong does not raise: it becomes a source of kind "missing", with the reason.
"""

import dataclasses
import glob
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
from PIL import Image

from fgnet_jax.media import animations, camera, escaping, images, video
from fgnet_jax.media.images import ImageError
from fgnet_jax.runtime import folders

Kind = Literal["image", "pages", "animation", "video", "webcam", "array", "missing"]
"""What a source is; pages and animations are image files of several images, without times and with them."""

_NO_NUMBERS = "OUST"  # kinds of arrays of objects, texts and bytes

_GLOB = re.compile(r"[*?\[]")


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """An image, a video or a camera to be read.

    Attributes:
      name: Its name in results: the path as given, or as found below the folder that was given; valid UTF-8, see
        `escaping`.
      kind: What it is, by the file's suffix or else its first bytes; it may still turn out to be broken.
      path: The file of an image or video; a camera's number, device or address.
      array: (height, width, 3) uint8 RGB, of kind "array" only.
      problem: Why there is nothing to read, of kind "missing" only.
      facts: What was found out when the array was made, in values of JSON; of kind "array" only.
    """

    name: str
    kind: Kind
    path: str | int | None = None
    array: np.ndarray | None = None
    problem: str | None = None
    facts: Mapping[str, Any] | None = None


def find(words: Sequence[str], stdin: TextIO | None = None) -> list[Source]:
    """Find the sources that a command line's arguments name, in their order.

    Args:
      words: Files; folders (all images and videos below them in natural order, 2 before 10, hidden ones left out, links
        followed); patterns (`**` for any depth); `@FILE`, a file with one path per line; `-`, such lines on standard
        input. Lines may name folders and patterns too. Where a file of exactly that name exists, a pattern or `@FILE`
        is that file.
      stdin: What `-` reads; standard input if not given.

    Returns:
      One source per file; for every word that names none, one of kind "missing" that says why.
    """
    sources: list[Source] = []
    for word in words:
        if word == "-":
            sources += _listed(stdin or _standard_input(), word)
        elif word.startswith("@") and not os.path.lexists(word):
            sources += _list_file(word)
        else:
            sources += _path(word)
    return sources


def webcam(device: camera.Device) -> Source:
    """Return the source of a camera, by its number from 0, its device or address (`camera.EXPECTED`)."""
    return Source(escaping.escaped(f"webcam {camera.name(device)}"), "webcam", device)


def given(inputs: object) -> Iterator[Source]:
    """Return the sources of a Python caller's inputs, one after the other: an iterator may be endless.

    Args:
      inputs: A path (see `find`), an array (see `as_array`) of one image uint8 (height, width, 3) RGB or of several, a
        Pillow image, a `Source`, or an iterable of these. Arrays and Pillow images are named "array 0", "array 1", ...

    Raises:
      TypeError: for a value that is none of these.
    """
    count = 0
    for value in _flat(inputs):
        if isinstance(value, Source):
            yield value
        elif isinstance(value, str):
            yield from find([value])
        else:
            name = f"array {count}"
            yield _array(value, name) if isinstance(value, np.ndarray) else _pillow(value, name)
            count += 1


def as_array(value: object) -> np.ndarray | None:
    """Return the NumPy array of an array of any library; None for what is none, such as a path or a list.

    Tensors of PyTorch come from the device, without gradient, and with the channels last: (..., 3, height, width), as
    torchvision has them, become (..., height, width, 3).

    Raises:
      TypeError: It cannot become a NumPy array; the message says why.
    """
    if isinstance(value, np.ndarray):
        return None if value.dtype.kind in _NO_NUMBERS else value
    if isinstance(value, str | os.PathLike | Source | Image.Image) or not hasattr(value, "__array__"):
        return None
    is_tensor = type(value).__module__.partition(".")[0] == "torch"
    try:
        array = np.asarray(value.detach().cpu() if is_tensor else value)  # pyright: ignore[reportAttributeAccessIssue]
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"a {type(value).__name__} that cannot become a NumPy array: {error}") from error
    if array.dtype.kind in _NO_NUMBERS:  # such as a column of paths
        return None
    is_channels_first = is_tensor and array.ndim >= 3 and array.shape[-3] == 3 and array.shape[-1] != 3
    return np.ascontiguousarray(np.moveaxis(array, -3, -1)) if is_channels_first else array


def _flat(inputs: object) -> Iterator[np.ndarray | Image.Image | Source | str]:
    """Flatten nested iterables of inputs."""
    array = as_array(inputs)
    if array is not None:
        yield from _flat(list(array)) if array.ndim > 3 else (array,)
    elif isinstance(inputs, str | os.PathLike):
        yield os.fspath(inputs)
    elif isinstance(inputs, Source | Image.Image):
        yield inputs
    elif isinstance(inputs, Iterable):
        for value in inputs:
            yield from _flat(value)
    else:
        raise TypeError(
            f"expected paths, uint8 arrays or tensors (height, width, 3), or Pillow images, got {type(inputs).__name__}"
        )


def _array(value: np.ndarray, name: str) -> Source:
    """Return an array's source, of kind "missing" where it is no image."""
    if value.dtype != np.uint8 or value.ndim != 3 or value.shape[-1] != 3 or not value.size:
        problem = f"an array must be uint8 (height, width, 3), got {value.dtype} {value.shape}"
        return Source(name, "missing", problem=problem)
    return Source(name, "array", array=value)


def _pillow(image: Image.Image, name: str) -> Source:
    """Return a Pillow image's source, of kind "missing" where it cannot be used."""
    if getattr(image, "is_animated", False) and image.format != "MPO":
        return Source(
            name, "missing", problem="a Pillow image of several frames: give its file's path, or one frame's copy()"
        )
    try:
        loaded = images.from_pillow(image)
    except ImageError as error:
        return Source(name, "missing", problem=str(error))
    return Source(name, "array", array=loaded.pixels, facts=loaded.facts)


def _missing(name: str, problem: str) -> list[Source]:
    return [Source(escaping.escaped(name), "missing", problem=problem)]


def _standard_input() -> TextIO:
    """Return standard input; its lines may have bytes that are not UTF-8, as file names may."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    return sys.stdin


def _list_file(word: str) -> list[Source]:
    """Find the sources that the lines of `@FILE` name."""
    try:
        # -sig: editors on Windows begin a file with a byte order mark, which is no part of the first name
        with open(word[1:], encoding="utf-8-sig", errors="surrogateescape") as stream:
            return _listed(stream, word)
    except (OSError, ValueError) as error:
        return _missing(word, f"the list cannot be read: {getattr(error, 'strerror', None) or error}")


def _listed(stream: TextIO, word: str) -> list[Source]:
    """Find the sources that the lines of a stream name."""
    lines = [line.rstrip("\r\n") for line in stream]
    sources = [source for line in lines if line.strip() for source in _path(line)]
    return sources or _missing(word, "names no files")


def _path(path: str) -> list[Source]:
    """Find the sources of a file, a folder or a pattern."""
    if not os.path.lexists(path):
        path = os.path.expanduser(path)  # in lists and for Python's callers, where no shell does it
    if os.path.isdir(path):
        return _folder(path)
    if not os.path.lexists(path) and _GLOB.search(path):
        matches = sorted(glob.glob(path, recursive=True), key=_natural)
        return [s for match in matches for s in _path(match)] or _missing(path, "no file matches")
    return [_file(path)]


def _folder(folder: str) -> list[Source]:
    """Find images and videos below a folder; folders that cannot be read are sources of kind "missing"."""
    errors: list[Source] = []

    def report(error: OSError) -> None:
        errors.extend(_missing(str(error.filename), f"the folder cannot be read: {error.strerror}"))

    paths: dict[
        str, str
    ] = {}  # by the path without links of the folder, so that a folder that is met twice counts once
    for parent in folders.walk(folder, report):
        real = os.path.realpath(parent.path)
        for name in filter(_by_name, parent.names):
            paths.setdefault(os.path.join(real, name), os.path.join(parent.path, name))
    sources = [_file(path) for path in sorted(paths.values(), key=_natural)]
    return sources + errors or _missing(folder, "a folder without images or videos")


def _by_name(path: str) -> Kind | None:
    """Return the kind of a file by its suffix; None for other suffixes."""
    suffix = Path(path).suffix.lower()
    return "image" if suffix in images.SUFFIXES else "video" if suffix in video.SUFFIXES else None


def _file(path: str) -> Source:
    """Return the source of a file."""
    name = escaping.escaped(path)
    if not os.path.exists(path):
        return Source(name, "missing", problem="there is no such file or folder")
    kind = _by_name(path)
    if kind != "video":  # by its content: a video needs no suffix, and any image's name may be an animation's
        kind = animations.kind_of(path) or kind or ("video" if video.is_video(path) else "image")
    return Source(name, kind, path)


def _natural(path: str) -> list[tuple[int, int, str]]:
    """Return a sort key that compares numbers in names by their value, and sorts folder by folder."""
    key = []
    for name in path.split(os.sep):
        parts = re.split(r"(\d+)", name)
        key += [(1, int(part), "") if part.isdecimal() else (2, 0, part.casefold()) for part in parts if part]
        key.append((0, 0, ""))
    return [*key, (0, 0, path)]
