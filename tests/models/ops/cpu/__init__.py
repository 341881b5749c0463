"""Tests of fgnet_jax/models/ops/cpu."""
