"""Where a run's results go: the table with its JSON, an archive of heatmaps, drawn pictures, a video."""

import contextlib
import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from fgnet_jax.predict import heatmap_files as archives, result_table as tables
from fgnet_jax.media import video_writer as movies
from fgnet_jax.visualization import aligned_face as overlays, scene as scenes
from fgnet_jax.predict.batching import Place
from fgnet_jax.predict.columns import Layout, Row
from fgnet_jax.media.sources import Source
from fgnet_jax.predict.pipeline import Seen
from fgnet_jax.predict.predictions import scene_face


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What somebody wants written.

    Attributes:
      table: CSV or Parquet; "-" for standard output.
      archive: npz or Zarr, or None.
      on_picture: Whether the archive's heatmaps are laid back on the picture.
      overlays: Folder of drawn pictures, or None.
      video: Drawn video, or None.
      peaks: Whether the table has the heatmaps' peaks.
      aligned: Whether pictures are aligned faces, which are drawn as such.
    """

    table: str
    archive: str | None = None
    on_picture: bool = False
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
        """For each source the PNG file of its picture; of a video, the folder of its frames'."""
        assert self.overlays is not None
        moving = ("video", "webcam")
        paths = [os.path.join(self.overlays, name) for name in overlays.file_names([s.name for s in sources])]
        return [p[: -len(".png")] if s.kind in moving else p for p, s in zip(paths, sources, strict=True)]


@dataclasses.dataclass(frozen=True, eq=False)
class Outlets:
    """Everything that is open."""

    wanted: Wanted
    aus: Sequence[int]
    table: tables.CsvTable
    archive: archives.Archive | None
    movie: movies.Movie | None
    overlay_names: Sequence[str] | None

    def write(self, seen: Seen, rows: Sequence[Row]) -> int:
        """Writes a frame; its rows last: a row says that the rest is there. Returns how many rows have a result."""
        drawn = self._drawn(seen, rows)
        self._archive(seen, rows)
        if self.overlay_names is not None and drawn is not None and any(row.success for row in rows):
            path = _overlay_path(self.overlay_names[seen.found.frame.index], seen)
            drawn.save(path)
        if self.movie is not None and drawn is not None:
            self.movie.add(np.asarray(drawn), seen.found.frame.seconds or 0.0)
        self.table.add(rows)
        return sum(row.success for row in rows)

    def _archive(self, seen: Seen, rows: Sequence[Row]) -> None:
        for k, row in enumerate(rows if self.archive is not None else ()):
            maps = seen.heatmaps[k] if row.success and seen.heatmaps is not None else None
            if maps is not None and self.wanted.on_picture:
                height, width = _picture(seen).shape[:2]
                maps = scenes.lay_back(maps, seen.found.faces[k].alignment, width, height)
            assert self.archive is not None
            self.archive.add(row, maps)

    def _drawn(self, seen: Seen, rows: Sequence[Row]):
        """The frame with what was seen; None where nobody wants it or there is no picture."""
        if (self.overlay_names is None and self.movie is None) or seen.found.frame.picture is None:
            return None
        fine = [k for k, row in enumerate(rows) if row.success]
        if self.wanted.aligned and fine:
            face, row = seen.found.faces[0], rows[0]
            assert seen.heatmaps is not None and row.scores is not None and row.present is not None
            return overlays.draw(face.aligned, seen.heatmaps[0], row.scores, row.present, self.aus)
        if self.movie is None and not fine:
            return None
        return scenes.draw(_picture(seen), [_scene_face(seen, rows[k], k) for k in fine], self.aus)


def _picture(seen: Seen) -> np.ndarray:
    picture = seen.found.frame.picture
    assert picture is not None
    return picture


def _scene_face(seen: Seen, row: Row, k: int) -> scenes.SceneFace:
    assert seen.heatmaps is not None and row.scores is not None and row.present is not None
    return scene_face(seen.found.faces[k], seen.heatmaps[k], row.scores, row.present)


def _overlay_path(name: str, seen: Seen) -> str:
    """A picture's file, or one in a video's folder."""
    if seen.found.frame.source.kind not in ("video", "webcam"):
        return name
    os.makedirs(name, exist_ok=True)
    return os.path.join(name, f"{seen.found.frame.number:06d}.png")


def open_all(
    stack: contextlib.ExitStack,
    wanted: Wanted,
    layout: Layout,
    aus: Sequence[int],
    size: int,
    sources: Sequence[Source],
    place: Place,
) -> Outlets:
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
      MovieError: Video cannot be written.
    """
    for path in wanted.files:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if wanted.overlays:
        os.makedirs(wanted.overlays, exist_ok=True)
    archive = movie = None
    if wanted.archive:
        opened = archives.open_archive(wanted.archive, aus, size, wanted.on_picture, place.rows)
        archive = stack.enter_context(opened)
    if wanted.video:
        path = sources[0].path if sources[0].kind == "video" else None
        movie = stack.enter_context(movies.open_movie(wanted.video, path if isinstance(path, str) else None))
    table = stack.enter_context(tables.open_table(wanted.table, layout, place.end or None))
    return Outlets(wanted, aus, table, archive, movie, wanted.overlay_names(sources) if wanted.overlays else None)
