"""Results of a prediction run: the table, an archive of heatmaps, overlays (drawn images), and a drawn video."""

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fgnet_jax.faces import back_projection
from fgnet_jax.media import video_writer
from fgnet_jax.media.frames import VIDEO_KINDS
from fgnet_jax.media.sources import Source
from fgnet_jax.predict import heatmap_files, result_table
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.columns import ResultRow, TableColumns
from fgnet_jax.predict.pipeline import FrameResult
from fgnet_jax.predict.predictions import scene_face
from fgnet_jax.visualization import aligned_face, scene

if TYPE_CHECKING:
    from PIL import Image


@dataclasses.dataclass(frozen=True)
class OutputOptions:
    """Which results are written, and where.

    Attributes:
      table: CSV or Parquet; "-" for standard output.
      archive: npz or Zarr, or None.
      on_image: Whether the archive's heatmaps are warped back to the image.
      overlays: Folder of drawn images, or None.
      video: Drawn video, or None.
      peaks: Whether the table has the heatmaps' peaks.
      aligned: Whether images are aligned faces, which are drawn as such.
    """

    table: str
    archive: str | None = None
    on_image: bool = False
    overlays: str | None = None
    video: str | None = None
    peaks: bool = False
    aligned: bool = False

    @property
    def heatmaps(self) -> bool:
        """Whether any result needs heatmaps, not scores alone."""
        return bool(self.archive or self.overlays or self.video or self.peaks)

    @property
    def files(self) -> list[str]:
        """Files that will be written, overlays aside."""
        return [path for path in (self.table, self.archive, self.video) if path and path != "-"]

    def overlay_names(self, sources: Sequence[Source]) -> list[str]:
        """Return the PNG file of each source's overlay; for a video, the folder of its frames' overlays."""
        assert self.overlays is not None
        paths = [os.path.join(self.overlays, name) for name in file_names([s.name for s in sources])]
        return [p[: -len(".png")] if s.kind in VIDEO_KINDS else p for p, s in zip(paths, sources, strict=True)]


def open_all(
    stack: contextlib.ExitStack,
    options: OutputOptions,
    columns: TableColumns,
    *,
    aus: Sequence[int],
    size: int,
    sources: Sequence[Source],
    resume_point: ResumePoint,
) -> "OpenOutputs":
    """Create the folders and open the files.

    Args:
      stack: Closes them.
      options: What to write.
      columns: The table's columns.
      aus: The AUs.
      size: Side of the heatmaps in pixels.
      sources: The inputs.
      resume_point: Where the run resumes; all rows before stay.

    Raises:
      OSError: Something cannot be written.
      ArchiveError: The archive cannot be resumed.
      VideoWriterError: Video cannot be written.
    """
    for path in options.files:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if options.overlays:
        os.makedirs(options.overlays, exist_ok=True)
    archive = video = None
    if options.archive:
        archive = stack.enter_context(
            heatmap_files.open_archive(options.archive, aus, size, on_image=options.on_image, keep=resume_point.rows)
        )
    if options.video:
        path = sources[0].path if sources[0].kind == "video" else None
        sound_of = path if isinstance(path, str) else None
        video = stack.enter_context(video_writer.open_video_writer(options.video, sound_of))
    table = stack.enter_context(result_table.open_table(options.table, columns, resume_point.end or None))
    names = options.overlay_names(sources) if options.overlays else None
    return OpenOutputs(options=options, aus=aus, table=table, archive=archive, video=video, overlay_names=names)


