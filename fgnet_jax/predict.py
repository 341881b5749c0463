"""Action units of aligned faces, from picture files to a table, heatmaps and drawn-over pictures.

    python -m fgnet_jax.predict --weights weights/fgnet_disfa --aligned \\
        --csv out.csv --heatmaps out.npz --overlays out/ a.png b.jpg

Pictures must be faces aligned by FFHQ's recipe: square, 256x256 for the published network; other squares are resized.
A picture that cannot be used costs its own row (`success` 0, the reason on standard error), not the run.

Exit status: 0 if any picture succeeded, 1 if none did or a result could not be written, 2 for a wrong command line,
weights that are not there or outputs that cannot be written (nothing has been touched then), 130 if interrupted.

Set JAX_COMPILATION_CACHE_DIR to a folder of yours to compile the network only once for all runs.
"""

import argparse
import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fgnet_jax import overlays, pictures, tables

if TYPE_CHECKING:
    from fgnet_jax.detector import Detector, Pending, Predictions

_PROGRESS_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Item:
    """One input: its place in the command line, and the face, if there is one."""

    index: int
    source: str
    face: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Where results go."""

    table: tables.CsvTable
    archive: tables.HeatmapArchive | None
    overlay_paths: Sequence[str] | None

    @property
    def want_heatmaps(self) -> bool:
        """Whether anything but the table is wanted."""
        return self.archive is not None or self.overlay_paths is not None


class Refused(Exception):
    """A command that cannot be carried out; nothing has been read or written yet."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return 0 if _predict(arguments) else 1
    except Refused as refused:
        _say(f"error: {refused}")
        return 2
    except OSError as error:
        _say(f"error: cannot write the results: {error}")
        return 1
    except KeyboardInterrupt:
        _say("interrupted; what was finished is written")
        return 130


def _predict(arguments: argparse.Namespace) -> int:
    """Carries out a command line; returns how many pictures succeeded."""
    overlay_paths = _overlay_paths(arguments)
    _check(arguments, overlay_paths)
    detector = _load(arguments)
    with contextlib.ExitStack() as stack:
        try:
            outputs = _open_outputs(stack, arguments, overlay_paths, detector)
        except OSError as error:
            raise Refused(f"cannot write the results: {error}") from error
        return _run(detector, arguments.pictures, outputs)


def _parser() -> argparse.ArgumentParser:
    description, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m fgnet_jax.predict",
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="files of aligned faces")
    parser.add_argument("--weights", required=True, metavar="DIR", help="weights from convert_weights or training")
    parser.add_argument(
        "--aligned", action="store_true", help="say that the pictures are aligned faces; needed for now"
    )
    parser.add_argument("--csv", default="-", metavar="FILE", help="the table; standard output if not given")
    parser.add_argument("--heatmaps", metavar="FILE", help="an npz archive of heatmaps and scores")
    parser.add_argument(
        "--overlays", metavar="DIR", help="a folder for one PNG a picture, heatmaps drawn over the face"
    )
    parser.add_argument("--batch_size", type=_positive, metavar="N", help="faces a batch; by the device if not given")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="what to compute in; as in the weights' JSON")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, got {text!r}")
    return int(text)


def _overlay_paths(arguments: argparse.Namespace) -> list[str] | None:
    """One PNG path for every picture, in order."""
    if arguments.overlays is None:
        return None
    return [os.path.join(arguments.overlays, name) for name in overlays.file_names(arguments.pictures)]


def _check(arguments: argparse.Namespace, overlay_paths: Sequence[str] | None) -> None:
    """Refuses a command line that cannot work, without touching anything."""
    if not arguments.aligned:
        raise Refused(
            "only aligned faces are taken for now: align them by FFHQ's recipe to square pictures (256x256), "
            "and say so with --aligned"
        )
    files = [path for path in (arguments.csv, arguments.heatmaps) if path and path != "-"]
    inputs = {os.path.realpath(path) for path in arguments.pictures}
    targets = [os.path.realpath(path) for path in [*files, *(overlay_paths or [])]]
    for path in targets:
        if path in inputs:
            raise Refused(f"{path} is both a picture to read and a result to write")
    if len(set(targets)) < len(targets):
        raise Refused("two results would be written to the same file")
    for path in [*files, *(overlay_paths or [])]:
        if os.path.isdir(path):
            raise Refused(f"cannot write {path}: it is a folder")
        _check_writable(os.path.dirname(os.path.abspath(path)))


