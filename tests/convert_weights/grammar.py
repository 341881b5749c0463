"""Files of weights made by a grammar: opcodes, sharing, depth and sizes are drawn, so that most are read far.

A file is one of the published kinds, complete or small, in one of the layouts, with something drawn in places where a
value, a name, a tensor or a setting is expected; and sometimes with damage to its bytes.
"""

import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from convert_weights import nvidia_rules
from fgnet_jax.models.config import TINY
from tests.convert_weights import fileset, hostile, writers
from tests.convert_weights.writers import Call, Name, Persistent, Raw

NAMES = (
    ("collections", "OrderedDict"), ("builtins", "set"), ("builtins", "object"), ("copyreg", "_reconstructor"),
    ("argparse", "Namespace"), ("torch", "Size"), ("torch", "device"), ("torch", "float32"), ("torch", "FloatStorage"),
    ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter"), ("numpy", "ndarray"),
    ("numpy", "dtype"), ("numpy.core.multiarray", "_reconstruct"), ("numpy.core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"), ("_codecs", "encode"), ("dnnlib.tflib.network", "Network"),
    ("torch_utils.persistence", "_reconstruct_persistent_obj"), ("dnnlib.util", "EasyDict"),
    ("torch.storage", "_load_from_bytes"), ("pathlib", "PosixPath"), ("collections", "defaultdict"),
    ("os", "system"), ("builtins", "eval"), ("subprocess", "Popen"), ("torch.hub", "load"), ("x\x1b[2J", "y"),
)  # fmt: skip
"""Globals: allowed ones, settings, and what must never be run."""

TEXTS = (
    "",
    "state_dict",
    "opts",
    "encoder.",
    "module.x",
    "é",
    "\U0001f600",
    hostile.ESCAPES,
    "x" * 300,
    "y" * 70_000,
    "f4",
)
NUMBERS = (0, 1, -1, 3, 255, 1 << 31, (1 << 61) - 1, 1 << 63, 1 << 2000, -(1 << 48))
OLD = (
    b"I7\n",
    b"I01\n",
    b"L99L\n",
    b"F1e999\n",
    b"Fnan\n",
    b"S'a\\x1b'\n",
    b"V\\u1234\n",
    b"U\x02\x1b\xff",
    b"\x8e" + bytes(8),
)
BROKEN = (
    b"0",
    b"(",
    b"t",
    b"s",
    b"u",
    b"e",
    b"a",
    b"R",
    b"b",
    b"Q",
    b"\x93",
    b"\x91",
    b"\x90",
    b"\x82\x01",
    b".",
    b"h\x09",
    b"2",
)


