"""Tests of fgnet_jax/evaluate."""
