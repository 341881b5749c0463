"""Decodes the packets of a video to frames in display order, damaged and lost ones in their places.

Whatever FFmpeg makes up for damage, repeated, mixed or grey frames, is not passed on.
"""

import collections
import dataclasses
import heapq
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Union

from fgnet_jax.media.continuity import WatchedPacket

if TYPE_CHECKING:
    import av


class VideoError(ValueError):
    """A video that cannot be read; the message says why, without the file's name."""


@dataclasses.dataclass(frozen=True)
class Damaged:
    """Stands for a damaged frame: when it would be displayed in the stream's time base, if known."""

    pts: int | None = None


class Certainty:
    """Whether the numbers of frames are still known, up to the last packet that was decoded."""

    def __init__(self) -> None:
        self.is_certain = True

    def update(self, watched: WatchedPacket, is_damaged: bool) -> None:
        """Take a packet into account; damage is only safe where an index tells the places of those after it."""
        self.is_certain &= watched.is_certain and (watched.is_indexed or not is_damaged)


Decoded = Union["av.VideoFrame", Damaged]
"""A frame as FFmpeg decodes it, or what stands for a damaged one."""

Decoder = Callable[[ModuleType, Iterator[WatchedPacket], Certainty], Iterator[Decoded]]
"""Decodes a stream's packets, with PyAV, and updates whether the numbers of frames are known."""


_TRACED = ("h264", "hevc")  # codecs whose decoders keep a frame's time with it, whatever is damaged after it
_PLACEHOLDER = 32  # bytes: smaller packets of MPEG-4 may have no frame, as where one before them has two
_MOST_HELD = 16  # frames; no coding displays more before one that they depend on


class _DisplayOrder:
    """Frames in the order in which they are displayed, each held back until those that it may depend on are known.

    A frame between two others may depend on the later one, which is decoded first and displayed after it.

    Attributes:
      count: Number of packets so far.
    """

    def __init__(self) -> None:
        self._waiting: list[int] = []  # a heap: times of packets whose frames are not decoded yet
        self._places: dict[int, int] = {}  # of these: the place of each in the order of decoding
        self._has_frame: set[int] = set()  # times of packets that stand for a frame, also where the decoder gives none
        self.count = 0
        self._held: collections.deque[tuple[Decoded, int]] = collections.deque()

    def expect(self, pts: int, *, has_frame: bool) -> None:
        """Add a packet's time: its frame is to come; if none does, `has_frame` tells that it is lost."""
        heapq.heappush(self._waiting, pts)
        if has_frame:
            self._has_frame.add(pts)
        self._places[pts] = self.count
        self.count += 1

    def add(self, frame: "av.VideoFrame", *, is_bad: bool, is_after_damage: bool) -> None:
        """Add a decoded frame.

        Args:
          frame: The frame.
          is_bad: Whether it is damaged, with those held back that were decoded after it.
          is_after_damage: Whether all packets without a frame before it are lost frames; else, those alone are that are
            known to have had one.
        """
        place = self.place(frame)
        self._held += self._before(frame.pts, is_after_damage)
        if is_bad:
            self._held = collections.deque((Damaged() if later > place else f, later) for f, later in self._held)
        self._held.append((Damaged(frame.pts) if is_bad else frame, place))

    def place(self, frame: "av.VideoFrame") -> int:
        """Return a frame's place in the order of decoding; that of the next packet where it is not known."""
        return self._places.get(frame.pts, self.count) if frame.pts is not None else self.count

    def lose(self, pts: int | None, count: int) -> None:
        """Add lost frames: those of all packets before a time (None: of all), and `count` that have no packet."""
        self._held += self._before(pts if pts is not None else max(self._waiting, default=0) + 1, True)
        self._held += [(Damaged(), -1)] * count

    def ready(self) -> Iterator[Decoded]:
        """Yield the frames that nothing can change any more."""
        while self._held:
            first = min(self._places.values(), default=self.count)
            if self._held[0][1] > first and len(self._held) <= _MOST_HELD:
                return
            yield self._held.popleft()[0]

    def rest(self) -> Iterator[Decoded]:
        """Yield all other frames."""
        while self._held:
            yield self._held.popleft()[0]

    def _before(self, pts: int | None, are_all_lost: bool) -> list[tuple["Decoded", int]]:
        """Remove the times up to `pts`; those before it belong to frames that the decoder left out."""
        lost: list[tuple[Decoded, int]] = []
        while pts is not None and self._waiting and self._waiting[0] <= pts:
            place = self._places.pop(first := heapq.heappop(self._waiting), -1)
            is_lost = first < pts and (are_all_lost or first in self._has_frame)
            self._has_frame.discard(first)
            if is_lost:
                lost.append((Damaged(first), place))
        return lost


