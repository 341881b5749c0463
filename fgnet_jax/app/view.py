"""Content of the page for an image or video: the frame that is shown with its faces, bars of AUs, and the table.

A video's heatmaps are not kept, half a megabyte per face: for the frame that is shown, the network computes those of
the table's faces again.
"""

import contextlib
import dataclasses
import html
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fgnet_jax import aus as aus_lib
from fgnet_jax.faces import alignment
from fgnet_jax.faces.detection import Face
from fgnet_jax.faces.finder import DetectedFace, DetectedFrame
from fgnet_jax.media import frames, sources, video
from fgnet_jax.predict import columns, pipeline, predictions
from fgnet_jax.predict.columns import ResultRow
from fgnet_jax.visualization import aligned_face, legend, painting, scene

if TYPE_CHECKING:
    from fgnet_jax.predict.network import Network


STOPPED = "stopped"
"""What is missing in the results of a file that was stopped before its end."""


@dataclasses.dataclass(frozen=True, eq=False)
class ShownFrame:
    """A frame that is shown.

    Attributes:
      number: Its number in the file, from 1.
      image: uint8 (height, width, 3); None where nothing can be shown.
      rows: The table's rows of its F faces that have a result.
      faces: These faces, aligned.
      heatmaps: float32 (F, size, size, K).
    """

    number: int
    image: np.ndarray | None
    rows: tuple[ResultRow, ...] = ()
    faces: tuple[DetectedFace, ...] = ()
    heatmaps: np.ndarray | None = None

    def index(self, face_id: int | None) -> int:
        """Return the place of a face among the rows; the first one's where it is not in this frame."""
        return next((k for k, row in enumerate(self.rows) if row.face_id == face_id), 0)


@dataclasses.dataclass(frozen=True, eq=False)
class FileView:
    """The results for a file, and one of its frames, which is shown.

    Attributes:
      name: The file's name, without folders.
      source: The file.
      options: Options of prediction.
      aus: The K AU numbers.
      rows: Results of all frames, as in the table.
      shown: The frame that is shown.
      csv: The table.
      problems: Why frames or faces have no result, each reason once.
      video: The drawn video, or None.
      is_partial: Whether it was stopped before the file's end.
      total: Number of the file's frames, as its header says; None where that is not known.
      latency: Seconds that a camera's image took, from when it came to its result; None for files.
    """

    name: str
    source: sources.Source
    options: pipeline.PredictOptions
    aus: tuple[int, ...]
    rows: tuple[ResultRow, ...]
    shown: ShownFrame
    csv: Path
    problems: tuple[str, ...] = ()
    video: Path | None = None
    is_partial: bool = False
    total: int | None = None
    latency: float | None = None

    @property
    def key(self) -> str:
        """Distinguishes these results, whatever frame is shown, from all others."""
        return self.csv.parent.name

    @property
    def calibrated(self) -> tuple[int, ...]:
        """The AUs whose intensities are known."""
        known = next((row.intensities for row in self.rows if row.intensities is not None), None)
        return () if known is None else tuple(np.array(self.aus)[np.isfinite(known)].tolist())

    @property
    def is_video(self) -> bool:
        """Whether there are other frames to show."""
        return len(self.numbers) > 1

    @property
    def has_faces(self) -> bool:
        """Whether any face has a result."""
        return any(row.success for row in self.rows)

    @property
    def numbers(self) -> list[int]:
        """Numbers of the frames in the table."""
        return list(dict.fromkeys(row.frame for row in self.rows))

    @property
    def is_sample(self) -> bool:
        """Whether the file has frames that are not in the table, because it was stopped or by `every`."""
        return self.is_partial or (self.is_video and self.options.every > 1)

    @property
    def frame_count(self) -> int | None:
        """Number of the file's frames, analysed or not; None where that is not known."""
        if not self.is_sample:
            return self.numbers[-1]
        return None if self.total is None else max(self.total, self.numbers[-1])

    @property
    def fault(self) -> str:
        """What is missing in the results, in a few words; empty for nothing."""
        if all(row.size is None for row in self.rows):
            return "could not be read"
        lost = [row for row in self.rows if row.size is None or (row.face_id is not None and not row.success)]
        if not self.has_faces:
            return "without a result" if lost else "no face found"
        return STOPPED if self.is_partial else "in part without a result" if lost else ""


def shown_frame(result: pipeline.FrameResult, rows: tuple[ResultRow, ...]) -> ShownFrame:
    """Return what is shown of a frame: its faces that have a result."""
    places = [k for k, row in enumerate(rows) if row.success]
    return ShownFrame(
        number=result.detected.frame.number,
        image=result.detected.frame.image,
        rows=tuple(rows[k] for k in places),
        faces=tuple(result.detected.faces[k] for k in places),
        heatmaps=result.heatmaps[places] if places and result.heatmaps is not None else None,
    )


