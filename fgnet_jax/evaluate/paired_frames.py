"""The frames that two methods share, in one order, with the labels that they agree on."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np

from fgnet_jax.aus import label as au_label
from fgnet_jax.evaluate.method import Method
from fgnet_jax.evaluate.runs import EvaluationError
from fgnet_jax.metrics.paired import ScoredFrames

_LABELS = {1: "present", 0: "absent", -1: "not known"}


@dataclasses.dataclass(frozen=True, eq=False)
class PairedFrames:
    """Two methods on the same frames.

    Attributes:
      aus: The K AUs that both predict, and that are labelled, ascending.
      methods: Both methods' frames, for `paired.compare`.
      splits: The split of each subject, by name; empty where it is not known.
      left_out: Counts of frames that are not compared, with the reason, a sentence each.
      frames: Number of frames that are compared.
    """

    aus: tuple[int, ...]
    methods: tuple[ScoredFrames, ScoredFrames]
    splits: dict[str, str]
    left_out: tuple[str, ...]
    frames: int


@dataclasses.dataclass(frozen=True, eq=False)
class _Keyed:
    """A method with the number of each row's frame (N,), the same in all methods."""

    method: Method
    keys: np.ndarray


def pair(first: Method, second: Method, reference: Method | None = None) -> PairedFrames:
    """Pair two methods' frames; what only one of them has is left out, and counted.

    Args:
      first: A method.
      second: Another.
      reference: Labels of the frames, as a method without predictions; None for those that the methods have.

    Raises:
      EvaluationError: No frame, no AU or no label is common; the labels of a frame differ; a frame has more predictions
        than another.
    """
    everything = [method for method in (reference, first, second) if method is not None]
    _refuse_other_recordings(everything)
    labelled = [method for method in everything if method.labels is not None]
    if not labelled:
        raise EvaluationError("neither method has labels: name their corpus with --corpus, and --data_dir")
    aus = _common_aus(first, second, labelled[0])
    everything = _with_sequences(everything, labelled[0])
    keyed = [_Keyed(method, keys) for method, keys in zip(everything, _keys(everything), strict=True)]
    left_out, common = _common(keyed, has_reference=reference is not None)
    repeats = [_repeats(item, common) for item in keyed]
    aligned = [_aligned(item, common) for item in keyed]
    labels = _labels([method for method in aligned if method.labels is not None], aus, len(common))
    scored, unknown = _scored(aligned[-2:], labels, aus, repeats[-2:])
    return PairedFrames(aus, scored, _splits(aligned), (*left_out, *unknown), len(common))


def _refuse_other_recordings(methods: Sequence[Method]) -> None:
    known = {method.recordings: method.name for method in methods if method.recordings}
    if len(known) > 1:
        shown = ", ".join(f"{name} of {recordings}" for recordings, name in known.items())
        raise EvaluationError(f"these are recordings of different people, whatever their names: {shown}")


def _common_aus(first: Method, second: Method, labelled: Method) -> tuple[int, ...]:
    aus = tuple(sorted({*first.aus} & {*second.aus} & {*labelled.aus}))
    if not aus:
        shown = "; ".join(f"{m.name}: {', '.join(map(str, m.aus))}" for m in dict.fromkeys((first, second, labelled)))
        raise EvaluationError(f"no AU is common: {shown}")
    return aus


def _with_sequences(methods: Sequence[Method], labelled: Method) -> list[Method]:
    """Fill in sequences that a method does not name, of subjects who have one alone."""
    of_subject: dict[str, set[str]] = {}
    for subject, sequence in set(zip(labelled.subjects.tolist(), labelled.sequences.tolist(), strict=True)):
        of_subject.setdefault(subject, set()).add(sequence)
    filled = []
    for method in methods:
        is_empty = method.sequences == ""
        sequences = method.sequences.astype(object)
        for subject in np.unique(method.subjects[is_empty]).tolist():
            names = of_subject.get(subject, set())
            if len(names) > 1:
                shown = ", ".join(sorted(names)[:3])
                raise EvaluationError(
                    f"{method.name} does not say which recording of {subject} a row is of ({shown}): give a column "
                    "sequence, or a group (?P<sequence>…) of --inputs"
                )
            sequences[is_empty & (method.subjects == subject)] = next(iter(names), "")
        filled.append(dataclasses.replace(method, sequences=sequences.astype(str)))
    return filled


def _keys(methods: Sequence[Method]) -> Iterator[np.ndarray]:
    """Yield a number for each row of each method, the same for the same subject, sequence and frame."""
    parts = [np.concatenate([getattr(m, name) for m in methods]) for name in ("subjects", "sequences", "frames")]
    columns = np.stack([np.unique(part, return_inverse=True)[1] for part in parts], 1)
    numbers = np.unique(columns, axis=0, return_inverse=True)[1].ravel()
    start = 0
    for method in methods:
        yield numbers[start : start + len(method)]
        start += len(method)


