"""FG-Net facial action unit detection in JAX and Flax."""

__version__ = "0.1.0"
