"""Tests of fgnet_jax/models/ops/tpu."""
