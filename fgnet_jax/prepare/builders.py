"""Prepared corpora as TFDS datasets: DISFA, BP4D and corpora of one's own, written without TensorFlow.

With this module imported, `tfds.builder("disfa", data_dir=…)` opens what `python -m fgnet_jax.prepare` wrote.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from fgnet_jax import aus as aus_lib
from fgnet_jax.data import folds as folds_lib
from fgnet_jax.data import schema
from fgnet_jax.prepare import chunks
from fgnet_jax.prepare.layouts.records import CorpusRecords, LabelledSequence, LayoutError

PREPARATION = "preparation"
"""Where a dataset's metadata say how it was prepared."""

_METADATA = "metadata.json"


@dataclasses.dataclass(frozen=True)
class DatasetPlan:
    """What a dataset is written from.

    Attributes:
      found: Labels.
      work: Folder of the sequences' chunks (`chunks`), each in `work/SUBJECT/NAME`.
      preparation: Options, and a fingerprint of the source.
    """

    found: CorpusRecords
    work: Path
    preparation: Mapping[str, Any]

    def folder(self, sequence: LabelledSequence) -> Path:
        """Where the chunks of a sequence lie."""
        return self.work / sequence.key


class _Prepared(schema.CorpusBuilder, skip_registration=True):
    """What all prepared corpora share."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, plan: DatasetPlan | None = None, **kwargs: Any):
        self._plan = plan
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        aus, preparation = self._what()
        return tfds.core.DatasetInfo(
            builder=self,
            description="Aligned faces with 68 landmarks and facial action units; a split is a fold.",
            features=schema.features(len(aus)),
            metadata=tfds.core.MetadataDict(schema.metadata(aus) | {PREPARATION: preparation}),
            disable_shuffling=True,
        )

    def _what(self) -> tuple[tuple[int, ...], dict[str, Any]]:
        """AUs and preparation: of the plan, or of what is on disk, or (with neither) the published AUs."""
        if self._plan is not None:
            return self._plan.found.aus, dict(self._plan.preparation)
        stored = Path(self._data_dir) / _METADATA
        values: dict[str, Any] = (
            json.loads(stored.read_text()) if stored.exists() else {"aus": aus_lib.CORPUS_AUS[self.name]}
        )
        return tuple(values["aus"]), values.get(PREPARATION, {})

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager
        if self._plan is None:
            raise LayoutError(f"{self.name} is not prepared: python -m fgnet_jax.prepare {self.name} --source DIR")
        folds = {
            folds_lib.split_name(k): [s for s in self._plan.found.sequences if s.fold == k]
            for k in range(folds_lib.NUM_FOLDS)
        }
        return {name: self._generate_examples(items) for name, items in folds.items() if self._has_face(items)}

    def _has_face(self, items: list[LabelledSequence]) -> bool:
        """TFDS refuses to write a split of nothing."""
        assert self._plan is not None
        return any(len(chunk.rows) for item in items for chunk in chunks.read(self._plan.folder(item)))

    def _generate_examples(self, items: list[LabelledSequence]) -> Iterator[tuple[int, dict[str, Any]]]:
        assert self._plan is not None
        key = 0
        for item in items:
            for chunk in chunks.read(self._plan.folder(item)):
                for row, image, landmarks in zip(chunk.rows, chunk.images, chunk.landmarks, strict=True):
                    yield key, _record(item, int(row), image, landmarks)
                    key += 1


def _record(item: LabelledSequence, row: int, image: bytes, landmarks: Any) -> dict[str, Any]:
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
    """DISFA (Mavadati et al., IEEE TAC 2013): 27 people watching videos, intensities of twelve AUs."""


class Bp4d(_Prepared):
    """BP4D-Spontaneous (Zhang et al., IVC 2014): 41 people, eight tasks each, occurrence of AUs."""


def builder_class(name: str) -> type[_Prepared]:
    """The builder of a corpus; one is made for a corpus of one's own.

    Raises:
      LayoutError: for a name that no dataset can have.
    """
    if name in ("disfa", "bp4d"):
        return {"disfa": Disfa, "bp4d": Bp4d}[name]
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name.startswith(folds_lib.SYNTHETIC):
        raise LayoutError(f"a corpus cannot be named {name!r}: expected small letters, digits and _, such as my_corpus")
    made = type("Own", (_Prepared,), {"__module__": __name__}, skip_registration=True)
    made.name = name
    return made


def prepared_as(name: str, data_dir: Path) -> dict[str, Any] | None:
    """How the dataset of this name in a folder was prepared; None where there is none."""
    folder = data_dir / name / str(_Prepared.VERSION)
    if not (folder / "dataset_info.json").exists():
        return None
    return json.loads((folder / _METADATA).read_text()).get(PREPARATION, {})


def write(plan: DatasetPlan, data_dir: Path) -> tfds.core.DatasetBuilder:
    """Writes a dataset from finished chunks, under `schema.only_writer`."""
    builder = builder_class(plan.found.corpus)(plan=plan, data_dir=str(data_dir))
    schema.write(builder, data_dir / plan.found.corpus)
    return builder
