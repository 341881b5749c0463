"""Messages of a prediction run: its progress, why frames have no result, and a summary at the end."""

from collections.abc import Callable

from fgnet_jax.faces.finder import DetectedFrame
from fgnet_jax.media import escaping
from fgnet_jax.media.frames import SEVERAL_KINDS, Frame
from fgnet_jax.predict import pipeline
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.pipeline import FrameResult
from fgnet_jax.predict.request import PredictionRequest
from fgnet_jax.runtime.progress import LINE_SECONDS, Progress

_LIVE_SECONDS = 1.0  # from one line to the next, of a camera


class RunReporter:
    """Reports a run: its progress, why frames have no result, and at the end how many have one. A context manager.

    Attributes:
      frames: Frames written by this run.
      successes: Those of them with a result.
      faces: Their faces with a result.
    """

    def __init__(self, request: PredictionRequest, resume_point: ResumePoint, aligned_size: int | None):
        """Begin with no frames.

        Args:
          request: The run's request.
          resume_point: Where the run resumes.
          aligned_size: Side of the network's images where inputs are aligned faces; None where they are not.
        """
        self.frames = self.successes = self.faces = 0
        sources = request.sources
        self._sources, self._is_quiet = len(sources), request.is_quiet
        has_videos = any(source.kind in SEVERAL_KINDS for source in sources)
        self._noun = "frames" if has_videos else "images"
        self._start = 0 if has_videos else resume_point.written[0] + 1
        total = None if has_videos else self._sources
        title = "fgnet_jax.predict"
        self._progress = Progress(
            title,
            total,
            self._noun,
            start=self._start,
            last_line=False,
            line_seconds=_LIVE_SECONDS if any(source.kind == "webcam" for source in sources) else LINE_SECONDS,
            active=not self._is_quiet,
        )
        self._problems = ProblemLog(self._say, aligned_size)
        self._notes = _NoteLog(self._say)
        escaped = [source for source in sources if isinstance(source.path, str) and escaping.is_needed(source.path)]
        if escaped:
            self._say(f"{escaped[0].name}: {escaping.NOTICE}")

    def __enter__(self) -> "RunReporter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._problems.finish()
        self._notes.finish()
        if kind is None and not self._is_quiet:
            self._summarise()
        self._progress.__exit__(kind, *error)

    def _summarise(self) -> None:
        """Report how many frames succeeded, and the pace, where the run was long enough to have one."""
        seconds = self._progress.seconds
        self._say(f"{self.successes} of {self.frames} {self._noun} succeeded in {seconds:.1f} s after loading")
        if (rate := self._progress.steady_rate()) is not None:
            self._say(f"steady state: {rate:.2f} {self._noun} a second")

    def report_problem(self, result: FrameResult) -> None:
        """Report why a frame has no result, where it has none."""
        self._problems.add(result)

    def add(self, frame: Frame, faces: int, detail: str = "") -> None:
        """Count a frame that was written, with so many faces that have a result; show what else is to be shown."""
        self._notes.add(frame)
        self.frames += 1
        self.faces += faces
        self.successes += bool(faces)
        within = min(frame.number / frame.total, 1.0) if frame.total else 0.0
        fraction = None if frame.source.kind == "webcam" else (frame.index + within) / self._sources
        self._progress.update(self._start + self.frames, detail, fraction=fraction)

    def _say(self, message: str) -> None:
        """Print a line, above the bar if there is one; also where progress is not shown."""
        self._progress.say(f"fgnet_jax.predict: {message}", always=True)


class _NoteLog:
    """Reports what users should know of how inputs were read: each note for its first input, then for how many more."""

    def __init__(self, say: Callable[[str], None]):
        """Begin with no notes; `say` prints a line."""
        self._say = say
        self._sources: dict[str, int] = {}
        self._last: tuple[int, str] | None = None

    def add(self, frame: Frame) -> None:
        """Report a frame's note, if its source has not had it before."""
        facts = frame.facts or {}
        note, times = facts.get("note"), str(facts.get("times", "container"))
        if note is None and not times.startswith("container"):
            note = f"times are {times}"
        if note is None or self._last == (frame.index, note):
            return
        self._last = frame.index, note
        if note not in self._sources:
            self._say(f"{frame.source.name}: {note}")
        self._sources[note] = self._sources.get(note, -1) + 1

    def finish(self) -> None:
        """Report how many other inputs have each note."""
        for note, count in self._sources.items():
            if count:
                self._say(f"{note} (the same of {count} other inputs)")
        self._sources = {}


class ProblemLog:
    """Reports why frames have no result: the first time of each reason in full, then how often it occurred again."""

    def __init__(self, say: Callable[[str], None], aligned_size: int | None):
        """Begin with no problems.

        Args:
          say: Prints a line.
          aligned_size: Side of the network's images where inputs are aligned faces, of which others are resized.
        """
        self._say, self._aligned_size = say, aligned_size
        self._source = -1
        self._name = ""
        self._repeats: dict[str, int] = {}
        self._resized = False

    def add(self, result: FrameResult) -> None:
        """Report a frame's problem, if it has one that its source had not before."""
        self._add(result.detected, pipeline.problem(result))

    def add_detected(self, detected: DetectedFrame) -> None:
        """Report why a frame has no face to give to a network, if its source had no such problem before."""
        self._add(detected, detected.problem)

    def _add(self, detected: DetectedFrame, reason: str | None) -> None:
        frame = detected.frame
        if frame.index != self._source:
            self.finish()
            self._source, self._name = frame.index, frame.source.name
        if frame.image is not None and detected.faces:
            self._check_size(frame.source.name, frame.image.shape)
        if reason is None:
            return
        if reason not in self._repeats:
            where = f", frame {frame.number}" if frame.seconds is not None or frame.number > 1 else ""
            self._say(f"{frame.source.name}{where}: {reason}")
        self._repeats[reason] = self._repeats.get(reason, -1) + 1

    def finish(self) -> None:
        """Report how often each problem of the last source occurred again."""
        for reason, count in self._repeats.items():
            if count:
                self._say(f"{self._name}: {reason} (the same in {count} other frames)")
        self._repeats = {}

    def _check_size(self, name: str, shape: tuple[int, ...]) -> None:
        size = self._aligned_size
        if size is not None and shape[0] != size and not self._resized:
            self._resized = True
            height, width = shape[:2]
            self._say(
                f"{name}: resized from {width}x{height} to {size}x{size}, further resized images are not reported"
            )
