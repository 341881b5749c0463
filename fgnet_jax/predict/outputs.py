"""Where a run's results go: the table with its JSON, an archive of heatmaps, drawn images, a video."""

import contextlib
import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from fgnet_jax.faces import back_projection
from fgnet_jax.media import video_writer
from fgnet_jax.media.sources import Source
from fgnet_jax.predict import heatmap_files, result_table
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.columns import ResultRow, TableColumns
from fgnet_jax.predict.pipeline import FrameResult
from fgnet_jax.predict.predictions import scene_face
from fgnet_jax.visualization import aligned_face, scene


@dataclasses.dataclass(frozen=True)
class OutputOptions:
    """What somebody wants written.

    Attributes:
      table: CSV or Parquet; "-" for standard output.
      archive: npz or Zarr, or None.
      on_image: Whether the archive's heatmaps are laid back on the image.
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
        """Whether anything but scores is wanted of the network."""
        return bool(self.archive or self.overlays or self.video or self.peaks)

    @property
    def files(self) -> list[str]:
        """Files that will be written, overlays aside."""
        return [path for path in (self.table, self.archive, self.video) if path and path != "-"]

    def overlay_names(self, sources: Sequence[Source]) -> list[str]:
        """For each source the PNG file of its image; of a video, the folder of its frames'."""
        assert self.overlays is not None
        moving = ("video", "webcam")
        paths = [os.path.join(self.overlays, name) for name in file_names([s.name for s in sources])]
        return [p[: -len(".png")] if s.kind in moving else p for p, s in zip(paths, sources, strict=True)]


@dataclasses.dataclass(frozen=True, eq=False)
class OpenOutputs:
    """Everything that is open."""

    wanted: OutputOptions
    aus: Sequence[int]
    table: result_table.CsvTable
    archive: heatmap_files.Archive | None
    movie: video_writer.VideoWriter | None
    overlay_names: Sequence[str] | None

    def write(self, seen: FrameResult, rows: Sequence[ResultRow]) -> int:
        """Writes a frame; its rows last: a row says that the rest is there. Returns how many rows have a result."""
        drawn = self._drawn(seen, rows)
        self._archive(seen, rows)
        if self.overlay_names is not None and drawn is not None and any(row.success for row in rows):
            path = _overlay_path(self.overlay_names[seen.detected.frame.index], seen)
            drawn.save(path)
        if self.movie is not None and drawn is not None:
            self.movie.add(np.asarray(drawn), seen.detected.frame.seconds or 0.0)
        self.table.add(rows)
        return sum(row.success for row in rows)

    def _archive(self, seen: FrameResult, rows: Sequence[ResultRow]) -> None:
        for k, row in enumerate(rows if self.archive is not None else ()):
            maps = seen.heatmaps[k] if row.success and seen.heatmaps is not None else None
            if maps is not None and self.wanted.on_image:
                height, width = _image(seen).shape[:2]
                maps = back_projection.warp_to_image(maps, seen.detected.faces[k].alignment, width, height)
            assert self.archive is not None
            self.archive.add(row, maps)

    def _drawn(self, seen: FrameResult, rows: Sequence[ResultRow]):
        """The frame with what was seen; None where nobody wants it or there is no image."""
        if (self.overlay_names is None and self.movie is None) or seen.detected.frame.image is None:
            return None
        fine = [k for k, row in enumerate(rows) if row.success]
        if self.wanted.aligned and fine:
            face, row = seen.detected.faces[0], rows[0]
            assert seen.heatmaps is not None and row.scores is not None and row.present is not None
            return aligned_face.draw(face.aligned, seen.heatmaps[0], row.scores, row.present, self.aus)
        if self.movie is None and not fine:
            return None
        return scene.draw(_image(seen), [_scene_face(seen, rows[k], k) for k in fine], self.aus)


def _image(seen: FrameResult) -> np.ndarray:
    image = seen.detected.frame.image
    assert image is not None
    return image


def _scene_face(seen: FrameResult, row: ResultRow, k: int) -> scene.SceneFace:
    assert seen.heatmaps is not None and row.scores is not None and row.present is not None
    return scene_face(seen.detected.faces[k], seen.heatmaps[k], row.scores, row.present)


def _overlay_path(name: str, seen: FrameResult) -> str:
    """An image's file, or one in a video's folder."""
    if seen.detected.frame.source.kind not in ("video", "webcam"):
        return name
    os.makedirs(name, exist_ok=True)
    return os.path.join(name, f"{seen.detected.frame.number:06d}.png")


def open_all(
    stack: contextlib.ExitStack,
    wanted: OutputOptions,
    layout: TableColumns,
    aus: Sequence[int],
    size: int,
    sources: Sequence[Source],
    place: ResumePoint,
) -> OpenOutputs:
    """Makes the folders and opens the files.

    Args:
      stack: Closes them.
      wanted: What is wanted.
      layout: The table's columns.
      aus: The AUs.
      size: Side of the heatmaps.
      sources: The inputs.
      place: Where the run goes on; everything before stays.

    Raises:
      OSError: Something cannot be written.
      ArchiveError: The archive cannot be gone on with.
      VideoWriterError: Video cannot be written.
    """
    for path in wanted.files:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if wanted.overlays:
        os.makedirs(wanted.overlays, exist_ok=True)
    archive = movie = None
    if wanted.archive:
        opened = heatmap_files.open_archive(wanted.archive, aus, size, wanted.on_image, place.rows)
        archive = stack.enter_context(opened)
    if wanted.video:
        path = sources[0].path if sources[0].kind == "video" else None
        movie = stack.enter_context(
            video_writer.open_video_writer(wanted.video, path if isinstance(path, str) else None)
        )
    table = stack.enter_context(result_table.open_table(wanted.table, layout, place.end or None))
    return OpenOutputs(wanted, aus, table, archive, movie, wanted.overlay_names(sources) if wanted.overlays else None)


def file_names(sources: Sequence[str]) -> list[str]:
    """Names of PNG files for images, in the same order, all different on any file system.

    `a/smile.jpg` gives `smile.png`; where several sources would share that, folders are put in front (`a-smile.png`,
    `b-smile.png`), and what is still equal (one image given twice) is numbered.
    """
    names = [_name(source, 1) for source in sources]
    for depth in (2, 3):
        counts: dict[str, int] = {}
        for name in names:
            counts[name.casefold()] = counts.get(name.casefold(), 0) + 1
        names = [
            _name(source, depth) if counts[name.casefold()] > 1 else name
            for source, name in zip(sources, names, strict=True)
        ]
    taken: set[str] = set()
    return [f"{_number(name, taken)}.png" for name in names]


def _name(source: str, depth: int) -> str:
    """The last `depth` parts of a path, joined, without the ending; cut to what every file system takes."""
    parts = [part for part in os.path.splitext(source)[0].split(os.sep) if part not in ("", ".", "..")]
    name = "-".join(parts[-depth:]) or "image"
    return name if len(os.fsencode(name)) <= 200 else name[-50:]


def _number(name: str, taken: set[str]) -> str:
    """`name`, or `name-2`, `name-3`, … where that is taken; marks it as taken."""
    candidate, count = name, 1
    while candidate.casefold() in taken:
        count += 1
        candidate = f"{name}-{count}"
    taken.add(candidate.casefold())
    return candidate
