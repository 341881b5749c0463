"""A pickle machine that can only construct data.

Python's own unpickler imports callables and calls them; a restricted `find_class` leaves other attacks open (attributes
set by BUILD, a memo as large as an index in the file, buffers as large as a length in the file). Here a global is a
symbol, never an import: it can be called only if the caller's table has a constructor for its full name, and every
other name is refused as soon as it is read, or stays a name without an object where the caller says so (settings).
Lengths are checked against the bytes of the file, and work and memory are bounded by a budget.
"""

import pickle
import pickletools
import struct
from collections.abc import Callable, Mapping

from convert_weights import literals
from convert_weights.errors import ConversionError
from convert_weights.records import Budget, Global, Pickled, Record, Skipped, Text
from convert_weights.untrusted import MAX_KEY_PARTS, is_scalar_key, refuse_key, shown

VIEW_BYTES = 256
"""Byte strings longer than this stay views of the file instead of copies."""

Constructor = Callable[..., Pickled]
"""Our own function for a global that a pickle calls: from the pickled arguments to the result."""

_ALIASES = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # of Python 2
_NAMES = {op.code.encode("latin-1")[0]: op.name for op in pickletools.opcodes}
_CONTAINERS = (tuple, list, set, frozenset, dict)
_MAX_INTEGER_BYTES = 255
_MAX_LINE = 5000
_MAX_NAME = 500
_MAX_SKIPPED = 1000
_LONG_TEXT = 1 << 16
_MAX_ARRAY_TEXT = 48 << 20
_LINE_STEPS = (64, 1 << 16)

_MARK = object()
"""The mark on the stack that opcodes such as TUPLE and APPENDS refer to."""


