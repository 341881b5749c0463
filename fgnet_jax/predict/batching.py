"""Which frames share a batch, by a rule that a run which goes on repeats to the bit.

A batch ends with a frame, so that a frame's faces are answered together; the rule looks at nothing but the numbers of
faces. A run that was killed therefore goes on at the beginning of a batch, with the batches it would have had.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from fgnet_jax.predict.result_table import WrittenFrame

Item = TypeVar("Item")

_EMPTY_FRAMES = 2  # frames a face of the batch: a batch waits for no more where there are no faces


def grouped(items: Iterable[Item], faces: Callable[[Item], int], size: int) -> Iterator[list[Item]]:
    """Groups frames, in order, so that a group has at most `size` faces; a frame of more faces is a group of its own.

    Args:
      items: Frames.
      faces: How many faces one has.
      size: Faces of a batch.
    """
    group: list[Item] = []
    count = 0
    for item in items:
        more = faces(item)
        if group and count + more > size:
            yield group
            group, count = [], 0
        group.append(item)
        count += more
        if count >= size or len(group) >= _EMPTY_FRAMES * size:
            yield group
            group, count = [], 0
    if group:
        yield group


@dataclasses.dataclass(frozen=True)
class ResumePoint:
    """Where a run goes on.

    Attributes:
      source: Index of the first source that is looked at.
      done: Number of that source's last frame that needs no network; 0 for none.
      rows: Rows of the table that stay.
      end: Bytes of the table that stay; 0 where nothing does, not even the header.
      written: Source and number of the last frame that stays in the table. Frames between `done` and it are computed
        again for smoothing, and not written again.
      faces: How many faces stay.
    """

    source: int = 0
    done: int = 0
    rows: int = 0
    end: int = 0
    written: tuple[int, int] = (-1, 0)
    faces: int = 0


@dataclasses.dataclass(frozen=True)
class _Start:
    """Beginning of a batch: its place, and when its first frame is shown."""

    source: int
    done: int
    seconds: float


def resume_point(frames: Iterable[WrittenFrame], names: list[str], size: int, window: float = 0.0) -> ResumePoint:
    """Where a run goes on whose table has these frames: at the beginning of its last batch.

    Args:
      frames: The table's frames (`tables.written`).
      names: Of all sources, in order.
      size: Faces of a batch.
      window: Seconds of a video that smoothing looks back: batches that have frames of them are computed again.

    Raises:
      ValueError: The table is of other inputs.
    """
    starts: collections.deque[_Start] = collections.deque()
    last, before, faces = None, ResumePoint(), 0
    for group in grouped(_numbered(frames, names), lambda pair: pair[1].faces, size):
        source, first = group[0]
        if last is not None:
            stay_source, stay = last
            before = ResumePoint(source, 0, stay.rows, stay.end, (stay_source, stay.frame), faces)
        starts.append(_start(source, first, last))
        last = group[-1]
        faces += sum(frame.faces for _, frame in group)
        while len(starts) > 1 and not _needed(starts[1], starts[-1], window):
            starts.popleft()
    if not starts:
        return ResumePoint()
    return dataclasses.replace(before, source=starts[0].source, done=starts[0].done)


def _start(source: int, first: WrittenFrame, last: tuple[int, WrittenFrame] | None) -> _Start:
    """A batch that begins inside of a source goes on behind the last frame of the one before."""
    done = last[1].frame if last is not None and last[0] == source else 0
    return _Start(source, done, first.timestamp or 0.0)


def _needed(second: _Start, final: _Start, window: float) -> bool:
    """Whether a batch before the second one has a frame that the final one's smoothing looks at."""
    within = second.source == final.source and second.done > 0
    return window > 0 and within and second.seconds > final.seconds - window - 0.01


def _numbered(frames: Iterable[WrittenFrame], names: list[str]) -> Iterator[tuple[int, WrittenFrame]]:
    """Pairs frames with the index of their source; one may be named twice in a row."""
    source, former = -1, None
    for frame in frames:
        if former is None or frame.input != former.input or frame.frame <= former.frame:
            source += 1
            if source >= len(names) or frame.input != names[source]:
                expected = names[source] if source < len(names) else "no more inputs"
                raise ValueError(f"its inputs are others: it goes on with {frame.input}, the command with {expected}")
        yield source, frame
        former = frame
