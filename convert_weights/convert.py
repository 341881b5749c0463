"""Conversion of published weights to a weights directory."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convert_weights import engine, sources
from convert_weights.errors import ConversionError
from convert_weights.files import read
from fgnet_jax.aus import PUBLISHED_CHANNELS
from fgnet_jax.models import fgnet, lineage, weights
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.initializers import initial
from fgnet_jax.models.lineage import Link
from fgnet_jax.models.weights import GROUPS, WeightsMeta
from fgnet_jax.runtime.files import sha256

_FRESH = "interpreter/"


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A network converted from published files.

    Attributes:
      config: Its sizes.
      variables: Its values, float32 NumPy arrays.
      meta: Metadata of the weights directory.
      report: The tensors used and ignored, in lines for the user.
    """

    config: ModelConfig
    variables: fgnet.Variables
    meta: WeightsMeta
    report: list[str]


def pretrained(generator: Path, encoder: Path, config: ModelConfig, seed: int = 0) -> Conversion:
    """Convert the starting point of training: published StyleGAN2 and pSp, and a freshly initialised interpreter.

    Args:
      generator: rosinality's `stylegan2-ffhq-config-f.pt`, or either of NVIDIA's pickles.
      encoder: `psp_ffhq_encode.pt`.
      config: Sizes of the network.
      seed: Seed of the interpreter's initial values.

    Raises:
      ConversionError: if a file is unknown or broken, or its tensors do not fit.
    """
    groups = sources.pretrained(read(generator), read(encoder), config)
    shapes = _shapes(config)
    fresh = {path: shape for path, shape in shapes.items() if path.startswith(_FRESH)}
    arrays = engine.convert(groups, {path: shape for path, shape in shapes.items() if path not in fresh})
    arrays |= {path: initial(path, shape, np.dtype(np.float32), seed) for path, shape in fresh.items()}
    report = [*_reports(groups), f"interpreter: {len(fresh)} tensors freshly initialised (seed {seed})"]
    return _conversion(config, arrays, meta=_meta("pretrained", _sources(generator, encoder)), report=report)


def trained(model: Path, encoder: Path, config: ModelConfig, corpus: str) -> Conversion:
    """Convert FG-Net as published.

    Args:
      model: FG-Net's `model.pth`.
      encoder: `psp_ffhq_encode.pt`, for the average latent that `model.pth` lacks.
      config: Sizes of the network.
      corpus: "bp4d" or "disfa": the corpus that it was trained on.

    Raises:
      ConversionError: if a file is unknown or broken, or its tensors do not fit.
    """
    aus = PUBLISHED_CHANNELS[corpus]
    if len(aus) > config.num_heatmaps:
        raise ConversionError(f"{corpus} has {len(aus)} AUs, but the network only {config.num_heatmaps} heatmaps")
    groups = [*sources.fgnet(read(model), config), sources.latent_avg(read(encoder), config)]
    arrays = engine.convert(groups, _shapes(config))
    meta = _meta("FG-Net as published", _sources(model, encoder), corpus=corpus, aus=aus)
    return _conversion(config, arrays, meta=meta, report=_reports(groups))


def write(directory: Path, conversion: Conversion, overwrite: bool = False) -> list[str]:
    """Write a weights directory; whatever interrupts it, `directory` is complete, as before, or absent.

    Returns:
      The files with their SHA-256 and the tensors used of them, in lines for the user.

    Raises:
      ConversionError: if it exists and `overwrite` is not set, or is not a weights directory.
    """
    check_free(directory, overwrite)
    directory.parent.mkdir(parents=True, exist_ok=True)
    weights.save(directory, conversion.config, conversion.variables, conversion.meta)
    hashes = [f"{source['file']}: sha256 {source['sha256']}" for source in conversion.meta.sources]
    return [*hashes, *conversion.report, f"wrote {directory}"]


def check_free(path: Path, overwrite: bool) -> None:
    """Check that an output does not exist, or is a weights directory that may be replaced.

    Raises:
      ConversionError: if it is neither.
    """
    if not path.exists() and not path.is_symlink():
        return
    if not overwrite:
        raise ConversionError(f"{path} exists; give another --output, or --overwrite to replace it")
    if not weights.is_directory(path) or path.is_symlink():
        raise ConversionError(f"{path} exists and is not a weights directory, so it is not replaced")


def _shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    groups = weights.groups(fgnet.abstract(config)).values()
    return {path: tuple(struct.shape) for group in groups for path, struct in group.items()}


def _conversion(
    config: ModelConfig, arrays: dict[str, np.ndarray], *, meta: WeightsMeta, report: list[str]
) -> Conversion:
    abstract = weights.groups(fgnet.abstract(config))
    variables = fgnet.Variables(*({path: arrays[path] for path in abstract[name]} for name in GROUPS))
    return Conversion(config=config, variables=variables, meta=meta, report=report)


def _reports(groups: Sequence[engine.Group]) -> list[str]:
    return [line for group in groups for line in engine.report(group)]


def _meta(
    name: str, sources: tuple[dict[str, str], ...], *, corpus: str | None = None, aus: tuple[int, ...] = ()
) -> WeightsMeta:
    """Return the metadata of converted files, with the first link of their lineage.

    No file says which fold was left out: that is asked for where the weights are tested, or trained from.
    """
    link = Link(kind=lineage.CONVERTED, name=name, corpus=corpus, aus=aus, files=sources)
    return WeightsMeta(corpus=corpus, aus=aus, sources=sources, extra={lineage.KEY: [link.to_dict()]})


def _sources(*paths: Path) -> tuple[dict[str, str], ...]:
    return tuple({"file": path.name, "sha256": sha256(path)} for path in paths)
