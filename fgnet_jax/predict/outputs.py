"""Results of a prediction run: tables, an archive of heatmaps, drawn images and video, aligned faces."""

import contextlib
import dataclasses
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from fgnet_jax.faces import back_projection
from fgnet_jax.media import video_writer
from fgnet_jax.media.sources import Source
from fgnet_jax.predict import file_names, heatmap_files, result_table, run_record, tables
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.columns import ResultRow, TableColumns, faceless_of, table_columns
from fgnet_jax.predict.file_names import ImageFolder
from fgnet_jax.predict.pipeline import FrameResult
from fgnet_jax.predict.predictions import scene_face
from fgnet_jax.visualization import aligned_face, scene


@dataclasses.dataclass(frozen=True)
class OutputOptions:
    """Which results are written, and where.

    Attributes:
      table: CSV or Parquet; "-" for standard output. With `per_input`, the folder of the tables.
      per_input: Suffix of the tables, ".csv" or ".parquet", where each input has its own; None for one table of all.
      archive: npz or Zarr, or None.
      on_image: Whether the archive's heatmaps are warped back to the image.
      overlays: Folder of drawn images, or None.
      video: Drawn video, or None.
      peaks: Whether the table has the heatmaps' peaks.
      aligned: Whether images are aligned faces, which are drawn as such.
      aligned_faces: Folder of aligned faces, as PNGs, or None.
      dialect: The tables' dialect (`columns.DIALECTS`), or None.
      replaces: Whether PNGs that the tables name, which are replaced, are removed at the start: none is left that the
        new tables do not name, and none is lost that no run wrote.
      part: All inputs of the run, and which of them are this one's, where it is one of several that share them: files
        are named as those of a single run. None where it has them all.
    """

    table: str
    per_input: str | None = None
    archive: str | None = None
    on_image: bool = False
    overlays: str | None = None
    video: str | None = None
    peaks: bool = False
    aligned: bool = False
    aligned_faces: str | None = None
    dialect: str | None = None
    replaces: bool = False
    part: tuple[tuple[Source, ...], range] | None = None

    @property
    def heatmaps(self) -> bool:
        """Whether any result needs heatmaps, not scores alone."""
        return bool(self.archive or self.overlays or self.video or self.peaks)

    def tables(self, sources: Sequence[Source]) -> list[str]:
        """Return the table's path, or one for each source."""
        if self.per_input is None:
            return [self.table]
        every, own = self.part or (sources, range(len(sources)))
        stems = file_names.stems([source.name for source in every])[own.start : own.stop]
        return [os.path.join(self.table, f"{stem}{self.per_input}") for stem in stems]

    def table_columns(self, aus: Sequence[int], intensities: Sequence[int] = ()) -> TableColumns:
        """Return the columns of the tables, for AUs of which some may have intensities."""
        return table_columns(
            aus,
            self.dialect,
            self.peaks,
            overlays=self.overlays is not None,
            aligned_faces=self.aligned_faces is not None,
            intensities=intensities,
        )

    def files(self, sources: Sequence[Source]) -> list[str]:
        """Return the files that will be written, but for PNGs, records, and rows of tables that are not finished."""
        paths = (*self.tables(sources), self.archive, self.video)
        return [path for path in paths if path and path != "-"]

    def existing(self, sources: Sequence[Source]) -> list[str]:
        """Return the files that exist and that a run would replace: tables, their records and rows, PNGs and others."""
        names = self.tables(sources)
        beside = [os.fspath(run_record.path_of(path)) for path in names if path != "-"]
        rows = [result_table.rows_file(path, faceless_of(self.dialect)) for path in names if path != "-"]
        paths = dict.fromkeys((*self.files(sources), *rows, *beside))
        drawn = [path for folder in self.image_folders(sources).present for path in folder.existing()]
        return [path for path in paths if os.path.lexists(path)] + drawn

    def image_folders(self, sources: Sequence[Source]) -> "ImageFolders":
        """Return the folders of overlays and of aligned faces."""
        every, own = self.part or (sources, None)
        folders = ((self.overlays, False), (self.aligned_faces, True))
        return ImageFolders(
            *(
                ImageFolder(path, every, per_face=per_face, part=own) if path is not None else None
                for path, per_face in folders
            )
        )


