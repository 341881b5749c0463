"""Tests of fgnet_jax/predict."""
