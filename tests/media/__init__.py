"""Tests of fgnet_jax/media."""