class Machine:
    """Runs one pickle.

    Attributes:
      position: Index of the byte after the last one read, so the pickle after this one starts there.
      names: The globals that it has read, by full name.
    """

    def __init__(
        self,
        data: memoryview,
        *,
        allowed: Mapping[str, Constructor | None],
        budget: Budget,
        persistent: Constructor | None = None,
        skips: Callable[[str], bool] | None = None,
        position: int = 0,
    ):
        """Prepare to run the pickle in `data` from `position` on.

        Args:
          data: The file's bytes.
          allowed: The allowed globals: constructors by full name, None for a global that may be named but not called.
          budget: The work and memory that it may take; shared with other pickles of the file.
          persistent: Constructor for a persistent id (PyTorch's storages), or None to refuse them.
          skips: Whether a global that is not allowed becomes a `Skipped`, by its full name; None to refuse them all.
          position: Index of the pickle's first byte.
        """
        self.data, self.allowed, self.budget, self.persistent = data, allowed, budget, persistent
        self.skips, self.position = skips, position
        self.names: dict[str, Global | Skipped] = {}
        self.stack: list[Pickled] = []
        self.memo: dict[int, Pickled] = {}

    def run(self) -> Pickled:
        """Return the value: None, bool, int, float, str, bytes, list, tuple, dict, set, or a constructor's result.

        Raises:
          ConversionError: for anything else, and for a broken pickle.
        """
        while True:
            self.budget.spend()
            code = self.byte()
            if code == pickle.STOP[0]:
                return self.pop()
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise ConversionError(f"the pickle uses opcode {_NAMES.get(code, hex(code))}, which no weights need")
            operation(self)

    def byte(self) -> int:
        """Read the next byte."""
        self.position += 1
        if self.position > len(self.data):
            raise ConversionError(f"the pickle ends early, at byte {len(self.data):,}")
        return self.data[self.position - 1]

    def take(self, count: int) -> memoryview:
        """Read the next `count` bytes, as a view."""
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise ConversionError(f"the pickle ends early: {count:,} bytes expected at byte {self.position:,}")
        view = self.data[self.position : end]
        self.position = end
        return view

    def unpack(self, code: str) -> Pickled:
        """Read the next number, in the struct format `code`, little-endian unless it begins with `>`."""
        code = code if code[0] == ">" else "<" + code
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def line(self) -> str:
        """Read short text up to the next newline, one character a byte, for the oldest protocol's opcodes."""
        line = self.long_line()
        if len(line) > _MAX_LINE:
            raise ConversionError(f"the pickle has a name or number of {len(line):,} bytes")
        return str(line, "latin-1")

    def long_line(self) -> memoryview:
        """Read the bytes up to the next newline, as a view."""
        start, end, (step, largest) = self.position, -1, _LINE_STEPS
        while end < 0 and start < len(self.data):
            end = bytes(self.data[start : start + step]).find(b"\n")
            if end < 0:
                start, step = start + step, min(4 * step, largest)
        line = self.take(start + end - self.position if end >= 0 else len(self.data) - self.position)
        self.take(1)
        return line

    def push(self, value: Pickled) -> None:
        """Push a value onto the stack."""
        self.stack.append(value)

    def pop(self) -> Pickled:
        """Remove the last value from the stack and return it."""
        if not self.stack or self.stack[-1] is _MARK:
            raise ConversionError("the pickle is broken: it takes a value off an empty stack")
        return self.stack.pop()

    def top(self, kind: type | tuple[type, ...]) -> Pickled:
        """Return the last value, which must be of this type."""
        value = self.pop()
        if not isinstance(value, kind):
            raise ConversionError(
                f"the pickle is broken: a {type(value).__name__} where it needs another kind of value"
            )
        self.push(value)
        return value

    def marked(self) -> list[Pickled]:
        """Remove everything after the last mark from the stack and return it."""
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                values = self.stack[i + 1 :]
                del self.stack[i:]
                return values
        raise ConversionError("the pickle is broken: a mark is missing")

    def remember(self, index: int) -> None:
        """Store the last value in the memo."""
        self.memo[index] = self.top(object)

    def recall(self, index: int) -> None:
        """Push a value of the memo."""
        if index not in self.memo:
            raise ConversionError(f"the pickle is broken: nothing is stored under {index}")
        self.push(self.memo[index])

    def name(self, module: Pickled, name: Pickled) -> None:
        """Push a global, if it is allowed."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise ConversionError("the pickle is broken: a global's name is not a string")
        if len(module) + len(name) > _MAX_NAME:
            raise ConversionError(f"the pickle refers to a name of {len(module) + len(name):,} characters")
        full = f"{_ALIASES.get(module, module)}.{name}"
        if full not in self.names:
            self.names[full] = self._symbol(full)
        self.push(self.names[full])

    def _symbol(self, full: str) -> Global | Skipped:
        if full in self.allowed:
            return Global(full)
        if self.skips is None or not self.skips(full):
            raise ConversionError(
                f"the pickle refers to {shown(full)}, which is neither a tensor nor a plain container"
            )
        if len(self.names) > _MAX_SKIPPED:
            raise ConversionError(f"the pickle refers to more than {_MAX_SKIPPED:,} classes")
        return Skipped(full)

    def call(self, function: Pickled, args: Pickled) -> None:
        """Push the result of the constructor of `function` for `args`; nothing is made of what is skipped."""
        if isinstance(function, Skipped):
            self.push(Skipped(function.name))
            return
        if not isinstance(function, Global) or not isinstance(args, tuple):
            raise ConversionError(f"the pickle calls a {type(function).__name__}, which is not a function")
        constructor = self.allowed[function.name]
        if constructor is None:
            raise ConversionError(f"the pickle calls {function.name}, which may be named but not called")
        # The memo can give one large argument to a million calls.
        self.budget.spend(sum(len(arg) for arg in args if isinstance(arg, _CONTAINERS)))
        self.budget.copy(sum(len(arg) for arg in args if isinstance(arg, str)))
        try:
            self.push(constructor(*args))
        except (TypeError, ValueError, OverflowError) as error:
            if isinstance(error, ConversionError):
                raise
            raise ConversionError(
                f"the pickle calls {function.name} with invalid arguments: {shown(str(error))}"
            ) from None

    def build(self) -> None:
        """Set the last value's state; attributes of plain containers (`_metadata`) are ignored."""
        state = self.pop()
        target = self.top((Record, dict, Skipped))
        if isinstance(target, Skipped) and isinstance(state, dict):
            self.budget.spend(len(state))
            target.items.update(state)
        if not isinstance(target, Record):
            return
        if target.state is not None:
            raise ConversionError(f"the pickle gives one {target.name} two states")
        target.state = state

    def find_persistent(self) -> None:
        """Replace a persistent id by its object."""
        key = self.pop()
        if self.persistent is None:
            raise ConversionError("the pickle has a persistent id, which only PyTorch's files have")
        self.push(self.persistent(key))


