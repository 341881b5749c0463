"""Files made to keep a reader busy, to fill its memory, or to write to its terminal: small programs for the machine."""

import struct
import zipfile
from pathlib import Path

import numpy as np

from tests.convert_weights import writers
from tests.convert_weights.writers import Call, Name, Persistent, Raw

ESCAPES = "\x1b[2J\x1b]0;owned\x07\nfgnet_jax: wrote everything\r"
"""Text that clears a terminal, renames its window, and looks like a message of ours."""

HUGE, LONG = "x" * 50_000_000, "x" * 2_000_000
FLOATS = writers.numpy_dtype(np.dtype(np.float32))


def bottomless(depth: int = 40) -> Raw:
    """Return a list that holds one list twice, which holds one twice, and so on: 2**depth elements in a few bytes."""
    return Raw(
        b"]" + b"".join(b"q" + bytes([k]) + b"0](h" + bytes([k]) * 1 + b"h" + bytes([k]) + b"e" for k in range(depth))
    )


def nested(depth: int = 400_000) -> Raw:
    """Return lists inside each other."""
    return Raw(b"]" * depth + b"a" * (depth - 1))


def save(folder: Path, states: dict, average: np.ndarray) -> None:
    """Write all of the files: pSp's with a hostile setting, name or storage, and the others.

    Args:
      folder: Where they go.
      states: State dicts of good files.
      average: Average latent of a good file.
    """
    psp = {
        "state_dict": {f"encoder.{name}": value for name, value in states["pspencoder"].items()},
        "latent_avg": average,
    }
    for name, value in _values().items():
        for where, opts in (("option", {"encoder_type": value}), ("opts", value)):
            writers.save_zip(folder / f"{where}_{name}.encoder", psp | {"opts": opts})
        _save_pickles(folder, name, value)
    for name, value in (("bottomless", bottomless()), ("escapes", ESCAPES), ("integer", 1 << 2000)):
        writers.save_zip(folder / f"entry_{name}.encoder", psp | {"entry": value})
        writers.save_zip(folder / f"tensor_{name}.encoder", psp | {"latent_avg": value})
        _save_places(folder, name, value)
    _save_names(folder, psp)
    _save_keys(folder)
    _save_many(folder, psp, states)
    _save_sizes(folder)


def _values() -> dict[str, object]:
    return {"bottomless": bottomless(), "nested": nested(), "huge": LONG, "escapes": ESCAPES, "integer": 1 << 2000}


def _save_pickles(folder: Path, name: str, value: object) -> None:
    """Write a value as a setting of NVIDIA's network, and as an array's dtype."""
    (folder / f"architecture_{name}.generator").write_bytes(
        writers.dump(writers.tf_network("Gs", {}, architecture=value))
    )
    dtype = Call(Name("numpy", "dtype"), (value, False, True))
    (folder / f"dtype_{name}.generator").write_bytes(writers.dump(_network_of(dtype)))


def _save_places(folder: Path, name: str, value: object) -> None:
    """Write a value as a network's name, a byte order, and a storage's key in either layout."""
    (folder / f"name_{name}.generator").write_bytes(writers.dump(_network_named(value)))
    order = Call(Name("numpy", "dtype"), ("f4", False, True), (3, value))
    (folder / f"order_{name}.generator").write_bytes(writers.dump(_network_of(order)))
    tensor = writers.torch_tensor(_storage(value), np.zeros(1, np.float32))
    _zip(folder / f"storage_{name}.fgnet", {"interpreter": {"a": tensor}})
    keys = writers.legacy(writers.dump({"a": 1}), {}).removesuffix(writers.dump([])) + writers.dump([value])
    (folder / f"keys_{name}.fgnet").write_bytes(keys)


def _storage(key: object) -> Persistent:
    return Persistent(("storage", Name("torch", "FloatStorage"), key, "cpu", 1))


def _network_named(name: object) -> Call:
    part = Call(Name("dnnlib.tflib.network", "Network"), (), {"name": name, "variables": []})
    state = {"variables": [], "components": {"a": part}}
    return Call(Name("dnnlib.tflib.network", "Network"), (), state)


def _network_of(dtype: Call) -> Call:
    array = Call(
        Name("numpy.core.multiarray", "_reconstruct"),
        (Name("numpy", "ndarray"), (0,), b"b"),
        (1, (1,), dtype, False, bytes(4)),
    )
    return Call(Name("dnnlib.tflib.network", "Network"), (), {"variables": [("a", array)]})


