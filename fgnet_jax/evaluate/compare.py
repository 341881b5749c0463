"""The comparison of two methods on the same frames: read, paired, tested, and described."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fgnet_jax.data.corpus import corpus_folds, open_corpus
from fgnet_jax.data.folds import split_name
from fgnet_jax.evaluate import methods, paired_frames
from fgnet_jax.evaluate.method import Method
from fgnet_jax.evaluate.methods import MethodOptions
from fgnet_jax.evaluate.paired_frames import PairedFrames
from fgnet_jax.evaluate.runs import EvaluationError
from fgnet_jax.metrics import paired
from fgnet_jax.metrics.paired import PairedComparison

SIGNIFICANT = 1 - paired.LEVEL
"""p value up to which a difference is called significant."""

FEW_SUBJECTS = 15
"""Subjects below which percentile intervals are flagged: of 9, they hold the difference in 90 of 100 cases, not 95."""


@dataclasses.dataclass(frozen=True)
class CompareOptions:
    """How methods are compared.

    Attributes:
      metrics: Of `paired.METRICS`.
      corpus: A prepared corpus whose labels are taken; "" for those of the methods.
      data_dir: Folder of prepared corpora.
      over_folds: Whether metrics are means over folds; otherwise they are over all frames at once.
      resamples: Draws of subjects.
      permutations: Swaps of subjects.
      seed: Seed of draws and swaps.
    """

    metrics: tuple[str, ...] = paired.METRICS
    corpus: str = ""
    data_dir: Path = Path("data")
    over_folds: bool = False
    resamples: int = paired.RESAMPLES
    permutations: int = paired.PERMUTATIONS
    seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """A finished comparison.

    Attributes:
      names: Names of the methods.
      sources: Where they were read from.
      corpus: Whose recordings the frames are; "" where that is not known.
      frames: Number of frames that are compared.
      result: The metrics, their difference, intervals and p values.
      options: How methods were compared.
      notes: What a reader must know, a sentence each.
      warnings: What a reviewer would object to.
      weights: SHA-256 of the networks' weights of each method.
    """

    names: tuple[str, str]
    sources: tuple[str, str]
    corpus: str
    frames: int
    result: PairedComparison
    options: CompareOptions
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    weights: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def title(self) -> str:
        """What is compared."""
        where = f" on {self.corpus}" if self.corpus else ""
        return f"{self.names[1]} compared with {self.names[0]}{where}"


def compare(sources: Sequence[str], read_by: Sequence[MethodOptions], options: CompareOptions) -> Comparison:
    """Read two methods and compare them.

    Raises:
      EvaluationError: They cannot be compared; the message says why. Further errors are those of `methods.read`.
      FileNotFoundError: The corpus is not prepared.
    """
    first, second = _with_names([methods.read(source, by) for source, by in zip(sources, read_by, strict=True)])
    reference = _labels(options) if options.corpus else None
    frames = paired_frames.pair(first, second, reference)
    subjects = np.unique(frames.methods[0].subjects)
    if len(subjects) < 2:
        raise EvaluationError(
            f"all {frames.frames:,} common frames are of {subjects[0]}: expected two subjects or more"
        )
    result = paired.compare(
        *frames.methods,
        aus=frames.aus,
        metrics=options.metrics,
        folds=_folds(frames, subjects.tolist()) if options.over_folds else None,
        resamples=options.resamples,
        permutations=options.permutations,
        seed=options.seed,
    )
    if not (result.positives > 0).any():
        raise EvaluationError("no AU is present in any of the common frames")
    recordings = first.recordings or second.recordings or (reference.recordings if reference else "")
    return Comparison(
        names=(first.name, second.name),
        sources=(sources[0], sources[1]),
        corpus=recordings,
        frames=frames.frames,
        result=result,
        options=options,
        notes=tuple(_notes((first, second), frames, result, options)),
        warnings=tuple(dict.fromkeys(_warnings((first, second), frames, result))),
        weights=(first.weights, second.weights),
    )


def _with_names(both: Sequence[Method]) -> list[Method]:
    """Return methods with different names."""
    if both[0].name != both[1].name:
        return list(both)
    return [
        dataclasses.replace(method, name=f"{method.name} {letter}") for method, letter in zip(both, "AB", strict=True)
    ]


def _labels(options: CompareOptions) -> Method:
    """Return the labels of all folds of a prepared corpus, as a method without predictions."""
    try:
        splits = [split_name(fold) for fold in corpus_folds(options.corpus, options.data_dir)]
        corpus = open_corpus(options.corpus, options.data_dir, splits)
    except ValueError as error:
        raise EvaluationError(str(error)) from error
    index, aus = corpus.index, corpus.aus
    counts = [len(source) for source in corpus.sources]
    return Method(
        name=options.corpus,
        aus=aus,
        subjects=index.subjects,
        sequences=index.sequences,
        frames=index.frames.astype(np.int64),
        splits=np.repeat(np.array(corpus.splits), counts),
        labels=index.labels,
        present=np.full(index.labels.shape, -1, np.int8),
        scores=np.full(index.labels.shape, np.nan),
        recordings=corpus.recordings(corpus.name),
        identities=corpus.identities,
    )


def _folds(frames: PairedFrames, subjects: Sequence[str]) -> np.ndarray:
    """Return the fold of each subject as a number, (S,).

    Raises:
      EvaluationError: Folds are not known, or one has a single subject, who cannot be resampled.
    """
    missing = [name for name in subjects if name not in frames.splits]
    if missing:
        raise EvaluationError(f"--over_folds: the fold of {missing[0]} is not known: name the corpus with --corpus")
    names, folds, counts = np.unique(
        [frames.splits[name] for name in subjects], return_inverse=True, return_counts=True
    )
    if counts.min() < 2:
        lone = names[counts.argmin()]
        raise EvaluationError(
            f"--over_folds: {lone} has one subject, who cannot be resampled: compare all frames at once"
        )
    return folds


def _notes(
    both: Sequence[Method], frames: PairedFrames, result: PairedComparison, options: CompareOptions
) -> Iterator[str]:
    """Yield what a reader must know."""
    yield f"{frames.frames:,} frames of {len(result.subjects)} subjects, which both methods have."
    yield from (f"{line}." for line in frames.left_out)
    for method in both:
        if others := sorted({*method.aus} - {*frames.aus}):
            yield f"{method.name}: left out, also of the mean, for want of the other's or of labels: {_listed(others)}."
        yield f"{method.name}: present {method.rule if 'table' in method.rule else f'above {method.rule}'}."
        yield from (f"{method.name}: {line}." for line in method.remarks)
    for method, scored in zip(both, frames.methods, strict=True):
        if scored.repeats > 1:
            yield f"{method.name}: {scored.repeats} predictions of each frame, whose counts are added."
    yield (
        "Metrics are means over folds."
        if options.over_folds
        else "Metrics are over all frames at once, not means of folds."
    )
    swaps = f"all {result.swaps:,} ways" if result.is_exact else f"{result.swaps:,} random ways (seed {options.seed})"
    yield (
        f"p: two-sided, over {swaps} to swap the methods' predictions subject by subject; p, Holm: corrected for the "
        "number of AUs. The mean is one test, and not corrected."
    )
    yield (
        f"Intervals: {100 * paired.LEVEL:.0f} %, percentiles over {options.resamples:,} draws of subjects, the same "
        f"for both methods (seed {options.seed}); together: at the level at which those of all AUs hold at once."
    )
    never = [au for au, count in zip(result.aus, result.positives.tolist(), strict=True) if not count]
    if never:
        yield f"Present in no frame, and not tested: {_listed(never)}."


def _listed(aus: Sequence[int]) -> str:
    return ", ".join(f"AU{au:02d}" for au in aus)


def _warnings(both: Sequence[Method], frames: PairedFrames, result: PairedComparison) -> Iterator[str]:
    """Yield what a reviewer would object to."""
    for method in both:
        yield from method.warnings
        if method.settings:
            yield f"{method.name}: its networks differ in {', '.join(method.settings[:5])}."
    fingerprints = {item.fingerprint: item.name for method in both for item in method.identities}
    if len(fingerprints) > 1:
        yield "The methods were tested on different preparations of the corpus, which label the common frames alike."
    tests = max((difference.tests for difference in result.differences.values()), default=0)
    smallest = result.smallest_p
    if smallest > SIGNIFICANT:
        yield (
            f"{len(result.subjects)} subjects are too few: no p value can be below {smallest:.3g}, however large a "
            "difference is."
        )
    elif smallest * tests > SIGNIFICANT:
        yield (
            f"{len(result.subjects)} subjects are too few for {tests} AUs: p is at least {smallest:.3g}, and corrected "
            f"{min(1, smallest * tests):.3g}, however large a difference is. The mean can be tested."
        )
    if len(result.subjects) < FEW_SUBJECTS:
        yield f"{len(result.subjects)} subjects: intervals from so few are too narrow."
    if any("left out" in line for line in frames.left_out):
        yield "Frames are left out (see the notes): a method may fail on those that are harder."