def _text(machine: Machine, view: memoryview, decode: Callable[[memoryview], str]) -> None:
    """Push a text; one that is too long for a name stays a view of the file until it is used."""
    if len(view) > _MAX_ARRAY_TEXT:
        raise ConversionError(f"the pickle has a text of {len(view):,} bytes, which no weights need")
    if len(view) > _LONG_TEXT:
        machine.push(Text(lambda: literals.latin_bytes(decode(view))))
        return
    machine.budget.write(len(view))
    machine.push(decode(view))


def _bytes(view: memoryview) -> bytes | memoryview:
    return bytes(view) if len(view) <= VIEW_BYTES else view


def _key(machine: Machine, key: Pickled) -> Pickled:
    # Hashing nested tuples recurses in C without a limit, so keys are scalars, or short flat tuples of them.
    if isinstance(key, tuple):
        machine.budget.hash_tuple()
    flat = key if isinstance(key, tuple) else (key,)
    if len(flat) > MAX_KEY_PARTS or not all(is_scalar_key(part) or isinstance(part, Global | Skipped) for part in flat):
        raise refuse_key(key)
    return key


def _pairs(machine: Machine, values: list[Pickled]) -> dict:
    if len(values) % 2:
        raise ConversionError("the pickle is broken: a key without a value")
    return {_key(machine, key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def _integer(machine: Machine, count: int) -> None:
    if not 0 <= count <= _MAX_INTEGER_BYTES:
        raise ConversionError(f"the pickle has an integer of {count:,} bytes")
    machine.push(int.from_bytes(machine.take(count), "little", signed=True))


def _extend(machine: Machine, values: list[Pickled]) -> None:
    target = machine.top((list, Skipped))
    if isinstance(target, list):
        target.extend(values)


def _set_items(machine: Machine, values: list[Pickled]) -> None:
    target = machine.top((dict, Skipped))
    entries = target if isinstance(target, dict) else target.items
    entries.update(_pairs(machine, values))


def _add_items(machine: Machine) -> None:
    values = machine.marked()
    machine.top(set).update(_key(machine, value) for value in values)


def _tuple(machine: Machine, count: int) -> None:
    machine.push(tuple([machine.pop() for _ in range(count)][::-1]))


def _call_two(machine: Machine) -> None:
    args, function = machine.pop(), machine.pop()
    machine.call(function, args)


def _call_keywords(machine: Machine) -> None:
    keywords, args, function = machine.pop(), machine.pop(), machine.pop()
    if keywords != {} and not isinstance(function, Skipped):
        raise ConversionError("the pickle calls a constructor with keywords")
    machine.call(function, args)


def _stack_global(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.name(module, name)


def _protocol(machine: Machine) -> None:
    version = machine.byte()
    if version > 5:
        raise ConversionError(f"the pickle has protocol {version}; supported are protocols up to 5")


_OPERATIONS: dict[int, Callable[[Machine], object]] = {
    code[0]: operation
    for code, operation in {
        pickle.PROTO: _protocol,
        pickle.FRAME: lambda m: m.unpack("Q"),  # a hint for readers of streams
        pickle.MARK: lambda m: m.push(_MARK),
        pickle.POP: lambda m: m.stack.pop() if m.stack else m.pop(),
        pickle.POP_MARK: lambda m: m.marked(),
        pickle.DUP: lambda m: m.push(m.top(object)),
        pickle.NONE: lambda m: m.push(None),
        pickle.NEWTRUE: lambda m: m.push(True),
        pickle.NEWFALSE: lambda m: m.push(False),
        pickle.INT: lambda m: m.push(literals.decimal(m.line())),
        pickle.LONG: lambda m: m.push(literals.decimal(m.line())),
        pickle.BININT: lambda m: m.push(m.unpack("i")),
        pickle.BININT1: lambda m: m.push(m.byte()),
        pickle.BININT2: lambda m: m.push(m.unpack("H")),
        pickle.LONG1: lambda m: _integer(m, m.byte()),
        pickle.LONG4: lambda m: _integer(m, m.unpack("i")),
        pickle.FLOAT: lambda m: m.push(literals.number(float, m.line())),
        pickle.BINFLOAT: lambda m: m.push(m.unpack(">d")),
        pickle.STRING: lambda m: _text(m, m.long_line(), literals.quoted),
        pickle.BINSTRING: lambda m: _text(m, m.take(m.unpack("i")), literals.latin),
        pickle.SHORT_BINSTRING: lambda m: _text(m, m.take(m.byte()), literals.latin),
        pickle.BINBYTES: lambda m: m.push(_bytes(m.take(m.unpack("I")))),
        pickle.SHORT_BINBYTES: lambda m: m.push(_bytes(m.take(m.byte()))),
        pickle.BINBYTES8: lambda m: m.push(_bytes(m.take(m.unpack("Q")))),
        pickle.BYTEARRAY8: lambda m: m.push(_bytes(m.take(m.unpack("Q")))),
        pickle.UNICODE: lambda m: _text(m, m.long_line(), literals.escaped),
        pickle.BINUNICODE: lambda m: _text(m, m.take(m.unpack("I")), literals.utf8),
        pickle.SHORT_BINUNICODE: lambda m: _text(m, m.take(m.byte()), literals.utf8),
        pickle.BINUNICODE8: lambda m: _text(m, m.take(m.unpack("Q")), literals.utf8),
        pickle.EMPTY_TUPLE: lambda m: m.push(()),
        pickle.TUPLE1: lambda m: _tuple(m, 1),
        pickle.TUPLE2: lambda m: _tuple(m, 2),
        pickle.TUPLE3: lambda m: _tuple(m, 3),
        pickle.TUPLE: lambda m: m.push(tuple(m.marked())),
        pickle.EMPTY_LIST: lambda m: m.push([]),
        pickle.LIST: lambda m: m.push(m.marked()),
        pickle.APPEND: lambda m: _extend(m, [m.pop()]),
        pickle.APPENDS: lambda m: _extend(m, m.marked()),
        pickle.EMPTY_DICT: lambda m: m.push({}),
        pickle.DICT: lambda m: m.push(_pairs(m, m.marked())),
        pickle.SETITEM: lambda m: _set_items(m, [m.pop(), m.pop()][::-1]),
        pickle.SETITEMS: lambda m: _set_items(m, m.marked()),
        pickle.EMPTY_SET: lambda m: m.push(set()),
        pickle.ADDITEMS: _add_items,
        pickle.FROZENSET: lambda m: m.push(frozenset(_key(m, value) for value in m.marked())),
        pickle.GET: lambda m: m.recall(literals.index(m.line())),
        pickle.BINGET: lambda m: m.recall(m.byte()),
        pickle.LONG_BINGET: lambda m: m.recall(m.unpack("I")),
        pickle.PUT: lambda m: m.remember(literals.index(m.line())),
        pickle.BINPUT: lambda m: m.remember(m.byte()),
        pickle.LONG_BINPUT: lambda m: m.remember(m.unpack("I")),
        pickle.MEMOIZE: lambda m: m.remember(len(m.memo)),
        pickle.GLOBAL: lambda m: m.name(m.line(), m.line()),
        pickle.STACK_GLOBAL: _stack_global,
        pickle.REDUCE: _call_two,
        pickle.NEWOBJ: _call_two,
        pickle.NEWOBJ_EX: _call_keywords,
        pickle.BUILD: lambda m: m.build(),
        pickle.BINPERSID: lambda m: m.find_persistent(),
    }.items()
}
