"""Tests of fgnet_jax/visualization."""