@dataclasses.dataclass(frozen=True)
class ImageFolders:
    """Folders of PNGs of a run; None where there is none.

    Attributes:
      overlays: Drawn images and frames.
      aligned_faces: Aligned faces.
    """

    overlays: ImageFolder | None = None
    aligned_faces: ImageFolder | None = None

    @property
    def present(self) -> list[ImageFolder]:
        """Those that are written."""
        return [folder for folder in (self.overlays, self.aligned_faces) if folder is not None]


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
    for path in options.files(sources):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    folders = options.image_folders(sources)
    replaced = options.replaces and resume_point == ResumePoint()
    former = {name for path in options.tables(sources) if replaced for name in result_table.named_images(path)}
    for folder in folders.present:
        os.makedirs(folder.path, exist_ok=True)
        for path in folder.existing() if former else ():
            if os.path.relpath(path, folder.path).replace(os.sep, "/") in former:
                os.remove(path)
    archive = video = None
    if options.archive:
        keep = resume_point.faces if columns.faceless == "none" else resume_point.rows
        archive = stack.enter_context(
            heatmap_files.open_archive(options.archive, aus, size, on_image=options.on_image, keep=keep)
        )
    if options.video:
        path = sources[0].path if sources[0].kind == "video" else None
        sound_of = path if isinstance(path, str) else None
        video = stack.enter_context(video_writer.open_video_writer(options.video, sound_of))
    opened = tables.open_tables(
        options.tables(sources), columns, resume_point, is_per_input=options.per_input is not None
    )
    table = stack.enter_context(opened)
    return OpenOutputs(
        options=options,
        aus=aus,
        table=table,
        table_has_faceless=columns.faceless != "none",
        archive=archive,
        video=video,
        folders=folders,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class OpenOutputs:
    """The open files of a run.

    Attributes:
      options: What is written.
      aus: The AUs.
      table: The table, or one for each input.
      table_has_faceless: Whether it has rows of frames without a face; the archive has the same rows.
      archive: The archive of heatmaps, or None.
      video: The drawn video, or None.
      folders: Folders of PNGs.
    """

    options: OutputOptions
    aus: Sequence[int]
    table: tables.Tables
    table_has_faceless: bool
    archive: heatmap_files.Archive | None
    video: video_writer.VideoWriter | None
    folders: ImageFolders

    def write(self, result: FrameResult, rows: Sequence[ResultRow]) -> int:
        """Write a frame, its rows last: a row means that everything else of the frame is written.

        Returns:
          The number of rows that have a result.
        """
        frame = result.detected.frame
        drawn = self._draw(result, rows)
        self._write_heatmaps(result, rows)
        if drawn is not None and any(row.success for row in rows):
            rows = self._write_overlay(result, drawn, rows)
        if self.folders.aligned_faces is not None:
            rows = self._write_faces(self.folders.aligned_faces, result, rows)
        if self.video is not None and drawn is not None:
            self.video.add(np.asarray(drawn), frame.seconds or 0.0)
        self.table.add(rows, frame.index)
        return sum(row.success for row in rows)

    def _write_overlay(self, result: FrameResult, drawn: Image.Image, rows: Sequence[ResultRow]) -> Sequence[ResultRow]:
        """Write a frame's drawing, and return its rows with the file's name.

        PNGs of a run that is killed may be half written: no row names them, and a resumed run writes them again.
        """
        folder, frame = self.folders.overlays, result.detected.frame
        if folder is None:
            return rows
        name = folder.name(frame.index, frame.number)
        drawn.save(folder.file(name))
        return [dataclasses.replace(row, overlay=name) for row in rows]

    def _write_faces(self, folder: ImageFolder, result: FrameResult, rows: Sequence[ResultRow]) -> Sequence[ResultRow]:
        """Write a frame's aligned faces, and return its rows with the files' names."""
        frame, named = result.detected.frame, list(rows)
        for k, face in enumerate(result.detected.faces):
            name = folder.name(frame.index, frame.number, face.face_id)
            Image.fromarray(face.aligned).save(folder.file(name))
            named[k] = dataclasses.replace(rows[k], aligned_face=name)
        return named

    def _write_heatmaps(self, result: FrameResult, rows: Sequence[ResultRow]) -> None:
        of_table = rows if self.table_has_faceless else [row for row in rows if row.face_id is not None]
        for k, row in enumerate(of_table if self.archive is not None else ()):
            maps = result.heatmaps[k] if row.success and result.heatmaps is not None else None
            if maps is not None and self.options.on_image:
                height, width = _image(result).shape[:2]
                maps = back_projection.warp_to_image(maps, result.detected.faces[k].alignment, width, height)
            assert self.archive is not None
            self.archive.add(row, maps)

    def _draw(self, result: FrameResult, rows: Sequence[ResultRow]) -> Image.Image | None:
        """Draw the frame with its AUs; None where no drawing is needed or the frame has no image."""
        if (self.folders.overlays is None and self.video is None) or result.detected.frame.image is None:
            return None
        if self.video is None and not any(row.success for row in rows):
            return None
        return drawing(result, rows, self.aus, aligned=self.options.aligned)


def drawing(result: FrameResult, rows: Sequence[ResultRow], aus: Sequence[int], *, aligned: bool) -> Image.Image:
    """Draw a frame with its faces and their AUs.

    Args:
      result: The frame, with heatmaps.
      rows: Its rows.
      aus: The AUs.
      aligned: Whether it is an aligned face, which is drawn as such.
    """
    successes = [k for k, row in enumerate(rows) if row.success]
    if not aligned or not successes:
        return scene.draw(_image(result), [_scene_face(result, rows[k], k) for k in successes], aus)
    face, row = result.detected.faces[0], rows[0]
    assert result.heatmaps is not None and row.scores is not None and row.present is not None
    return aligned_face.draw(
        face.aligned,
        heatmaps=result.heatmaps[0],
        scores=row.scores,
        present=row.present,
        aus=aus,
        intensities=row.intensities,
    )


def _image(result: FrameResult) -> np.ndarray:
    image = result.detected.frame.image
    assert image is not None
    return image


def _scene_face(result: FrameResult, row: ResultRow, k: int) -> scene.SceneFace:
    assert result.heatmaps is not None and row.scores is not None and row.present is not None
    return scene_face(result.detected.faces[k], result.heatmaps[k], row.scores, row.present, row.intensities)
