"""Tests of fgnet_jax/runtime."""
