"""Tests of fgnet_jax/app."""
