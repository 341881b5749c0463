"""What the weights that a run begins with have learnt from, and the run's own lineage (`fgnet_jax.models.lineage`).

A run is not tested on subjects from whom any earlier step of its weights has learnt; where that is not known, it is
asked for (`init_fold`).
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from fgnet_jax.data import folds
from fgnet_jax.models import lineage, weights
from fgnet_jax.models.lineage import Link
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.train import workdirs
from fgnet_jax.train.defaults import Config, ConfigError
from fgnet_jax.train.splits import FaceSubset, RunData


class UnknownSubjectsError(ValueError):
    """A link does not record from whom it has learnt; the message goes on after the name of the weights."""


def learnt_subjects(link: Link, corpus: str) -> set[str]:
    """Return all subjects of a corpus that a link was trained or selected on.

    Args:
      link: A step of the history of weights.
      corpus: The corpus; of its name, the preparation (`disfa/…`) does not matter.

    Raises:
      UnknownSubjectsError: The link has learnt from this corpus, but its fold is not known; or has learnt from a corpus
        that is not known.
    """
    if link.kind == lineage.LOST:
        raise UnknownSubjectsError(
            "was gone before it was recorded whom it has learnt from: put it back and resume the run, which records it"
        )
    if link.subjects or link.held_out:
        groups = (link.subjects, link.held_out)
        return {name for group in groups for key, names in group.items() if _same(key, corpus) for name in names}
    if not link.corpus:
        if link.hides_corpora:
            raise UnknownSubjectsError("does not say which corpus it was trained on")
        return set()
    if not _same(link.corpus, corpus):
        return set()
    if link.fold is None:
        raise UnknownSubjectsError(f"was trained on {link.corpus} but does not say on which folds")
    try:
        return set(folds.subjects(folds.base_name(corpus), [k for k in range(folds.NUM_FOLDS) if k != link.fold]))
    except ValueError as error:  # its folds are not published
        raise UnknownSubjectsError(f"was trained on {link.corpus} but does not say on which subjects") from error


def _same(name: str, other_name: str) -> bool:
    return folds.base_name(name) == folds.base_name(other_name)


def needs_fold(link: Link) -> bool:
    """Return whether a link has learnt from a corpus, and does not record which subjects or fold of it."""
    return bool(link.corpus) and link.fold is None and not link.subjects and not link.held_out


def with_fold(links: Sequence[Link], fold: int | None) -> tuple[Link, ...]:
    """Return links, those that need it (`needs_fold`) with the fold that they left out."""
    return tuple(dataclasses.replace(link, fold=fold) if needs_fold(link) else link for link in links)


def describe(link: Link) -> str:
    """Return a link's name for messages: the run, or the converted files, with its corpus and fold."""
    name = link.name or ", ".join(file["file"] for file in link.files) or link.kind
    return f"{name} ({link.corpus}, fold {link.fold} left out)" if link.corpus else name


def earlier_links(config: Config, workdir: Path) -> tuple[Link, ...]:
    """Return the lineage of the weights that a run begins with; empty if it begins from scratch.

    Args:
      config: The run's configuration.
      workdir: Its folder. What it recorded at its start counts, whatever has become of `init_from`.

    Raises:
      WeightsError: There are no weights where `init_from` says.
      ConfigError: `init_fold` is no fold, or the weights say themselves which fold they left out.
    """
    fold, source = config.init_fold, config.init_from
    if fold not in (-1, *range(folds.NUM_FOLDS)):
        raise ConfigError(f"init_fold must be 0 to {folds.NUM_FOLDS - 1}, or -1 where it is not known, got {fold!r}")
    recorded = workdirs.read_lineage(workdir)
    if not recorded or any(link.kind == lineage.LOST for link in recorded):
        links = _links_of(source, workdir) if source else ()
    else:
        links = recorded[:-1]
    if fold < 0:
        return links
    if not any(needs_fold(link) or (not link.subjects and link.fold == fold) for link in links):
        raise ConfigError(
            f"init_fold {fold}: leave it out: {source or 'init_from'} needs none, or records its subjects"
        )
    return with_fold(links, fold)


def _links_of(source: str, workdir: Path) -> tuple[Link, ...]:
    """Return the lineage that weights record; of weights that a run begun before has lost, that it is not known."""
    if not weights.absolute(source).exists() and workdirs.has_checkpoint(workdir):
        return (Link(kind=lineage.LOST, name=source),)
    return lineage.links(load_meta(source))


