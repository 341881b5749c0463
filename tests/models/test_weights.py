"""Weights directories: written whole or not at all, and refused where they do not fit or are damaged."""

import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest

from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY, ModelConfig
from fgnet_jax.models.weights import WeightsError, WeightsMeta
from fgnet_jax.runtime import sums

META = WeightsMeta(aus=(1, 2), corpus="disfa", sources=({"file": "a.pt", "sha256": "00"},), extra={"step": 3})
GROUPS = {
    "params": {"a/b": np.arange(6.0).reshape(2, 3)},
    "batch_stats": {"m": np.ones(2)},
    "buffers": {"n": np.ones(1)},
}


def _expected(groups):
    return {g: {k: jax.ShapeDtypeStruct(x.shape, x.dtype) for k, x in group.items()} for g, group in groups.items()}


def take_sums(directory: Path) -> None:
    """Make a directory one as they were before there were sums."""
    (directory / "sums.json").unlink()
    file = directory / "meta/model.json"
    file.write_text(json.dumps({key: value for key, value in json.loads(file.read_text()).items() if key != "arrays"}))


def flip(file: Path, place: int) -> None:
    """Change a bit of a file's content."""
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)


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
    take_sums(tmp_path / "w")
    (tmp_path / "w/meta/model.json").write_text('{"aus": ')
    with pytest.raises(WeightsError, match="not the JSON"):
        weights.load(tmp_path / "w")


@pytest.mark.parametrize(("named", "loaded"), [("none", "none"), ("blocks", "blocks"), ("twice", "blocks")])
def test_weights_of_every_policy_of_rematerialisation_load(tmp_path, named, loaded):
    """Those that name a removed one, too: as "blocks", whose forward pass is the same bit for bit."""
    variables = fgnet.init(TINY)
    weights.save(tmp_path / "w", TINY, variables, META)
    take_sums(tmp_path / "w")
    file = tmp_path / "w/meta/model.json"
    meta = json.loads(file.read_text())
    file.write_text(json.dumps(meta | {"model": meta["model"] | {"remat": named}}))
    config, restored, meta = weights.load(tmp_path / "w")
    assert isinstance(config, ModelConfig)
    assert config.remat == meta.model["remat"] == weights.load_meta(tmp_path / "w").model["remat"] == loaded
    assert weights.checksum(restored) == weights.checksum(variables)


def test_a_changed_bit_of_an_array_is_damage_to_its_file(tmp_path):
    """Which is named, with what to do; formerly, the changed value was loaded."""
    weights.save(tmp_path / "w", TINY, fgnet.init(TINY), META)
    data = max((tmp_path / "w/params").rglob("d/*"), key=lambda file: file.stat().st_size)
    flip(data, data.stat().st_size // 2)
    with pytest.raises(WeightsError, match=f"params/.*{data.name} is damaged .*copy them again") as raised:
        weights.load(tmp_path / "w")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("damage", ["bit", "cut"])
def test_damage_of_large_files_is_named_though_only_their_values_are_compared(tmp_path, damage):
    """They are read once: by Orbax."""
    large = GROUPS | {"params": {"a/b": np.arange(600_000.0)}}
    weights.save_weights(tmp_path / "w", large, META)
    (data,) = (file for file in (tmp_path / "w/params").rglob("d/*") if file.stat().st_size > weights._VALUES_BYTES)
    flip(data, 1_000_000) if damage == "bit" else os.truncate(data, 1_000_000)
    with pytest.raises(WeightsError, match=f"damaged weights: params/.*{data.name} (is damaged|has 1000000 bytes in)"):
        weights.load_weights(tmp_path / "w", _expected(large))


@pytest.mark.parametrize("name", ["meta/model.json", "sums.json"])
def test_damaged_metadata_are_refused_without_reading_arrays(tmp_path, name):
    """Each flip, each loss: neither makes weights of before there were sums of the directory."""
    weights.save_weights(tmp_path / "w", GROUPS, META)
    file = tmp_path / "w" / name
    content = file.read_bytes()
    for place in range(0, len(content), 7):
        flip(file, place)
        with pytest.raises(WeightsError, match=f"damaged weights: {name}"):
            weights.load_meta(tmp_path / "w")
        file.write_bytes(content)
    file.unlink()
    with pytest.raises(WeightsError, match=f"damaged weights: {name} is missing"):
        weights.load_meta(tmp_path / "w")


def test_arrays_are_compared_after_loading(tmp_path):
    """With the SHA-256 that they had in memory when they were saved: files may be intact and values not."""
    weights.save_weights(tmp_path / "w", GROUPS, META)
    file = tmp_path / "w/meta/model.json"
    values = json.loads(file.read_text())
    assert sorted(values["arrays"]) == ["batch_stats/m", "buffers/n", "params/a/b"]
    values["arrays"]["params/a/b"] = "0" * 64
    file.write_text(json.dumps(values))
    sums.write(tmp_path / "w")
    with pytest.raises(WeightsError, match="damaged weights: params/a/b has another SHA-256"):
        weights.load_weights(tmp_path / "w", _expected(GROUPS))


def test_sums_of_arrays_cover_values_shape_and_dtype():
    """Scalars, empty arrays, bfloat16 and arrays on devices, too."""
    values = np.arange(4, dtype=np.float32)
    same = {"a": values, "b": jax.numpy.asarray(values), "c": values[::-1][::-1]}
    assert len(set(weights.array_sums({"params": same}).values())) == 1
    others = {"a": values, "b": values.reshape(2, 2), "c": values.view(np.int32), "d": -values, "e": values[:0]}
    others |= {"f": np.float32(1), "g": jax.numpy.ones(1, jax.numpy.bfloat16)}
    assert len(set(weights.array_sums({"params": others}).values())) == len(others)


def test_weights_of_before_there_were_sums_load(tmp_path):
    """Their damage is found as far as TensorStore finds it."""
    variables = fgnet.init(TINY)
    weights.save(tmp_path / "w", TINY, variables, META)
    take_sums(tmp_path / "w")
    assert weights.checksum(weights.load(tmp_path / "w")[1]) == weights.checksum(variables)
    for file in sorted((tmp_path / "w/params").rglob("*"), key=lambda file: file.stat().st_size):
        if file.name == "manifest.ocdbt" or file.parent.name == "d":
            content = file.read_bytes()
            file.unlink()
            refused_or_equal(tmp_path / "w", variables)
            file.write_bytes(content)
    max((tmp_path / "w/params").rglob("d/*"), key=lambda file: file.stat().st_size).unlink()
    with pytest.raises(WeightsError, match="damaged weights directory"):
        weights.load(tmp_path / "w")


def refused_or_equal(directory: Path, variables: fgnet.Variables) -> None:
    """Check that a directory, of which a file is lost that may not be needed, does not give other values."""
    try:
        loaded = weights.load(directory)[1]
    except WeightsError:
        return
    assert weights.checksum(loaded) == weights.checksum(variables)


def test_a_save_without_its_end_leaves_the_former_directory(tmp_path, monkeypatch):
    """No directory of this name ever lacks its sums."""
    weights.save_weights(tmp_path / "w", GROUPS, META)

    def killed(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sums, "write", killed)
    for name in ("w", "v"):
        with pytest.raises(KeyboardInterrupt):
            weights.save_weights(tmp_path / name, GROUPS, META)
    assert weights.load_meta(tmp_path / "w") == META and not (tmp_path / "v").exists()
