"""Weights directories: written whole or not at all, and refused where they do not fit."""

import json

import jax
import numpy as np
import pytest

from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.models.weights import WeightsError, WeightsMeta

META = WeightsMeta(aus=(1, 2), corpus="disfa", sources=({"file": "a.pt", "sha256": "00"},), extra={"step": 3})
GROUPS = {
    "params": {"a/b": np.arange(6.0).reshape(2, 3)},
    "batch_stats": {"m": np.ones(2)},
    "buffers": {"n": np.ones(1)},
}


def _expected(groups):
    return {g: {k: jax.ShapeDtypeStruct(x.shape, x.dtype) for k, x in group.items()} for g, group in groups.items()}


def test_weights_survive(tmp_path):
    """Arrays by group and path, and the metadata."""
    weights.save_weights(tmp_path / "w", GROUPS, META)
    assert weights.load_meta(tmp_path / "w") == META
    loaded = weights.load_weights(tmp_path / "w", _expected(GROUPS))
    jax.tree.map(np.testing.assert_array_equal, {g: loaded[g] for g in GROUPS}, GROUPS)


def test_weights_are_replaced_and_nothing_else_stays(tmp_path):
    """Neither does what a run left behind that was killed while it replaced them."""
    weights.save_weights(tmp_path / "w", GROUPS, META)
    for left in ("w.new", "w.old", "w.new.orbax-checkpoint-tmp"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "part").write_bytes(b"1")
    more = GROUPS | {"params": {"a/b": np.zeros((2, 3))}}
    weights.save_weights(tmp_path / "w", more, META)
    assert not weights.load_weights(tmp_path / "w", _expected(GROUPS))["params"]["a/b"].any()
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_an_unfinished_first_save_is_restarted(tmp_path):
    """Its temporary directory is removed."""
    (tmp_path / "w.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "w.orbax-checkpoint-tmp/part").write_bytes(b"1")
    weights.save_weights(tmp_path / "w", GROUPS, META)
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_weights_of_another_network_are_refused(tmp_path):
    """The message lists all differences."""
    weights.save_weights(tmp_path / "w", GROUPS, META)
    other = _expected(GROUPS) | {
        "params": {"a/b": jax.ShapeDtypeStruct((3, 2), float), "c": jax.ShapeDtypeStruct((), float)}
    }
    with pytest.raises(WeightsError, match="(?s)c is missing.*a/b has shape .2, 3., the network wants .3, 2."):
        weights.load_weights(tmp_path / "w", other)


def test_what_is_not_a_weights_directory_is_refused(tmp_path):
    """Absent directories, others, and those with damaged metadata or a damaged array."""
    with pytest.raises(WeightsError, match="no such weights directory"):
        weights.load_meta(tmp_path / "none")
    with pytest.raises(WeightsError, match="not a weights directory"):
        weights.load_meta(tmp_path)
    weights.save(tmp_path / "w", TINY, fgnet.init(TINY), META)
    for file in (tmp_path / "w/params").rglob("d/*"):
        file.write_bytes(b"")
    with pytest.raises(WeightsError, match="damaged"):
        weights.load(tmp_path / "w")
    (tmp_path / "w/meta/model.json").write_text('{"aus": ')
    with pytest.raises(WeightsError, match="not the JSON"):
        weights.load(tmp_path / "w")


@pytest.mark.parametrize(("named", "loaded"), [("none", "none"), ("blocks", "blocks"), ("twice", "blocks")])
def test_weights_of_every_policy_of_rematerialisation_load(tmp_path, named, loaded):
    """Those that name a removed one, too: as "blocks", whose forward pass is the same bit for bit."""
    variables = fgnet.init(TINY)
    weights.save(tmp_path / "w", TINY, variables, META)
    file = tmp_path / "w/meta/model.json"
    meta = json.loads(file.read_text())
    file.write_text(json.dumps(meta | {"model": meta["model"] | {"remat": named}}))
    config, restored, meta = weights.load(tmp_path / "w")
    assert config.remat == meta.model["remat"] == weights.load_meta(tmp_path / "w").model["remat"] == loaded
    assert weights.checksum(restored) == weights.checksum(variables)
