"""FG-Net's training on BP4D, one fold.

    python -m fgnet_jax.train --config configs/bp4d.py:fold=0

Arguments: fold (0, 1, 2), samples (the first n of a permutation; 0: all), select_on (held_out, or test as published),
updates (published: an epoch ends with the faces; equal: as many updates with few faces as with all).
Needs the corpus prepared under data/ and weights/pretrained from `python -m convert_weights`. One GPU or TPU of 40 GB
in float32, or of 16 GB with --config.model.remat=blocks --config.train.accumulate=4. Published: mean F1 64.3 over
three folds, selected on the test fold.
"""

from configs import base


def get_config(arguments: str | None = None):
    """The published protocol on BP4D."""
    return base.published("bp4d", arguments)
