"""Subject leakage: no network is tested on subjects whom it was trained on.

Training records its subjects in the weights' metadata, with those of every run that it began from, and they are
compared with those of the test. Metrics on training subjects say nothing about a network, and a wrong split is easily
given; so such a test is refused.
"""

from collections.abc import Iterable

from fgnet_jax.data import folds
from fgnet_jax.models import lineage
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.train import ancestry


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
            f"{_advice(meta, corpus, fold)}"
        )


def training_subjects(meta: WeightsMeta, *, corpus: str, name: str, fold: int | None = None) -> set[str]:
    """Return all subjects of a corpus that any step of a network's lineage was trained or selected on.

    See `check_no_leakage`.
    """
    learnt: set[str] = set()
    links = lineage.links(meta)
    for number, link in enumerate(ancestry.with_fold(links, fold), 1):
        try:
            learnt |= ancestry.learnt_subjects(link, corpus)
        except ancestry.UnknownSubjectsError as error:
            through = "" if number == len(links) else f" began with {ancestry.describe(link)}, which"
            advice = "; give the one that was left out with --trained_fold" * ancestry.needs_fold(link)
            raise LeakageError(f"{name}{through} {error}{advice}") from error
    return learnt


def _advice(meta: WeightsMeta, corpus: str, fold: int | None) -> str:
    """Say which fold of a corpus can be tested: the one that every step that has learnt from the corpus left out."""
    links = [
        link
        for link in ancestry.with_fold(lineage.links(meta), fold)
        if any(same_corpus(name, corpus) for name in link.learnt_corpora)
    ]
    left_out = {link.fold for link in links}
    if len(left_out) > 1:
        steps = "; ".join(map(ancestry.describe, links))
        return f"No fold of {corpus} was left out by every step of its lineage: {steps}."
    known = left_out.pop()
    other = next((f"--corpus {link.corpus} " for link in links if not same_corpus(link.corpus or corpus, corpus)), "")
    split = "" if known is None else f": {other}--split {folds.split_name(known)}"
    return f"Test it on the fold that was left out{split}."