def decode_intra(av: ModuleType, packets: Iterator[WatchedPacket], certainty: Certainty) -> Iterator[Decoded]:
    """Decode frames that are each coded on their own, one per packet."""
    for watched in packets:
        packet, decoded = watched.packet, _try_decode(av, watched.packet)
        certainty.update(watched, decoded is None or packet.is_corrupt)
        yield from [Damaged()] * watched.lost
        for frame in decoded or ([None] if packet.size else []):
            yield Damaged(packet.pts) if frame is None or packet.is_corrupt or frame.is_corrupt else frame


def decode_inter(av: ModuleType, packets: Iterator[WatchedPacket], certainty: Certainty) -> Iterator[Decoded]:
    """Decode frames that depend on each other: after damage, none is intact before the next key frame.

    There, the decoder leaves frames out, repeats or guesses them; the times of all packets tell which.
    """
    order = _DisplayOrder()
    damaged_at = latest = None
    first_bad = 0  # place of the damage in the order of decoding
    for watched in packets:
        packet, codec = watched.packet, watched.packet.stream.codec_context.name
        if watched.lost and packet.pts is not None:
            order.lose(packet.pts, watched.lost)
            damaged_at, first_bad = packet.pts - 1, order.count if damaged_at is None else first_bad
        frames = _try_decode(av, packet)
        certainty.update(watched, frames is None or packet.is_corrupt)
        if packet.pts is not None and packet.size and not packet.is_discard:
            order.expect(packet.pts, has_frame=codec == "mpeg4" and packet.size > _PLACEHOLDER)
            if packet.is_corrupt or frames is None:
                damaged_at, first_bad = packet.pts, order.count - 1 if damaged_at is None else first_bad
        elif frames is None:
            yield from order.rest()
            raise VideoError("damaged, and the remaining frames cannot be identified")
        for frame in frames or []:
            if _is_late(frame.pts, latest, damaged_at):
                damaged_at = max(damaged_at or 0, latest or 0)
                continue
            latest = frame.pts
            if damaged_at is not None and frame.key_frame and (frame.pts or 0) > damaged_at and not frame.is_corrupt:
                order.add(frame, is_bad=packet.is_corrupt, is_after_damage=True)
                damaged_at = None
                continue
            is_before = codec in _TRACED and order.place(frame) < first_bad
            bad = frame.is_corrupt or (not is_before and (packet.is_corrupt or damaged_at is not None))
            order.add(frame, is_bad=bad, is_after_damage=damaged_at is not None)
            damaged_at = frame.pts if frame.is_corrupt and damaged_at is None else damaged_at
        yield from order.ready()
    if damaged_at is not None:
        order.lose(None, 0)
    yield from order.rest()


def decode_unordered(av: ModuleType, packets: Iterator[WatchedPacket], certainty: Certainty) -> Iterator[Decoded]:
    """Decode frames of which nothing but the decoder knows the order in which they are shown.

    After damage, none is intact before the next key frame, and their numbers are uncertain. Once the decoder gives
    frames, it gives one for each packet, unless it leaves one out.
    """
    is_damaged = has_begun = False
    for watched in packets:
        frames = _try_decode(av, watched.packet)
        is_bad = frames is None or watched.packet.is_corrupt or watched.lost > 0
        is_bad |= has_begun and not frames and watched.packet.size > 0
        has_begun |= bool(frames)
        certainty.update(watched, is_bad)
        certainty.is_certain &= not is_bad
        is_damaged |= is_bad
        yield from [Damaged()] * watched.lost
        for frame in frames if frames is not None else [None]:
            if frame is not None and frame.key_frame and not is_bad:
                is_damaged = False
            is_damaged |= frame is None or frame.is_corrupt
            certainty.is_certain &= not is_damaged
            yield Damaged() if frame is None or is_damaged else frame


def is_in_order(av: ModuleType, packets: Iterable["av.Packet"]) -> bool:
    """Tell whether frames are shown in the order of the times of their packets, and none is damaged."""
    latest = None
    for packet in packets:
        frames = _try_decode(av, packet)
        if frames is None or packet.is_corrupt:
            return False
        for frame in frames:
            if frame.pts is None or (latest is not None and frame.pts < latest):
                return False
            latest = frame.pts
    return True


def _is_late(pts: int | None, latest: int | None, damaged_at: int | None) -> bool:
    """Tell whether a frame comes after one that is displayed later, or a second time: what damaged decoding does."""
    if pts is None or latest is None:
        return False
    return pts < latest or (pts == latest and damaged_at is not None)


def _try_decode(av: ModuleType, packet: "av.Packet") -> "list[av.VideoFrame] | None":
    """Decode a packet; returns None where it is damaged."""
    try:
        return packet.decode()
    except av.FFmpegError:
        return None
