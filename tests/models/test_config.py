"""The network's configuration: what is refused, and its way through JSON."""

import dataclasses

import pytest

from fgnet_jax.models.config import TINY, ModelConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 100}, "image_size must be a power of two, got 100"),
        ({"generator_channels": (8, 8)}, "four entries"),
        ({"encoder_units": (1, 1)}, "one entry per group"),
        ({"remat": "all"}, "remat must be one of none, blocks, got 'all'"),
        ({"remat": "twice"}, 'remat "twice" was removed: use "blocks", and train.accumulate to save more memory'),
    ],
)
def test_sizes_that_fit_no_network_are_refused(change, message):
    """The message says what was expected."""
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)


def test_configuration_survives_json():
    """`from_dict` inverts `to_dict`; an unknown key is refused by name."""
    assert ModelConfig.from_dict(TINY.to_dict()) == TINY
    with pytest.raises(ValueError, match="unknown keys: width"):
        ModelConfig.from_dict({"width": 3})
