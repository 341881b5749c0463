"""Files are recognised by their content; for unknown kinds the message tells what they look like."""

import pickle

import numpy as np
import pytest

from convert_weights import nvidia
from convert_weights.allowed import as_tensor
from convert_weights.errors import ConversionError
from convert_weights.files import PICKLE, TORCH_LEGACY, TORCH_ZIP, read
from fgnet_jax.runtime.files import sha256
from tests.convert_weights import make_fixtures, writers
from tests.convert_weights.writers import EVIL, Call, Name

FIXTURES = make_fixtures.FIXTURES


@pytest.mark.parametrize(
    "name, kind",
    [("zip.pt", TORCH_ZIP), ("legacy.pt", TORCH_LEGACY), ("nvidia_tf_4.pkl", PICKLE), ("nvidia_torch.pkl", PICKLE)],
)
def test_kinds_are_recognised_by_content(tmp_path, name, kind):
    """The name of a file does not matter."""
    path = tmp_path / "weights.bin"
    path.write_bytes((FIXTURES / name).read_bytes())
    assert read(path).kind == kind


@pytest.mark.parametrize(
    "start, message",
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (b"\x89HDF\r\n", "HDF5"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x00\x01\x02", "of no known kind"),
        (b"PK\x03\x04 but nothing after", "broken zip file, perhaps cut off"),
        (b"\x80\x04 but nothing after", "opcode"),
    ],
)
def test_files_of_no_known_kind(tmp_path, start, message):
    """The message names the file and its likely kind."""
    path = tmp_path / "weights.pt"
    path.write_bytes(start)
    with pytest.raises(ConversionError, match=message) as refusal:
        read(path)
    assert str(path) in str(refusal.value)


def test_missing_file(tmp_path):
    """A missing file is an OSError with its name."""
    with pytest.raises(FileNotFoundError, match=r"nothing\.pt"):
        read(tmp_path / "nothing.pt")


def test_sha256(tmp_path):
    """The digest that sha256sum prints."""
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x").startswith("ba7816bf8f01cfea")


def assert_values(tensors: dict, prefix: str) -> None:
    """Assert that the fixture's values are there, under these names."""
    values = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    assert len(values) >= 10
    expected = make_fixtures.expected()
    for name, tensor in values.items():
        np.testing.assert_array_equal(tensor.array().astype(np.float64), expected[name], err_msg=name)


@pytest.mark.parametrize("name", ["nvidia_tf_2.pkl", "nvidia_tf_4.pkl"])
def test_tf_fixtures(name):
    """The networks of the TensorFlow era, pickled by Python, give the full names of Gs' variables."""
    value = read(FIXTURES / name).value
    assert nvidia.is_tf(value)
    tensors, problems, notes = nvidia.tf_tensors(value)
    assert_values(tensors, "G_mapping/")
    assert {"lod", "dlatent_avg"} < set(tensors) and not problems
    assert notes == ["2 networks ignored: G without averaging, and the discriminator D"]


def test_torch_fixture():
    """NVIDIA's PyTorch modules give the full names of G_ema's tensors; absent ones are left out."""
    value = read(FIXTURES / "nvidia_torch.pkl").value
    assert nvidia.is_torch(value)
    tensors, problems, notes = nvidia.torch_tensors(value)
    assert_values(tensors, "mapping.")
    assert "bias" in tensors and "absent" not in tensors and not problems
    assert notes == ["3 other entries ignored: D, G, training_set_kwargs"]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_fresh_pickles_of_torch(tmp_path, protocol):
    """Pickles of the installed PyTorch are read in every protocol."""
    torch = pytest.importorskip("torch")
    make_fixtures.nvidia_torch(torch, tmp_path / "x.pkl", protocol)
    assert_values(nvidia.torch_tensors(read(tmp_path / "x.pkl").value)[0], "mapping.")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_fresh_pickles_of_numpy(tmp_path, protocol):
    """Pickles of the installed NumPy are read in every protocol: both orders, and scalars."""
    values = {"c": np.arange(6, dtype=np.float32).reshape(2, 3), "s": np.float32(2), "long": np.zeros(300, np.float16)}
    values["f"] = np.asfortranarray(values["c"])
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(values, protocol))
    read_back = read(tmp_path / "x.pkl").value
    for name, value in values.items():
        tensor = as_tensor(read_back[name])
        assert tensor is not None and tensor.dtype == value.dtype
        np.testing.assert_array_equal(tensor.array(), value)


