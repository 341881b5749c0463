"""Values that a session is made of: dropped files, the run that analyses them, and what is shown at a moment."""

import dataclasses
import time
from collections.abc import Mapping

from fgnet_jax.app.analysis import Ending, FrameCount
from fgnet_jax.app.view import FileView
from fgnet_jax.predict.pipeline import PredictOptions

CAMERA = "camera"
"""Name of the browser's camera among the files."""


@dataclasses.dataclass(frozen=True)
class Upload:
    """A file that was dropped.

    Attributes:
      path: Where it lies; distinguishes it from all others.
      name: Its name, as the one who dropped it knows it.
    """

    path: str
    name: str


@dataclasses.dataclass(eq=False)
class Run:
    """An analysis of several files, one after the other.

    Attributes:
      paths: The files that it has to analyse, in order.
      names: Their names.
      options: Options of prediction.
      ending: What ends it.
      at: Index of the file that is being analysed.
      count: How far it is in that file.
      begun: When that file was begun, by `time.monotonic`.
    """

    paths: tuple[str, ...]
    names: tuple[str, ...]
    options: PredictOptions
    ending: Ending = dataclasses.field(default_factory=Ending)
    at: int = 0
    count: FrameCount = FrameCount(0, None)
    begun: float = dataclasses.field(default_factory=time.monotonic)


@dataclasses.dataclass(frozen=True)
class Stamp:
    """Numbers that change whenever the page must be drawn again: its sign of progress, and everything else."""

    progress: int
    scene: int


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """What a session shows at one moment: it stays as it is while the page is drawn from it, which takes a while.

    Attributes:
      paths: As of `Session`, like all others.
      names: Names of the files, by path.
      results: Results by file: a view, or the reason why there is none.
      shown: The file that is shown; None for none.
      face_id: The face that was chosen; None for the first.
      au: Index of the AU whose heatmap was chosen; None for those that are present.
      is_running: Whether files are being analysed.
      is_live: Whether the camera is shown.
    """

    paths: tuple[str, ...]
    names: Mapping[str, str]
    results: Mapping[str, FileView | str]
    shown: str | None
    face_id: int | None
    au: int | None
    is_running: bool
    is_live: bool

    @property
    def view(self) -> FileView | None:
        """The results that are shown; None for none."""
        result = self.results.get(self.shown or "")
        return result if isinstance(result, FileView) else None

    @property
    def left_out(self) -> tuple[str, ...]:
        """The files that a run which was stopped has not analysed; none while one is going on."""
        return () if self.is_running else tuple(path for path in self.paths if path not in self.results)
