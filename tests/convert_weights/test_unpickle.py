"""The pickle machine: equal to Python's on data, and refusing everything else."""

import pickle
import random
import struct
import sys

import pytest

from convert_weights import allowed, unpickle
from convert_weights.errors import ConversionError
from convert_weights.records import MAX_OPERATIONS, Budget, Record, Skipped, Text, budget_for
from tests.convert_weights.writers import EVIL, Call, Name, Persistent, Raw, dump

SHARED = ["shared"]
PLAIN = {
    "none": None,
    "truth": [True, False],
    "numbers": (0, 1, -1, 255, 256, 65535, -(2**31), 2**31, 2**200, -(2**200), 1.5, -0.0),
    "text": ["", "é€\n'\"\\", "x" * 300],
    "bytes": [b"", b"abc", b"\x00" * 200],
    "nested": {1: {"a": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]}, ("x", 2): SHARED},
    "shared": [SHARED, SHARED],
    "set": {"a", "b"},
}


def run(data: bytes, names=None, budget: Budget | None = None):
    """Run the machine on a pickle and return the value."""
    names = allowed.plain() | allowed.arrays() if names is None else names
    return unpickle.Machine(memoryview(data), allowed=names, budget=budget or budget_for(len(data))).run()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_equal_pythons(protocol):
    """Every protocol's opcodes for data give what Python's unpickler gives, sharing included."""
    value = run(pickle.dumps(PLAIN, protocol))
    assert value == PLAIN
    assert value["shared"][0] is value["shared"][1]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_sets_and_long_bytes(protocol):
    """Frozen sets need protocol 4; long byte strings are views of the file."""
    data = bytes(range(256)) * 2
    assert bytes(run(pickle.dumps(data, protocol))) == data
    if protocol >= 4:
        assert run(pickle.dumps(frozenset({"a"}), protocol)) == {"a"}


def test_python_2_strings():
    """Strings of Python 2, in all three spellings, are read as Latin-1."""
    assert run(b"S'caf\\xe9'\n.") == "café"
    assert run(b"U\x04caf\xe9.") == "café"
    assert run(b"T\x04\x00\x00\x00caf\xe9.") == "café"


