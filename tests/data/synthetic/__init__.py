"""Tests of fgnet_jax/data/synthetic."""
