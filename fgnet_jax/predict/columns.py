"""Columns of result tables: this package's own, and those that users of OpenFace, Py-Feat and LibreFace read.

Another tool's columns have its names and conventions for what is known here, and none for what is not (head pose,
gaze): never a made-up value. Columns that identify rows and that the other tool lacks come last. Intensities, 0 to 5,
have columns where the weights know them (`metrics.calibration`), for the AUs that are calibrated; else there is none.

- openface: `frame` from 1, landmarks `x_0 … y_67`, `AU01_r` 0 to 5 where known, then `AU01_c` 0 or 1 (OpenFace 2.2,
  FaceLandmarkVidMulti). A row without a face is zeros with `success` 0, as FeatureExtraction writes it.
- pyfeat: `frame` from 0, `FaceScore`, landmarks, `AU01` 0 or 1, `FrameHeight`, `approx_time` (Py-Feat 2.1). It has no
  column for an intensity: its `AU01` is presence, or its probability. A row without a face is empty but for its frame,
  which pandas reads as NaN.
- libreface: `frame_idx` from 0, `frame_time_in_ms`, `au_1` 0 or 1, then `au_1_intensity` 0 to 5 where known (LibreFace
  0.2). Frames without a face have no row.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from fgnet_jax import aus as aus_lib

DIALECTS = ("openface", "pyfeat", "libreface")
"""Values of `--dialect`: the other tools whose columns `table_columns` knows."""

DIALECT_VERSIONS = {"openface": "OpenFace 2.2", "pyfeat": "Py-Feat 2.1", "libreface": "LibreFace 0.2"}
"""The version of each tool whose columns and conventions are those here; recorded in the JSON beside a table."""

CellValue = str | int | float | None
"""A cell's value; None for an empty cell."""

Faceless = Literal["empty", "zeros", "none"]
"""What a frame without a face has in a table: a row of empty cells, a row of zeros, or no row."""

_LANDMARKS = 68


@dataclasses.dataclass(frozen=True, eq=False)
class ResultRow:
    """One face of one frame, or a frame without a face or without a result.

    Attributes:
      input: The image or video, as it was named.
      frame: Number of the frame from 1; 1 for an image.
      timestamp: When the frame is shown, in seconds; None for an image.
      face_id: Distinguishes the faces of an image, and stays with a face along a video; None where there is no face.
      confidence: The face detector's score, on its own scale.
      box: Left, top, width and height in pixels of the image.
      landmarks: (68, 2), x then y in pixels of the image.
      scores: (K,) in [-1, 1]; None where there is no result.
      present: (K,) bool; None where there are no scores.
      peaks: (K, 2), x then y of each heatmap's peak in pixels of the image; NaN for a map without one.
      intensities: (K,), 0 to 5; NaN for an AU that is not calibrated. None where there is no result, or the weights
        know presence alone.
      size: Width and height of the frame in pixels; None where it could not be read.
      overlay: File of the frame's drawing, relative to the folder of overlays; None where there is none.
      aligned_face: File of the aligned face, relative to its folder; None where there is none.
    """

    input: str
    frame: int = 1
    timestamp: float | None = None
    face_id: int | None = None
    confidence: float | None = None
    box: tuple[float, float, float, float] | None = None
    landmarks: np.ndarray | None = None
    scores: np.ndarray | None = None
    present: np.ndarray | None = None
    peaks: np.ndarray | None = None
    size: tuple[int, int] | None = None
    overlay: str | None = None
    aligned_face: str | None = None
    intensities: np.ndarray | None = None

    @property
    def success(self) -> bool:
        """Whether there is a result."""
        return self.scores is not None


@dataclasses.dataclass(frozen=True)
class Column:
    """A column: its name, the type of its values, and its value for a row (None or NaN leaves the cell empty)."""

    name: str
    kind: type
    value_of: Callable[[ResultRow], Any]