@pytest.mark.parametrize(
    "module, name, full",
    [
        ("os", "system", "os.system"),
        ("posix", "system", "posix.system"),
        ("builtins", "eval", "builtins.eval"),
        ("__builtin__", "getattr", "builtins.getattr"),
        ("collections", "OrderedDict.__init__", "collections.OrderedDict.__init__"),
        ("argparse", "Namespace.__init__.__globals__", "argparse.Namespace.__init__.__globals__"),
        ("torch.hub", "load", "torch.hub.load"),
        ("torch.storage", "_load_from_bytes", "torch.storage._load_from_bytes"),
        ("numpy", "load", "numpy.load"),
    ],
)
def test_globals_that_are_not_allowed_are_refused_by_name(module, name, full):
    """A global is refused by its full name, by either opcode, called or not, and as the class of an instance."""
    stacked = dump(Raw(_text(module) + _text(name) + b"\x93"))
    instance = b"(i" + f"{module}\n{name}\n".encode() + b"."
    for data in (dump(Name(module, name)), dump(Call(Name(module, name), ("x",))), stacked):
        with pytest.raises(ConversionError, match=f"refers to {full},"):
            run(data)
    with pytest.raises(ConversionError, match="opcode INST"):
        run(instance)


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def test_nothing_is_imported_or_run(tmp_path, monkeypatch):
    """A refused name is not even imported."""
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("antigravity", None)
    for value in (EVIL, Name("antigravity", "fly")):
        with pytest.raises(ConversionError):
            run(dump([value]))
    assert "antigravity" not in sys.modules and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value, message",
    [
        (Call("text", ()), "calls a str, which is not a function"),
        (Call(Name("builtins", "object"), ()), "calls builtins.object, which may be named but not called"),
        (Call(Name("collections", "OrderedDict"), ("abc", 1)), "with invalid arguments"),
        (Call(Name("collections", "OrderedDict"), ([(1.5, 1)],)), "a float for a key"),
        (Call(Name("builtins", "set"), ([(1,)],)), "a set of something other than names"),
        (Call(Name("_codecs", "encode"), ("abc", "rot13")), "encodes something other than bytes"),
        (Call(Name("copyreg", "_reconstructor"), (Name("builtins", "object"), None, None)), "an object of builtins"),
        (Call(Name("argparse", "Namespace"), (), {"a": 1}), None),
        (Raw(b"cargparse\nNamespace\n)\x81}b}b"), "two states"),
        (Raw(b"cargparse\nNamespace\n)}(X\x01\x00\x00\x00aNu\x92"), "with keywords"),
        (Raw(b"cargparse\nNamespace\n}b"), "another kind of value"),
        (Persistent("x"), "persistent id"),
        ({((1,),): 1}, "a tuple for a key"),
        ({tuple(range(9)): 1}, "a tuple for a key"),
        (Raw(b"](]Nu"), "another kind of value"),
        (Raw(b"}(Nu"), "a key without a value"),
        (Raw(b"}]Ns"), "a list for a key"),
        (Raw(b"P1\n"), "opcode PERSID"),
        (Raw(b"\x82\x01"), "opcode EXT1"),
        (Raw(b"\x97"), "opcode NEXT_BUFFER"),
        (Raw(b"\xff"), "opcode 0xff"),
        (Raw(b"\x80\x09"), "protocol 9"),
        (Raw(b"h\x05"), "nothing is stored under 5"),
        (Raw(b"q\x05"), "empty stack"),
        (Raw(b"0"), "empty stack"),
        (Raw(b"t"), "a mark is missing"),
        (Raw(b"Iabc\n"), "broken number"),
        (Raw(b"I" + b"9" * 5000 + b"\n"), "broken number"),
        (Raw(b"Sabc\n"), "without quotes"),
        (Raw(b"S'\\x'\n"), "broken string"),
        (Raw(b"V\\uzzzz\n"), "broken string"),
        (Raw(b"X\x01\x00\x00\x00\xff"), "broken string"),
        (Raw(b"\x8b\x00\x00\x01\x00"), "integer of 65,536 bytes"),
        (Raw(b"\x8b\xff\xff\xff\xff"), "integer of -1 bytes"),
        (Raw(b"T\xff\xff\xff\xff"), "ends early"),
        (Raw(b"\x8e" + struct.pack("<Q", 1 << 40)), "ends early"),
        (Raw(b"\x96" + struct.pack("<Q", 1 << 63)), "ends early"),
        (Raw(b"I1"), "ends early"),
    ],
)
def test_refusals(value, message):
    """Hostile and broken pickles are refused with a reason."""
    if message is None:
        run(dump(value))
        return
    with pytest.raises(ConversionError, match=message):
        run(dump(value))


def test_stack_ends_in_nothing():
    """An empty pickle is refused."""
    for data in (b".", b"\x80\x02.", b"(."):
        with pytest.raises(ConversionError):
            run(data)


def test_large_memo_index_costs_nothing():
    """Python's own unpickler would allocate 64 GB here."""
    assert run(b"\x80\x02]r\xff\xff\xff\xff.") == []


