"""PyTorch's two layouts: equal to torch.load on every kind of tensor, and every broken or hostile file refused."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from convert_weights import torch_file
from convert_weights.errors import ConversionError
from convert_weights.files import TORCH_LEGACY, TORCH_ZIP, read
from convert_weights.records import Record
from tests.convert_weights import make_fixtures, writers
from tests.convert_weights.writers import EVIL, Call, Name, Persistent, Raw

FIXTURES = make_fixtures.FIXTURES
ONES = np.ones((2, 3), np.float32)


def assert_expected(state: dict) -> None:
    """Assert that every tensor has the fixture's shape, dtype and values."""
    expected = make_fixtures.expected()
    assert list(state) == list(expected)
    for name, value in expected.items():
        array = state[name].array()
        assert array.shape == state[name].shape == np.shape(value), name
        np.testing.assert_array_equal(array.astype(np.float64), value, err_msg=name)
    dtypes = {name: tensor.dtype.name for name, tensor in state.items()}
    assert dtypes["half"] == "float16" and dtypes["brain"] == "bfloat16" and dtypes["weight"] == "float32"


@pytest.mark.parametrize(
    "name, kind",
    [("zip.pt", TORCH_ZIP), ("deflated.pt", TORCH_ZIP), ("legacy.pt", TORCH_LEGACY), ("legacy4.pt", TORCH_LEGACY)],
)
def test_fixtures(name, kind):
    """Files that PyTorch wrote are read without it."""
    contents = read(FIXTURES / name)
    assert contents.kind == kind
    assert_expected(contents.value["state_dict"])
    opts = contents.value["opts"]
    assert (opts.state if isinstance(opts, Record) else opts)["lr"] == 0.1


def test_fresh_files_equal_torch_load(tmp_path):
    """Files of the installed PyTorch are read as PyTorch reads them."""
    torch = pytest.importorskip("torch")
    make_fixtures.torch_files(torch, tmp_path)
    for path in sorted(tmp_path.iterdir()):
        expected = torch.load(path, weights_only=False)["state_dict"]  # safe: a file written here
        actual = read(path).value["state_dict"]
        assert list(actual) == list(expected)
        for name, tensor in expected.items():
            np.testing.assert_array_equal(actual[name].array().astype(np.float64), tensor.detach().double().numpy())
            assert str(tensor.dtype).removeprefix("torch.") == actual[name].dtype.name


def test_stored_tensors_are_views_of_the_file():
    """A storage that is not compressed is memory-mapped, never copied."""
    state = read(FIXTURES / "zip.pt").value["state_dict"]
    array = state["weight"].array()
    assert not array.flags.owndata and not array.flags.writeable
    assert state["weight"].storage.read().obj.__class__.__name__ == "mmap"


def test_writers_equal_torch(tmp_path):
    """PyTorch reads the files that these tests assemble by hand, too."""
    torch = pytest.importorskip("torch")
    for save in (writers.save_zip, writers.save_legacy):
        path = save(tmp_path / "x.pt", {"a": ONES, "b": {"c": np.arange(3)}})
        value = torch.load(path, weights_only=False)
        assert torch.equal(value["a"], torch.ones(2, 3)) and torch.equal(value["b"]["c"], torch.arange(3))


def zipped(tmp_path: Path, pickled: object, storages: dict[str, bytes], **members: bytes) -> Path:
    """Write a zip file around a pickle."""
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled if isinstance(pickled, bytes) else writers.dump(pickled))
        for key, data in storages.items():
            archive.writestr(f"a/data/{key}", data)
        for name, data in members.items():
            archive.writestr(f"a/{name}", data)
    return path


def claim(count: int, offset: object, shape: object, strides: object, key: str = "0") -> Call:
    """Return a tensor as a file may claim it."""
    storage = Persistent(("storage", Name("torch", "FloatStorage"), key, "cpu", count))
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), (storage, offset, shape, strides, False, None))


