"""The weights that a run begins with: heatmap channels go by AU, not by their place."""

import dataclasses

import numpy as np
import pytest

from fgnet_jax.models import fgnet, initializers, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.train import initial_weights
from fgnet_jax.train.config import ConfigError

BP4D, DISFA = (1, 2, 4, 6, 7, 10, 12), (1, 2, 4, 6, 9, 12, 25)
KERNEL, BIAS = "interpreter/output/kernel", "interpreter/output/bias"


def _save(folder, model=TINY, **meta):
    variables = fgnet.init(model, seed=3)
    variables.params[BIAS][:] = np.arange(len(variables.params[BIAS]))
    weights.save(folder, model, variables, WeightsMeta(**meta))
    return variables


@pytest.mark.parametrize("interpreter", ["pyramid", "pixel"])
def test_channels_go_by_au(tmp_path, interpreter):
    """From BP4D to DISFA: AU12 stays AU12, AU9 and AU25 begin anew, and no channel stands for two AUs."""
    model = dataclasses.replace(TINY, interpreter=interpreter)
    stored = _save(tmp_path / "w", model, aus=BP4D, corpus="bp4d")
    loaded = initial_weights.load(tmp_path / "w", model, aus=DISFA, seed=5)
    for path in (KERNEL, BIAS):
        now, then = loaded.variables.params[path], stored.params[path]
        fresh = initializers.initial(path, now.shape, now.dtype, 5)
        for channel in range(model.num_heatmaps):
            au = DISFA[channel] if channel < len(DISFA) else None
            expected = then[..., BP4D.index(au)] if au in BP4D else fresh[..., channel]
            np.testing.assert_array_equal(now[..., channel], expected, err_msg=f"{path} channel {channel}, AU {au}")
    others = set(stored.params) - {KERNEL, BIAS}
    assert all(np.array_equal(loaded.variables.params[path], stored.params[path]) for path in others)
    assert (
        loaded.text == "Heatmap channels: taken by AU AU01, AU02, AU04, AU06, AU12; new AU09, AU25; dropped AU07, AU10"
    )
    assert loaded.sha256 == weights.checksum(stored), "of what is stored, whatever is made of it"


@pytest.mark.parametrize("aus", [(), DISFA])
def test_weights_of_the_same_aus_and_of_none_keep_their_bits(tmp_path, aus):
    """All channels, also those of no AU."""
    stored = _save(tmp_path / "w", aus=aus)
    loaded = initial_weights.load(tmp_path / "w", TINY, aus=DISFA, seed=5)
    assert weights.checksum(loaded.variables) == weights.checksum(stored) == loaded.sha256
    assert bool(loaded.text) == bool(aus)


def test_the_number_of_heatmaps_may_differ_where_channels_have_aus(tmp_path):
    """More or fewer than before; without AUs, the network is another one."""
    larger = dataclasses.replace(TINY, num_heatmaps=TINY.num_heatmaps + 3)
    stored = _save(tmp_path / "aus", aus=BP4D)
    loaded = initial_weights.load(tmp_path / "aus", larger, aus=DISFA, seed=5)
    assert loaded.variables.params[BIAS].shape == (larger.num_heatmaps,)
    assert loaded.variables.params[BIAS][5] == stored.params[BIAS][6], "AU12"
    _save(tmp_path / "none")
    with pytest.raises(ConfigError, match="another network.*\n  num_heatmaps: "):
        initial_weights.load(tmp_path / "none", larger, aus=DISFA, seed=5)
