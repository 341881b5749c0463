"""From images and videos to aligned faces: the work of `python -m fgnet_jax.prepare`, and its report."""
