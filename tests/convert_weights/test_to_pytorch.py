"""Writing FG-Net's own file back: the same bits under the same names, and it loads strictly."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from convert_weights import convert, to_pytorch
from convert_weights.errors import ConversionError
from convert_weights.sources import FGNET_PARTS
from fgnet_jax.models.config import TINY
from fgnet_jax.models.weights import WeightsError


@pytest.fixture(scope="module")
def converted(files, tmp_path_factory):
    """Convert FG-Net's file to a weights directory."""
    out = tmp_path_factory.mktemp("weights") / "out"
    convert.write(out, convert.trained(files.model, files.encoder, TINY, "disfa"))
    return out


@pytest.mark.parametrize("part", FGNET_PARTS)
def test_state_dicts_come_back_bit_for_bit(files, part):
    """Every published name is there, filters and counters included, with its original bits."""
    conversion = convert.trained(files.model, files.encoder, TINY, "disfa")
    back = to_pytorch.state_dict(part, TINY, conversion.variables)
    state = files.states[part]
    assert set(back) == set(state)
    for name, array in state.items():
        assert back[name].dtype == array.dtype and back[name].shape == array.shape, name
        assert back[name].tobytes() == array.tobytes(), name


def test_round_trip_through_pytorch(files, converted, tmp_path):
    """PyTorch to our format and back gives the same file, and converted again the same network."""
    torch = pytest.importorskip("torch")
    model = tmp_path / "deep" / "model.pth"
    to_pytorch.export(converted, model)
    before, after = (torch.load(path, weights_only=False) for path in (files.model, model))
    assert list(after) == list(before)
    for part, state in before.items():
        assert set(after[part]) == set(state)
        for name, tensor in state.items():
            assert tensor.dtype == after[part][name].dtype and torch.equal(tensor, after[part][name]), name
    first_network = convert.trained(files.model, files.encoder, TINY, "disfa").variables
    second_network = convert.trained(model, files.encoder, TINY, "disfa").variables
    pairs = (first_network.params, second_network.params), (first_network.buffers, second_network.buffers)
    for first, second in pairs:
        assert all(np.array_equal(first[path], second[path]) for path in first)
    assert [path.name for path in model.parent.iterdir()] == ["model.pth"]


def test_a_published_model_loads_it(converted, tmp_path):
    """`load_state_dict` of a PyTorch FG-Net takes the three state dicts strictly."""
    torch = pytest.importorskip("torch")
    benchmark = pytest.importorskip("benchmarks.torch_fgnet")
    to_pytorch.export(converted, tmp_path / "model.pth")
    network = benchmark.FGNet(TINY)
    for part, state in torch.load(tmp_path / "model.pth", weights_only=True).items():
        getattr(network, part).load_state_dict(state, strict=True)


def test_existing_file(converted, tmp_path):
    """An existing file is refused, or replaced with overwrite; a directory never is."""
    pytest.importorskip("torch")
    (tmp_path / "model.pth").write_text("other")
    with pytest.raises(ConversionError, match="exists; give another name, or --overwrite"):
        to_pytorch.export(converted, tmp_path / "model.pth")
    assert (tmp_path / "model.pth").read_text() == "other"
    to_pytorch.export(converted, tmp_path / "model.pth", overwrite=True)
    assert (tmp_path / "model.pth").stat().st_size > 1000
    with pytest.raises(ConversionError, match="exists"):
        to_pytorch.export(converted, tmp_path, overwrite=True)


def test_failed_writing_leaves_nothing(converted, tmp_path, monkeypatch):
    """A full disk leaves neither the file nor a part of it."""
    torch = pytest.importorskip("torch")

    def fail(value, file):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        to_pytorch.export(converted, tmp_path / "model.pth")
    assert not list(tmp_path.iterdir())


def test_without_pytorch(converted, tmp_path, monkeypatch):
    """Where PyTorch is missing, the message tells how to install it."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConversionError, match=r"pip install 'fgnet_jax\[torch\]'"):
        to_pytorch.export(converted, tmp_path / "model.pth")


def test_no_weights(tmp_path):
    """A directory that is not a weights directory is refused."""
    pytest.importorskip("torch")
    with pytest.raises(WeightsError, match="no such weights directory"):
        to_pytorch.export(tmp_path / "nothing", tmp_path / "model.pth")


def _with_mark(folder: Path) -> str:
    file = folder / "meta" / "model.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    return "model.json"


def _cut(folder: Path) -> str:
    file = folder / "meta" / "model.json"
    file.write_bytes(file.read_bytes()[:-20])
    return "model.json"


def _nested(folder: Path) -> str:
    (folder / "meta" / "model.json").write_text("[" * 100_000)
    return "model.json"


def _not_text(folder: Path) -> str:
    (folder / "meta" / "model.json").write_bytes(bytes(range(128, 256)))
    return "model.json"


def _lost(folder: Path) -> str:
    for file in folder.rglob("_METADATA"):
        file.unlink()
    return "_METADATA"


@pytest.mark.parametrize("has_sums", [True, False])
@pytest.mark.parametrize("damage", [_with_mark, _cut, _nested, _not_text, _lost])
def test_damaged_weights_are_refused_in_a_line(converted, tmp_path, damage, has_sums):
    """A byte-order mark or damage in model.json, and lost metadata of Orbax, are one line that names the file."""
    pytest.importorskip("torch")
    folder = tmp_path / "weights"
    shutil.copytree(converted, folder)
    name = damage(folder)
    if not has_sums:
        (folder / "sums.json").unlink(missing_ok=True)
    with pytest.raises(WeightsError) as refusal:
        to_pytorch.export(folder, tmp_path / "model.pth")
    message = str(refusal.value)
    assert str(folder) in message and (name in message or not has_sums) and "\n" not in message and len(message) < 1000
    assert not (tmp_path / "model.pth").exists()
