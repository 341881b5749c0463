"""A network and its weights directory: where models and checkpoint files meet."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from fgnet_jax import __version__
from fgnet_jax.train.checkpoints import GROUPS, WeightsError, WeightsMeta, load_meta, load_weights, save_weights
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.fgnet import Variables, abstract


def load(directory: str | Path) -> tuple[ModelConfig, Variables, WeightsMeta]:
    """The network in a weights directory: its configuration, its variables as NumPy arrays, and what is said of it.

    Raises:
      WeightsError: where the directory is absent, damaged, or not of the network that it says it is.
    """
    meta = load_meta(directory)
    try:
        config = ModelConfig.from_dict(meta.model)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{directory}: not a network that this version knows: {error}") from error
    return config, Variables(**load_weights(directory, groups(abstract(config)))), meta


def save(directory: str | Path, config: ModelConfig, variables: Variables, meta: WeightsMeta) -> None:
    """Writes a network as a weights directory; `meta.model` and `meta.version` are filled in here."""
    meta = dataclasses.replace(meta, model=config.to_dict(), version=__version__)
    save_weights(directory, groups(variables), meta)


def groups(variables: Variables) -> dict[str, dict]:
    """The three flat dictionaries by name, as `fgnet_jax.train.checkpoints` takes them."""
    return {name: getattr(variables, name) for name in GROUPS}


def checksum(variables: Variables) -> str:
    """SHA-256 of a network's values: equal for equal values, however and wherever they are stored.

    Over the arrays in order of their group and path: path, number format, shape and bytes of each.
    """
    digest = hashlib.sha256()
    for group, arrays in groups(variables).items():
        for path in sorted(arrays):
            array = np.ascontiguousarray(arrays[path])
            digest.update(f"{group}/{path} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()
