"""Tests of fgnet_jax/train."""
