"""FG-Net's training on DISFA, one fold.

    fgnet-jax train --config disfa:fold=0

Arguments: fold (0, 1, 2), seed (of initialisation, order and dropout), samples (the first n of a permutation; 0: all),
select_on (held_out, or test as published), updates (published: an epoch ends with the faces; equal: as many updates
with few faces as with all of them). With fold=all,seeds=3 the command trains nine runs, one after the other.
Needs the corpus prepared under data/ and weights/pretrained from `python -m convert_weights`. One GPU or TPU of 40 GB
in float32, or of 16 GB with --config.model.remat=blocks --config.train.accumulate=4. Published: mean F1 65.4 over
three folds, selected on the test fold.
"""

from fgnet_jax.train import defaults


def get_config(arguments: str | None = None) -> defaults.Config:
    """Return the published protocol on DISFA."""
    return defaults.published("disfa", arguments)
