"""Runs the preparation command after its arguments are parsed."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from fgnet_jax.data import schema
from fgnet_jax.data.corpus import CorpusError
from fgnet_jax.data.folds import NUM_FOLDS, is_published
from fgnet_jax.faces.detection import DetectorError
from fgnet_jax.faces.dlib_detector import LICENCE
from fgnet_jax.prepare import builders, pool, report, report_figure, settings, sharding
from fgnet_jax.prepare.chunks import ChunkError
from fgnet_jax.prepare.layouts import bp4d, csv_table, disfa, fgnet, records
from fgnet_jax.prepare.layouts.records import CorpusRecords, LayoutError
from fgnet_jax.prepare.sharding import ShardError
from fgnet_jax.runtime.command_line import fail, status
from fgnet_jax.runtime.files import NotWritableError, check_writable, replacing, write_text
from fgnet_jax.runtime.workers import WorkerEnded

Options = argparse.Namespace
LayoutOptions = dict[str, Any]
"""Options of a layout that decide what is prepared: part of a dataset's metadata, as JSON."""

_PROG = "fgnet_jax.prepare"
_WORK = ".work-"
_RESUMES = "finished work is kept, and the same command resumes"


class NoFaceError(Exception):
    """A corpus of which no face could be prepared."""


def run(options: Options) -> int:
    """Prepare every corpus in the source, report what cannot be prepared, and return the exit status."""
    try:
        for corpus, layout_options in _read(options):
            prepare(corpus, layout_options, options)
        return 0
    except (LayoutError, DetectorError, NotWritableError, CorpusError) as error:
        return fail(_PROG, error, 2)
    except (NoFaceError, ChunkError, ShardError) as error:
        return fail(_PROG, error, 1)
    except WorkerEnded:
        reason = "a worker was killed, perhaps out of memory (--workers 1 takes least)"
        return fail(_PROG, f"{reason}; {_RESUMES}", 1)
    except BrokenPipeError:  # of standard output
        raise
    except OSError as error:
        return fail(_PROG, f"{error}; {_RESUMES}", 1)
    except KeyboardInterrupt:
        status("prepare", f"interrupted; {_RESUMES}")
        return 130


def prepare(corpus: CorpusRecords, layout_options: LayoutOptions, options: Options) -> None:
    """Prepare one corpus unless it is prepared already, and write the report.

    Raises:
      LayoutError: for a source without anything to prepare, or an existing dataset of another source.
      DetectorError: if a detector is needed and not available.
      NotWritableError: if the folder of datasets cannot be written to.
      NoFaceError: if no face could be prepared.
      ShardError: if a shard to merge is missing or not finished.
    """
    settings.check(corpus)
    builders.builder_class(corpus.name)
    data_dir = Path(options.data_dir)
    chosen = _settings(corpus, options)
    if chosen.predictor:
        placed = "" if chosen.face_detector == "dlib" else ", landmarks placed by dlib's predictor"
        status("prepare", f"faces are detected by {chosen.face_detector}{placed}. Note: {LICENCE}.")
    preparation = settings.preparation(corpus, chosen, layout_options)

    def is_done() -> bool:
        existing = builders.prepared_as(corpus.name, data_dir)
        if existing is not None:
            former = settings.former_preparation(corpus, chosen, layout_options)
            _check_same(corpus.name, data_dir, existing, preparation, former=former)
        return existing is not None

    if is_done():
        return
    check_writable(data_dir)
    plan = _plan(corpus, data_dir, preparation)
    if options.shard is not None:
        sharding.process(plan, chosen, options.shard, options.workers)
        return
    with schema.only_writer(data_dir / corpus.name):
        if not is_done():  # by the process that this one has waited for
            _prepare(plan, chosen, options)


def _plan(corpus: CorpusRecords, data_dir: Path, preparation: dict[str, Any]) -> builders.DatasetPlan:
    """Return the plan of a dataset, whose work is kept in a folder of its own until it is finished."""
    work = data_dir / corpus.name / f"{_WORK}{preparation['source'][:12]}"
    return builders.DatasetPlan(corpus=corpus, work=work, preparation=preparation)


def _prepare(plan: builders.DatasetPlan, chosen: settings.PrepareSettings, options: Options) -> None:
    """Prepare a corpus that is not prepared, and write the report."""
    corpus, data_dir = plan.corpus, Path(options.data_dir)
    others = [path.name for path in plan.work.parent.glob(f"{_WORK}*") if path != plan.work]
    if others:
        reason = "of another source, other options or an earlier version"
        status("prepare", f"{plan.work.parent} has unfinished work {reason}, not used: {', '.join(sorted(others))}")
    speed = _process(plan, chosen, options)
    values, samples = report.collect(plan, plan.preparation, speed)
    _write_report(options.report or data_dir / "reports" / corpus.name, values, samples)
    if not values["faces"]:
        raise NoFaceError(f"no face of {corpus.name} could be prepared; see the report")
    builders.write(plan, data_dir)
    shutil.rmtree(plan.work)