@pytest.mark.parametrize(
    "tensor, message",
    [
        (claim(4, 0, (5,), (1,)), "ends outside its storage"),
        (claim(4, 1, (4,), (1,)), "ends outside its storage"),
        (claim(4, 0, (2, 2), (1, 3)), "ends outside its storage"),
        (claim(4, 0, (1 << 40,), (0,)), "out of 4 numbers"),
        (claim(4, 0, (3, 2), (1, 1)), "out of 4 numbers"),
        (claim(4, 5, (0,), (1,)), "starts outside"),
        (claim(4, 3, (2,), (-1,)), "not an index"),
        (claim(4, -1, (2,), (1,)), "not an index"),
        (claim(4, 0, (1 << 60,), (1,)), "not an index"),
        (claim(4, 0, (True,), (1,)), "not an index"),
        (claim(4, 0, (2, 2), (1,)), "2 sizes and 1 strides"),
        (claim(4, 0, (1,) * 9, (1,) * 9), "9 sizes"),
        (claim(4, 0, 4, (1,)), "shape is not a tuple"),
        (claim(5, 0, (4,), (1,)), "5 numbers is missing or too short"),
        (claim(1 << 40, 0, (4,), (1,)), "missing or too short"),
        (claim(4, 0, (4,), (1,), key="1"), "storage '1' of 4 numbers is missing"),
        (claim(4, 0, (4,), (1,), key="../data.pkl"), "missing or too short"),
        (claim(-1, 0, (0,), (1,)), "without a name or a size"),
        (Call(Name("torch._utils", "_rebuild_tensor_v2"), ("x", 0, (1,), (1,))), "not a storage"),
        (Call(Name("torch._utils", "_rebuild_tensor_v2"), ("x",)), "invalid arguments"),
        (Call(Name("torch._utils", "_rebuild_parameter"), ("x",)), "not a tensor"),
        (Persistent("0"), "not a storage"),
        (Persistent(("module", Name("torch", "FloatStorage"), "0", "cpu", 4)), "not a storage"),
        (Persistent(("storage", Name("collections", "OrderedDict"), "0", "cpu", 4)), "unknown class"),
        (Persistent(("storage", Name("torch", "FloatStorage"), "0", "cpu", 4, ("0", 0, 4))), "inside another one"),
        (Name("torch", "QInt8Storage"), "torch.QInt8Storage"),
        (Name("torch.nn.parallel", "DataParallel"), "torch.nn.parallel.DataParallel"),
    ],
)
def test_claims_are_checked(tmp_path, tensor, message):
    """A tensor must lie inside its storage, and its storage inside the file."""
    path = zipped(tmp_path, {"a": tensor}, {"0": bytes(16)})
    with pytest.raises(ConversionError, match=message) as refusal:
        read(path)
    assert str(path) in str(refusal.value)


def test_hostile_zip(tmp_path, monkeypatch):
    """Code in data.pkl is refused by name and not run."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConversionError, match=r"os\.system"):
        read(zipped(tmp_path, {"a": EVIL}, {}))
    assert not (tmp_path / "evidence").exists()


@pytest.mark.parametrize("place", range(4))
def test_hostile_legacy(tmp_path, monkeypatch, place):
    """Code in any of the five pickles of the old layout is refused by name and not run."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pt"
    evil = writers.dump(EVIL)
    start = b"\x80\x02" + torch_file.LEGACY_START
    parts = [start, writers.dump(1001), writers.dump(writers.SYSTEM), writers.dump({}), writers.dump([])]
    path.write_bytes(b"".join([*parts[: place + 1], evil, *parts[place + 2 :]]))
    with pytest.raises(ConversionError, match=r"os\.system"):
        read(path)
    assert not (tmp_path / "evidence").exists()


def test_zip_bomb(tmp_path):
    """A member that claims to unpack to far more than its size is refused before it is unpacked."""
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", writers.dump({"a": claim(1 << 22, 0, (1 << 22,), (1,))}))
        archive.writestr("a/data/0", bytes(4 << 22))
    with pytest.raises(ConversionError, match="claims 16,777,216 bytes"):
        read(path)


def patched(path: Path, old: bytes, new: bytes) -> Path:
    """Replace some bytes of the file."""
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


def directory_entry(path: Path, name: str) -> int:
    """Return the start of a member's entry in the zip directory."""
    return path.read_bytes().rindex(b"PK\x01\x02", 0, path.read_bytes().rindex(name.encode()))


