"""Reads frames from sources, one after the other in constant memory; what cannot be read is a frame without image."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from fgnet_jax.media import images, video
from fgnet_jax.media.sources import Source

VIDEO_KINDS = ("video", "webcam")
"""Kinds of sources whose frames follow each other in time."""


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a video, or an image.

    Attributes:
      source: The source that it is from.
      index: Index of the source among all, from 0.
      number: Number of the frame in its source, from 1; 1 for an image.
      seconds: Time since the source's beginning; None for an image, and where it is not known.
      image: (height, width, 3) uint8 RGB, upright; None where there is none.
      problem: Why there is no image.
      total: Number of the source's frames by its header, counted as `number` is; None where it is not known.
      is_done: Whether an earlier run wrote its result: it is read again only to keep the faces' numbers.
    """

    source: Source
    index: int
    number: int
    seconds: float | None
    image: np.ndarray | None
    problem: str | None = None
    total: int | None = None
    is_done: bool = False


def read(sources: Iterable[Source], every: int = 1, skip: Mapping[int, int] | None = None) -> Iterator[Frame]:
    """Read the frames of all sources, in order.

    A damaged frame, a source that cannot be read, and the place where a video is cut off give a frame without image,
    whose `problem` says what is wrong.

    Args:
      sources: What to read; may be endless.
      every: Step between the frames of videos and cameras: frames 1, 1 + every, ...
      skip: Number of the last frame that is done, by the source's index. Images that are done are left out; frames of
        videos have `is_done` set.
    """
    for index, source in enumerate(sources):
        last = (skip or {}).get(index, 0)
        if last and source.kind not in VIDEO_KINDS:
            continue
        for frame in _READERS[source.kind](source, index):
            if (frame.number - 1) % every and frame.seconds is not None:  # None: the problem that ends a broken source
                continue
            yield dataclasses.replace(frame, is_done=frame.number <= last) if last else frame


def _image(source: Source, index: int) -> Iterator[Frame]:
    """Read an image file."""
    image = problem = None
    try:
        assert isinstance(source.path, str)
        image = images.read(source.path)
    except images.ImageError as error:
        problem = str(error)
    yield Frame(source=source, index=index, number=1, seconds=None, image=image, problem=problem, total=1)


def _array(source: Source, index: int) -> Iterator[Frame]:
    """Return an array's frame."""
    yield Frame(source=source, index=index, number=1, seconds=None, image=source.array, total=1)


def _missing(source: Source, index: int) -> Iterator[Frame]:
    """Return the frame that says why a source is missing."""
    yield Frame(source=source, index=index, number=1, seconds=None, image=None, problem=source.problem, total=1)


def _video(source: Source, index: int) -> Iterator[Frame]:
    """Read a video file."""
    number = 0
    try:
        assert isinstance(source.path, str)
        for frame in video.read(source.path):
            number = frame.number
            problem = "a damaged frame" if frame.image is None else None
            yield _from_video(source, index, frame, problem)
    except video.VideoError as error:
        yield _end(source, index, number + 1, str(error))
        return
    if not number:
        yield _end(source, index, 1, "a video without frames")


def _webcam(source: Source, index: int) -> Iterator[Frame]:
    """Read a camera, until it stops."""
    number = 0
    try:
        assert source.path is not None
        for frame in video.camera(source.path):
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
    )


def _end(source: Source, index: int, number: int, problem: str) -> Frame:
    """Build the last frame of a source that cannot be read (any further): without image and time."""
    return Frame(source=source, index=index, number=number, seconds=None, image=None, problem=problem)


_READERS = {"image": _image, "video": _video, "webcam": _webcam, "array": _array, "missing": _missing}
