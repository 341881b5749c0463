"""Tests of fgnet_jax/faces."""