def _check_writable(folder: str) -> None:
    """Refuses a folder that can neither be written to nor be made."""
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise Refused(f"cannot write into {folder}: it is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Refused(f"cannot write into {folder}: permission denied")


def _load(arguments: argparse.Namespace) -> "Detector":
    """The detector, compiled; says how long that took. JAX is imported only here, so that mistakes show at once."""
    start = time.perf_counter()
    from fgnet_jax.checkpoint import WeightsError
    from fgnet_jax.detector import Detector

    try:
        detector = Detector.load(arguments.weights, dtype=arguments.dtype, batch_size=arguments.batch_size)
    except WeightsError as error:
        raise Refused(str(error)) from error
    needed = min(detector.batch_size, len(arguments.pictures))  # no padding where there are fewer pictures
    detector = dataclasses.replace(detector, batch_size=needed)
    loaded = time.perf_counter()
    detector.compile()
    _say(f"loaded in {loaded - start:.1f} s, compiled in {time.perf_counter() - loaded:.1f} s")
    return detector


def _open_outputs(
    stack: contextlib.ExitStack,
    arguments: argparse.Namespace,
    overlay_paths: Sequence[str] | None,
    detector: "Detector",
) -> Outputs:
    """Makes the folders and opens the files; `stack` closes them."""
    for path in (arguments.csv, arguments.heatmaps):
        if path and path != "-":
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if arguments.overlays:
        os.makedirs(arguments.overlays, exist_ok=True)
    archive = None
    if arguments.heatmaps:
        size = detector.config.heatmap_size
        archive = stack.enter_context(tables.open_archive(arguments.heatmaps, detector.aus, size))
    table = stack.enter_context(tables.open_csv(arguments.csv, detector.aus))
    return Outputs(table, archive, overlay_paths)


def _run(detector: "Detector", sources: Sequence[str], outputs: Outputs) -> int:
    """Reads, detects and writes everything; returns how many pictures succeeded."""
    succeeded, pace = 0, _Pace(len(sources))
    for items, pending in _ahead(detector, _batches(_items(sources, detector.config.image_size), detector.batch_size)):
        predictions = pending.result(outputs.want_heatmaps) if pending else None
        succeeded += _write(items, predictions, outputs)
        pace.add(len(items))
    pace.finish(succeeded)
    return succeeded


class _Pace:
    """Says now and then how far a run is and how fast."""

    def __init__(self, total: int):
        self._total, self._done = total, 0
        self._start = self._said = time.perf_counter()
        self._first: tuple[float, int] | None = None  # when the first batch was done, and how many pictures it had

    def add(self, count: int) -> None:
        """Counts pictures as done."""
        now = time.perf_counter()
        self._done += count
        self._first = self._first or (now, self._done)
        if now - self._said > _PROGRESS_SECONDS:
            self._said = now
            left = (self._total - self._done) / self._rate(now)
            _say(f"{self._done}/{self._total} pictures, {self._rate(now):.2f} a second, {left:.0f} s left")

    def finish(self, succeeded: int) -> None:
        """Says how it went."""
        now = time.perf_counter()
        _say(f"{succeeded} of {self._total} pictures succeeded in {now - self._start:.1f} s after loading")
        _say(f"steady state: {self._rate(now):.2f} pictures a second")

    def _rate(self, now: float) -> float:
        """Pictures a second, without the first batch where there are others: it still warms up caches and memory."""
        since, before = self._first or (self._start, 0)
        if self._done == before:
            since, before = self._start, 0
        return (self._done - before) / max(now - since, 1e-9)


def _items(sources: Iterable[str], size: int) -> Iterator[Item]:
    """Reads the pictures one after the other, and says why where one cannot be used."""
    resized = False
    for index, source in enumerate(sources):
        try:
            picture = pictures.read(source)
            face = pictures.as_aligned(picture, size)
        except pictures.PictureError as error:
            _say(f"{source}: {error}")
            yield Item(index, source, None)
            continue
        if face is not picture and not resized:
            resized = True
            height, width = picture.shape[:2]
            _say(f"{source}: resized from {width}x{height} to {size}x{size}, as others may be without further notice")
        yield Item(index, source, face)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Groups items, in order, so that every group but the last has `size` faces; items without a face come along."""
    batch: list[Item] = []
    faces = 0
    for item in items:
        batch.append(item)
        faces += item.face is not None
        if faces == size:
            yield batch
            batch, faces = [], 0
    if batch:
        yield batch


def _ahead(detector: "Detector", batches: Iterable[list[Item]]) -> Iterator[tuple[list[Item], "Pending | None"]]:
    """Pairs every batch with its pending results, one batch behind: the next is read while the device works."""
    previous = None
    for items in batches:
        faces = [item.face for item in items if item.face is not None]
        current = (items, detector.start(np.stack(faces)) if faces else None)
        if previous is not None:
            yield previous
        previous = current
    if previous is not None:
        yield previous


def _write(items: Sequence[Item], predictions: "Predictions | None", outputs: Outputs) -> int:
    """Writes a batch's rows, heatmaps and overlays, in order; returns how many pictures succeeded."""
    succeeded = face = 0
    for item in items:
        if item.face is None or predictions is None:
            _write_failure(item, outputs)
            continue
        if np.isfinite(predictions.scores[face]).all():
            _write_face(item, item.face, predictions, face, outputs)
            succeeded += 1
        else:
            _say(f"{item.source}: the network's scores are not finite")
            _write_failure(item, outputs)
        face += 1
    return succeeded


def _write_failure(item: Item, outputs: Outputs) -> None:
    """Writes the empty row of an input without a result."""
    if outputs.archive is not None:
        outputs.archive.add(item.source, None, None)
    outputs.table.add(tables.failed_row(item.source))


def _write_face(item: Item, picture: np.ndarray, predictions: "Predictions", face: int, outputs: Outputs) -> None:
    """Writes one input's heatmaps and overlay, and its row last: a row says that the rest is there."""
    aus, scores, present = predictions.aus.tolist(), predictions.scores[face], predictions.present[face]
    heatmaps = None if predictions.heatmaps is None else predictions.heatmaps[face]
    if outputs.archive is not None:
        outputs.archive.add(item.source, scores, heatmaps)
    if outputs.overlay_paths is not None and heatmaps is not None:
        overlays.draw(picture, heatmaps, scores, present, aus).save(outputs.overlay_paths[item.index])
    outputs.table.add(tables.row(item.source, aus, scores, present))


def _say(message: str) -> None:
    print(f"fgnet_jax.predict: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
