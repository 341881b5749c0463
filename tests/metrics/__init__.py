"""Tests of fgnet_jax/metrics."""
