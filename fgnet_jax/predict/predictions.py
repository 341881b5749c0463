"""What prediction from Python gives: arrays, a table, and images of what was seen."""

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fgnet_jax.faces.finder import DetectedFace, DetectedFrame
from fgnet_jax.media import frames
from fgnet_jax.predict import columns as columns_lib
from fgnet_jax.predict import pipeline
from fgnet_jax.predict.columns import ResultRow
from fgnet_jax.predict.pipeline import FrameResult, PredictOptions
from fgnet_jax.visualization import aligned_face, scene

if TYPE_CHECKING:
    from PIL import Image

    from fgnet_jax.predict.network import Network


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """What was seen, a row a face and a row a frame without one, for the K action units that the weights know.

    Attributes:
      aus: int32 (K,), the AU numbers, in the order of the last axis of the others.
      scores: float32 (N, K) in [-1, 1]: the mean of the clipped heatmap over space; NaN where there is no result.
      present: bool (N, K): whether the score is above its threshold.
      heatmaps: float32 (N, size, size, K) clipped to [-1, 1], over the aligned face, NaN where there is no result; None
        where they were not asked for.
      rows: N rows of the table: input, frame, face and where it is.
      problems: (N,) why a row has no result; None where it has one.
      seen: (N,) each row's frame and face, None for no face; empty where heatmaps were not asked for.
    """

    aus: np.ndarray
    scores: np.ndarray
    present: np.ndarray
    heatmaps: np.ndarray | None = None
    rows: tuple[ResultRow, ...] = ()
    problems: tuple[str | None, ...] = ()
    seen: tuple[tuple[frames.Frame, DetectedFace | None], ...] = dataclasses.field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.scores)

    def to_pandas(self, dialect: str | None = None) -> Any:
        """A `pandas.DataFrame` of the columns that the command's tables have.

        Args:
          dialect: One of `fgnet_jax.predict.columns.DIALECTS`, for another tool's columns.

        Raises:
          ImportError: pandas is not installed (the extra `pandas`).
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install 'fgnet_jax[pandas]'") from error
        layout = columns_lib.table_columns(self.aus.tolist(), dialect)
        types = {str: "str", int: "Int64", float: "float64", np.float32: "float32"}
        columns = list(zip(*(layout.values(row) for row in self.rows), strict=True)) or [()] * len(layout.columns)
        named = zip(layout.columns, columns, strict=True)
        return pandas.DataFrame({c.name: pandas.Series(values, dtype=types[c.kind]) for c, values in named})

    def plot(self, i: int, whole: bool = False) -> "Image.Image":
        """Draws row `i`: the face with the heatmaps of its present AUs over it, and all scores beside it.

        Args:
          i: The row.
          whole: The whole image with all of its faces instead, which is read again from where it came from.

        Returns:
          A Pillow image, which notebooks show and `.save` writes.

        Raises:
          ValueError: The row has no result, or heatmaps were not asked for.
        """
        if self.heatmaps is None:
            raise ValueError("nothing to draw: predict(..., heatmaps=False) kept no heatmaps")
        frame, face = self.seen[i]
        if face is None or not np.isfinite(self.scores[i]).all():
            raise ValueError(f"row {i} has no result: {self.problems[i]}")
        if whole:
            return self._scene(frame)
        return aligned_face.draw(face.aligned, self.heatmaps[i], self.scores[i], self.present[i], self.aus.tolist())

    def _scene(self, frame: frames.Frame) -> "Image.Image":
        """The frame with all of its faces."""
        image = _again(frame)
        place = frame.index, frame.number
        mine = [(k, face) for k, (f, face) in enumerate(self.seen) if (f.index, f.number) == place and face is not None]
        assert self.heatmaps is not None
        return scene.draw(
            image,
            [scene_face(face, self.heatmaps[k], self.scores[k], self.present[k]) for k, face in mine],
            self.aus.tolist(),
        )


def scene_face(found: DetectedFace, heatmaps: np.ndarray, scores: np.ndarray, present: np.ndarray) -> scene.SceneFace:
    """A face as `scene.draw` takes it, named by its `face_id`."""
    box = found.face.box
    return scene.SceneFace(str(found.face_id), box, found.alignment, heatmaps, scores, present)


def _again(frame: frames.Frame) -> np.ndarray:
    """A frame's image, read once more."""
    for other in frames.read([frame.source]):
        if other.number == frame.number and other.image is not None:
            return other.image
    raise ValueError(f"{frame.source.name}: frame {frame.number} cannot be read any more")


def collect(network: "Network", found: Iterator[DetectedFrame], how: PredictOptions, heatmaps: bool) -> Predictions:
    """Predicts on everything that is found, and keeps the results in memory."""
    limits = how.thresholds_of(network.aus)
    size, known = network.config.heatmap_size, len(network.aus)
    scores, maps = _Growing((known,)), _Growing((size, size, known)) if heatmaps else None
    rows: list[ResultRow] = []
    problems: list[str | None] = []
    seen: list[tuple[frames.Frame, DetectedFace | None]] = []
    for one in pipeline.smoothed(pipeline.predict_frames(network, found, heatmaps), how.smoothing()):
        for k, row in enumerate(pipeline.rows(one, limits)):
            rows.append(row)
            scores.add(row.scores)
            problems.append(None if row.success else pipeline.problem(one))
            if maps is not None:
                maps.add(one.heatmaps[k] if row.success and one.heatmaps is not None else None)
                seen.append(_kept(one, k))
    answers = scores.values()
    aus = np.array(network.aus, np.int32)
    kept = None if maps is None else maps.values()
    return Predictions(aus, answers, answers > limits, kept, tuple(rows), tuple(problems), tuple(seen))


def _kept(one: FrameResult, k: int) -> tuple[frames.Frame, DetectedFace | None]:
    """What drawing needs later: not the image, which is read again."""
    frame = dataclasses.replace(one.detected.frame, image=None)
    return frame, one.detected.faces[k] if one.detected.faces else None


class _Growing:
    """An array (n, ...) of float32 that rows are added to, without a second copy of it in the end."""

    def __init__(self, shape: tuple[int, ...]):
        self._values = np.empty((8, *shape), np.float32)
        self._count = 0

    def add(self, row: np.ndarray | None) -> None:
        """Appends a row; NaN for None."""
        if self._count == len(self._values):
            self._values.resize((math.ceil(1.5 * self._count), *self._values.shape[1:]), refcheck=False)
        self._values[self._count] = np.nan if row is None else row
        self._count += 1

    def values(self) -> np.ndarray:
        """The rows; nothing can be added after."""
        self._values.resize((self._count, *self._values.shape[1:]), refcheck=False)
        return self._values
