"""Benchmarks of fgnet_jax, and the PyTorch network that it is measured against."""