@dataclasses.dataclass(frozen=True)
class TableColumns:
    """A table's columns, and the conventions of those that identify a row.

    Attributes:
      columns: In order.
      frame: Name of the column of frame numbers.
      first_frame: Number of the first frame in that column.
      timestamp: Name of the column of times.
      second: One second in that column's unit.
      faceless: What a frame without a face has.
    """

    columns: tuple[Column, ...]
    frame: str = "frame"
    first_frame: int = 1
    timestamp: str = "timestamp"
    second: float = 1.0
    faceless: Faceless = "empty"

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]

    def cells(self, row: ResultRow) -> list[str]:
        """Return a row as text; scores have as many digits as the float32 needs to be read back exactly."""
        return [_text(column.value_of(row), column.kind) for column in self.columns]

    def values(self, row: ResultRow) -> list[CellValue]:
        """Return a row as Python values; None where a cell is empty."""
        return [parse(text, column.kind) for text, column in zip(self.cells(row), self.columns, strict=True)]

    def of_table(self, rows: Sequence[ResultRow]) -> list[ResultRow]:
        """Return the rows that a table has: not those without a face, where `faceless` is "none"."""
        return [row for row in rows if row.face_id is not None or self.faceless != "none"]

    def face_id(self, cells: Mapping[str, str]) -> int | None:
        """Return the face_id of a row, by its cells' text; None for a row without a face.

        Raises:
          KeyError, ValueError: The row is not one of this package's tables.
        """
        text = cells["face_id"]
        if self.faceless == "zeros" and all(cells[name] == "0.0" for name in _ZERO_NAMES):
            return None
        return None if text == "" else int(text)


def table_columns(
    aus: Sequence[int],
    dialect: str | None = None,
    peaks: bool = False,
    *,
    overlays: bool = False,
    aligned_faces: bool = False,
    intensities: Sequence[int] = (),
) -> TableColumns:
    """Return the columns for these AUs.

    Args:
      aus: AU numbers that the weights were trained on; others have no column, never a 0.
      dialect: One of `DIALECTS`, or None for `input, frame, timestamp, face_id, confidence, success, FaceRectX, …,
        AU01_c, AU01_score, AU01_r, …`.
      peaks: Whether `AU01_x, AU01_y` follow each score: the heatmap's peak in pixels of the image (own columns only).
      overlays: Whether the last columns have `overlay`: the frame's drawing, relative to its folder.
      aligned_faces: Whether the last columns have `aligned_face`: the face's image, relative to its folder.
      intensities: Those of `aus` whose intensities are known: others have no `AU01_r`.

    Raises:
      ValueError: The dialect is unknown.
    """
    files = tuple(column for column, has in ((_OVERLAY, overlays), (_ALIGNED_FACE, aligned_faces)) if has)
    if dialect is None:
        own = [column for k, au in enumerate(aus) for column in _au_columns(k, au, peaks, au in intensities)]
        return TableColumns((*_LEADING, *_box_columns(), *own, *files))
    if dialect == "openface":
        aus_of_both = (*_intensity_columns(aus, intensities, "AU{:02d}_r"), *_presence_columns(aus, "AU{:02d}_c"))
        theirs = (*_OPENFACE, *_landmark_columns(), *aus_of_both)
        return TableColumns((*map(_or_zero, theirs), _INPUT, *files), faceless=faceless_of(dialect))
    if dialect == "pyfeat":
        score = Column("FaceScore", float, lambda row: row.confidence)
        frame = (*_frame_sizes(), _INPUT, _frame_column("frame", 0), _APPROXIMATE_TIME, _FACE_ID, _TIMESTAMP)
        columns = (*_box_columns(), score, *_landmark_columns(), *_presence_columns(aus, "AU{:02d}"), *frame, *files)
        return TableColumns(columns, first_frame=0)
    if dialect == "libreface":
        leading = (_frame_column("frame_idx", 0), _MILLISECONDS)
        both = (*_presence_columns(aus, "au_{}"), *_intensity_columns(aus, intensities, "au_{}_intensity"))
        columns = (*leading, *both, _INPUT, _FACE_ID, *files)
        conventions: dict[str, Any] = {"frame": "frame_idx", "first_frame": 0, "timestamp": _MILLISECONDS.name}
        return TableColumns(columns, second=1000.0, faceless=faceless_of(dialect), **conventions)
    raise ValueError(f"dialect must be one of {', '.join(DIALECTS)}, got {dialect!r}")


def faceless_of(dialect: str | None) -> Faceless:
    """Return what a frame without a face has in a table of this dialect."""
    return "zeros" if dialect == "openface" else "none" if dialect == "libreface" else "empty"


def parse(text: str, kind: type) -> CellValue:
    """Return the value of a cell's text; None for an empty one."""
    if text == "":
        return None
    return text if kind is str else int(text) if kind is int else float(text)


def _text(value: CellValue, kind: type) -> str:
    if value is None or (not isinstance(value, str) and not math.isfinite(value)):
        return ""
    if kind is float:
        return repr(round(float(value), 6))
    return str(kind(value))