def _process(plan: builders.DatasetPlan, chosen: settings.PrepareSettings, options: Options) -> report.ProcessingSpeed:
    """Prepare all sequences, or take those that shards have prepared.

    Raises:
      ShardError: A shard is missing, not finished, or being prepared.
    """
    sharding.check_idle(plan.work)
    if options.merge is not None:
        sharding.take(plan, options.merge)
        return sharding.check_complete(plan)
    frames, seconds = pool.process_all(plan.corpus.sequences, chosen, plan.work, options.workers)
    return report.ProcessingSpeed(frames=frames, seconds=seconds, workers=options.workers)


def _settings(corpus: CorpusRecords, options: Options) -> settings.PrepareSettings:
    """Return how the faces are prepared."""
    is_aligned = options.layout == "fgnet"
    return settings.settings(
        corpus,
        landmarks=options.landmarks or (fgnet.landmarks_beside(corpus) if is_aligned else None),
        predictor=options.predictor,
        aligned_landmarks=options.aligned_landmarks,
        is_aligned=is_aligned,
        face_detector=options.detector,
        search=options.search,
    )


def _check_same(
    name: str, data_dir: Path, existing: dict[str, Any], preparation: dict[str, Any], *, former: dict[str, Any]
) -> None:
    """Accept a dataset that was prepared from the same source in the same way, and refuse any other.

    Args:
      name: The corpus.
      data_dir: Folder of all datasets.
      existing: How the dataset was prepared.
      preparation: How it would be prepared now.
      former: How an earlier version would have described the same.

    Raises:
      LayoutError: with everything that differs.
    """
    if existing == preparation:
        status("prepare", f"{data_dir / name} is prepared already, from this source and with these options")
        return
    if existing == former:
        status(
            "prepare",
            f"{data_dir / name} is prepared already, by an earlier version that recorded names and sizes of files "
            "only: if landmarks, images or videos were changed since, remove it and prepare it again",
        )
        return
    keys = sorted((existing.keys() | preparation.keys()) - {"source"})  # which is over all of them, too
    differing = [key for key in keys if existing.get(key) != preparation.get(key)]
    lines = [f"{key}: {existing.get(key)!r} in the dataset, {preparation.get(key)!r} now" for key in differing]
    text = "\n  ".join(
        lines or ["source: labels, folds, landmarks, images or videos are not those that it was made of"]
    )
    raise LayoutError(
        f"{data_dir / name} was prepared from another source or with other options; remove it, or choose another "
        f"--data_dir\n  {text}"
    )


def _write_report(folder: Path, values: dict[str, Any], samples: list[report.Sample]) -> None:
    """Print the report, and write it as text, JSON and a figure."""
    folder.mkdir(parents=True, exist_ok=True)
    text = report.text(values)
    print(text)
    write_text(folder / "report.txt", text)
    write_text(folder / "report.json", json.dumps(values, indent=1) + "\n")
    with replacing(folder / "report.png") as temporary:
        temporary.write_bytes(report_figure.draw(values, samples))
    print(f"report: {folder}")


def _read(options: Options) -> list[tuple[CorpusRecords, LayoutOptions]]:
    """Read the corpora of the source, each with the options that decide what is prepared."""
    source = Path(options.source)
    if options.layout == "fgnet":
        folders = fgnet.corpora_in(source)
        return [(fgnet.read(folder, name), {"layout": "fgnet"}) for name, folder in sorted(folders.items())]
    partition = _partition(options) if options.partition else None
    chosen: LayoutOptions = {"layout": options.layout, "partition": "own" if partition else "standard"}
    if options.layout == "disfa":
        chosen |= {"threshold": options.threshold, "camera": options.camera}
        corpus = disfa.read(
            source,
            partition=partition,
            aus=options.aus,
            threshold=options.threshold,
            camera=options.camera,
            name=options.name,
        )
    elif options.layout == "bp4d":
        chosen |= {"unknown": options.unknown}
        corpus = bp4d.read(source, partition=partition, aus=options.aus, unknown=options.unknown, name=options.name)
    else:
        chosen |= {"threshold": options.threshold} | _recorded_folds(options)
        corpus = csv_table.read(
            _table(source), options.name, partition=partition, folds=options.folds, threshold=options.threshold
        )
    if corpus.recordings not in ("", corpus.name):
        chosen |= {"recordings": corpus.recordings}
    return [(corpus, chosen)]


def _partition(options: Options) -> records.Partition:
    """Read the file of a partition: three lists for a published corpus, any number for another."""
    return records.read_partition(options.partition, NUM_FOLDS if is_published(options.name) else None)


def _recorded_folds(options: Options) -> LayoutOptions:
    """Return the number of folds as a dataset's metadata have it: nothing where it is the usual one."""
    if options.partition and options.folds:
        raise LayoutError("--folds and --partition: one or the other")
    return {"folds": options.folds} if options.folds not in (None, NUM_FOLDS) else {}


def _table(source: Path) -> Path:
    """Return the table that the source is, or the only one in that folder."""
    if not source.is_dir():
        return source
    files = sorted(path for path in source.iterdir() if not path.name.startswith("."))
    tables = [path for path in files if path.suffix == ".csv"] or [path for path in files if path.suffix == ".tsv"]
    if len(tables) != 1:
        names = ", ".join(path.name for path in tables) or "none"
        raise LayoutError(f"{source} must hold one table, *.csv, or --source name it; found: {names}")
    return tables[0]
