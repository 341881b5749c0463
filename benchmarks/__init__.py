"""Benchmarks of fgnet_jax, and the PyTorch network that it is compared with."""
