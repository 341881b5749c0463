"""Report of a preparation: frames and positives beside the published ones, what was left out and why."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fgnet_jax import aus as aus_lib
from fgnet_jax.data import folds as folds_lib
from fgnet_jax.prepare import chunks
from fgnet_jax.prepare.builders import DatasetPlan
from fgnet_jax.prepare.layouts import records
from fgnet_jax.prepare.layouts.records import Problem

SHOWN = 8
"""Problems of each kind that the text lists; the JSON lists all."""

MANY_FOLDS = 6
"""Number of folds above which shares of positives are shown as a range, in the text and in the figure."""

SAMPLES = 12
"""Faces that the figure shows."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """A prepared face for the figure: encoded image, landmarks (68, 2), and a caption."""

    image: bytes
    landmarks: np.ndarray
    caption: str


@dataclasses.dataclass(frozen=True)
class ProcessingSpeed:
    """Frames prepared in this run, the seconds that it took, and the number of processes."""

    frames: int
    seconds: float
    workers: int


def collect(
    plan: DatasetPlan, settings: Mapping[str, Any], speed: ProcessingSpeed
) -> tuple[dict[str, Any], list[Sample]]:
    """Collect all values of a report, ready for JSON, and sample faces for its figure.

    Args:
      plan: The dataset, whose chunks are finished.
      settings: How it was prepared; see `settings.preparation`.
      speed: Of this run.
    """
    corpus = plan.corpus
    rows = {sequence.key: [] for sequence in corpus.sequences}
    problems, distances = list(corpus.problems), [np.empty(0, np.float32)]
    total = 0
    for sequence in corpus.sequences:
        for chunk in chunks.read(plan.folder(sequence)):
            rows[sequence.key].append(chunk.rows)
            problems += chunk.problems
            distances.append(chunk.distances)
            total += len(chunk.rows)
    counts = {folds_lib.split_name(fold): _fold(plan, rows, fold) for fold in corpus.folds}
    values = {
        "corpus": corpus.name,
        "aus": list(corpus.aus),
        "options": dict(settings),
        "faces": total,
        "labelled_frames": sum(len(sequence.frames) for sequence in corpus.sequences),
        "folds": counts,
        "all": _sum(counts.values(), corpus.aus),
        "published_rates": {aus_lib.label(au): rate for au, rate in _published(corpus.name, corpus.aus).items()},
        "problems": _by_kind(problems),
        "landmarks_apart": _distance_summary(np.concatenate(distances)),
        "pace": {"frames": speed.frames, "seconds": round(speed.seconds, 2), "workers": speed.workers},
        "notes": list(corpus.notes),
    }
    return values, _samples(plan, total)


def _published(corpus: str, aus: Iterable[int]) -> dict[int, float]:
    """Return the published shares of positive frames, of the AUs that have one."""
    rates = folds_lib.BASE_RATES.get(corpus, {})
    return {au: rates[au] for au in aus if au in rates}


def _fold(plan: DatasetPlan, rows: Mapping[str, list[np.ndarray]], fold: int) -> dict[str, Any]:
    """Count a fold's frames and labels; `rows` has the rows of prepared faces by sequence."""
    corpus = plan.corpus
    items = [sequence for sequence in corpus.sequences if sequence.fold == fold]
    prepared = [item.labels[np.concatenate([np.empty(0, np.int32), *rows[item.key]])] for item in items]
    labels = np.concatenate([np.empty((0, len(corpus.aus)), np.int8), *prepared])
    published = folds_lib.PUBLISHED_FRAMES.get(corpus.name)
    return {
        "subjects": sorted({item.subject for item in items}),
        "frames": len(labels),
        "published_frames": published[fold] if published else None,
        "positives": _by_au(corpus.aus, (labels == 1).sum(0)),
        "known": _by_au(corpus.aus, (labels >= 0).sum(0)),
    }


def _by_au(aus: Iterable[int], values: Iterable[int]) -> dict[str, int]:
    """Name counts by their AU."""
    return {aus_lib.label(au): int(value) for au, value in zip(aus, values, strict=True)}


def _sum(folds: Iterable[Mapping[str, Any]], aus: Iterable[int]) -> dict[str, Any]:
    """Add up the counts of all folds."""
    folds, names = list(folds), [aus_lib.label(au) for au in aus]
    published = [fold["published_frames"] for fold in folds]
    return {
        "subjects": sorted({name for fold in folds for name in fold["subjects"]}),
        "frames": sum(fold["frames"] for fold in folds),
        "published_frames": None if None in published else sum(published),
        "positives": {name: sum(fold["positives"][name] for fold in folds) for name in names},
        "known": {name: sum(fold["known"][name] for fold in folds) for name in names},
    }


def _by_kind(problems: Iterable[Problem]) -> dict[str, dict[str, Any]]:
    """Group problems by kind, with the number of frames concerned."""
    kinds: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        kinds[problem.kind].append(problem)
    return {
        kind: {
            "frames": sum(problem.count for problem in kinds[kind]),
            "list": [{"where": p.where, "detail": p.detail, "frames": p.count} for p in kinds[kind]],
        }
        for kind in records.KINDS
        if kind in kinds
    }


def _distance_summary(distances: np.ndarray) -> dict[str, float] | None:
    """Summarise the distances of detected from carried-over landmarks; None where only one of them is known."""
    known = distances[np.isfinite(distances)]
    if not len(known):
        return None
    return {
        "faces": len(known),
        "mean": float(known.mean()),
        "median": float(np.median(known)),
        "p95": float(np.percentile(known, 95)),
    }


