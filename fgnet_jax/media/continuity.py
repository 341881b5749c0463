"""Whether packets of a video were lost before one that is read: damage to a file can make FFmpeg skip some in silence.

Then the k-th packet that is read is not the k-th of the file any more. An AVI's index tells which packets are missing,
and MP4 reads by its own index, where none can be; elsewhere a gap in regular times tells that some may be.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

_AHEAD = 48  # packets that are read ahead of the one that is decoded
_REORDERED = 16  # no coding displays a frame later than so many packets after its own
_REGULAR = 0.8  # share of distances that are alike where the rate is constant; others are gaps
_CHUNK_HEADER = 8  # bytes of an AVI's chunk before its content


@dataclasses.dataclass(frozen=True)
class WatchedPacket:
    """A packet of a video, and what is known of its place.

    Attributes:
      packet: The packet.
      lost: Number of packets that are known to be missing directly before it.
      is_certain: False where an unknown number of packets may be missing before it.
      is_indexed: Whether its place is known from an index, however much before it is damaged.
    """

    packet: "av.Packet"
    lost: int = 0
    is_certain: bool = True
    is_indexed: bool = True


def watch(
    container: "InputContainer",
    stream: "av.VideoStream",
    packets: Iterable["av.Packet"],
    is_beyond: Callable[["av.Packet"], bool],
) -> Iterator[WatchedPacket]:
    """Yield the packets of a video with what is known of their places.

    Args:
      container: The opened file, of which nothing is read yet.
      stream: Its video.
      packets: All packets of the file, those of other streams too, with times that go on where clocks begin anew.
      is_beyond: Tells whether a packet comes after such a place; there, frames may be missing: how many is unknown.
    """
    watched = _watch(container, stream, packets)
    return (dataclasses.replace(each, is_certain=False) if is_beyond(each.packet) else each for each in watched)


def _watch(
    container: "InputContainer", stream: "av.VideoStream", packets: Iterable["av.Packet"]
) -> Iterator[WatchedPacket]:
    """Yield the packets of a video with what is known of their places, if no clock begins anew."""
    name = container.format.name
    if name.startswith("mov"):
        return (WatchedPacket(packet) for packet in _of(stream, packets))
    if name != "avi":
        return _by_times(_of(stream, packets))
    index = [(entry.pos, entry.timestamp) for entry in stream.index_entries]  # as it is before anything is read
    if index and stream.frames in (len(index), _duration(index)):  # empty packets have no entry, but may count
        return _by_index(index, bool(stream.codec_context.has_b_frames), _of(stream, packets))
    return _by_position(stream, packets)


def _of(stream: "av.VideoStream", packets: Iterable["av.Packet"]) -> Iterator["av.Packet"]:
    return (packet for packet in packets if packet.stream is stream)


def _by_index(
    index: list[tuple[int, int]], is_reordered: bool, packets: Iterable["av.Packet"]
) -> Iterator[WatchedPacket]:
    """Look up each packet's place in an AVI's index; content that is no packet is left out.

    Where frames are displayed in another order, the number of a frame does not follow from the place of its packet.
    Nor does it after a lost one where there are pauses: the entry may be that of a pause, but damaged.

    Args:
      index: Position and time of each packet; times leap over empty packets: pauses, in which the last frame stays.
      is_reordered: Whether frames are displayed in another order than that of the packets.
      packets: Those of the video.
    """
    entries, has_pauses = [position for position, _ in index], _duration(index) > len(index)
    places = {position: place for place, position in enumerate(entries)}
    following, is_certain = 0, True
    for packet in packets:
        if packet.pos is None or not packet.size:
            yield WatchedPacket(packet, is_certain=is_certain)  # the end: what the decoder holds back
            continue
        place = places.get(packet.pos - _CHUNK_HEADER, places.get(packet.pos))
        if place is None and has_pauses and packet.pos < entries[-1]:  # its entry may be damaged, and seem a pause
            is_certain = False
            yield WatchedPacket(packet, is_certain=False)
            continue
        if place is None and packet.pos > entries[-1] + _CHUNK_HEADER and following == len(entries):
            yield WatchedPacket(packet, is_certain=False)  # another recording that was joined to this one
            continue
        if place is None or place < following:
            continue
        lost, following = place - following, place + 1
        is_certain = is_certain and not (lost and (is_reordered or has_pauses))
        yield WatchedPacket(packet, lost=lost, is_certain=is_certain)


def _duration(index: list[tuple[int, int]]) -> int:
    """Return the duration of an AVI's packets, in frames, with the empty ones between them."""
    return index[-1][1] - index[0][1] + 1


