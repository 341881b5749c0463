"""The weights of a run's loss, from its configuration and the labels of its training faces."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fgnet_jax.data import sampling
from fgnet_jax.train.defaults import Config, ConfigError
from fgnet_jax.train.losses import LossConfig, inverse_frequency

NONE, INVERSE_FREQUENCY = "none", "inverse_frequency"
"""Values of `config.loss.positive_weight`, beside rows of (AU, weight)."""


def loss_config(config: Config, aus: Sequence[int], labels: np.ndarray | None) -> LossConfig:
    """Return how a run's loss is weighted.

    Args:
      config: The run's configuration.
      aus: The K AUs that are trained.
      labels: (N, K) of the training faces; None where they are not known: inverse frequencies are then all 1.

    Raises:
      ConfigError: A value of `config.loss` or `data.sampler` is not supported, or names an AU that is not trained.
    """
    if config.data.sampler not in (sampling.SHUFFLED, sampling.BALANCED):
        raise ConfigError(f'data.sampler must be "shuffled" or "balanced", got {config.data.sampler!r}')
    if not (config.loss.focal >= 0 and math.isfinite(config.loss.focal)):
        raise ConfigError(f"loss.focal must be at least 0, got {config.loss.focal}")
    value = config.loss.positive_weight
    if value == NONE:
        weights: tuple[float, ...] = ()
    elif value == INVERSE_FREQUENCY:
        weights = (1.0,) * len(aus) if labels is None else inverse_frequency(labels)
    else:
        given = _parse_rows(value, aus)
        weights = tuple(given.get(au, 1.0) for au in aus)
    return LossConfig(positive_weights=weights, focal=config.loss.focal)


def _parse_rows(rows: Any, aus: Sequence[int]) -> dict[int, float]:  # noqa: ANN401 - whatever was configured
    """Parse `loss.positive_weight` to weights by AU."""
    expected = 'expected "none", "inverse_frequency", or rows of (AU, weight), such as ((2, 8.0), (4, 3.0))'
    if isinstance(rows, str):
        raise ConfigError(f"loss.positive_weight: {expected}, got {rows!r}")
    try:
        given = [(int(au), float(weight)) for au, weight in rows]
    except (TypeError, ValueError) as error:
        raise ConfigError(f"loss.positive_weight: {expected}, got {rows!r}") from error
    for au, weight in given:
        if au not in aus:
            raise ConfigError(f"loss.positive_weight: AU {au} is not trained; trained are {', '.join(map(str, aus))}")
        if not (weight > 0 and math.isfinite(weight)):
            raise ConfigError(f"loss.positive_weight: the weight of AU {au} must be above 0, got {weight}")
    if len({au for au, _ in given}) < len(given):
        raise ConfigError(f"loss.positive_weight: an AU is named twice in {rows!r}")
    return dict(given)


def described(loss: LossConfig, aus: Sequence[int]) -> str:
    """Return the line for the log that says how a loss is weighted; empty if it is not."""
    parts = []
    if loss.positive_weights:
        pairs = zip(aus, loss.positive_weights, strict=True)
        parts.append("positive faces count " + ", ".join(f"{weight:.3g} (AU{au:02d})" for au, weight in pairs))
    if loss.focal:
        parts.append(f"focal factor of exponent {loss.focal:g}")
    return f"Weighted loss: {'; '.join(parts)}" if parts else ""
