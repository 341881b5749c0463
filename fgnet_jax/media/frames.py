"""Images out of sources, one after the other in constant memory: what cannot be read comes as a frame without one."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from fgnet_jax.media import images, video
from fgnet_jax.media.sources import Source

MOVING = ("video", "webcam")
"""Kinds of sources whose frames belong together."""


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """An image, or one of a video's.

    Attributes:
      source: Where it comes from.
      index: The source's place among all, from 0.
      number: Its place in the source, from 1; 1 of an image.
      seconds: When it is shown, from the source's beginning; None of an image, and where that is not known.
      image: (height, width, 3) uint8 RGB, upright; None where there is none.
      problem: Why there is no image.
      total: How many frames the source says to have, counted as `number` is; None where it does not say.
      is_done: An earlier run wrote it: it is looked at once more only to know which face is which.
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
    """Frames of all sources, in order.

    A damaged frame, a source that cannot be read, and the place where a video is cut off come as a frame without
    image, whose `problem` says what is wrong.

    Args:
      sources: What to read, as it comes.
      every: Of videos and cameras, every so many frames: 1, 1 + every, ...
      skip: By a source's place: the number of the last frame that is done. Images that are done are left out; frames
        of videos come with `is_done` set.
    """
    for index, source in enumerate(sources):
        last = (skip or {}).get(index, 0)
        if last and source.kind not in MOVING:
            continue
        for frame in _READERS[source.kind](source, index):
            if (frame.number - 1) % every and frame.seconds is not None:  # None: the last word on a broken source
                continue
            yield dataclasses.replace(frame, is_done=frame.number <= last) if last else frame


def _image(source: Source, index: int) -> Iterator[Frame]:
    try:
        assert isinstance(source.path, str)
        image = images.read(source.path)
    except images.ImageError as error:
        yield Frame(source, index, 1, None, None, str(error), 1)
        return
    yield Frame(source, index, 1, None, image, total=1)


def _array(source: Source, index: int) -> Iterator[Frame]:
    yield Frame(source, index, 1, None, source.array, total=1)


def _missing(source: Source, index: int) -> Iterator[Frame]:
    yield Frame(source, index, 1, None, None, source.problem, 1)


def _video(source: Source, index: int) -> Iterator[Frame]:
    number = 0
    try:
        assert isinstance(source.path, str)
        for found in video.read(source.path):
            number = found.number
            problem = "a damaged frame" if found.image is None else None
            yield Frame(source, index, number, found.seconds, found.image, problem, found.total)
    except video.VideoError as error:
        yield Frame(source, index, number + 1, None, None, str(error))
        return
    if not number:
        yield Frame(source, index, 1, None, None, "a video without frames")


def _webcam(source: Source, index: int) -> Iterator[Frame]:
    number = 0
    try:
        assert source.path is not None
        for found in video.camera(source.path):
            number = found.number
            yield Frame(source, index, number, found.seconds, found.image)
    except video.VideoError as error:
        yield Frame(source, index, number + 1, None, None, str(error))


_READERS = {"image": _image, "video": _video, "webcam": _webcam, "array": _array, "missing": _missing}