def load_meta(directory: str | Path) -> WeightsMeta:
    """Load the metadata of weights; those of earlier versions get the lineage that follows from `init_from`.

    Training did not record a lineage then, but a run's configuration lies beside its best weights. Where the weights
    that it names are gone, the lineage begins with a link of kind `UNKNOWN` that has their name.

    Raises:
      WeightsError: There are no weights, or they are damaged.
      ConfigError: The configuration beside them is damaged.
    """
    meta = weights.load_meta(directory)
    if lineage.KEY in meta.extra or "trained_on" not in meta.extra or "://" in str(directory):
        return meta
    config = workdirs.read_json(Path(directory).resolve().parent / workdirs.CONFIG) or {}
    source = config.get("init_from", "")
    if not source or Path(directory).resolve().name != "best":
        return meta
    exists = weights.absolute(source).exists()
    earlier = lineage.links(load_meta(source)) if exists else (Link(kind=lineage.UNKNOWN, name=source),)
    chain = [link.to_dict() for link in (*earlier, *lineage.links(meta))]
    return dataclasses.replace(meta, extra=meta.extra | {lineage.KEY: chain})


def check_tests(links: Sequence[Link], data: RunData, source: str, *, fold_key: str = "init_fold") -> None:
    """Refuse a run that would be tested on subjects from whom the weights that it begins with have learnt.

    Args:
      links: Lineage of these weights.
      data: The run's faces.
      source: The weights, in messages.
      fold_key: The key of the configuration that says which fold they left out, where they do not.

    Raises:
      ConfigError: It would be, or it is not known; the message says by which step, on whom, and what to do.
    """
    for faces in (data.test, *data.also_test):
        for corpus, subjects in faces.subjects_by_corpus().items():
            for link in links:
                if link.kind != lineage.LOST:  # of a run begun before lineages were: `remarks` says so
                    text = f"{faces.name} after {source}"
                    advice = _advice(links, corpus)
                    _check_test(link, corpus, subjects, advice=advice, text=text, fold_key=fold_key)


def _check_test(link: Link, corpus: str, subjects: Sequence[str], *, advice: str, text: str, fold_key: str) -> None:
    try:
        learnt = sorted(learnt_subjects(link, corpus) & set(subjects))
    except UnknownSubjectsError as error:
        hint = f"give the fold that it left out, --config.{fold_key}=N" if link.corpus else "begin with other weights"
        raise ConfigError(f"this run cannot be tested on {text}: {describe(link)} {error}; {hint}") from error
    if learnt:
        shown = ", ".join(learnt[:5]) + (f" and {len(learnt) - 5} more" if len(learnt) > 5 else "")
        raise ConfigError(
            f"this run cannot be tested on {text}: {describe(link)} was trained or selected on {len(learnt)} of its "
            f"subjects: {shown}. {advice}"
        )


def _advice(links: Sequence[Link], corpus: str) -> str:
    """Say which fold no link has learnt from, if there is one."""
    left_out = {link.fold for link in links if any(_same(name, corpus) for name in link.learnt_corpora)}
    if len(left_out) == 1 and None not in left_out:
        return f"Use the fold that it left out, --config.data.fold={left_out.pop()}, or begin with other weights"
    return f"No fold of {corpus} is left that it has not learnt from: begin with other weights"


def remarks(links: Sequence[Link], data: RunData) -> Iterator[str]:
    """Yield what a user should know of the weights that a run begins with, a line each."""
    for link in links:
        if link.kind == lineage.LOST:
            yield f"{link.name} is gone: whom it has learnt from is not known, so no test of this run will be accepted"
        if needs_fold(link):
            yield (
                f"{describe(link)}: the fold that it left out is not known, so nothing of {link.corpus} can be tested "
                "within; --config.init_fold=N says it"
            )
    if known := selected_on_learnt(links, data.select):
        yield f"The best epoch is selected{known}: its F1 there is too high."


def selected_on_learnt(links: Sequence[Link], select: FaceSubset) -> str:
    """Return, in words that follow the rule of selection, which of its subjects earlier links were trained on."""
    names = set()
    for corpus, subjects in select.subjects_by_corpus().items():
        for link in links:
            trained = {name for key, group in link.subjects.items() if _same(key, corpus) for name in group}
            if link.corpus and not link.subjects and not needs_fold(link):
                trained = learnt_subjects(link, corpus)
            names |= trained & set(subjects)
    return f", {len(names)} of whom earlier steps were trained on ({', '.join(sorted(names))})" if names else ""


def own_link(config: Config, data: RunData, *, name: str, weights_sha256: str) -> Link:
    """Return the link that a run adds, before its first step.

    Args:
      config: The run's configuration.
      data: Its faces.
      name: Its name.
      weights_sha256: `weights.checksum` of what it begins with; "" if it begins from scratch, or that is not known.
    """
    is_held_out = config.train.select_on == "held_out"
    return Link(
        kind=lineage.TRAINED,
        name=name,
        corpus=config.data.corpus,
        fold=config.data.fold,
        aus=data.aus,
        subjects=data.train.subjects_by_corpus(),
        held_out=data.select.subjects_by_corpus() if is_held_out else {},
        fingerprints={identity.name: identity.fingerprint for identity in data.train.corpus.identities},
        weights_sha256=weights_sha256,
        selection=data.selection,
    )