HOSTILE = {
    "top": EVIL,
    "tf": writers.tf_network("Gs", {}, {"mapping": EVIL}),
    "tf state": Call(Name("dnnlib.tflib.network", "Network"), (), {"variables": [("a", EVIL)]}, b"\x81"),
    "tf array": Call(Name("numpy.core.multiarray", "_reconstruct"), (EVIL, (0,), b"b")),
    "torch": {"G_ema": writers.ada_module({"a": EVIL})},
    "torch hook": {"G_ema": writers.ada_module({}, {"": {"_forward_hooks": {0: Name("os", "system")}}})},
    "storage": {"G_ema": Call(Name("torch.storage", "_load_from_bytes"), (writers.dump(EVIL),))},
    "storage, main pickle": Call(Name("torch.storage", "_load_from_bytes"), (writers.legacy(writers.dump(EVIL), {}),)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickles(tmp_path, monkeypatch, case):
    """Code anywhere in NVIDIA's pickles, or in the files inside them, is refused by name and not run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pkl").write_bytes(writers.dump(HOSTILE[case]))
    with pytest.raises(ConversionError, match=r"os\.system"):
        read(tmp_path / "x.pkl")
    assert not (tmp_path / "evidence").exists()


def test_files_inside_files_end(tmp_path):
    """A storage inside a pickle cannot have another file inside it."""
    inner = writers.dump(writers.load_from_bytes(np.ones(2, np.float32)))
    for blob, message in (
        (writers.legacy(inner, {}), r"torch\.storage\._load_from_bytes"),
        (writers.legacy(writers.dump({}), {}), "something other than a storage"),
        ("text", "a storage that is not bytes"),
    ):
        value = Call(Name("torch.storage", "_load_from_bytes"), (blob,))
        (tmp_path / "x.pkl").write_bytes(writers.dump(value))
        with pytest.raises(ConversionError, match=message):
            read(tmp_path / "x.pkl")


FLOATS = writers.numpy_dtype(np.dtype(np.float32))
DTYPE = Name("numpy", "dtype")
ARRAY = Name("numpy.core.multiarray", "_reconstruct")
START = (Name("numpy", "ndarray"), (0,), b"b")


@pytest.mark.parametrize(
    "value, message",
    [
        (Call(ARRAY, START, (1, (1 << 40,), FLOATS, False, bytes(8))), "out of 2 numbers"),
        (Call(ARRAY, START, (1, (-2,), FLOATS, False, bytes(8))), "not an index"),
        (Call(ARRAY, START, (1, (3,), FLOATS, False, bytes(7))), "not a whole number"),
        (Call(ARRAY, START, (1, (2,), FLOATS, False, [1, 2])), "data are not bytes"),
        (Call(ARRAY, START, (1, (1,) * 9, FLOATS, False, bytes(4))), "of shape"),
        (Call(ARRAY, START, (1, (2,), "f4", False, bytes(8))), "without a dtype"),
        (Call(ARRAY, START, (1, (1,), Call(DTYPE, ("O8", False, True)), False, bytes(8))), "dtype 'O8'"),
        (Call(ARRAY, START, (1, (2,), Call(DTYPE, ("f4",), (3, ">")), False, bytes(8))), "byte order '>'"),
        (Call(ARRAY, START, (1, (2,))), "5 parts"),
        (Call(ARRAY, START), "5 parts"),
        (Call(Name("numpy.core.multiarray", "scalar"), (FLOATS,)), "2 parts"),
        (Call(Name("numpy._core.numeric", "_frombuffer"), (bytes(8), FLOATS, (3,), "C")), "out of 2 numbers"),
    ],
)
def test_broken_arrays(tmp_path, value, message):
    """An array must have as many bytes as its shape and dtype tell."""
    (tmp_path / "x.pkl").write_bytes(writers.dump(value))
    with pytest.raises(ConversionError, match=message):
        as_tensor(read(tmp_path / "x.pkl").value)


def test_python_2_arrays(tmp_path):
    """An array whose bytes Python 2 wrote as a string is read."""
    array = np.array([1, -2], np.float32)
    value = Call(ARRAY, START, (1, (2,), FLOATS, False, array.tobytes().decode("latin-1")))
    (tmp_path / "x.pkl").write_bytes(writers.dump(value))
    tensor = as_tensor(read(tmp_path / "x.pkl").value)
    assert tensor is not None
    np.testing.assert_array_equal(tensor.array(), array)
