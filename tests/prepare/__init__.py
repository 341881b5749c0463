"""Tests of fgnet_jax/prepare."""
