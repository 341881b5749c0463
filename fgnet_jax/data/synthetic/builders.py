"""The synthetic corpora as TFDS datasets, written without TensorFlow."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from fgnet_jax import aus as aus_lib
from fgnet_jax.data import folds as folds_lib
from fgnet_jax.data import schema
from fgnet_jax.data.synthetic import corpus as corpus_lib


@dataclasses.dataclass(eq=False, kw_only=True)
class SyntheticConfig(tfds.core.BuilderConfig):
    """The settings that decide the bytes of a synthetic corpus.

    The name tells all of them and `corpus.RECIPE`, so that a folder prepared with other settings, or by code that
    renders otherwise, is never used for this one.

    Attributes:
      frames: Frames in all.
      seed: Seed of identities, expressions and views.
      rates: Share of positive frames per AU, as (AU, share) pairs; AUs left out have the corpus' default.
    """

    frames: int = 4000
    seed: int = 0
    rates: tuple[tuple[int, float], ...] = ()


def make_config(frames: int, seed: int = 0, rates: Mapping[int, float] | None = None) -> SyntheticConfig:
    """Return a configuration named by its frames, its seed, and a hash of these, the rates and `corpus.RECIPE`."""
    pairs = tuple(sorted((int(au), float(rate)) for au, rate in (rates or {}).items()))
    text = json.dumps([frames, seed, pairs, corpus_lib.RECIPE])
    name = f"frames{frames}_seed{seed}_{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    return SyntheticConfig(name=name, frames=frames, seed=seed, rates=pairs, description="Synthetic faces.")


class _Synthetic(schema.CorpusBuilder, skip_registration=True):
    """Base of both synthetic corpora."""

    VERSION = tfds.core.Version("1.0.0")
    workers = 1

    def _info(self) -> tfds.core.DatasetInfo:
        aus = aus_lib.CORPUS_AUS[folds_lib.family(self.name)]
        return schema.CorpusInfo(
            builder=self,
            description="Rendered faces showing action units; subjects, folds and AUs of the corpus in the name.",
            features=schema.features(len(aus)),
            metadata=schema.metadata(aus),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager
        config = self.builder_config
        assert isinstance(config, SyntheticConfig)
        planned = corpus_lib.recordings(self.name, config.frames, seed=config.seed, rates=dict(config.rates))
        folds: dict[int, list[corpus_lib.Recording]] = {k: [] for k in range(folds_lib.NUM_FOLDS)}
        for recording in planned:
            folds[folds_lib.fold_of(self.name, recording.subject)].append(recording)
        return {folds_lib.split_name(k): self._generate_examples(items) for k, items in folds.items()}

    def _generate_examples(self, items: list[corpus_lib.Recording]) -> Iterator[tuple[int, dict[str, Any]]]:
        key = 0
        for recording, frames in corpus_lib.encode_all(items, self.workers):
            present = corpus_lib.labels(recording.intensities)
            for frame, (jpeg, landmarks) in enumerate(frames):
                yield (
                    key,
                    {
                        "image": jpeg,
                        "landmarks": landmarks,
                        "labels": present[frame],
                        "intensities": recording.intensities[frame],
                        "subject": recording.subject,
                        "sequence": recording.sequence,
                        "frame": frame + 1,
                    },
                )
                key += 1


class SyntheticBp4d(_Synthetic):
    """Stand-in for BP4D: 41 subjects, eight tasks each, twelve AUs."""

    BUILDER_CONFIGS = [make_config(4000)]


class SyntheticDisfa(_Synthetic):
    """Stand-in for DISFA: 27 subjects, one video each, eight AUs."""

    BUILDER_CONFIGS = [make_config(4000)]


_BUILDERS: dict[str, type[_Synthetic]] = {"synthetic_bp4d": SyntheticBp4d, "synthetic_disfa": SyntheticDisfa}


def prepare_synthetic(
    corpus: str,
    data_dir: str | pathlib.Path,
    *,
    frames: int = 4000,
    seed: int = 0,
    rates: Mapping[int, float] | None = None,
    workers: int = 1,
) -> tfds.core.DatasetBuilder:
    """Prepare a synthetic corpus on disk, unless it is there already.

    The folder appears complete or not at all: a run that is killed leaves nothing that could be mistaken for data, and
    the next one removes its incomplete folder. Several processes may prepare the same corpus; one renders it, the
    others wait.

    Args:
      corpus: `synthetic_bp4d` or `synthetic_disfa`.
      data_dir: Folder of all datasets.
      frames: Frames in all, over all three folds.
      seed: Seed of identities, expressions and views; the same seed gives the same bytes.
      rates: Share of positive frames per AU where it should differ from `synthetic.corpus.base_rates`.
      workers: Processes that render.

    Returns:
      The prepared builder; `fgnet_jax.data.corpus.open_corpus` reads it.

    Raises:
      ValueError: for an unknown corpus, a wrong rate or frame count.
    """
    if corpus not in _BUILDERS:
        raise ValueError(f"unknown synthetic corpus {corpus!r}: expected one of {', '.join(_BUILDERS)}")
    corpus_lib.recordings(corpus, frames, seed=seed, rates=rates)  # raises on wrong arguments before writing anything
    config = make_config(frames, seed, rates)
    builder = _open(corpus, config, data_dir)
    if builder.is_prepared():
        return builder
    folder = pathlib.Path(data_dir) / corpus / config.name
    with schema.only_writer(folder):
        builder = _open(corpus, config, data_dir)
        builder.workers = workers
        schema.write(builder, folder)
    return builder


def _open(corpus: str, config: SyntheticConfig, data_dir: str | pathlib.Path) -> _Synthetic:
    # TFDS takes a configuration that it knows by its name, and any other as an object.
    known = _BUILDERS[corpus].builder_configs
    return _BUILDERS[corpus](config=config.name if config.name in known else config, data_dir=str(data_dir))
