"""Lineage of weights: every step from published files to these values, with the subjects that each has learnt from.

It is stored in the weights' metadata (`WeightsMeta.extra["lineage"]`) as a list of links, the oldest first, and grows
by one link with every training that starts from other weights; a student has the links of its teachers, one teacher
after the other, and its own. Weights of earlier versions have no list: their last link follows from what they do
record, and everything before it is unknown.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fgnet_jax.aus import SYNTHETIC
from fgnet_jax.models.weights import WeightsMeta

KEY = "lineage"
"""Key of the chain in `WeightsMeta.extra`."""

CONVERTED, TRAINED, DISTILLED, UNKNOWN, LOST = "converted", "trained", "distilled", "unknown", "lost"
"""Kinds of links: published files converted; a training run; a student's distillation, behind all links of its
teachers; weights whose origin is not recorded; weights that were gone before a run that began with them recorded its
lineage."""

RENDERED_ONLY = "rendered faces only"
"""What weights have learnt from whose corpora are all synthetic."""


@dataclasses.dataclass(frozen=True)
class Link:
    """A step of the history of weights.

    Attributes:
      kind: `CONVERTED`, `TRAINED`, `DISTILLED`, `UNKNOWN` or `LOST`.
      name: Name of the run, or of the published network.
      corpus: The corpus that the AUs were learnt from; None if no AU was, or from teachers alone.
      fold: The fold of that corpus that was left out; None where it is not known, or nothing was learnt.
      aus: AU of each heatmap channel.
      subjects: Subjects trained on, by corpus; also those of whom a student has seen faces without labels.
      held_out: Subjects that the best epoch was selected on, by corpus.
      fingerprints: Fingerprint of each prepared corpus that was trained on, by corpus.
      files: Published files converted: {"file": name, "sha256": hex digest}.
      teachers: Of a student, the names of its teachers, with the SHA-256 of their values.
      faces: Of a student, faces that it has learnt from, and in what: {"corpus", "files": number of each}.
      steps: Updates up to these weights.
      weights_sha256: SHA-256 of the values that this link began with (`weights.checksum`); "" if it began from none, or
        that is not known.
      selection: Rule by which the best epoch was selected, in words; "" where it is not recorded.
    """

    kind: str
    name: str = ""
    corpus: str | None = None
    fold: int | None = None
    aus: tuple[int, ...] = ()
    subjects: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    held_out: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    fingerprints: dict[str, str] = dataclasses.field(default_factory=dict)
    files: tuple[dict[str, str], ...] = ()
    teachers: dict[str, str] = dataclasses.field(default_factory=dict)
    faces: dict[str, int] = dataclasses.field(default_factory=dict)
    steps: int = 0
    weights_sha256: str = ""
    selection: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return dataclasses.asdict(self) | {"aus": list(self.aus), "files": list(self.files)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Link":
        """Create a link from what `to_dict` returned; keys that a later version may have added are ignored."""
        names = {field.name for field in dataclasses.fields(cls)}
        fields: dict[str, Any] = {key: value for key, value in values.items() if key in names}
        fields |= {"aus": tuple(fields.get("aus", ())), "files": tuple(fields.get("files", ()))}
        return cls(**fields)

    @property
    def learnt_corpora(self) -> tuple[str, ...]:
        """Every corpus from whose faces, with AU labels or without, this step has learnt or was selected by."""
        named = [self.corpus] if self.corpus else []
        return tuple(dict.fromkeys([*named, *self.subjects, *self.held_out]))

    @property
    def label_corpora(self) -> tuple[str, ...]:
        """Every corpus whose AU labels this step has learnt from or was selected by."""
        is_unlabelled = self.kind == DISTILLED and not self.corpus
        return () if is_unlabelled else self.learnt_corpora

    @property
    def hides_corpora(self) -> bool:
        """Whether this step has learnt AUs, and does not record from which corpora; a student's teachers do."""
        return self.kind == LOST or (bool(self.aus) and not self.learnt_corpora and self.kind != DISTILLED)


def links(meta: WeightsMeta) -> tuple[Link, ...]:
    """Return the lineage of weights, the oldest link first; at least one link."""
    stored = meta.extra.get(KEY)
    if stored:
        return tuple(Link.from_dict(values) for values in stored)
    return (_recorded_without_lineage(meta),)


def is_student(meta: WeightsMeta) -> bool:
    """Return whether weights are a student's, whose AUs are from several corpora if its teachers' are."""
    return links(meta)[-1].kind == DISTILLED


def _recorded_without_lineage(meta: WeightsMeta) -> Link:
    """Return the only link of weights that an earlier version wrote."""
    record = meta.extra.get("trained_on")
    if record:
        return Link(
            kind=TRAINED,
            corpus=record.get("corpus", meta.corpus),
            fold=record.get("fold"),
            aus=meta.aus,
            subjects=record.get("subjects", {}),
            held_out=record.get("held_out", {}),
            steps=int(meta.extra.get("step", 0)),
        )
    kind = CONVERTED if meta.sources else UNKNOWN
    return Link(kind=kind, corpus=meta.corpus, aus=meta.aus, files=meta.sources)


def learnt_from_synthetic_only(meta: WeightsMeta) -> bool:
    """Return whether all AU labels that weights have learnt from are of rendered faces.

    False if they have learnt none, or if what a link has learnt from is not recorded.
    """
    chain = links(meta)
    is_known = not any(link.hides_corpora for link in chain)
    corpora = [corpus for link in chain for corpus in link.label_corpora]
    return is_known and bool(corpora) and all(corpus.startswith(SYNTHETIC) for corpus in corpora)


def learnt_from(meta: WeightsMeta) -> str | list[str]:
    """Return what AU labels weights have learnt from, for JSON: `RENDERED_ONLY`, or the corpora in the order learnt."""
    if learnt_from_synthetic_only(meta):
        return RENDERED_ONLY
    return list(dict.fromkeys(corpus for link in links(meta) for corpus in link.label_corpora))


def notice(meta: WeightsMeta) -> str:
    """Return what must be said where weights meet real faces: a sentence without its end, or ""."""
    is_needed = learnt_from_synthetic_only(meta)
    return f"these weights have learnt from {RENDERED_ONLY}: scores of real faces mean nothing" * is_needed