def _frame_column(name: str, first: int) -> Column:
    return Column(name, int, lambda row: row.frame - 1 + first)


_INPUT = Column("input", str, lambda row: row.input)
_FACE_ID = Column("face_id", int, lambda row: row.face_id)
_TIMESTAMP = Column("timestamp", float, lambda row: row.timestamp)
_MILLISECONDS = Column(
    "frame_time_in_ms", float, lambda row: None if row.timestamp is None else round(row.timestamp * 1000, 3)
)
_CONFIDENCE = Column("confidence", float, lambda row: row.confidence)
_SUCCESS = Column("success", int, lambda row: row.success)
_APPROXIMATE_TIME = Column("approx_time", str, lambda row: _minutes(row.timestamp))
_OVERLAY = Column("overlay", str, lambda row: row.overlay)
_ALIGNED_FACE = Column("aligned_face", str, lambda row: row.aligned_face)
_ZERO_NAMES = ["confidence", *(f"{axis}_{k}" for axis in "xy" for k in range(_LANDMARKS))]  # 0 together: no face
_LEADING = (_INPUT, _frame_column("frame", 1), _TIMESTAMP, _FACE_ID, _CONFIDENCE, _SUCCESS)
_OPENFACE = (_frame_column("frame", 1), _FACE_ID, _TIMESTAMP, _CONFIDENCE, _SUCCESS)


def _minutes(seconds: float | None) -> str | None:
    """Return a time in whole minutes and seconds, "02:07"; None for None."""
    return None if seconds is None else f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"


def _or_zero(column: Column) -> Column:
    """Return a column that has 0 where there is no face, and for AUs where there is no result.

    Only times stay, and the number of the frame.
    """

    def value(row: ResultRow) -> CellValue:
        is_zero = row.face_id is None or (column.name.startswith("AU") and not row.success)
        return 0 if is_zero else column.value_of(row)

    return column if column.name in ("frame", "timestamp") else dataclasses.replace(column, value_of=value)


def _frame_sizes() -> list[Column]:
    def side(k: int) -> Callable[[ResultRow], float | None]:
        return lambda row: None if row.size is None else row.size[k]

    return [Column("FrameHeight", float, side(1)), Column("FrameWidth", float, side(0))]


def _box_columns() -> list[Column]:
    def side(k: int) -> Callable[[ResultRow], float | None]:
        return lambda row: None if row.box is None else round(float(row.box[k]), 2)

    return [Column(f"FaceRect{name}", float, side(k)) for k, name in enumerate(("X", "Y", "Width", "Height"))]


def _landmark_columns() -> list[Column]:
    def coordinate(k: int, axis: int) -> Callable[[ResultRow], float | None]:
        return lambda row: None if row.landmarks is None else round(float(row.landmarks[k, axis]), 2)

    return [Column(f"{name}_{k}", float, coordinate(k, a)) for a, name in enumerate("xy") for k in range(_LANDMARKS)]


def _presence_columns(aus: Sequence[int], spelling: str) -> list[Column]:
    return [Column(spelling.format(au), int, _presence(k)) for k, au in enumerate(aus)]


def _presence(k: int) -> Callable[[ResultRow], bool | None]:
    return lambda row: None if row.present is None else bool(row.present[k])


def _intensity_columns(aus: Sequence[int], known: Sequence[int], spelling: str) -> list[Column]:
    return [Column(spelling.format(au), float, _intensity(k)) for k, au in enumerate(aus) if au in known]


def _intensity(k: int) -> Callable[[ResultRow], float | None]:
    return lambda row: None if row.intensities is None else round(float(row.intensities[k]), 3)


def _au_columns(k: int, au: int, peaks: bool, has_intensity: bool) -> list[Column]:
    """Return this package's own columns of one AU: presence, score, intensity if known, the peak if requested."""

    def peak(axis: int) -> Callable[[ResultRow], float | None]:
        return lambda row: None if row.peaks is None else round(float(row.peaks[k, axis]), 2)

    name = aus_lib.label(au)
    presence = Column(f"{name}_c", int, _presence(k))
    score = Column(f"{name}_score", np.float32, lambda row: None if row.scores is None else row.scores[k])
    places = [Column(f"{name}_x", float, peak(0)), Column(f"{name}_y", float, peak(1))] if peaks else []
    intensity = [Column(f"{name}_r", float, _intensity(k))] if has_intensity else []
    return [presence, score, *intensity, *places]