class Grammar:
    """A source of values, drawn from a seed.

    Attributes:
      random: Where all draws come from.
    """

    def __init__(self, seed: int):
        self.random = random.Random(seed)

    def value(self, depth: int = 0) -> Any:
        """Draw any value."""
        makers: list[Callable[[int], Any]] = [self._scalar, self._old, self._shared, self.tensor, self._named]
        makers += [] if depth > 4 else [self._sequence, self._dictionary, self._call, self._set, self._sequence]
        makers += [self._deep, self._broken] if self.random.random() < 0.3 else []
        return self.random.choice(makers)(depth)

    def tensor(self, depth: int = 0) -> Any:
        """Draw a tensor whose claims may be wrong."""
        pick = self.random.choice
        kind = pick([Name("torch", "FloatStorage")] * 4 + [self._named(0)])
        key, count = pick(["0"] * 6 + ["1", "9", *TEXTS]), pick([16] * 6 + [1, 1 << 40, *NUMBERS])
        storage = Persistent((pick(["storage"] * 9 + ["module"]), kind, key, "cpu", count))
        shape = pick([(4, 4)] * 6 + [(16,), (), (0,), (1 << 20, 1 << 20), (1,) * 9, (-1,), self.value(depth + 3)])
        strides = pick([(4, 1)] * 6 + [(1,), (), (0, 0), (1 << 40, 1), self.value(depth + 3)])
        return Call(
            Name("torch._utils", "_rebuild_tensor_v2"), (storage, pick([0] * 8 + [1, 16, 1 << 50]), shape, strides)
        )

    def key(self) -> Any:
        """Draw a key of a dictionary."""
        return self.random.choice([*TEXTS, *NUMBERS, self._scalar(0), (1, "x"), tuple(range(9)), self.value(4)])

    def _scalar(self, depth: int) -> Any:
        return self.random.choice(
            [None, True, False, 0.5, float("nan"), float("inf"), b"", b"abc", bytes(400), *TEXTS, *NUMBERS]
        )

    def _old(self, depth: int) -> Raw:
        return Raw(self.random.choice(OLD))

    def _named(self, depth: int) -> Name:
        return Name(*self.random.choice(NAMES))

    def _sequence(self, depth: int) -> Any:
        values = [self.value(depth + 1) for _ in range(self.random.choice((0, 1, 2, 3, 5)))]
        return self.random.choice([list, tuple])(values)

    def _dictionary(self, depth: int) -> Any:
        pairs = [(self.key(), self.value(depth + 1)) for _ in range(self.random.choice((0, 1, 3)))]
        return Raw(b"}(" + b"".join(emit(part) for pair in pairs for part in pair) + b"u")

    def _set(self, depth: int) -> Raw:
        body = b"".join(emit(self.key()) for _ in range(self.random.choice((0, 1, 4))))
        return Raw(self.random.choice([b"\x8f(" + body + b"\x90", b"(" + body + b"\x91"]))

    def _shared(self, depth: int) -> Raw:
        place = bytes([self.random.randrange(200, 204)])
        part = emit(self.value(depth + 2))
        return Raw(
            self.random.choice(
                [part + b"q" + place, part + b"q" + place + b"0](h" + place + b"h" + place + b"e", part + b"2\x86"]
            )
        )

    def _call(self, depth: int) -> Call:
        args = tuple(self.value(depth + 1) for _ in range(self.random.choice((0, 1, 1, 2, 3, 5))))
        state = self.random.choice([None, None, {"a": self.value(depth + 2)}, self.value(depth + 2)])
        return Call(self._named(0), args, state, self.random.choice([b"R", b"\x81"]))

    def _deep(self, depth: int) -> Raw:
        count = self.random.choice((10, 100, 3000, 100_000))
        kinds = [b")" + b"\x85" * count, b"]" * count + b"a" * (count - 1), hostile.bottomless(min(count, 150)).code]
        return Raw(self.random.choice([*kinds, b"](" + b"N" * count + b"e", b"}" + b"(" + b"](ld" * 2]))

    def _broken(self, depth: int) -> Raw:
        return Raw(self.random.choice(BROKEN))


def emit(value: Any) -> bytes:
    """Return the opcodes of a value alone."""
    return writers.dump(value)[2:-1]


def save(folder: Path, count: int, seed: int) -> None:
    """Write `count` files, named after the option that takes them, as `measured` expects."""
    states, average = _good_states()
    for k in range(count):
        grammar = Grammar(seed * 1_000_003 + k)
        role, trees = grammar.random.choice(
            [("generator", _generators), ("encoder", _encoders), ("fgnet", _models), ("generator", _pickles)]
        )
        tree = _changed(trees(grammar, states, average), grammar)
        path = folder / f"{k:05d}.{role}"
        _write(path, tree, grammar, is_plain=trees is _pickles)
        if grammar.random.random() < 0.1:
            _damage(path, grammar.random)


def _good_states() -> tuple[dict[str, fileset.Arrays], np.ndarray]:
    shapes = writers.shapes_of(TINY)
    average = np.ones((TINY.num_styles, TINY.style_dim), np.float32)
    return {part: fileset.state(part, shapes, seed) for seed, part in enumerate(fileset.FGNET_PARTS)}, average


