"""Subject leakage: no network is tested on subjects whom it was trained on.

Training records its subjects in the weights' metadata, and they are compared with those of the test. Metrics on
training subjects say nothing about a network, and a wrong split is easily given; so such a test is refused.
"""

from collections.abc import Iterable

from fgnet_jax.data import folds
from fgnet_jax.models.weights import WeightsMeta


class LeakageError(ValueError):
    """A test on training subjects, or on subjects of whom that is not known; the message names them."""


def same_corpus(name: str, other_name: str) -> bool:
    """Return whether two names are of the same recordings, whatever preparation (`disfa/…`) they name."""
    return folds.base_name(name) == folds.base_name(other_name)


def check_no_leakage(
    meta: WeightsMeta, *, corpus: str, subjects: Iterable[str], name: str, fold: int | None = None
) -> None:
    """Refuse to test a network on subjects of a corpus whom it was trained on, or whom its epoch was selected on.

    Args:
      meta: The weights' metadata.
      corpus: The corpus to test on.
      subjects: The subjects to test on.
      name: Name of the weights in messages.
      fold: The fold that was left out of training, for weights whose metadata do not have it (converted ones).

    Raises:
      LeakageError: Some of the subjects are training subjects; or the weights are of this corpus and the fold that was
        left out is not known.
    """
    leaked = sorted(training_subjects(meta, corpus=corpus, name=name, fold=fold) & set(subjects))
    if leaked:
        shown = ", ".join(leaked[:5]) + (f" and {len(leaked) - 5} more" if len(leaked) > 5 else "")
        raise LeakageError(
            f"{name} was trained or selected on {len(leaked)} of the subjects of this split of {corpus}: {shown}. "
            f"Test it on the fold that was left out{_left_out(meta, fold)}"
        )


def training_subjects(meta: WeightsMeta, *, corpus: str, name: str, fold: int | None = None) -> set[str]:
    """Return all subjects of a corpus that a network was trained or selected on; see `check_no_leakage`."""
    record = meta.extra.get("trained_on", {})
    if "subjects" in record:
        groups = (record["subjects"], record.get("held_out", {}))
        return {s for group in groups for key, names in group.items() if same_corpus(key, corpus) for s in names}
    if not meta.corpus:
        raise LeakageError(f"{name} does not say which corpus it was trained on")
    if not same_corpus(meta.corpus, corpus):
        return set()
    left_out = record.get("fold", fold)
    if left_out is None:
        raise LeakageError(
            f"{name} was trained on {meta.corpus} but does not say on which folds; "
            "give the one that was left out with --trained_fold"
        )
    return set(folds.subjects(folds.base_name(corpus), [k for k in range(folds.NUM_FOLDS) if k != left_out]))


def _left_out(meta: WeightsMeta, fold: int | None) -> str:
    known = meta.extra.get("trained_on", {}).get("fold", fold)
    return "." if known is None else f": --split {folds.split_name(known)}."
