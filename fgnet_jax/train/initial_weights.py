"""The weights that a run begins with, their heatmap channels in the order of the run's AUs."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fgnet_jax.aus import label as au_label
from fgnet_jax.models import initializers, weights
from fgnet_jax.models.config import ModelConfig, network_config
from fgnet_jax.models.fgnet import Variables
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.train import config as config_lib
from fgnet_jax.train.config import ConfigError

_OUTPUT = "interpreter/output/"
"""Path of the layer, of either interpreter, whose last axis is the heatmap channels."""

_FREE = ("dropout", "dtype", "precision", "remat")  # options that change no array


class InitialWeights(NamedTuple):
    """What a run begins with.

    Attributes:
      variables: The network's values.
      sha256: `weights.checksum` of the weights as they are stored.
      text: What was taken, in words, for the log.
    """

    variables: Variables
    sha256: str
    text: str


def load(source: str | Path, model: ModelConfig, *, aus: Sequence[int], seed: int) -> InitialWeights:
    """Load the weights that a run begins with, their channels by the names of AUs.

    Args:
      source: A weights directory.
      model: The run's network.
      aus: The run's AUs, in channel order.
      seed: Seed of channels that begin anew.

    Raises:
      WeightsError: There are none, or they are damaged.
      ConfigError: They are of another network.
    """
    stored, variables, meta = weights.load(source)
    check_network(meta, model, source)
    arranged = variables
    if meta.aus and (meta.aus != tuple(aus) or stored.num_heatmaps != model.num_heatmaps):
        arranged = arrange_channels(variables, model, stored_aus=meta.aus, aus=aus, seed=seed)
    return InitialWeights(arranged, weights.checksum(variables), describe_channels(meta.aus, aus))


def check_network(meta: WeightsMeta, model: ModelConfig, source: str | Path) -> None:
    """Check that weights are of this network; the number of heatmaps may differ where channels have AUs.

    Raises:
      ConfigError: They are not; the message lists the keys.
    """
    try:
        stored = network_config(meta.model)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{source}: not a network that this version knows: {error}") from error
    if not isinstance(stored, ModelConfig):
        raise ConfigError(
            f"{source} holds a student: training begins from an FG-Net; `fgnet-jax distill` trains students"
        )
    free = (*_FREE, "num_heatmaps") if meta.aus else _FREE
    expected = dataclasses.replace(model, **{name: getattr(stored, name) for name in free})
    if stored != expected:
        lines = config_lib.differences(stored.to_dict(), expected.to_dict())
        raise ConfigError(f"{source} holds another network than the configuration's:\n  " + "\n  ".join(lines))


def arrange_channels(
    variables: Variables, model: ModelConfig, *, stored_aus: Sequence[int], aus: Sequence[int], seed: int
) -> Variables:
    """Return variables of which each AU's channel is that of the same AU in the stored ones.

    Channels of AUs that the stored ones lack, and those beyond the AUs, have initial values.
    """
    common = [au for au in aus if au in stored_aus]
    new, old = ([list(numbers).index(au) for au in common] for numbers in (aus, stored_aus))
    params = dict(variables.params)
    for path in (path for path in params if path.startswith(_OUTPUT)):
        stored = np.asarray(params[path])
        fresh = initializers.initial(path, (*stored.shape[:-1], model.num_heatmaps), stored.dtype, seed)
        fresh[..., new] = stored[..., old]
        params[path] = fresh
    return dataclasses.replace(variables, params=params)


def describe_channels(stored_aus: Sequence[int], aus: Sequence[int]) -> str:
    """Return which AUs' channels are taken from weights, begin anew and are dropped; "" for weights without AUs."""
    if not stored_aus:
        return ""
    groups = {
        "taken by AU": [au for au in aus if au in stored_aus],
        "new": [au for au in aus if au not in stored_aus],
        "dropped": [au for au in stored_aus if au not in aus],
    }
    parts = [f"{word} {', '.join(map(au_label, numbers)) or 'none'}" for word, numbers in groups.items()]
    return f"Heatmap channels: {'; '.join(parts)}"