def show_frame(network: "Network", view: FileView, number: float) -> FileView:
    """Return the same file showing the frame of the table that is nearest to this number.

    Its faces and scores are those of the table: a new detection might find others.
    """
    nearest = min(view.numbers, key=lambda other: abs(other - number))
    if nearest == view.shown.number:
        return view
    image = _read_frame(view.source, nearest)
    rows = tuple(row for row in view.rows if row.frame == nearest and row.success)
    if image is None or not rows:
        return dataclasses.replace(view, shown=ShownFrame(nearest, image))
    faces = tuple(_aligned(image, row, network.config.image_size) for row in rows)
    frame = frames.Frame(source=view.source, index=0, number=nearest, seconds=None, image=image)
    again = iter([DetectedFrame(frame, faces)])
    (result,) = pipeline.predict_frames(network, (one for one in again), heatmaps=True)
    return dataclasses.replace(view, shown=ShownFrame(nearest, image, rows, faces, result.heatmaps))


def _aligned(image: np.ndarray, row: ResultRow, size: int) -> DetectedFace:
    """Align a face that the table has."""
    assert row.landmarks is not None and row.box is not None
    assert row.confidence is not None and row.face_id is not None
    aligned, where = alignment.align(image, row.landmarks, size)
    face = Face(row.landmarks, row.box, row.confidence)
    return DetectedFace(face=face, face_id=row.face_id, aligned=aligned, alignment=where)


def _read_frame(source: sources.Source, number: int) -> np.ndarray | None:
    """Read a frame's image; None where it has none."""
    if source.kind != "video":
        return next((frame.image for frame in frames.read([source]) if frame.number == number), None)
    assert isinstance(source.path, str)
    with contextlib.suppress(video.VideoError), contextlib.closing(video.read(source.path, number)) as read:
        return next((frame.image for frame in read), None)
    return None


def draw(view: FileView, au: int | None = None) -> Image.Image | None:
    """Draw the frame with its faces and their present AUs, or with one AU's heatmap on every face.

    Args:
      view: The file.
      au: Index of the AU in `FileView.aus`; None for those that are present.

    Returns:
      The drawing without legend, which the page's bars replace; None where nothing can be shown.
    """
    image = view.shown.image
    if image is None:
        return None
    return scene.draw_faces(image, [_scene_face(view, k, au) for k in range(len(view.shown.rows))], view.aus)


