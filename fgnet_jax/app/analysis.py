"""Analysis of one file for the page: each of its frames through the network, into a table and a drawn video.

It can be ended at any frame: stopped, so that what is done stays, or cancelled, so that nothing does.
"""

import contextlib
import dataclasses
import io
import threading
import zipfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fgnet_jax.app import view as view_lib
from fgnet_jax.app.view import FileView, ShownFrame
from fgnet_jax.faces import alignment
from fgnet_jax.faces.finder import DetectedFrame
from fgnet_jax.media import frames, sources
from fgnet_jax.media.frames import VIDEO_KINDS
from fgnet_jax.predict import columns, file_names, outputs, pipeline
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.columns import ResultRow
from fgnet_jax.runtime.files import replacing

if TYPE_CHECKING:
    from fgnet_jax.predict.network import Network


class CancelledError(Exception):
    """An analysis whose results nobody waits for any more."""


@dataclasses.dataclass(frozen=True, eq=False)
class Ending:
    """What ends an analysis before the file does; set from any thread.

    Attributes:
      stop: What is done stays.
      cancel: Nothing stays.
      left_out: Set by an analysis that was stopped and has left frames out: not where it had them all.
    """

    stop: threading.Event = dataclasses.field(default_factory=threading.Event)
    cancel: threading.Event = dataclasses.field(default_factory=threading.Event)
    left_out: threading.Event = dataclasses.field(default_factory=threading.Event)


@dataclasses.dataclass(frozen=True)
class FrameCount:
    """How far an analysis is: number of the last frame that is done, and of all frames; None where that is unknown."""

    done: int
    total: int | None


FindFaces = Callable[[frames.Frame], DetectedFrame]
"""Finds and aligns the faces of a frame."""

Analysis = Generator[FrameCount, None, FileView]
"""An analysis that is going on: how far it is after every frame, and at its end the results."""


def analyse(
    network: "Network",
    source: sources.Source,
    options: pipeline.PredictOptions,
    *,
    folder: Path,
    ending: Ending,
    find: FindFaces | None = None,
) -> Analysis:
    """Analyse a file, frame by frame.

    Args:
      network: The network.
      source: An image or video.
      options: Options of prediction.
      folder: An empty folder for the table and the drawn video.
      ending: What ends it early.
      find: What finds the faces of an image, where it is one of a camera's; None to detect them by the options.

    Yields:
      How far it is, after every frame.

    Returns:
      The results, with the first frame shown that has a face.

    Raises:
      CancelledError: It was cancelled.
      DetectorError: The face detector or its data file is missing.
      OSError: A result cannot be written.
    """
    written = _output_options(source, folder)
    collected = _Collected()
    with contextlib.ExitStack() as stack:
        opened = outputs.open_all(
            stack,
            written,
            columns.table_columns(list(network.aus), intensities=pipeline.calibrated(network)),
            aus=network.aus,
            size=network.config.heatmap_size,
            sources=[source],
            resume_point=ResumePoint(),
        )
        results = stack.enter_context(contextlib.closing(_results(network, source, options, ending, find)))
        thresholds, intensities = options.thresholds_of(network.aus), pipeline.intensities_of(network)
        for result in results:
            rows = tuple(pipeline.rows(result, thresholds, intensities=intensities))
            opened.write(result, rows)
            collected.add(result, rows)
            yield FrameCount(result.detected.frame.number, result.detected.frame.total)
    return collected.view(network, source, options, written, is_partial=ending.left_out.is_set())


def _output_options(source: sources.Source, folder: Path) -> outputs.OutputOptions:
    """Return what is written of a file: its table, and of a video, a drawn one."""
    (stem,) = file_names.stems([source.name])
    video = str(folder / f"{stem}_aus.mp4") if source.kind in VIDEO_KINDS else None
    return outputs.OutputOptions(table=str(folder / f"{stem}.csv"), video=video)


def _results(
    network: "Network",
    source: sources.Source,
    options: pipeline.PredictOptions,
    ending: Ending,
    find: FindFaces | None,
) -> Generator[pipeline.FrameResult, None, None]:
    """Yield the frames with scores and heatmaps."""
    if find is None:
        found = pipeline.detect_faces([source], network, options)
    else:
        found = (find(frame) for frame in frames.read([source]))
    detected = _until_ended(found, ending)
    predicted = pipeline.predict_frames(network, detected, heatmaps=True)
    yield from pipeline.smoothed(predicted, options.smoothing())


def _until_ended(detected: Iterator[DetectedFrame], ending: Ending) -> Iterator[DetectedFrame]:
    """Yield frames until the analysis is ended."""
    with contextlib.closing(detected):  # pyright: ignore[reportArgumentType]  # a generator
        for frame in detected:
            if ending.cancel.is_set():
                raise CancelledError
            if ending.stop.is_set():
                ending.left_out.set()
                return
            yield frame


class _Collected:
    """The rows of an analysis, and the frame to show: the first that has a face, or else the first."""

    def __init__(self) -> None:
        self._rows: list[ResultRow] = []
        self._problems: dict[str, None] = {}
        self._shown: ShownFrame | None = None
        self._total: int | None = None

    def add(self, result: pipeline.FrameResult, rows: tuple[ResultRow, ...]) -> None:
        self._rows += rows
        self._total = result.detected.frame.total
        if (problem := pipeline.problem(result)) is not None:
            self._problems[problem] = None
        if self._shown is None or (not self._shown.rows and any(row.success for row in rows)):
            self._shown = view_lib.shown_frame(result, rows)

    def view(
        self,
        network: "Network",
        source: sources.Source,
        options: pipeline.PredictOptions,
        written: outputs.OutputOptions,
        *,
        is_partial: bool,
    ) -> FileView:
        """Return the results."""
        if self._shown is None:  # stopped before the first frame
            raise CancelledError
        has_video = written.video is not None and Path(written.video).exists()
        return FileView(
            name=source.name,
            source=source,
            options=options,
            aus=tuple(network.aus),
            rows=tuple(self._rows),
            shown=self._shown,
            csv=Path(written.table),
            problems=tuple(self._problems),
            video=Path(written.video) if has_video and written.video else None,
            is_partial=is_partial,
            total=self._total,
        )


def write_faces(view: FileView, size: int) -> Path:
    """Write the aligned faces of a file beside its table, as PNGs in a ZIP, and return its path.

    They are named as the command `predict` names them.

    Args:
      view: The file.
      size: Side of a face in pixels.

    Raises:
      OSError: It cannot be written.
    """
    path = view.csv.with_name(f"{view.csv.stem}_faces.zip")
    if path.exists():
        return path
    by_frame: dict[int, list[ResultRow]] = {}
    for row in view.rows:
        if row.success:
            by_frame.setdefault(row.frame, []).append(row)
    names = file_names.ImageFolder("", [view.source], per_face=True)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for frame in frames.read([view.source]):
            for row in by_frame.get(frame.number, []) if frame.image is not None else []:
                assert row.landmarks is not None and frame.image is not None
                face = alignment.align(frame.image, row.landmarks, size)[0]
                archive.writestr(names.name(0, row.frame, row.face_id), _png(face))
    return path


def _png(image: np.ndarray) -> bytes:
    """Encode an image (height, width, 3) uint8 as PNG."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()
