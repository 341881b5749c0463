"""Whom a network has seen: written with its weights when it is trained, and asked before it is tested.

A figure on people whom a network was trained on says nothing, and a wrong split is easily named; so it is refused.
"""

from collections.abc import Iterable

from fgnet_jax.data import folds
from fgnet_jax.models.weights import WeightsMeta


class LeakageError(ValueError):
    """A test on people seen in training, or on people of whom that cannot be told; the message names them."""


def same_corpus(one: str, other: str) -> bool:
    """Whether two names are of the same recordings, whatever preparation (`disfa/…`) they name."""
    return one.split("/")[0] == other.split("/")[0]


def check_unseen(meta: WeightsMeta, corpus: str, subjects: Iterable[str], name: str, fold: int | None = None) -> None:
    """Refuses to test on people of a corpus whom the network was trained on, or selected by as training subjects.

    Args:
      meta: Of the weights.
      corpus: What is tested on.
      subjects: Who is in it.
      name: What messages call the weights.
      fold: The fold that was left out of training, for weights that do not say so themselves (converted ones).

    Raises:
      LeakageError: naming some of the people; or where the weights are of this corpus and nobody says which fold.
    """
    seen = seen_subjects(meta, corpus, name, fold)
    both = sorted(seen & set(subjects))
    if both:
        shown = ", ".join(both[:5]) + (f" and {len(both) - 5} more" if len(both) > 5 else "")
        raise LeakageError(
            f"{name} has seen {len(both)} of the people of this split of {corpus} in training: {shown}. "
            f"Test it on the fold that was left out{_left_out(meta, fold)}"
        )


def seen_subjects(meta: WeightsMeta, corpus: str, name: str, fold: int | None = None) -> set[str]:
    """Everybody of a corpus whom the network has seen in training; see `check_unseen`."""
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
            "say which one was left out with --trained_fold"
        )
    return set(folds.subjects(corpus.split("/")[0], [k for k in range(folds.NUM_FOLDS) if k != left_out]))


def _left_out(meta: WeightsMeta, fold: int | None) -> str:
    known = meta.extra.get("trained_on", {}).get("fold", fold)
    return "." if known is None else f": --split {folds.split_name(known)}."
