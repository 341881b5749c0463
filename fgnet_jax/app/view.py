"""Content of the page for an image or video: the frame that is shown with its faces, bars of AUs, and the table.

A video's heatmaps are not kept, half a megabyte per face: for the frame that is shown, the network computes those of
the table's faces again.
"""

import contextlib
import dataclasses
import html
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fgnet_jax import aus as aus_lib
from fgnet_jax.faces import alignment
from fgnet_jax.faces.detection import Face
from fgnet_jax.faces.finder import DetectedFace, DetectedFrame
from fgnet_jax.media import frames, sources, video
from fgnet_jax.predict import columns, pipeline, predictions, result_table
from fgnet_jax.predict.predictions import Predictions
from fgnet_jax.visualization import aligned_face, legend, painting, scene

if TYPE_CHECKING:
    from fgnet_jax.predict.network import Network


ProgressCallback = Callable[[int, int | None], None]
"""Called with the number of every frame, and with how many there are; None where that is unknown."""


@dataclasses.dataclass(frozen=True, eq=False)
class FileView:
    """The results for a file, and one of its frames, which is shown.

    Attributes:
      name: The file's name.
      source: The file.
      options: Options of prediction.
      table: Results of all frames.
      frame: Number of the frame that is shown.
      image: That frame, uint8 (height, width, 3); None where nothing can be shown.
      shown: Results of that frame, with heatmaps.
    """

    name: str
    source: sources.Source
    options: pipeline.PredictOptions
    table: Predictions
    frame: int = 1
    image: np.ndarray | None = None
    shown: Predictions | None = None

    @property
    def is_video(self) -> bool:
        """Whether there are other frames to show."""
        return self.source.kind == "video"

    @property
    def numbers(self) -> list[int]:
        """Numbers of the frames in the table."""
        return list(dict.fromkeys(row.frame for row in self.table.rows))

    @property
    def faces(self) -> list[int]:
        """Rows of `shown` that have a result."""
        return [] if self.shown is None else [i for i, row in enumerate(self.shown.rows) if row.success]


def predict_file(
    detector: "Network", path: str, options: pipeline.PredictOptions, progress: ProgressCallback
) -> FileView:
    """Predict a whole file, and show its first frame that has a face.

    Args:
      detector: The network.
      path: An image or video.
      options: Options of prediction.
      progress: Called with every frame.

    Raises:
      DetectorError: dlib or its data file is missing.
    """
    (source,) = sources.find([path])[:1]
    is_video = source.kind == "video"
    detected = _counted(pipeline.detect_faces([source], detector, options), progress)
    table = predictions.collect(detector, detected, options, heatmaps=not is_video)
    view = FileView(name=Path(path).name, source=source, options=options, table=table)
    if is_video:
        first = next((row.frame for row in table.rows if row.success), None)
        return view if first is None else show_frame(detector, view, first)
    return dataclasses.replace(view, image=_read_frame(source, 1), shown=table)


def show_frame(detector: "Network", view: FileView, number: int) -> FileView:
    """Return the same file showing the frame of the table that is nearest to this number."""
    number = min(view.numbers, key=lambda other: abs(other - number))
    image = _read_frame(view.source, number)
    shown = None
    if image is not None:
        detected = (frame for frame in [_faces_of_table(view, number, image, detector.config.image_size)])
        options = pipeline.PredictOptions(thresholds=view.options.thresholds)
        shown = predictions.collect(detector, detected, options, heatmaps=True)
    return dataclasses.replace(view, frame=number, image=image, shown=shown)


def _faces_of_table(view: FileView, number: int, image: np.ndarray, size: int) -> DetectedFrame:
    """Align the faces that the table has in a frame, with their numbers: a new detection might find others."""
    faces = []
    for row in view.table.rows:
        if row.frame == number and row.face_id is not None:
            assert row.landmarks is not None and row.box is not None and row.confidence is not None
            face = Face(row.landmarks, row.box, row.confidence)
            aligned, where = alignment.align(image, row.landmarks, size)
            faces.append(DetectedFace(face=face, face_id=row.face_id, aligned=aligned, alignment=where))
    frame = frames.Frame(source=view.source, index=0, number=number, seconds=None, image=image)
    return DetectedFrame(frame, tuple(faces), None if faces else "no face found")


def _counted(detected: Iterator[DetectedFrame], progress: ProgressCallback) -> Iterator[DetectedFrame]:
    for frame in detected:
        progress(frame.frame.number, frame.frame.total)
        yield frame


def _read_frame(source: sources.Source, number: int) -> np.ndarray | None:
    """Read a frame's image; None where it has none."""
    if source.kind != "video":
        return next(frames.read([source])).image
    assert isinstance(source.path, str)
    with contextlib.suppress(video.VideoError), contextlib.closing(video.read(source.path, number)) as read:
        return next((frame.image for frame in read), None)
    return None


