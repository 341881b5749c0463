"""FG-Net facial action unit detection in JAX and Flax."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fgnet_jax.predict.detector import Detector, Predictions, apply

__version__ = "0.1.0"

__all__ = ["Detector", "Predictions", "__version__", "apply"]


def __getattr__(name: str):
    """Imports `Detector`, `Predictions` and `apply`, and JAX with them, when they are first asked for."""
    if name in ("Detector", "Predictions", "apply"):
        from fgnet_jax.predict import detector

        return getattr(detector, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