def _common(keyed: Sequence[_Keyed], has_reference: bool) -> tuple[list[str], np.ndarray]:
    """Return what is left out, and the keys of the frames that all have and both methods have a result of."""
    names = [f"the labels of {keyed[0].method.name}"] if has_reference else []
    names += [item.method.name for item in keyed[-2:]]
    every = [np.unique(item.keys) for item in keyed]
    usable = every[:-2] + [np.unique(item.keys[(item.method.present >= 0).any(1)]) for item in keyed[-2:]]
    left_out = [
        f"{len(keys) - len(found):,} of {len(keys):,} frames are without a result of {name}, and left out"
        for name, keys, found in zip(names, every, usable, strict=True)
        if len(keys) > len(found)
    ]
    common = functools.reduce(np.intersect1d, usable)
    for name, own in zip(names, usable, strict=True):
        lacking = [other for other, keys in zip(names, usable, strict=True) if np.setdiff1d(own, keys).size]
        if lacking:
            count = f"{len(own) - len(common):,} of {len(own):,}"
            left_out.append(f"{count} frames of {name} are left out, which are not in {' or '.join(lacking)}")
    if not common.size:
        raise EvaluationError(f"no frame is common to {' and '.join(names)}: {_examples(keyed)}")
    return left_out, common


def _examples(keyed: Sequence[_Keyed]) -> str:
    """Name the first frame of each method."""
    return "; ".join(f"{item.method.name} has {_where(item.method, 0)}" for item in keyed if len(item.method))


def _where(method: Method, row: int) -> str:
    recording = "/".join(filter(None, (method.subjects[row], method.sequences[row])))
    return f"{recording} frame {method.frames[row]}"


def _repeats(item: _Keyed, common: np.ndarray) -> int:
    """Return how often each of the common frames comes in a method.

    Raises:
      EvaluationError: Some come more often than others, or the networks that they come from are not one method.
    """
    keys, counts = np.unique(item.keys[np.isin(item.keys, common)], return_counts=True)
    if counts.min() < counts.max():
        more, fewer = (np.flatnonzero(item.keys == keys[end(counts)])[0] for end in (np.argmax, np.argmin))
        raise EvaluationError(
            f"{item.method.name} has {counts.max()} predictions of {_where(item.method, more)} and {counts.min()} of "
            f"{_where(item.method, fewer)}: name the files of one method, with as many for each frame"
        )
    if counts[0] > 1 and item.method.settings:
        raise EvaluationError(
            f"{item.method.name} holds several methods, which differ in {', '.join(item.method.settings[:5])}: name "
            "the files of one"
        )
    return int(counts[0])


def _aligned(item: _Keyed, common: np.ndarray) -> Method:
    """Return a method's rows of the common frames, in their order."""
    rows = np.flatnonzero(np.isin(item.keys, common))
    return item.method.of_rows(rows[np.argsort(item.keys[rows], kind="stable")])


def _labels(methods: Sequence[Method], aus: tuple[int, ...], count: int) -> np.ndarray:
    """Return the labels of the N common frames, once each, (N, K), which all methods that have labels agree on."""
    first = methods[0]
    labels = first.of_aus(aus).labels
    assert labels is not None
    labels = labels[:: len(first) // count]
    for other in methods:
        shared = [k for k, au in enumerate(aus) if au in other.aus]
        others = other.of_aus(tuple(aus[k] for k in shared)).labels
        assert others is not None
        expected = np.repeat(labels, len(other) // count, 0)[:, shared]
        for row, column in np.argwhere(others != expected)[:1]:
            au = au_label(aus[shared[column]])
            label, another = (_LABELS[int(values[row, column])] for values in (expected, others))
            raise EvaluationError(
                f"labels differ: {au} is {label} in {_where(other, row)} by {first.name}, and {another} by "
                f"{other.name}: evaluate both on one preparation of the corpus"
            )
    return labels


def _scored(
    methods: Sequence[Method], labels: np.ndarray, aus: tuple[int, ...], repeats: Sequence[int]
) -> tuple[tuple[ScoredFrames, ScoredFrames], list[str]]:
    """Return both methods at the common frames; a label is unknown where either has no result of the AU."""
    parts = [method.of_aus(aus) for method in methods]
    no_result = np.zeros(labels.shape, bool)
    for part, times in zip(parts, repeats, strict=True):
        no_result |= (part.present < 0).reshape(-1, times, len(aus)).any(1)
    lost = (no_result & (labels >= 0)).sum(0)
    labels = np.where(no_result, -1, labels).astype(np.int8)
    unknown = [
        f"{au_label(au)}: {n:,} frames more are left out, without its result"
        for au, n in zip(aus, lost, strict=True)
        if n
    ]
    first, second = (
        ScoredFrames(part.subjects, np.repeat(labels, times, 0), part.present == 1, part.scores, times)
        for part, times in zip(parts, repeats, strict=True)
    )
    return (first, second), unknown


def _splits(methods: Sequence[Method]) -> dict[str, str]:
    """Return the split of each subject, of the first method that names splits; empty if a subject is in two."""
    for method in methods:
        if method.splits is not None:
            pairs = set(zip(method.subjects.tolist(), method.splits.tolist(), strict=True))
            return dict(pairs) if len({subject for subject, _ in pairs}) == len(pairs) else {}
    return {}
