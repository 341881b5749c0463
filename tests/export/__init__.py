"""Tests of `fgnet_jax.export`."""
