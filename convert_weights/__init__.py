"""Conversion of published PyTorch and TensorFlow-era weights, and back to PyTorch: `python -m convert_weights`."""