def draw(view: FileView, au: int | None = None) -> Image.Image | None:
    """Draw the frame with its faces and their present AUs, or with one AU's heatmap on every face.

    Args:
      view: The file.
      au: Index of the AU in `Predictions.aus`; None for those that are present.

    Returns:
      The drawing without legend, which the page's bars replace; None where nothing can be shown.
    """
    if view.image is None or view.shown is None:
        return None
    drawn = scene.draw(view.image, [_scene_face(view.shown, i, au) for i in view.faces], view.shown.aus.tolist())
    height, width = view.image.shape[:2]
    scale = scene.drawn_scale(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    top = (drawn.height - size[1]) // 2  # the legend is right of the image
    return drawn.crop((0, top, size[0], top + size[1]))


def _scene_face(shown: Predictions, i: int, au: int | None) -> scene.SceneFace:
    _, face = shown.detections[i]
    assert face is not None and shown.heatmaps is not None
    present = shown.present[i] if au is None else np.arange(len(shown.aus)) == au
    return predictions.scene_face(face, shown.heatmaps[i], shown.scores[i], present)


def close_up(view: FileView, face: int, au: int | None = None) -> Image.Image | None:
    """Draw one aligned face, large, with its present AUs or with one AU's heatmap.

    Args:
      view: The file.
      face: Index of the face among those with a result.
      au: As for `draw`.
    """
    if view.shown is None or view.shown.heatmaps is None or not view.faces:
        return None
    row = view.faces[face]
    drawable = _scene_face(view.shown, row, au)
    _, detected = view.shown.detections[row]
    assert detected is not None
    drawn = aligned_face.draw(
        detected.aligned,
        heatmaps=drawable.heatmaps,
        scores=drawable.scores,
        present=drawable.present,
        aus=view.shown.aus.tolist(),
    )
    top = (drawn.height - aligned_face.FACE_SIDE) // 2  # without the legend, as above
    return drawn.crop((0, top, aligned_face.FACE_SIDE, top + aligned_face.FACE_SIDE))


def caption(view: FileView, au: int | None, face: int) -> str:
    """Return what the image shows, as HTML."""
    if not view.faces or view.shown is None:
        return ""
    row = view.faces[face]
    if au is None:
        count = int(view.shown.present[row].sum())
        return f"<b>All action units that are present</b> ({count} of {len(view.shown.aus)})"
    number, score = int(view.shown.aus[au]), float(view.shown.scores[row, au])
    presence = "present" if view.shown.present[row, au] else "not present"
    name = html.escape(aus_lib.NAMES.get(number, ""))
    nowhere = "" if view.shown.heatmaps is None or view.shown.heatmaps[row, ..., au].max() > 0 else "; nowhere above 0"
    return f"{_swatch(number)} <b>{aus_lib.label(number)} {name}</b> score {score:+.3f}, {presence}{nowhere}"


def _swatch(au: int) -> str:
    return f'<span class="au-swatch" style="background:rgb{painting.colour(au)}"></span>'


def bars(view: FileView, face: int) -> str:
    """Return a face's AUs as bars from the middle, to the right where the score is above 0, as HTML."""
    if not view.faces or view.shown is None:
        return ""
    row = view.faces[face]
    lines = [
        _bar(int(au), float(score), bool(present))
        for au, score, present in zip(view.shown.aus, view.shown.scores[row], view.shown.present[row], strict=True)
    ]
    return f'<div class="au-bars">{"".join(lines)}</div>'


def _bar(au: int, score: float, is_present: bool) -> str:
    half = min(abs(score) / legend.FULL_BAR, 1.0) * 50
    left = 50.0 if score > 0 else 50 - half
    colour = f"rgb{painting.colour(au)}" if is_present else "#a3abb8"
    name = html.escape(aus_lib.NAMES.get(au, ""))
    return (
        f'<div class="au-bar{" au-on" if is_present else ""}"><span class="au-name">{aus_lib.label(au)} '
        f'<i>{name}</i></span><span class="au-score">{score:+.3f}</span><span class="au-track">'
        f'<span style="left:{left:.1f}%;width:{half:.1f}%;background:{colour}"></span></span></div>'
    )


def problems(view: FileView) -> list[str]:
    """Return why frames or faces have no result: each reason once."""
    return list(dict.fromkeys(text for text in view.table.problems if text is not None))


def counts(view: FileView) -> str:
    """Return how many faces have a result, and in how many frames, as text."""
    rows = [row for row in view.table.rows if row.success]
    faces = f"{len(rows)} face{'s' * (len(rows) != 1)}"
    if not view.is_video:
        return faces
    return f"{faces} in {len({row.frame for row in rows})} of {len(view.numbers)} frames"


def rows(view: FileView, count: int) -> tuple[list[str], list[list[str]]]:
    """Return names and cells of the table's first `count` rows, without boxes and with few digits, to fit a page."""
    table = columns.table_columns(view.table.aus.tolist())
    chosen = [k for k, name in enumerate(table.names) if not name.startswith(("input", "FaceRect"))]
    values = (table.values(row) for row in view.table.rows[:count])
    return [table.names[k] for k in chosen], [[_short(line[k]) for k in chosen] for line in values]


def _short(value: columns.CellValue) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def write_csv(view: FileView, path: str) -> None:
    """Write the whole table, as the command `predict` would, with the file's own name in it."""
    with result_table.open_table(path, columns.table_columns(view.table.aus.tolist())) as table:
        table.add([dataclasses.replace(row, input=view.name) for row in view.table.rows])