def drawn_size(image: np.ndarray) -> tuple[int, int]:
    """Return width and height at which `draw` draws an image, in pixels."""
    height, width = image.shape[:2]
    scale = scene.drawn_scale(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def face_at(view: FileView, x: float, y: float) -> int | None:
    """Return the `face_id` of the smallest face whose box has this point of the drawing; None for none."""
    image = view.shown.image
    if image is None:
        return None
    x, y = x * image.shape[1] / drawn_size(image)[0], y * image.shape[0] / drawn_size(image)[1]
    boxes = [(row.box, row.face_id) for row in view.shown.rows if row.box is not None]
    at = [(w * h, face_id) for (left, top, w, h), face_id in boxes if 0 <= x - left <= w and 0 <= y - top <= h]
    return min(at, key=lambda entry: entry[0])[1] if at else None


def _scene_face(view: FileView, k: int, au: int | None) -> scene.SceneFace:
    """Return the k-th face of the frame with the AUs that are to be drawn."""
    row, heatmaps = view.shown.rows[k], view.shown.heatmaps
    assert heatmaps is not None and row.scores is not None and row.present is not None
    present = row.present if au is None else np.arange(len(view.aus)) == au
    return predictions.scene_face(view.shown.faces[k], heatmaps[k], row.scores, present)


def close_up(view: FileView, face_id: int | None, au: int | None = None) -> Image.Image | None:
    """Draw one aligned face, large, with its present AUs or with one AU's heatmap.

    Args:
      view: The file.
      face_id: The face; where it is not in the frame, the first one is drawn.
      au: As for `draw`.
    """
    if not view.shown.rows:
        return None
    k = view.shown.index(face_id)
    drawable = _scene_face(view, k, au)
    drawn = aligned_face.draw(
        view.shown.faces[k].aligned,
        heatmaps=drawable.heatmaps,
        scores=drawable.scores,
        present=drawable.present,
        aus=view.aus,
    )
    top = (drawn.height - aligned_face.FACE_SIDE) // 2  # without the legend, as above
    return drawn.crop((0, top, aligned_face.FACE_SIDE, top + aligned_face.FACE_SIDE))


def caption(view: FileView, face_id: int | None, au: int | None) -> str:
    """Return what the image shows, as HTML: file, frame, face, and the AU that was chosen."""
    parts = [f"<b>{html.escape(view.name)}</b>", *_place(view)]
    if not view.shown.rows:
        parts.append(_nothing(view))
    else:
        row = view.shown.rows[view.shown.index(face_id)]
        parts += [f"face {row.face_id}", _drawn_aus(view, row, au)]
    return '<span class="fg-dot"></span>'.join(f"<span>{part}</span>" for part in parts)


def _nothing(view: FileView) -> str:
    """Return why no face is shown."""
    where = "this frame " if view.is_video else ""
    if view.shown.image is None:
        return f"{where}cannot be read"
    if any(row.face_id is not None for row in view.rows if row.frame == view.shown.number):
        return "no face has a result"
    return "no face in this frame" if view.is_video else "no face"


def _place(view: FileView) -> list[str]:
    """Return which frame is shown, and its time; of a camera, how late its result is."""
    if view.latency is not None:
        return [f"result after {1000 * view.latency:.0f} ms"]
    if not view.is_video:
        return []
    number = view.shown.number
    seconds = next((row.timestamp for row in view.rows if row.frame == number and row.timestamp is not None), None)
    count = "" if view.frame_count is None else f" of {view.frame_count}"
    return [f"frame {number}{count}", *([] if seconds is None else [f"{seconds:.2f} s"])]


def _drawn_aus(view: FileView, row: ResultRow, au: int | None) -> str:
    """Return which AUs are drawn over the face."""
    assert row.present is not None and row.scores is not None and view.shown.heatmaps is not None
    if au is None:
        return f"{int(row.present.sum())} of {len(view.aus)} action units present"
    number, is_present = view.aus[au], bool(row.present[au])
    maps = view.shown.heatmaps[view.shown.rows.index(row), ..., au]
    nowhere = "" if maps.max() > 0 else "; the heatmap is nowhere above 0"
    intensity = "" if (text := _intensity(row, au)) is None else f", intensity {text} of 5"
    words = f"score {float(row.scores[au]):+.3f}, {'present' if is_present else 'not present'}{intensity}{nowhere}"
    return f"{swatch(number)} {au_name(number)}: {words}"


def _intensity(row: ResultRow, k: int) -> str | None:
    """Return the intensity of a row's k-th AU as text; None where it is not known."""
    if row.intensities is None or not np.isfinite(row.intensities[k]):
        return None
    return f"{row.intensities[k]:.1f}"


def au_name(number: int) -> str:
    """Return an AU's label with its name, as HTML."""
    return f"<b>{aus_lib.label(number)}</b> {html.escape(aus_lib.NAMES.get(number, ''))}"


def swatch(au: int) -> str:
    """Return a patch of an AU's colour, as HTML."""
    return f'<span class="au-swatch" style="background:rgb{painting.colour(au)}"></span>'


def bars(view: FileView, face_id: int | None, chosen: int | None) -> str:
    """Return a face's AUs as bars from the middle, to the right where the score is above 0, as HTML.

    Every bar is a button for the heatmap of its AU (`data-au` is its index); the first one is for all that are present.
    """
    if not view.shown.rows:
        return ""
    row = view.shown.rows[view.shown.index(face_id)]
    assert row.scores is not None and row.present is not None
    pressed = "true" if chosen is None else "false"
    lines = [f'<button class="au-all" data-au="-1" aria-pressed="{pressed}">All that are present</button>']
    for k, au in enumerate(view.aus):
        lines.append(_bar(au, k, row, is_chosen=k == chosen))
    return f'<div class="au-bars" role="group" aria-label="Action units">{"".join(lines)}</div>'


def _bar(au: int, k: int, row: ResultRow, *, is_chosen: bool) -> str:
    assert row.scores is not None and row.present is not None
    score, is_present = float(row.scores[k]), bool(row.present[k])
    text = f"{score:+.3f}" if (intensity := _intensity(row, k)) is None else f"{intensity} ({score:+.3f})"
    half = min(abs(score) / legend.FULL_BAR, 1.0) * 50
    left = 50.0 if score > 0 else 50 - half
    colour = f"rgb{painting.colour(au)}" if is_present else "#a3abb8"
    name = html.escape(aus_lib.NAMES.get(au, ""))
    return (
        f'<button class="au-bar{" au-on" if is_present else ""}" data-au="{k}" '
        f'aria-pressed="{"true" if is_chosen else "false"}" title="Show the heatmap of {aus_lib.label(au)}">'
        f'<span class="au-name">{aus_lib.label(au)} <i>{name}</i></span><span class="au-score">{text}</span>'
        f'<span class="au-track"><span style="left:{left:.1f}%;width:{half:.1f}%;background:{colour}"></span></span>'
        "</button>"
    )


def counts(view: FileView) -> str:
    """Return how many faces have a result, and in how many frames, as text."""
    rows = [row for row in view.rows if row.success]
    faces = f"{len(rows)} face{'s' * (len(rows) != 1)}"
    if not view.is_video:
        return faces
    analysed = " analysed" if view.is_sample else ""
    return f"{faces} in {len({row.frame for row in rows})} of {len(view.numbers)} frames{analysed}"


def table(view: FileView, count: int) -> tuple[list[str], list[list[str]]]:
    """Return names and cells of the table's first `count` rows, without boxes and with few digits, to fit a page."""
    written = columns.table_columns(list(view.aus), intensities=view.calibrated)
    chosen = [k for k, name in enumerate(written.names) if not name.startswith(("input", "FaceRect"))]
    values = (written.values(row) for row in view.rows[:count])
    return [written.names[k] for k in chosen], [[_short(line[k]) for k in chosen] for line in values]


def _short(value: columns.CellValue) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