def test_operations_are_bounded():
    """A file of too many opcodes is refused at the limit."""
    with pytest.raises(ConversionError, match="1,000,000 operations"):
        run(b"]0" * (MAX_OPERATIONS // 2 + 1))


def test_copies_are_bounded():
    """A large argument in the memo cannot be copied again and again."""
    data = b"\x80\x02X" + struct.pack("<I", 10_000) + b"x" * 10_000 + b"q\x000"
    data += b"c_codecs\nencode\nq\x010X\x06\x00\x00\x00latin1q\x020" + b"h\x01h\x00h\x02\x86R0" * 1000
    with pytest.raises(ConversionError, match="16 times the bytes"):
        run(data + b"N.")


def test_deep_nesting_is_harmless():
    """Half a million tuples inside each other can be read and dropped, but not hashed."""
    deep = b")" + b"\x85" * 500_000
    assert isinstance(run(deep + b"."), tuple)
    with pytest.raises(ConversionError, match="a tuple for a key"):
        run(b"}" + deep + b"Ns.")


def test_keys_of_one_hash_are_refused():
    """Dictionaries whose keys all have one hash take quadratic time; such keys are refused, or few."""
    large = (1 << 61) - 1
    for data in (dump({large: 1}), dump(Call(Name("builtins", "dict"), ([(large, 1)],))), f"Np{large}\n.".encode()):
        with pytest.raises(ConversionError, match="integer of 61 bits for a key|an index that no memo has"):
            run(data)
    with pytest.raises(ConversionError, match="more than 1,000 tuples for keys"):
        run(dump({(k,): None for k in range(1001)}))


def test_long_texts_are_not_read_before_they_are_used():
    """A text too long for a name stays in the file: it can be an array's bytes, and nothing else."""
    long = "é" * 100_000
    for data in (dump(long), pickle.dumps(long, 0), b"T" + struct.pack("<I", 100_000) + b"\xe9" * 100_000 + b"."):
        value = run(data)
        assert isinstance(value, Text) and value.count == 100_000 and value.read() == long.encode("latin-1")
    encoded = run(dump(Call(Name("_codecs", "encode"), (long, "latin1"))))
    assert isinstance(encoded, Text) and encoded.count == 100_000
    with pytest.raises(ConversionError, match="more than bytes"):
        run(dump("\u2603" * 100_000)).read()
    with pytest.raises(ConversionError, match="name is not a string"):
        run(b"\x80\x04" + _text("x" * 100_000) + _text("y") + b"\x93.")
    with pytest.raises(ConversionError, match="33,554,432 characters"):
        run(b"\x80\x04" + _text("x" * 60_000) * 600 + b".")


def test_elements_that_functions_read_are_bounded():
    """A large container in the memo cannot be given to functions again and again."""
    data = b"\x80\x02](" + b"N" * 10_000 + b"eq\x000ctorch\nSize\nq\x010" + b"h\x01h\x00\x85R0" * 200 + b"N."
    with pytest.raises(ConversionError, match="1,000,000 operations"):
        run(data, budget=budget_for(1 << 40))


def test_unknown_classes_can_be_skipped():
    """A caller may have unknown classes stay names: their items are data, and nothing of them is made."""
    value = Call(Name("pathlib", "PosixPath"), ("/",), {"a": 1})
    data = memoryview(dump([value, {Name("x", "Enum"): 2}]))
    machine = unpickle.Machine(data, allowed={}, budget=budget_for(len(data)), skips=allowed.is_setting)
    path, names = machine.run()
    assert isinstance(path, Skipped) and path.name == "pathlib.PosixPath" and path.items == {"a": 1}
    assert [name.name for name in names] == ["x.Enum"] and list(machine.names) == ["pathlib.PosixPath", "x.Enum"]
    many = b"".join(b"cx\nC%d\n0" % k for k in range(2000))
    with pytest.raises(ConversionError, match="more than 1,000 classes"):
        unpickle.Machine(memoryview(many), allowed={}, budget=budget_for(1), skips=allowed.is_setting).run()


def test_an_object_that_contains_itself():
    """Cycles are data like any other."""
    value = run(b"]q\x00h\x00a.")
    assert value[0] is value


def test_every_cut_and_many_flips_are_refused_or_read():
    """No broken pickle raises anything but ConversionError."""
    original = pickle.dumps(PLAIN, 4) + pickle.dumps(PLAIN, 0)
    rng = random.Random(0)
    for i in range(len(original)):
        broken = bytearray(original if i % 2 else original[: len(original) // 2])
        broken[rng.randrange(len(broken))] = rng.randrange(256)
        for data in (original[:i], bytes(broken)):
            try:
                run(data)
            except ConversionError:
                pass


def test_namespace_is_a_record():
    """pSp's opts may be a Namespace: its settings are data."""
    import argparse

    value = run(pickle.dumps(argparse.Namespace(lr=0.1), 2))
    assert isinstance(value, Record) and value.state == {"lr": 0.1}
