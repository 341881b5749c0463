"""Which frames share a batch, by a rule that a resumed run repeats exactly.

A batch ends with a frame, so that all faces of a frame are in one batch; the rule depends on nothing but the numbers of
faces. A run that was killed therefore resumes at the beginning of a batch, with the batches it would have had.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from fgnet_jax.predict.result_table import WrittenFrame

Item = TypeVar("Item")

_EMPTY_FRAMES = 2  # frames per face of a batch: where there are no faces, a batch waits for no more


def grouped(items: Iterable[Item], faces: Callable[[Item], int], size: int) -> Iterator[list[Item]]:
    """Group frames, in order, so that a group has at most `size` faces; a frame of more faces is a group by itself.

    Args:
      items: Frames.
      faces: Returns the number of faces of a frame.
      size: Faces per batch.
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
    """Where a run resumes.

    Attributes:
      source: Index of the first source that is read again.
      done: Number of that source's last frame that needs no network; 0 for none.
      rows: Rows of the table that stay.
      end: Bytes of the table that stay; 0 where nothing does, not even the header.
      written: Source and number of the last frame that stays in the table. Frames between `done` and it are computed
        again for smoothing, and not written again.
      faces: Rows with a face that stay.
    """

    source: int = 0
    done: int = 0
    rows: int = 0
    end: int = 0
    written: tuple[int, int] = (-1, 0)
    faces: int = 0


@dataclasses.dataclass(frozen=True)
class _BatchStart:
    """Beginning of a batch: its source, the number of the frame before it there, and its first frame's time."""

    source: int
    done: int
    seconds: float


def resume_point(frames: Iterable[WrittenFrame], names: list[str], size: int, *, window: float = 0.0) -> ResumePoint:
    """Return where a run resumes whose table has these frames: at the beginning of its last batch.

    Args:
      frames: The table's frames (`result_table.written`).
      names: Names of all sources, in order.
      size: Faces per batch.
      window: Seconds of a video that smoothing looks back: batches with frames in it are computed again.

    Raises:
      ValueError: The table is of other inputs.
    """
    starts: collections.deque[_BatchStart] = collections.deque()
    last, point, faces = None, ResumePoint(), 0
    for group in grouped(_numbered(frames, names), lambda pair: pair[1].faces, size):
        source, first = group[0]
        if last is not None:
            last_source, frame = last
            written = last_source, frame.frame
            point = ResumePoint(source=source, rows=frame.rows, end=frame.end, written=written, faces=faces)
        starts.append(_batch_start(source, first, last))
        last = group[-1]
        faces += sum(frame.faces for _, frame in group)
        while len(starts) > 1 and not _is_needed(starts[1], starts[-1], window):
            starts.popleft()
    if not starts:
        return ResumePoint()
    return dataclasses.replace(point, source=starts[0].source, done=starts[0].done)


def _batch_start(source: int, first: WrittenFrame, last: tuple[int, WrittenFrame] | None) -> _BatchStart:
    """Return the start of a batch; within a source, it follows the last frame of the batch before."""
    done = last[1].frame if last is not None and last[0] == source else 0
    return _BatchStart(source, done, first.timestamp or 0.0)


def _is_needed(second: _BatchStart, final: _BatchStart, window: float) -> bool:
    """Return whether the batch before the second one has a frame in the window of the final one's smoothing."""
    is_same_video = second.source == final.source and second.done > 0
    return window > 0 and is_same_video and second.seconds > final.seconds - window - 0.01


def _numbered(frames: Iterable[WrittenFrame], names: list[str]) -> Iterator[tuple[int, WrittenFrame]]:
    """Pair frames with the index of their source; the same source may be named twice in a row."""
    source, former = -1, None
    for frame in frames:
        if former is None or frame.input != former.input or frame.frame <= former.frame:
            source += 1
            if source >= len(names) or frame.input != names[source]:
                expected = names[source] if source < len(names) else "no more inputs"
                raise ValueError(f"its inputs are others: it continues with {frame.input}, the command with {expected}")
        yield source, frame
        former = frame
