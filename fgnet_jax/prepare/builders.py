"""TFDS builders of prepared corpora: DISFA, BP4D and custom ones, written without TensorFlow.

With this module imported, `tfds.builder("disfa", data_dir=…)` opens what `python -m fgnet_jax.prepare` wrote.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from fgnet_jax import aus as aus_lib
from fgnet_jax.data import damage, schema
from fgnet_jax.data import folds as folds_lib
from fgnet_jax.data.identity import PREPARATION
from fgnet_jax.prepare import chunks
from fgnet_jax.prepare.layouts.records import CorpusRecords, LabelledSequence, LayoutError


@dataclasses.dataclass(frozen=True)
class DatasetPlan:
    """What a dataset is written from.

    Attributes:
      corpus: Sequences and labels.
      work: Folder of the sequences' chunks (`chunks`), each in `work/SUBJECT/NAME`.
      preparation: Options, and a fingerprint of the source; see `settings.preparation`.
    """

    corpus: CorpusRecords
    work: Path
    preparation: Mapping[str, Any]

    def folder(self, sequence: LabelledSequence) -> Path:
        """Return the folder of a sequence's chunks."""
        return self.work / sequence.key


class _Prepared(schema.CorpusBuilder, skip_registration=True):
    """Base class of all prepared corpora."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, plan: DatasetPlan | None = None, **kwargs: Any):  # noqa: ANN401 - TFDS' own
        """Create a builder that writes `plan`, or one that only reads; the rest is TFDS'."""
        self._plan = plan
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        """Describe the dataset."""
        aus, preparation = self._aus_and_preparation()
        return schema.CorpusInfo(
            builder=self,
            description="Aligned faces with 68 landmarks and facial action units; a split is a fold.",
            features=schema.features(len(aus)),
            metadata=tfds.core.MetadataDict(schema.metadata(aus) | {PREPARATION: preparation}),
            disable_shuffling=True,
        )

    def _aus_and_preparation(self) -> tuple[tuple[int, ...], dict[str, Any]]:
        """Return AUs and preparation: those of the plan, or of the dataset on disk, or else the corpus' usual AUs."""
        if self._plan is not None:
            return self._plan.corpus.aus, dict(self._plan.preparation)
        stored = Path(self._data_dir) / damage.METADATA_FILE
        values: dict[str, Any] = (
            json.loads(stored.read_text()) if stored.exists() else {"aus": aus_lib.CORPUS_AUS[self.name]}
        )
        return tuple(values["aus"]), values.get(PREPARATION, {})

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """Return the splits that have a face: TFDS refuses to write an empty one."""
        del dl_manager
        if self._plan is None:
            raise LayoutError(f"{self.name} is not prepared: python -m fgnet_jax.prepare {self.name} --source DIR")
        folds = {
            folds_lib.split_name(k): [s for s in self._plan.corpus.sequences if s.fold == k]
            for k in self._plan.corpus.folds
        }
        return {name: self._generate_examples(items) for name, items in folds.items() if self._has_face(items)}

    def _has_face(self, items: list[LabelledSequence]) -> bool:
        """Tell whether any of these sequences has a face."""
        assert self._plan is not None
        return any(len(chunk.rows) for item in items for chunk in chunks.read(self._plan.folder(item)))

    def _generate_examples(self, items: list[LabelledSequence]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Read the sequences' faces from their chunks."""
        assert self._plan is not None
        key = 0
        for item in items:
            for chunk in chunks.read(self._plan.folder(item)):
                for row, image, landmarks in zip(chunk.rows, chunk.images, chunk.landmarks, strict=True):
                    yield key, _record(item, int(row), image, landmarks)
                    key += 1


def _record(item: LabelledSequence, row: int, image: bytes, landmarks: np.ndarray) -> dict[str, Any]:
    """Build the record of a face, `row` its row in the sequence's labels."""
    return {
        "image": image,
        "landmarks": landmarks,
        "labels": item.labels[row],
        "intensities": item.intensities[row],
        "subject": item.subject,
        "sequence": item.name,
        "frame": int(item.frames[row]),
    }


class Disfa(_Prepared):
    """DISFA (Mavadati et al., IEEE TAC 2013): 27 subjects watching videos, intensities of twelve AUs."""


class Bp4d(_Prepared):
    """BP4D-Spontaneous (Zhang et al., IVC 2014): 41 subjects, eight tasks each, occurrence of AUs."""


def builder_class(name: str) -> type[_Prepared]:
    """Return the builder class of a corpus; for a custom corpus, a new one.

    Raises:
      LayoutError: for a name that no dataset can have.
    """
    if name in ("disfa", "bp4d"):
        return {"disfa": Disfa, "bp4d": Bp4d}[name]
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name.startswith(aus_lib.SYNTHETIC):
        raise LayoutError(f"a corpus cannot be named {name!r}: expected small letters, digits and _, such as my_corpus")
    custom = type("Custom", (_Prepared,), {"__module__": __name__}, skip_registration=True)
    custom.name = name
    return custom


def prepared_as(name: str, data_dir: Path) -> dict[str, Any] | None:
    """Return how the dataset of this name in a folder was prepared; None if there is no such dataset.

    Raises:
      CorpusError: if its metadata are damaged.
    """
    folder = data_dir / name / str(_Prepared.VERSION)
    if not (folder / damage.INFO_FILE).exists():
        return None
    return dict(damage.open_builder(folder).info.metadata or {}).get(PREPARATION, {})


def write(plan: DatasetPlan, data_dir: Path) -> tfds.core.DatasetBuilder:
    """Write a dataset from finished chunks, under `schema.only_writer`."""
    name = plan.corpus.name
    builder = builder_class(name)(plan=plan, data_dir=str(data_dir))
    schema.write(builder, data_dir / name)
    return builder
