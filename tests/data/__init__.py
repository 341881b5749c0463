"""Tests of fgnet_jax/data."""
