"""The synthetic twins as TFDS datasets, written without TensorFlow."""

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
    """What decides the bytes of a synthetic corpus.

    The name carries all of it, so that a folder prepared for other settings, or drawn by other code, is never taken
    for this one.

    Attributes:
      frames: Frames in all.
      seed: Seed of people, expressions and views.
      rates: Share of positive frames per AU, as (AU, share) pairs; AUs left out have the twin's default.
    """

    frames: int = 4000
    seed: int = 0
    rates: tuple[tuple[int, float], ...] = ()


def make_config(frames: int, seed: int = 0, rates: Mapping[int, float] | None = None) -> SyntheticConfig:
    """A configuration whose name holds the frames, the seed and a fingerprint of the rest."""
    pairs = tuple(sorted((int(au), float(rate)) for au, rate in (rates or {}).items()))
    text = json.dumps([frames, seed, pairs, corpus_lib.source_fingerprint()])
    name = f"frames{frames}_seed{seed}_{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    return SyntheticConfig(name=name, frames=frames, seed=seed, rates=pairs, description="Synthetic faces.")


class _Synthetic(schema.CorpusBuilder, skip_registration=True):
    """What both twins share."""

    VERSION = tfds.core.Version("1.0.0")
    workers = 1

    def _info(self) -> tfds.core.DatasetInfo:
        aus = aus_lib.CORPUS_AUS[folds_lib.family(self.name)]
        return tfds.core.DatasetInfo(
            builder=self,
            description="Drawn faces showing facial action units; subjects, folds and AUs of the corpus in the name.",
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
        for recording, drawn in corpus_lib.draw_all(items, self.workers):
            present = corpus_lib.labels(recording.intensities)
            for frame, (jpeg, landmarks) in enumerate(drawn):
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
    """BP4D's twin: 41 people, eight tasks each, twelve AUs."""

    BUILDER_CONFIGS = [make_config(4000)]


class SyntheticDisfa(_Synthetic):
    """DISFA's twin: 27 people, one video each, eight AUs."""

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
    """Makes sure that a synthetic corpus lies on disk.

    What was prepared before is used as it is. The folder appears whole or not at all: a run that is killed leaves
    nothing that is taken for data, and what it had begun is cleared away by the next one. Several processes may ask for
    the same corpus; one draws it, the others wait.

    Args:
      corpus: `synthetic_bp4d` or `synthetic_disfa`.
      data_dir: Folder of all datasets.
      frames: Frames in all, over all three folds.
      seed: Seed of people, expressions and views; the same seed gives the same bytes.
      rates: Share of positive frames per AU where it should differ from `synthetic.corpus.base_rates`.
      workers: Processes that draw.

    Returns:
      The prepared builder; `fgnet_jax.data.corpus.open_corpus` reads it.

    Raises:
      ValueError: for an unknown corpus, a wrong rate or frame count.
    """
    if corpus not in _BUILDERS:
        raise ValueError(f"unknown synthetic corpus {corpus!r}: expected one of {', '.join(_BUILDERS)}")
    corpus_lib.recordings(
        corpus, frames, seed=seed, rates=rates
    )  # wrong arguments are named before anything is written
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
    # TFDS wants a configuration that it knows by its name, and any other as an object.
    known = _BUILDERS[corpus].builder_configs
    return _BUILDERS[corpus](config=config.name if config.name in known else config, data_dir=str(data_dir))