def _by_position(stream: "av.VideoStream", packets: Iterable["av.Packet"]) -> Iterator[WatchedPacket]:
    """Watch an AVI without an index: each chunk begins where the one before it ends."""
    end, is_certain = None, True
    for packet in packets:
        if packet.pos is not None and packet.size:
            is_certain = is_certain and (end is None or packet.pos - _CHUNK_HEADER - end in (0, 1))
            end = packet.pos + packet.size
        if packet.stream is stream:
            yield WatchedPacket(packet, is_certain=is_certain, is_indexed=False)


def _by_times(packets: Iterator["av.Packet"]) -> Iterator[WatchedPacket]:
    """Look for gaps in times that are regular up to there, ahead of the packet that is decoded."""
    ahead = ReadAhead(packets)
    step = _step(ahead.packets)
    ends, last = np.inf, None
    while ahead.packets:
        if step and ends == np.inf:
            last, ends = _gap(ahead.packets, last, step)
        packet = ahead.next()
        if packet.pts is not None and packet.pts > ends:
            ends = -np.inf
        yield WatchedPacket(packet, is_certain=ends != -np.inf)
    if ahead.error:
        raise ahead.error


class ReadAhead:
    """The next packets; an error of reading is kept until those before it are used."""

    def __init__(self, packets: Iterator["av.Packet"]):
        self.packets: collections.deque[av.Packet] = collections.deque()
        self.error: ValueError | None = None
        self._following = packets
        self._fill()

    def __iter__(self) -> Iterator["av.Packet"]:
        """Yield the packets, and raise the error that ended the reading, if any."""
        while self.packets:
            yield self.next()
        if self.error:
            raise self.error

    def next(self) -> "av.Packet":
        """Return the next packet, and read another one."""
        packet = self.packets.popleft()
        self._fill()
        return packet

    def _fill(self) -> None:
        while len(self.packets) < _AHEAD and self.error is None:
            try:
                packet = next(self._following, None)
            except ValueError as error:
                self.error = error
                return
            if packet is None:
                return
            self.packets.append(packet)


def _step(packets: Iterable["av.Packet"]) -> float | None:
    """Return the distance of consecutive frames where it is constant; None where it is not."""
    steps = np.diff(sorted(packet.pts for packet in packets if packet.pts is not None))
    steps = steps[: -_REORDERED if len(steps) > 2 * _REORDERED else None]  # the last may have others between them yet
    step = float(np.median(steps)) if len(steps) else 0.0
    return step if step > 0 and (np.abs(steps / step - 1) < 0.25).mean() >= _REGULAR else None


def _gap(packets: Iterable["av.Packet"], last: int | None, step: float) -> tuple[int | None, float]:
    """Return the time up to which none is missing, and the time after which places are uncertain, if any is missing.

    Args:
      packets: Those that come next.
      last: The time up to which none is missing; None at the beginning.
      step: The distance of consecutive frames.
    """
    times = [packet.pts for packet in packets if packet.pts is not None]
    settled = sorted(times)[: max(len(times) - _REORDERED, 0)] if len(times) == _AHEAD else sorted(times)
    for time in settled:
        if last is not None and time - last > 1.5 * step:
            return last, last - _REORDERED * step
        last = time if last is None else max(last, time)
    return last, np.inf
