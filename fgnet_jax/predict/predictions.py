"""Results of prediction from Python: arrays, a table, and drawings."""

import dataclasses
import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from fgnet_jax.faces.finder import DetectedFace, DetectedFrame
from fgnet_jax.media import frames as frames_lib
from fgnet_jax.media.frames import Frame
from fgnet_jax.metrics import calibration
from fgnet_jax.predict import columns, pipeline
from fgnet_jax.predict.columns import ResultRow
from fgnet_jax.predict.pipeline import FrameResult, PredictOptions
from fgnet_jax.visualization import aligned_face, scene

if TYPE_CHECKING:
    import pandas
    from PIL import Image

    from fgnet_jax.predict.network import Network

Detection = tuple[Frame, DetectedFace | None]
"""A row's frame and face; None for a frame without a face."""


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """Results for the K action units of the weights: one row per face, and one per frame without a face.

    Attributes:
      aus: int32 (K,), the AU numbers, in the order of the last axis of the others.
      scores: float32 (N, K) in [-1, 1]: the mean of the clipped heatmap over space; NaN where there is no result.
      present: bool (N, K): whether the score is above its threshold.
      intensities: float32 (N, K), 0 to 5, NaN where there is no result or the AU is not calibrated; None where the
        weights know presence alone.
      calibrated: The AUs that have intensities.
      heatmaps: float32 (N, size, size, K) clipped to [-1, 1], over the aligned face, NaN where there is no result; None
        if not requested.
      rows: N rows of the table: input, frame, face and its place.
      problems: (N,) why a row has no result; None where it has one.
      detections: (N,) each row's frame and face, None for no face; empty if heatmaps were not requested.
    """

    aus: np.ndarray
    scores: np.ndarray
    present: np.ndarray
    heatmaps: np.ndarray | None = None
    rows: tuple[ResultRow, ...] = ()
    problems: tuple[str | None, ...] = ()
    detections: tuple[Detection, ...] = dataclasses.field(default=(), repr=False)
    intensities: np.ndarray | None = None
    calibrated: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def to_pandas(self, dialect: str | None = None) -> "pandas.DataFrame":
        """Return a `pandas.DataFrame` with the columns of the command's tables.

        Args:
          dialect: One of `fgnet_jax.predict.columns.DIALECTS`, for another tool's columns.

        Raises:
          ImportError: pandas is not installed (the extra `pandas`).
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install 'fgnet_jax[pandas]'") from error
        table = columns.table_columns(self.aus.tolist(), dialect, intensities=self.calibrated)
        types = {str: "str", int: "Int64", float: "float64", np.float32: "float32"}
        values = list(zip(*(table.values(row) for row in table.of_table(self.rows)), strict=True)) or [()] * len(
            table.columns
        )
        named = zip(table.columns, values, strict=True)
        return pandas.DataFrame({c.name: pandas.Series(column, dtype=types[c.kind]) for c, column in named})

    def plot(self, i: int, whole: bool = False) -> "Image.Image":
        """Draw row `i`: the face with the heatmaps of its present AUs over it, and all scores beside it.

        Args:
          i: The row.
          whole: Whether to draw the whole image with all of its faces instead; the image is read again from its source.

        Returns:
          A Pillow image, which notebooks show and `.save` writes.

        Raises:
          ValueError: The row has no result, or heatmaps were not requested.
        """
        if self.heatmaps is None:
            raise ValueError("nothing to draw: predict(..., heatmaps=False) kept no heatmaps")
        frame, face = self.detections[i]
        if face is None or not np.isfinite(self.scores[i]).all():
            raise ValueError(f"row {i} has no result: {self.problems[i]}")
        if whole:
            return self._draw_scene(frame)
        return aligned_face.draw(
            face.aligned,
            heatmaps=self.heatmaps[i],
            scores=self.scores[i],
            present=self.present[i],
            aus=self.aus.tolist(),
            intensities=self._intensities(i),
        )

    def _intensities(self, i: int) -> np.ndarray | None:
        return None if self.intensities is None else self.intensities[i]

    def _draw_scene(self, frame: Frame) -> "Image.Image":
        """Draw a frame with all of its faces."""
        assert self.heatmaps is not None
        image = _read_again(frame)
        faces = [
            scene_face(face, self.heatmaps[k], self.scores[k], self.present[k], self._intensities(k))
            for k, (other, face) in enumerate(self.detections)
            if face is not None and (other.index, other.number) == (frame.index, frame.number)
        ]
        return scene.draw(image, faces, self.aus.tolist())


def scene_face(
    face: DetectedFace,
    heatmaps: np.ndarray,
    scores: np.ndarray,
    present: np.ndarray,
    intensities: np.ndarray | None = None,
) -> scene.SceneFace:
    """Return a face as `scene.draw` takes it, named by its `face_id`."""
    return scene.SceneFace(
        name=str(face.face_id),
        box=face.face.box,
        alignment=face.alignment,
        heatmaps=heatmaps,
        scores=scores,
        present=present,
        intensities=intensities,
    )


def _read_again(frame: Frame) -> np.ndarray:
    """Read a frame's image from its source again.

    Raises:
      ValueError: It cannot be read any more.
    """
    for other in frames_lib.read([frame.source]):
        if other.number == frame.number and other.image is not None:
            return other.image
    raise ValueError(f"{frame.source.name}: frame {frame.number} cannot be read any more")


def collect(
    network: "Network", frames: Iterator[DetectedFrame], options: PredictOptions, *, heatmaps: bool
) -> Predictions:
    """Predict all faces of all frames, and return the results in memory.

    Args:
      network: The network.
      frames: Frames with their faces.
      options: The options of prediction.
      heatmaps: Whether to keep heatmaps and aligned faces.
    """
    thresholds = options.thresholds_of(network.aus)
    size, count = network.config.heatmap_size, len(network.aus)
    scores, maps = _GrowingArray((count,)), _GrowingArray((size, size, count)) if heatmaps else None
    rows: list[ResultRow] = []
    problems: list[str | None] = []
    detections: list[Detection] = []
    results = pipeline.predict_frames(network, frames, heatmaps=heatmaps)
    notes: set[str] = set()
    fitted = calibration.of_weights(network.meta.extra, network.aus)
    for result in pipeline.smoothed(results, options.smoothing()):
        _warn(result.detected.frame, notes)
        for k, row in enumerate(pipeline.rows(result, thresholds)):
            rows.append(row)
            scores.add(row.scores)
            problems.append(None if row.success else pipeline.problem(result))
            if maps is not None:
                maps.add(result.heatmaps[k] if row.success and result.heatmaps is not None else None)
                detections.append(_detection(result, k))
    values = scores.values()
    intensities = None if fitted is None else fitted.intensities(values, network.aus)
    if intensities is not None:
        rows = [
            row if row.scores is None else dataclasses.replace(row, intensities=intensities[k])
            for k, row in enumerate(rows)
        ]
    return Predictions(
        aus=np.array(network.aus, np.int32),
        scores=values,
        present=values > thresholds,
        heatmaps=None if maps is None else maps.values(),
        rows=tuple(rows),
        problems=tuple(problems),
        detections=tuple(detections),
        intensities=intensities,
        calibrated=() if fitted is None else fitted.aus,
    )


def _warn(frame: Frame, notes: set[str]) -> None:
    """Warn of what a caller should know of how a frame was read, each note once."""
    note = (frame.facts or {}).get("note")
    if note is not None and note not in notes:
        notes.add(note)
        warnings.warn(f"{frame.source.name}: {note}", stacklevel=4)


def _detection(result: FrameResult, k: int) -> Detection:
    """Return what drawing needs later: not the frame's image, which is read again."""
    frame = dataclasses.replace(result.detected.frame, image=None)
    return frame, result.detected.faces[k] if result.detected.faces else None


class _GrowingArray:
    """An array (n, ...) of float32 that rows are added to, and that is never copied as a whole."""

    def __init__(self, shape: tuple[int, ...]):
        self._values = np.empty((8, *shape), np.float32)
        self._count = 0

    def add(self, row: np.ndarray | None) -> None:
        """Append a row; NaN for None."""
        if self._count == len(self._values):
            self._values.resize((math.ceil(1.5 * self._count), *self._values.shape[1:]), refcheck=False)
        self._values[self._count] = np.nan if row is None else row
        self._count += 1

    def values(self) -> np.ndarray:
        """Return the rows; none can be added afterwards."""
        self._values.resize((self._count, *self._values.shape[1:]), refcheck=False)
        return self._values
