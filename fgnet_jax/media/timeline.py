"""When a video's frames are shown, in media time: seconds from the container's start, as players and ELAN count.

Where a file's clock begins anew (recordings that were joined, `cat a.ts b.ts`), time goes on. Where packets have the
times at which they are stored, and their frames are shown in another order (AVI), these times are put in order. Where
the file has no times (streams without a container), frames are counted.
"""

import collections
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

    from fgnet_jax.media.continuity import WatchedPacket

_BACKWARD = 0.1  # seconds: clocks that go back further than this begin anew
_REORDERED = 16  # frames, by which FFmpeg's clock of joined Matroska goes back and forth
_FORWARD = 10  # seconds: clocks of broadcasts that leap further than this begin anew (FFmpeg's own limit)
_LEAPING = ("mpegts", "mpeg")  # formats whose clocks may begin anew, by their standard
_RAW = ("h264", "hevc", "m4v", "mjpeg", "mpegvideo")  # streams without a container; FFmpeg makes up times for some
_STORED = "those at which frames are stored, put in order: AVI has no others"
_USUAL_RATE = Fraction(25)  # frames a second, where a file tells none


def start(container: "InputContainer") -> Fraction:
    """Return where a container's media time begins, in seconds of its own clock.

    Nothing is shown before 0: negative times are sound by which an encoder warms up.
    """
    return max(Fraction(container.start_time or 0, 1_000_000), Fraction(0))


def rate(stream: "av.VideoStream") -> Fraction:
    """Return a video's frames per second, where it is constant; 25 where nothing is known."""
    guessed = stream.guessed_rate or stream.average_rate
    return Fraction(guessed.numerator, guessed.denominator) if guessed else _USUAL_RATE


class Bridge:
    """Packets of a file whose clocks may begin anew; times of those after such a place go on from those before it.

    Attributes:
      discontinuities: Number of such places, so far.
      first: The earliest time of a video's packet after such a place, in its time base; None without any.
    """

    def __init__(self, container: "InputContainer"):
        self.discontinuities = 0
        self.first: int | None = None
        self._is_leaping, self._backward = container.format.name in _LEAPING, _BACKWARD
        self._as_stored = _as_stored(container)
        if container.format.name.startswith("matroska") and (stream := container.streams.best("video")):
            self._backward = max(_BACKWARD, _REORDERED / float(rate(cast("av.VideoStream", stream))))
        self._shifts = [0.0]  # seconds, of each stretch between such places
        self._bases: dict[int, float] = {}  # of each stream: seconds of a unit of its clock
        self._stretch: dict[int, int] = collections.defaultdict(int)  # of each stream: the stretch that it has reached
        self._latest: dict[int, float] = {}  # of each stream: its clock in seconds, as it is stored
        self._end = 0.0  # of what is read so far, in seconds

    def over(self, packets: Iterable["av.Packet"]) -> Iterator["av.Packet"]:
        """Yield packets, those of all streams in the file's order, with times that go on."""
        for packet in packets:
            if packet.stream.index in self._as_stored:
                packet.pts = packet.dts
            shown = packet.pts if packet.pts is not None else packet.dts
            if shown is None or not packet.time_base:
                yield packet
                continue
            index = packet.stream.index
            base = self._bases[index] = self._bases.get(index) or float(packet.time_base)
            is_steady = packet.stream.type in ("video", "audio")
            if packet.dts is not None:
                self._follow(index, clock=packet.dts * base, shown=shown * base, is_steady=is_steady)
            shift = round(self._shifts[self._stretch[index]] / base)
            if shift:
                packet.dts = None if packet.dts is None else packet.dts + shift
                packet.pts = None if packet.pts is None else packet.pts + shift
            if shift and packet.stream.type == "video":
                self.first = shown + shift if self.first is None else min(self.first, shown + shift)
            if is_steady:
                self._end = max(self._end, (shown + shift + (packet.duration or 0)) * base)
            yield packet

    def is_beyond(self, packet: "av.Packet") -> bool:
        """Tell whether a packet of the video comes after a place where clocks begin anew."""
        return self.first is not None and packet.pts is not None and packet.pts >= self.first

    def _follow(self, index: int, *, clock: float, shown: float, is_steady: bool) -> None:
        """Note a stream's clock, and when the packet is shown by it; begin another stretch where it has leapt.

        A stream that pauses (subtitles, sound that is switched off) has not leapt: the others have gone on as far. And
        it is not for subtitles and data, which come now and then, to begin a stretch: they join that of the others.
        """
        latest = self._latest.get(index, clock)
        self._latest[index] = clock
        is_far = clock > latest + _FORWARD and shown + self._shifts[self._stretch[index]] > self._end + _FORWARD
        if not (clock < latest - self._backward or (self._is_leaping and is_far)):
            return
        if not is_steady:
            self._stretch[index] = len(self._shifts) - 1
            return
        self._stretch[index] += 1
        if self._stretch[index] == len(self._shifts):
            self._shifts.append(self._end - shown)
            self.discontinuities += 1