def _zip(path: Path, value: object, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", value if isinstance(value, bytes) else writers.dump(value))
        for name, data in members.items():
            archive.writestr(f"a/{name}", data)


def _save_names(folder: Path, psp: dict) -> None:
    """Write names of modules, tensors and entries that are long, or have escape sequences."""
    for name, text in (("huge", HUGE), ("long", LONG[:50_000]), ("escapes", ESCAPES)):
        stacked = b"\x80\x04" + _text(text) + _text("system") + b"\x93."
        (folder / f"module_{name}.generator").write_bytes(stacked)
        lines = b"\x80\x02c" + text.replace("\n", "").encode() + b"\nsystem\n."
        (folder / f"global_{name}.generator").write_bytes(lines)
        short = text[: len(LONG)]
        state = {f"encoder.{short}": np.zeros(1, np.float32)}
        writers.save_zip(folder / f"names_{name}.encoder", psp | {"state_dict": state})
        writers.save_zip(folder / f"entries_{name}.encoder", psp | {short: 1})
        setting = Raw(_text(short) + _text("Setting") + b"\x93")
        writers.save_zip(folder / f"class_{name}.encoder", psp | {"opts": {"a": setting}, "entry": 1})
        module = writers.ada_module({short.replace(".", ""): np.zeros(1, np.float32)})
        (folder / f"parameter_{name}.generator").write_bytes(writers.dump({"G_ema": module, short: 1}))


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _save_keys(folder: Path) -> None:
    """Write dictionaries, sets and memos whose keys all have one hash."""
    prime = (1 << 61) - 1
    numbers = [k * prime for k in range(1, 100_001)]
    integers = b"".join(b"\x8a\x0b" + number.to_bytes(11, "little") + b"N" for number in numbers)
    lines = b"".join(b"N" + f"p{number}\n0".encode() for number in numbers)
    tuples = b"".join(
        b"(" + b"".join(b"G" + struct.pack(">d", 2.0 ** (61 * (k >> 4 * part & 15))) for part in range(8)) + b"tN"
        for k in range(60_000)
    )
    for name, code in (("keys", b"}(" + integers + b"u"), ("memo", lines + b"N"), ("tuples", b"}(" + tuples + b"u")):
        _zip(folder / f"same_hash_{name}.fgnet", b"\x80\x02" + code + b".")


def _save_many(folder: Path, psp: dict, states: dict) -> None:
    """Write very many tensors, networks and members, or one of them very often."""
    tensor = writers.torch_tensor(writers.storage_id("0", np.zeros(16, np.float32)), np.zeros((4, 4), np.float32))
    start = b"\x80\x02}" + _text("g_ema") + writers.dump(tensor)[2:-1] + b"q\x000}("
    for name, suffix in (("unknown", ""), ("extras", ".blur.kernel")):
        code = b"".join(_text(f"tensor{k}{suffix}") + b"h\x00" for k in range(300_000))
        _zip(
            folder / f"many_{name}.generator",
            start + code + b"us.",
            **{"data/0": (4 * np.ones(16, np.float32)).tobytes()},
        )
    variable = b"(" + _text("v") + writers.dump(writers.numpy_array(np.zeros(1, np.float32)))[2:-1] + b"t"
    network = b"cdnnlib.tflib.network\nNetwork\n)\x81}(" + _text("variables")
    shared = (
        b"\x80\x02" + variable + b"q\x000](" + b"h\x00" * 200_000 + b"eq\x010" + network + b"h\x01ubq\x020" + network
    )
    parts = b"".join(_text(str(k)) + b"h\x02" for k in range(999))
    (folder / "many_parts.generator").write_bytes(shared + b"]" + _text("components") + b"}(" + parts + b"uub.")
    with zipfile.ZipFile(folder / "many_members.generator", "w") as archive:
        for k in range(100_000):
            archive.writestr(f"a/data/{k}", b"")
        archive.writestr("a/data.pkl", writers.dump({"g_ema": {}}))
    _save_storage(folder / "one_storage.fgnet", states)
    bad = {
        name: np.full_like(array, np.nan) if array.ndim == 4 else array for name, array in states["pspencoder"].items()
    }
    writers.save_zip(
        folder / "nan.encoder", psp | {"state_dict": {f"encoder.{name}": value for name, value in bad.items()}}
    )


def _save_storage(path: Path, states: dict) -> None:
    """Write a good network whose tensors are all views of one compressed storage of 128 MB."""
    values = np.zeros(32 << 20, np.float32)
    values[:: 1 << 6] = np.random.default_rng(0).standard_normal(len(values) >> 6)
    storage = writers.storage_id("0", values)
    tree = {
        part: {name: _view(storage, array) for name, array in state.items() if array.dtype == np.float32}
        for part, state in states.items()
    }
    _zip(path, tree, **{"data/0": values.tobytes()})


def _view(storage: Persistent, array: np.ndarray) -> Call:
    return writers.torch_tensor(storage, np.empty(array.shape, array.dtype))


def _save_sizes(folder: Path) -> None:
    """Write much out of little: elements, sets, calls with large arguments, and lines searched for their end."""
    calls = b"](" + b"N" * 400_000 + b"eq\x000" + b"ctorch\nSize\nq\x010" + b"h\x01h\x00\x85R0" * 100_000
    cases = {
        "sets": b"\x8f" * 1_500_000,
        "frozen": b"(\x91" * 800_000,
        "memo": b"N\x94" * 900_000,
        "lines": b"I1\n0" * 400_000 + b"N",
        "calls": calls + b"N",
        "number": b"I" + b"9" * 20_000_000 + b"\n",
        "wide": _text("\U0001f600" + "x" * 20_000_000),
        "wides": _text("\U0001f600" + "x" * 60_000) * 1000,
        "classes": b"".join(b"c%d\nC\n" % k for k in range(200_000)),
    }
    for name, code in cases.items():
        (folder / f"size_{name}.generator").write_bytes(b"\x80\x02" + code + b".")
