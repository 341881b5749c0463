"""Experiments: one file each, values only. `python -m fgnet_jax.train --config configs/NAME.py[:key=value,...]`."""
