"""Brings published PyTorch and TensorFlow-era weights over, and writes them back: `python -m convert_weights`."""