def _as_stored(container: "InputContainer") -> set[int]:
    """Return the indices of videos whose packets have their places as times: those of AVI that are stored in order.

    AVI has no other times, but FFmpeg makes some up: it takes a frame of H.264 to be shown when the next one is stored.
    """
    if container.format.name != "avi":
        return set()
    contexts = {stream.index: getattr(stream, "codec_context", None) for stream in container.streams.video}
    return {index for index, context in contexts.items() if context and not context.has_b_frames}


class Clock:
    """Times of a video's frames, in the order in which they are shown.

    Attributes:
      source: Where the times are from, in words.
    """

    def __init__(self, container: "InputContainer", stream: "av.VideoStream", *, is_ordered: bool):
        """Create a clock.

        Args:
          container: The opened file.
          stream: Its video.
          is_ordered: Whether the times of the packets are those at which their own frames are shown. Else the k-th
            frame is shown at the time of the k-th packet.
        """
        base = stream.time_base or Fraction(1)
        self._base = base.numerator, base.denominator
        self._start, self._rate = start(container), rate(stream)
        self._is_avi = container.format.name == "avi"  # where packets have a place, but no time at which they are shown
        self._is_raw = container.format.name in _RAW
        self._is_reordered = not is_ordered or (self._is_avi and bool(stream.codec_context.has_b_frames))
        self._places: collections.deque[int | None] = collections.deque()
        self._known: tuple[int, float] | None = None  # the last frame whose time is known: its number, its time
        self._counted = f"counted at {float(self._rate):.6g} per second"
        self.source = "container"
        if self._is_reordered:
            self.source = _STORED if self._is_avi else "container, put in order"

    def watch(self, packets: Iterable["WatchedPacket"]) -> Iterator["WatchedPacket"]:
        """Yield packets, noting their times."""
        for watched in packets:
            packet = watched.packet
            if self._is_reordered and packet.size:
                self._places += [None] * watched.lost
                self._places.append(packet.dts if self._is_avi else packet.pts)
            yield watched

    def seconds(self, number: int, pts: int | None) -> float:
        """Return when a frame is shown.

        Args:
          number: Its number, from 1; frames are asked for one after the other.
          pts: Its time, as it came out of the decoder; None if it has none.
        """
        if self._is_raw:
            pts = None
        elif self._is_reordered:
            pts = self._places.popleft() if self._places else None
        if pts is not None:
            self._known = number, self._media_time(pts)
        elif self._known is None:
            self._known, self.source = (number, float((number - 1) / self._rate)), self._counted
        before, seconds = self._known
        return seconds if number == before else seconds + float((number - before) / self._rate)

    def _media_time(self, pts: int) -> float:
        """Return the seconds of a time in the stream's units, as exactly as a float can say them."""
        (ticks, unit), start = self._base, self._start
        return (pts * ticks * start.denominator - start.numerator * unit) / (unit * start.denominator)
