"""Reads files of several images: animations (GIF, WebP, APNG, AVIF), which are videos, and the pages of a TIFF.

One image after the other, so that a long file takes no more memory than a short one. Pillow puts the frames of an
animation together: each is whole, whatever part of it the file holds.
"""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from PIL import Image

from fgnet_jax.media import images
from fgnet_jax.media.images import ImageError, LoadedImage

Several = Literal["animation", "pages"]
"""What the images of a file are: frames in time, or pages without."""

UNTIMED_SECONDS = 0.1
"""How long browsers show a frame of an animation that has no duration, or one of GIF's shortest."""

_GIF_SHORTEST = 10  # milliseconds, GIF's unit: browsers and FFmpeg take it for no duration
_TIFF_KIND, _TIFF_REDUCED, _TIFF_MASK = 254, 1, 4  # NewSubfileType: previews and masks are no pages
_SIGNATURES = (b"GIF8", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclasses.dataclass(frozen=True, eq=False)
class PartialImage:
    """One image of a file.

    Attributes:
      number: From 1.
      seconds: When it is shown, from the beginning of an animation; None for a page.
      loaded: The image; None for a page that is damaged.
      total: How many there are; None where that is not known.
      facts: What is known of the file up to here, in values of JSON.
      problem: What is wrong with a damaged page.
    """

    number: int
    seconds: float | None
    loaded: LoadedImage | None
    total: int | None
    facts: Mapping[str, Any]
    problem: str | None = None


def kind_of(path: str | os.PathLike[str]) -> Several | None:
    """Tell whether a file has several images, and which; None for one image, and for what is none or cannot be read."""
    try:
        if not os.path.isfile(path) or not _may_be_several(path):
            return None
        with images.opened(path) as image:
            if image.format == "TIFF":
                return "pages" if _has_more_pages(image) else None
            return "animation" if _animated_frames(image) > 1 else None
    except (ImageError, OSError, ValueError):
        return None


def _has_more_pages(image: Image.Image) -> bool:
    """Tell whether a TIFF has a second page; also where that is damaged, which reading it reports."""
    pages = _pages(image)
    if next(pages, None) is None:
        return False
    try:
        return next(pages, None) is not None
    except Exception:  # Pillow raises nearly anything on broken files
        return True


def _may_be_several(path: str | os.PathLike[str]) -> bool:
    """Tell by a file's first bytes whether its format has files of several images: most photographs need no more."""
    with open(path, "rb") as stream:
        start = stream.read(64)
    if start.startswith(b"RIFF"):
        return start[12:16] == b"VP8X" and bool(start[20:21]) and bool(start[20] & 2)
    return start.startswith(_SIGNATURES) or (start[4:8] == b"ftyp" and b"avis" in start)


def _animated_frames(image: Image.Image) -> int:
    """Return the number of an opened image's frames, of GIF no more than 2: counting them means going through it."""
    if image.format == "GIF":
        return 1 + bool(getattr(image, "is_animated", False))
    return getattr(image, "n_frames", 1) - _first_frame(image)


def _first_frame(image: Image.Image) -> int:
    """Return the index of an animation's first frame: not 0 where PNG has another image for who cannot animate."""
    return int(bool(getattr(image, "default_image", False)))


def read(path: str | os.PathLike[str], kind: Several) -> Iterator[PartialImage]:
    """Read the images of a file in order.

    Args:
      path: The file.
      kind: What `kind_of` says of it.

    Raises:
      ImageError: It cannot be read, or not any further.
    """
    yield from _read_animation(path) if kind == "animation" else _read_pages(path)


def _read_animation(path: str | os.PathLike[str]) -> Iterator[PartialImage]:
    number, milliseconds, untimed = 0, 0.0, 0  # these add up exactly
    try:
        with images.opened(path) as image:
            first, total, name = _first_frame(image), _total(image), str(image.format)
            while _seek(image, first + number):
                loaded = images.decode(image, path)
                number += 1
                duration = _milliseconds(image)
                untimed += duration is None
                facts = {"animation": name, "times": _times(untimed), **(loaded.facts or {})}
                yield PartialImage(number, milliseconds / 1000, loaded, total=total, facts=facts)
                milliseconds += 1000 * UNTIMED_SECONDS if duration is None else duration
    except ImageError as error:
        raise ImageError(f"{error} (after {number} frames)" if number else str(error)) from error
    if not number:
        raise ImageError("an animation without frames")
    if name == "GIF" and not _has_trailer(path):
        raise ImageError(f"cut off after {number} frames")


def _seek(image: Image.Image, index: int) -> bool:
    """Go to an image of a file; returns False where there are no more."""
    if image.format != "GIF" and index >= getattr(image, "n_frames", 1):
        return False
    try:
        image.seek(index)
    except EOFError:
        if image.format != "GIF":  # the others say how many there are
            raise
        return False
    return True


def _total(image: Image.Image) -> int | None:
    """Return the number of an animation's frames; None where that is not known before the end."""
    try:
        return getattr(image, "n_frames", 1) - _first_frame(image)
    except Exception:  # a GIF is gone through for it; reading it reports what is wrong, where it is
        return None


def _milliseconds(image: Image.Image) -> float | None:
    """Return how long a decoded frame is shown; None where the file does not say."""
    milliseconds = float(image.info.get("duration") or 0)
    shortest = _GIF_SHORTEST if image.format == "GIF" else 0
    return milliseconds if milliseconds > shortest else None


def _times(untimed: int) -> str:
    if not untimed:
        return "container"
    return f"container; frames without a duration are shown for {UNTIMED_SECONDS} s, as browsers do: {untimed}"


def _has_trailer(path: str | os.PathLike[str]) -> bool:
    """Tell whether a GIF ends as it must; zeros behind that do not matter."""
    with open(path, "rb") as stream:
        stream.seek(max(0, os.path.getsize(path) - 4096))
        return stream.read().rstrip(b"\0\r\n ").endswith(b";")


def _read_pages(path: str | os.PathLike[str]) -> Iterator[PartialImage]:
    with images.opened(path) as image:
        total = _page_count(image)
        brightest = _brightest(image, path)
        note = "a file of several pages" if total is None else f"a file of {total} pages"
        note = f"{note}: each has its own rows, whose frame is the page"
        for number in _whole_pages(image):
            loaded = problem = None
            try:
                with images.reasons():
                    images.check_pixels(*image.size)
                    loaded = images.decode(image, path, brightest)
            except ImageError as error:  # a damaged page costs that page only
                problem = f"page {number}: {error}"
            facts = {"pages": total, **((loaded and loaded.facts) or {})}
            facts["note"] = f"{note}; {facts['note']}" if "note" in facts else note
            yield PartialImage(number, None, loaded, total=total, facts=facts, problem=problem)


def _pages(image: Image.Image) -> Iterator[int]:
    """Yield the indices of a TIFF's pages: not those of previews and masks."""
    for index in itertools.count():
        try:
            image.seek(index)
        except EOFError:
            return
        if not getattr(image, "tag_v2", {}).get(_TIFF_KIND, 0) & (_TIFF_REDUCED | _TIFF_MASK):
            yield index


def _page_count(image: Image.Image) -> int | None:
    """Return the number of a TIFF's pages; None where one is damaged, so that it does not say which follow."""
    try:
        return sum(1 for _ in _pages(image))
    except Exception:  # Pillow raises nearly anything on broken files
        return None


def _whole_pages(image: Image.Image) -> Iterator[int]:
    """Go to each page of a TIFF, and yield its number, from 1.

    Raises:
      ImageError: The description of a page is damaged: the pages from there on cannot be found.
    """
    pages, number = _pages(image), 0
    while True:
        try:
            if next(pages, None) is None:
                return
        except Exception as error:  # Pillow raises nearly anything on broken files
            raise ImageError(f"cut off or damaged after {number} pages") from error
        number += 1
        yield number


def _brightest(image: Image.Image, path: str | os.PathLike[str]) -> int | None:
    """Return the largest sample of all pages where they need a common range: 16 bits, of which the file says none.

    A stack of a camera would else be lit differently page by page.
    """
    brightest = None
    with contextlib.suppress(ImageError):  # the page from which on none is found is reported when it is read
        for _ in _whole_pages(image):
            with contextlib.suppress(ImageError), images.reasons():  # so is a damaged page
                images.check_pixels(*image.size)
                brightest = max(brightest or 0, images.brightest_sample(image, path) or 0) or None
    return brightest