def _generators(grammar: Grammar, states: dict, average: np.ndarray) -> dict:
    return {"g_ema": _some(states["g_all"], grammar), "latent_avg": average[0]}


def _encoders(grammar: Grammar, states: dict, average: np.ndarray) -> dict:
    state = {f"encoder.{name}": value for name, value in _some(states["pspencoder"], grammar).items()}
    return {"state_dict": state, "latent_avg": average, "opts": {"start_from_latent_avg": True, "lr": 0.1}}


def _models(grammar: Grammar, states: dict, average: np.ndarray) -> dict:
    return {part: _some(state, grammar) for part, state in states.items()}


def _pickles(grammar: Grammar, states: dict, average: np.ndarray) -> Any:
    shapes = {path: shape for path, shape in writers.shapes_of(TINY).items() if path.startswith("generator/")}
    is_tf = grammar.random.random() < 0.5
    table = nvidia_rules.tf_generator(TINY) if is_tf else nvidia_rules.torch_generator(TINY)
    tensors: dict[str, Any] = _some(writers.arrays_for(table, shapes), grammar)
    if is_tf:
        return writers.tf_pickle(
            tensors, **({"architecture": grammar.value()} if grammar.random.random() < 0.5 else {})
        )
    tensors |= {f"drawn{k}": grammar.value() for k in range(grammar.random.choice((0, 1, 2)))}
    return {"G_ema": writers.ada_module(tensors), "training_set_kwargs": {"path": "x"}}


def _some(state: dict, grammar: Grammar) -> dict:
    """Return all of a state dict, or a few tensors."""
    return dict(state) if grammar.random.random() < 0.4 else dict(list(state.items())[:3])


def _changed(tree: Any, grammar: Grammar) -> Any:
    """Replace, add or remove values in a tree, at its top or below; one in ten stays as it is."""
    if grammar.random.random() < 0.05:
        return grammar.value()
    for _ in range(grammar.random.choice((0, 1, 1, 1, 2, 4)) if isinstance(tree, dict) else 0):
        place = grammar.random.choice([tree, *(part for part in tree.values() if isinstance(part, dict))])
        keys = [key for key in place if isinstance(key, str)] or ["x"]
        key, kind = grammar.random.choice(keys), grammar.random.random()
        if kind < 0.2:
            place.pop(key, None)
        elif kind < 0.8:
            name = key if kind < 0.6 else grammar.random.choice([*TEXTS, *NUMBERS])
            place[name] = grammar.random.choice([grammar.value, grammar.tensor])()
        else:
            tree["opts"] = Raw(
                b"}(" + emit("encoder_type") + emit(grammar.value()) + emit("a") + emit(grammar.value()) + b"u"
            )
    return tree


def _write(path: Path, tree: Any, grammar: Grammar, is_plain: bool) -> None:
    layout = (
        "plain"
        if is_plain
        else grammar.random.choice(("zip", "zip", "zip", "deflated", "deflated", "legacy", "legacy", "plain"))
    )
    if layout == "plain":
        path.write_bytes(writers.dump(_plain(tree)))
    elif layout == "legacy" and not isinstance(tree, Raw):
        writers.save_legacy(path, tree)
    else:
        kind = zipfile.ZIP_DEFLATED if layout == "deflated" else zipfile.ZIP_STORED
        writers.save_zip(path, tree, kind)


def _plain(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _plain(value) for name, value in tree.items()}
    return writers.numpy_array(tree) if isinstance(tree, np.ndarray) else tree


def _damage(path: Path, draws: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if draws.random() < 0.3:
        data = data[: draws.randrange(1, len(data) + 1)]
    for _ in range(draws.choice((1, 3, 30))):
        place = draws.randrange(len(data))
        new = struct.pack("<Q", draws.getrandbits(64)) if draws.random() < 0.3 else bytes([draws.randrange(256)])
        data[place : place + len(new)] = new
    path.write_bytes(data)