def _samples(plan: DatasetPlan, total: int) -> list[Sample]:
    """Choose faces from the whole corpus, evenly spaced."""
    chosen = set(np.linspace(0, total - 1, min(SAMPLES, total)).astype(int).tolist()) if total else set()
    samples, place = [], 0
    for sequence in plan.corpus.sequences:
        for chunk in chunks.read(plan.folder(sequence)):
            for k, row in enumerate(chunk.rows):
                if place + k in chosen:
                    present = [
                        au for au, is_on in zip(plan.corpus.aus, sequence.labels[row] == 1, strict=True) if is_on
                    ]
                    caption = f"{sequence.key} {sequence.frames[row]}\nAU {' '.join(map(str, present)) or 'none'}"
                    samples.append(Sample(chunk.images[k], chunk.landmarks[k], caption))
            place += len(chunk.rows)
    return samples


def text(values: Mapping[str, Any]) -> str:
    """Format a report for the terminal."""
    parts = [_frames_table(values), _rates_table(values), _problems_text(values), _landmarks_text(values)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _frames_table(values: Mapping[str, Any]) -> str:
    """Format subjects and frames by fold."""
    lines = [f"{values['corpus']}: {values['faces']:,} faces of {values['labelled_frames']:,} labelled frames"]
    lines.append(f"{'':8}{'subjects':>10}{'frames':>10}{'published':>11}")
    for name, fold in [*values["folds"].items(), ("all", values["all"])]:
        published = "" if fold["published_frames"] is None else f"{fold['published_frames']:,}"
        lines.append(f"{name:8}{len(fold['subjects']):>10}{fold['frames']:>10,}{published:>11}")
    empty = [name for name, fold in values["folds"].items() if not fold["frames"]]
    lines += [f"{name} has no face, so there is no such split" for name in empty]
    return "\n".join([*lines, *values["notes"]])


def _rates_table(values: Mapping[str, Any]) -> str:
    """Format positives by AU and fold; of many folds, those of all and the folds with the lowest and highest share."""
    is_long = len(values["folds"]) > MANY_FOLDS
    heads = ("all", "lowest", "highest") if is_long else (*values["folds"], "all")
    lines = ["positives, and their share of frames with a known label"]
    width = 26 if is_long else 16
    lines.append(f"{'':6}" + "".join(f"{head:>{width}}" for head in heads) + f"{'published':>11}")
    for name in values["all"]["known"]:
        cells = _range_of_folds(values, name) if is_long else [_share(fold, name) for fold in values["folds"].values()]
        cells = [_share(values["all"], name), *cells] if is_long else [*cells, _share(values["all"], name)]
        published = values["published_rates"].get(name)
        text = "".join(f"{cell:>{width}}" for cell in cells)
        lines.append(f"{name:6}{text}" + (f"{published:>11.3f}" if published is not None else ""))
    return "\n".join(lines)


def shares(values: Mapping[str, Any], name: str) -> dict[str, float]:
    """Return an AU's share of positives by fold, without the folds in which it is known in no frame."""
    folds = values["folds"].items()
    return {fold: counts["positives"][name] / counts["known"][name] for fold, counts in folds if counts["known"][name]}


def _range_of_folds(values: Mapping[str, Any], name: str) -> list[str]:
    """Format the lowest and the highest of an AU's shares, with their folds."""
    by_fold = shares(values, name)
    ends = [end(by_fold, key=lambda fold: by_fold[fold]) for end in (min, max)] if by_fold else []
    return [f"{by_fold[fold]:.3f} in {fold}" for fold in ends] or ["none known"] * 2


def _share(fold: Mapping[str, Any], name: str) -> str:
    """Format an AU's positives and their share in a fold."""
    positives, known = fold["positives"][name], fold["known"][name]
    return f"{positives:,} ({positives / known:.3f})" if known else "none known"


def _problems_text(values: Mapping[str, Any]) -> str:
    """Format the problems by kind."""
    if not values["problems"]:
        return "no frame and no label was left out"
    lines = ["what was left out, or is in doubt (frames)"]
    for kind, group in values["problems"].items():
        lines.append(f"  {kind}: {group['frames']:,}")
        lines += [f"    {p['where']}{': ' if p['detail'] else ''}{p['detail']}" for p in group["list"][:SHOWN]]
        if len(group["list"]) > SHOWN:
            lines.append(f"    and {len(group['list']) - SHOWN:,} more, which report.json lists")
    return "\n".join(lines)


def _landmarks_text(values: Mapping[str, Any]) -> str:
    """Format the distance of landmarks, and the speed."""
    landmarks, speed = values["landmarks_apart"], values["pace"]
    lines = []
    if landmarks:
        lines.append(
            f"landmarks detected again lie {landmarks['mean']:.3f} of the inter-ocular distance from those carried "
            f"over (median {landmarks['median']:.3f}, 95 % below {landmarks['p95']:.3f}; {landmarks['faces']:,} faces)"
            f"; stored: {values['options']['aligned_landmarks']}"
        )
    if speed["frames"]:
        rate = speed["frames"] / max(speed["seconds"], 1e-9)
        lines.append(
            f"{speed['frames']:,} frames in {speed['seconds']:.1f} s: {rate:.1f} a second, {speed['workers']} workers, "
            f"landmarks {values['options']['landmarks']}"
        )
    return "\n".join(lines)