@dataclasses.dataclass(frozen=True, eq=False)
class OpenOutputs:
    """The open files of a run.

    Attributes:
      options: What is written.
      aus: The AUs.
      table: The table.
      archive: The archive of heatmaps, or None.
      video: The drawn video, or None.
      overlay_names: `OutputOptions.overlay_names`, or None.
    """

    options: OutputOptions
    aus: Sequence[int]
    table: result_table.CsvTable
    archive: heatmap_files.Archive | None
    video: video_writer.VideoWriter | None
    overlay_names: Sequence[str] | None

    def write(self, result: FrameResult, rows: Sequence[ResultRow]) -> int:
        """Write a frame, its rows last: a row means that everything else of the frame is written.

        Returns:
          The number of rows that have a result.
        """
        drawing = self._draw(result, rows)
        self._write_heatmaps(result, rows)
        if self.overlay_names is not None and drawing is not None and any(row.success for row in rows):
            drawing.save(_overlay_path(self.overlay_names[result.detected.frame.index], result))
        if self.video is not None and drawing is not None:
            self.video.add(np.asarray(drawing), result.detected.frame.seconds or 0.0)
        self.table.add(rows)
        return sum(row.success for row in rows)

    def _write_heatmaps(self, result: FrameResult, rows: Sequence[ResultRow]) -> None:
        for k, row in enumerate(rows if self.archive is not None else ()):
            maps = result.heatmaps[k] if row.success and result.heatmaps is not None else None
            if maps is not None and self.options.on_image:
                height, width = _image(result).shape[:2]
                maps = back_projection.warp_to_image(maps, result.detected.faces[k].alignment, width, height)
            assert self.archive is not None
            self.archive.add(row, maps)

    def _draw(self, result: FrameResult, rows: Sequence[ResultRow]) -> "Image.Image | None":
        """Draw the frame with its AUs; None where no drawing is needed or the frame has no image."""
        if (self.overlay_names is None and self.video is None) or result.detected.frame.image is None:
            return None
        successes = [k for k, row in enumerate(rows) if row.success]
        if self.options.aligned and successes:
            face, row = result.detected.faces[0], rows[0]
            assert result.heatmaps is not None and row.scores is not None and row.present is not None
            return aligned_face.draw(
                face.aligned, heatmaps=result.heatmaps[0], scores=row.scores, present=row.present, aus=self.aus
            )
        if self.video is None and not successes:
            return None
        return scene.draw(_image(result), [_scene_face(result, rows[k], k) for k in successes], self.aus)


def _image(result: FrameResult) -> np.ndarray:
    image = result.detected.frame.image
    assert image is not None
    return image


def _scene_face(result: FrameResult, row: ResultRow, k: int) -> scene.SceneFace:
    assert result.heatmaps is not None and row.scores is not None and row.present is not None
    return scene_face(result.detected.faces[k], result.heatmaps[k], row.scores, row.present)


def _overlay_path(name: str, result: FrameResult) -> str:
    """Return the file of an image's overlay, or of a frame's in its video's folder."""
    if result.detected.frame.source.kind not in VIDEO_KINDS:
        return name
    os.makedirs(name, exist_ok=True)
    return os.path.join(name, f"{result.detected.frame.number:06d}.png")


def file_names(sources: Sequence[str]) -> list[str]:
    """Return names of PNG files for images, in the same order, all different on any file system.

    `a/smile.jpg` gives `smile.png`; where several sources would share that, folders are put in front (`a-smile.png`,
    `b-smile.png`), and what is still equal (an image given twice) is numbered.
    """
    names = [_base_name(source, 1) for source in sources]
    for depth in (2, 3):
        counts: dict[str, int] = {}
        for name in names:
            counts[name.casefold()] = counts.get(name.casefold(), 0) + 1
        names = [
            _base_name(source, depth) if counts[name.casefold()] > 1 else name
            for source, name in zip(sources, names, strict=True)
        ]
    taken: set[str] = set()
    return [f"{_numbered(name, taken)}.png" for name in names]


def _base_name(source: str, depth: int) -> str:
    """Return the last `depth` parts of a path, joined, without suffix; cut to what every file system takes."""
    parts = [part for part in os.path.splitext(source)[0].split(os.sep) if part not in ("", ".", "..")]
    name = "-".join(parts[-depth:]) or "image"
    return name if len(os.fsencode(name)) <= 200 else name[-50:]


def _numbered(name: str, taken: set[str]) -> str:
    """Return `name`, or `name-2`, `name-3`, … where that is taken, and mark it as taken."""
    candidate, count = name, 1
    while candidate.casefold() in taken:
        count += 1
        candidate = f"{name}-{count}"
    taken.add(candidate.casefold())
    return candidate
