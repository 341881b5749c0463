"""Tests of fgnet_jax/distill."""
