"""Reads frames from sources, one after the other in constant memory; what cannot be read is a frame without image."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from fgnet_jax.media import animations, camera, images, video
from fgnet_jax.media.images import ImageError, LoadedImage
from fgnet_jax.media.sources import Source

VIDEO_KINDS = ("video", "webcam", "animation")
"""Kinds of sources whose frames follow each other in time."""

SEVERAL_KINDS = (*VIDEO_KINDS, "pages")
"""Kinds of sources that have more than one frame."""


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a video, or an image.

    Attributes:
      source: The source that it is from.
      index: Index of the source among all, from 0.
      number: Number of the frame in its source, from 1; 1 for an image, and the page of a file of several.
      seconds: Time since the source's beginning; None for an image, and where it is not known.
      image: (height, width, 3) uint8 RGB, upright; None where there is none.
      problem: Why there is no image.
      total: Number of the source's frames by its header, counted as `number` is; None where it is not known.
      is_done: Whether it gets no result, because an earlier run wrote it or `every` leaves it out: it is read only so
        that faces are tracked through every frame.
      facts: What the decoder knows of the source up to this frame, in values of JSON; None where it says nothing.
      captured: When a camera gave it, by `time.monotonic`; None for others.
    """

    source: Source
    index: int
    number: int
    seconds: float | None
    image: np.ndarray | None
    problem: str | None = None
    total: int | None = None
    is_done: bool = False
    facts: Mapping[str, Any] | None = None
    captured: float | None = None


def read(
    sources: Iterable[Source], every: int = 1, skip: Mapping[int, int] | None = None, *, again: bool = False
) -> Iterator[Frame]:
    """Read the frames of all sources, in order.

    A damaged frame, a source that cannot be read, and the place where a video is cut off give a frame without image,
    whose `problem` says what is wrong.

    Args:
      sources: What to read; may be endless.
      every: Step between the frames of videos, animations and cameras that get a result: frames 1, 1 + every, ... Those
        in between have `is_done` set.
      skip: Number of the last frame that is done, by the source's index. Images and pages that are done are left out;
        frames of videos have `is_done` set.
      again: Whether images and pages that are done are read, too, with `is_done` set.
    """
    for index, source in enumerate(sources):
        last = (skip or {}).get(index, 0)
        if last and source.kind not in SEVERAL_KINDS and not again:
            continue
        for frame in _READERS[source.kind](source, index):
            if frame.number <= last and source.kind not in VIDEO_KINDS and not again:
                continue
            # the problem that ends a broken source has no time, and is never left out
            is_between = (frame.number - 1) % every > 0 and frame.seconds is not None
            is_done = frame.number <= last or is_between
            yield dataclasses.replace(frame, is_done=True) if is_done else frame


def _image(source: Source, index: int) -> Iterator[Frame]:
    """Read an image file."""
    assert isinstance(source.path, str)
    try:
        loaded = images.load(source.path)
    except ImageError as error:
        is_any = isinstance(error, images.UnknownFormatError) and not source.path.lower().endswith(images.SUFFIXES)
        problem = f"{error}, nor a video in one" if is_any else str(error)
        yield Frame(source=source, index=index, number=1, seconds=None, image=None, problem=problem, total=1)
        return
    yield _from_image(source, index, loaded)


def _from_image(source: Source, index: int, loaded: LoadedImage) -> Frame:
    """Build the frame of a source that is one image."""
    return Frame(source=source, index=index, number=1, seconds=None, image=loaded.pixels, total=1, facts=loaded.facts)


def _several(source: Source, index: int) -> Iterator[Frame]:
    """Read the frames of an animation, or the pages of an image file."""
    assert isinstance(source.path, str)
    number, facts = 0, None
    try:
        for part in animations.read(source.path, "pages" if source.kind == "pages" else "animation"):
            number, facts = part.number, part.facts
            yield Frame(
                source=source,
                index=index,
                number=number,
                seconds=part.seconds,
                image=part.loaded.pixels if part.loaded else None,
                problem=part.problem,
                total=part.total,
                facts=facts,
            )
    except ImageError as error:
        yield _end(source, index, number + 1, str(error), facts)


def _array(source: Source, index: int) -> Iterator[Frame]:
    """Return an array's frame."""
    assert source.array is not None
    yield _from_image(source, index, LoadedImage(source.array, source.facts))


def _missing(source: Source, index: int) -> Iterator[Frame]:
    """Return the frame that says why a source is missing."""
    yield Frame(source=source, index=index, number=1, seconds=None, image=None, problem=source.problem, total=1)


def _video(source: Source, index: int) -> Iterator[Frame]:
    """Read a video file."""
    number, facts = 0, None
    try:
        assert isinstance(source.path, str)
        for frame in video.read(source.path):
            number, facts = frame.number, frame.facts
            problem = "a damaged frame" if frame.image is None else None
            yield _from_video(source, index, frame, problem)
    except video.VideoError as error:
        yield _end(source, index, number + 1, str(error), facts)
        return
    if not number:
        yield _end(source, index, 1, "a video without frames")


def _webcam(source: Source, index: int) -> Iterator[Frame]:
    """Read a camera, until it stops."""
    number = 0
    try:
        assert source.path is not None
        for frame in camera.frames(source.path):
            number = frame.number
            yield _from_video(source, index, frame)
    except video.VideoError as error:
        yield _end(source, index, number + 1, str(error))


def _from_video(source: Source, index: int, frame: video.VideoFrame, problem: str | None = None) -> Frame:
    """Build the frame of a source from a video's."""
    return Frame(
        source=source,
        index=index,
        number=frame.number,
        seconds=frame.seconds,
        image=frame.image,
        problem=problem,
        total=frame.total,
        facts=frame.facts,
        captured=frame.captured,
    )


def _end(source: Source, index: int, number: int, problem: str, facts: Mapping[str, Any] | None = None) -> Frame:
    """Build the last frame of a source that cannot be read (any further): without image and time."""
    return Frame(source=source, index=index, number=number, seconds=None, image=None, problem=problem, facts=facts)


_READERS = {
    "image": _image,
    "video": _video,
    "animation": _several,
    "pages": _several,
    "webcam": _webcam,
    "array": _array,
    "missing": _missing,
}
