"""FG-Net facial action unit detection in JAX and Flax."""

import importlib
from typing import TYPE_CHECKING

from fgnet_jax.runtime.version import __version__

if TYPE_CHECKING:
    from fgnet_jax.predict.detector import Detector
    from fgnet_jax.predict.network import apply
    from fgnet_jax.predict.predictions import Predictions

__all__ = ["Detector", "Predictions", "__version__", "apply"]


_PUBLIC = {"Detector": "predict.detector", "Predictions": "predict.predictions", "apply": "predict.network"}


def __getattr__(name: str) -> object:
    """Import `Detector`, `Predictions` and `apply`, and JAX with them, when they are first used."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"fgnet_jax.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