@pytest.mark.parametrize(
    "offset, code, value, message",
    [
        (24, "<I", 1 << 30, "two sizes"),  # size
        (20, "<I", 8, "two sizes"),  # compressed size
        (8, "<H", 1, "encrypted"),
        (10, "<H", 14, "compressed by something other than deflate"),
        (42, "<I", 7, "not where the directory says"),
        (42, "<I", 1 << 30, "not where the directory says"),
    ],
)
def test_wrong_zip_directory(tmp_path, offset, code, value, message):
    """The zip directory's claims about a member are checked against the file."""
    path = zipped(tmp_path, {"a": claim(4, 0, (4,), (1,))}, {"0": bytes(16)})
    data = bytearray(path.read_bytes())
    start = directory_entry(path, "a/data/0") + offset
    data[start : start + struct.calcsize(code)] = struct.pack(code, value)
    path.write_bytes(data)
    with pytest.raises(ConversionError, match=message):
        read(path).value["a"].array()


def test_wrong_deflated_member(tmp_path):
    """A member that unpacks to another size, or not at all, is refused."""
    for old, message in ((b"other size", "another size"), (b"broken", "is broken")):
        path = tmp_path / "x.pt"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/data.pkl", writers.dump({"a": 1, "b": "x" * 40}))
        data = bytearray(path.read_bytes())
        if old == b"broken":
            data[38:60] = b"\xff" * 22
        else:
            start = directory_entry(path, "a/data.pkl") + 24
            data[start : start + 4] = struct.pack("<I", 20)
        path.write_bytes(data)
        with pytest.raises(ConversionError, match=message):
            read(path)


def test_other_zip_files(tmp_path):
    """Zip files that are not PyTorch's weights are refused with their kind."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(ConversionError, match="not PyTorch's: it has 0 members"):
        read(path)
    with pytest.raises(ConversionError, match="TorchScript"):
        read(zipped(tmp_path, {}, {}, **{"constants.pkl": b"x"}))
    with pytest.raises(ConversionError, match="big-endian"):
        read(zipped(tmp_path, {}, {}, byteorder=b"big"))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "y")
    with pytest.raises(ConversionError, match="one name twice"):
        read(path)


def test_large_pickle_is_refused(tmp_path, monkeypatch):
    """A data.pkl of more bytes than any weights need is not run."""
    monkeypatch.setattr(torch_file, "MAX_PICKLE_BYTES", 10)
    with pytest.raises(ConversionError, match="which no weights need"):
        read(zipped(tmp_path, {"a": "x" * 20}, {}))


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt"])
def test_cut_off_files(tmp_path, name):
    """A download that stopped anywhere is refused."""
    original = (FIXTURES / name).read_bytes()
    path = tmp_path / name
    for end in range(40, len(original), 61):
        path.write_bytes(original[:end])
        with pytest.raises(ConversionError, match=name):
            read(path)


def test_broken_legacy_files(tmp_path):
    """The old layout's header and list of storages are checked."""
    path = tmp_path / "x.pt"
    tensor = writers.dump(writers.torch_tensor(writers.storage_id("0", ONES, None), ONES))
    big = writers.SYSTEM | {"little_endian": False}
    twice = (writers.storage_id("0", ONES, None), writers.storage_id("0", ONES[0], None))
    cases = [
        (writers.legacy(tensor, {}), "list of storages differs"),
        (writers.legacy(tensor, {"0": ONES, "1": ONES}), "list of storages differs"),
        (writers.legacy(tensor, {"0": ONES[0]}), "missing or too short"),
        (writers.legacy(tensor, {"0": ONES}, big), "big-endian"),
        (writers.legacy(tensor, {"0": ONES}, "x"), "not a PyTorch file"),
        (writers.legacy(writers.dump(twice), {"0": ONES}), "two sizes"),
        (writers.legacy(writers.dump(Raw(b"N.")), {}), "the pickle is broken"),
    ]
    huge = Persistent(("storage", Name("torch", "FloatStorage"), "0", "cpu", 1 << 40))
    cases.append((writers.legacy(writers.dump(huge), {"0": ONES}), "more than the file has"))
    for data, message in cases:
        path.write_bytes(data)
        with pytest.raises(ConversionError, match=message):
            read(path)


def test_zip_directory_needs_no_trust():
    """Random damage anywhere in a zip file raises nothing but ConversionError."""
    original = (FIXTURES / "zip.pt").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(original)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(256)
        try:
            value = torch_file.read_zip(memoryview(bytes(data)), io.BytesIO(data))
            for tensor in value.get("state_dict", {}).values():
                tensor.array()
        except (ConversionError, AttributeError):  # AttributeError: a damaged name of "state_dict" or of its parts
            pass
