"""A decoder for pickles of plain data: the only way this code base reads a pickle.

Object metadata, suffix hashes, pending updates, REPLICATE bodies and builder files are pickles by tradition. The
standard machine runs what it is told and can be made to take any amount of memory by a few bytes, even when its
globals are restricted. This one is a table of opcodes that can only make None, bool, int, float, str, bytes, list,
tuple, dict and set (and, if asked, array.array), needs memory in proportion to its input, and never imports or calls anything.
Writing pickles is up to the rooms that own the formats.

Spec: database 5, object-disk 4.1, 11.5, 14.2, 16, ring 6.1.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from struct import Struct
from struct import error as struct_error
from typing import Any, Protocol

MAX_SIZE = 256 * 1024 * 1024
MAX_EXPANDED_NODES = 10_000_000  # of a value in which containers occur more than once
MAX_DEPTH = 200


class UnpickleError(ValueError):
    """The bytes are no pickle of plain data."""


_unpack_u32 = Struct("<I").unpack_from
_unpack_i32 = Struct("<i").unpack_from
_unpack_u16 = Struct("<H").unpack_from
_unpack_u64 = Struct("<Q").unpack_from
_unpack_f64 = Struct(">d").unpack_from


class _Global:
    """Stands for one of the few callables that plain data refers to; does nothing by itself."""

    def __init__(self, name: str, reduce: Callable[[tuple], Any] | None) -> None:
        self.name = name
        self.reduce = reduce


def _encode(args: tuple) -> bytes:
    text, encoding = args
    if encoding not in ("latin1", "latin-1"):
        raise UnpickleError(f"encoding {encoding!r} in a pickle")
    return text.encode("latin-1")


def _make_bytes(args: tuple) -> bytes:
    if not args:
        return b""
    if len(args) == 1 and type(args[0]) is list and all(type(n) is int for n in args[0]):
        return bytes(args[0])
    raise UnpickleError("bytes() with arguments in a pickle")


def _reconstruct(args: tuple) -> dict:
    cls, base, state = args
    if cls is not _HEADERS or base is not _DICT or type(state) is not dict:
        raise UnpickleError("instance in a pickle")
    return dict(state)


_HEADERS = _Global("HeaderKeyDict", None)
_DICT = _Global("dict", None)
_GLOBALS = {
    ("_codecs", "encode"): _Global("encode", _encode),
    ("__builtin__", "bytes"): _Global("bytes", _make_bytes),
    ("builtins", "bytes"): _Global("bytes", _make_bytes),
    ("__builtin__", "dict"): _DICT,
    ("builtins", "dict"): _DICT,
    ("swift.common.header_key_dict", "HeaderKeyDict"): _HEADERS,
    ("copy_reg", "_reconstructor"): _Global("_reconstructor", _reconstruct),
    ("copyreg", "_reconstructor"): _Global("_reconstructor", _reconstruct),
}


class Arrays(Protocol):
    """How the arrays of integers in a pickle are read, for a room that has such."""

    def values(self, data: bytes, at: int) -> tuple[array, int] | None:
        """(the list of values whose opcodes begin at `at`, where they end); None to have them read one by one."""

    def make(self, args: tuple) -> array:
        """The array that array.array(*args) would be. Raises UnpickleError."""


_SCALARS = frozenset((str, bytes, int, float, bool, type(None)))
_CONTAINERS = frozenset((list, tuple, dict, set, frozenset))


def loads(
    data: bytes, *, encoding: str | None = "utf-8", arrays: Arrays | None = None, max_size: int = MAX_SIZE
) -> Any:
    """The plain value that `data` is a pickle (protocol 0 to 5) of.

    `encoding`: how byte strings of Python 2 become text (surrogates escaped), or None to keep them as bytes.
    `arrays`: accept array.array, read in that way (builder files). An instance of the reference's
    HeaderKeyDict becomes a dict. Raises UnpickleError.
    """
    if len(data) > max_size:
        raise UnpickleError(f"a pickle of {len(data)} bytes is longer than {max_size}")
    machine = _Machine(bytes(data), encoding, arrays)
    try:
        value = machine.run()
        if machine.named or machine.shared:
            _check_structure(value)
        return value
    except UnpickleError:
        raise
    except (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, struct_error) as err:
        raise UnpickleError(f"damaged pickle: {err!r}") from None


def _check_structure(value: Any) -> None:
    """Refuses a value that contains itself, is nested too deep, or would be huge if it were written out; and a callable's
    stand-in that was left in the data instead of being used.

    A few bytes of pickle can name a list of two references to a list of two references ...: harmless in memory,
    deadly to the first piece of code that walks it.
    """
    sizes: dict[int, int] = {}
    open_ids: set[int] = set()
    stack: list[tuple[Any, bool]] = [(value, False)]
    while stack:
        node, done = stack.pop()
        if type(node) not in _CONTAINERS:
            if type(node) is _Global:
                raise UnpickleError("a class instead of a value in a pickle")
            continue
        items = node.values() if type(node) is dict else node
        if done:
            open_ids.discard(id(node))
            size = _own_size(node) + sum(sizes[id(item)] - 1 for item in items if type(item) in _CONTAINERS)
            if size > MAX_EXPANDED_NODES:
                raise UnpickleError("a pickle of endlessly repeated containers")
            sizes[id(node)] = size
        elif id(node) in open_ids:
            raise UnpickleError("a pickle of a container that contains itself")
        elif id(node) not in sizes:
            if _SCALARS.issuperset(map(type, items)):
                sizes[id(node)] = _own_size(node)
                continue
            open_ids.add(id(node))
            if len(open_ids) > MAX_DEPTH:
                raise UnpickleError("a pickle nested too deep")
            stack.append((node, True))
            stack.extend((item, False) for item in items if type(item) not in _SCALARS)


def _own_size(node: Any) -> int:
    """The number of nodes in a container, each item counted as one; keys are scalars or flat tuples of them."""
    if type(node) is dict:
        return 1 + 2 * len(node) + sum(len(key) for key in node if type(key) is tuple)
    return 1 + len(node)


def _check_key(key: Any) -> None:
    """Keys must be cheap to hash: scalars, or flat tuples of scalars."""
    if type(key) in _SCALARS:
        return
    if type(key) is tuple and all(type(item) in _SCALARS for item in key):
        return
    raise UnpickleError(f"a {type(key).__name__} as a dictionary key in a pickle")


class _Machine:
    """The state of decoding one pickle; `run` returns the value. Methods named op_* are opcodes off the hot path."""

    def __init__(self, data: bytes, encoding: str | None, arrays: Arrays | None) -> None:
        self.data = data
        self.at = 0
        self.encoding = encoding
        self.arrays = arrays
        self.array = None if arrays is None else _Global("array", arrays.make)
        self.stack: list[Any] = []  # what was made since the last mark
        self.marked: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}
        self.shared = False  # some container was fetched from the memo
        self.named = False  # some global was named
        self.made = 0  # items of what calls returned

    def run(self) -> Any:
        """Decodes up to STOP. The opcodes that metadata, hashes and database rows consist of come first."""
        data, stack, memo = self.data, self.stack, self.memo
        push = stack.append
        slow = _SLOW
        size = len(data)
        at = 0
        while True:
            op = data[at]
            at += 1
            if op == 0x71:  # BINPUT
                memo[data[at]] = stack[-1]
                at += 1
            elif op == 0x58:  # BINUNICODE
                end = at + 4 + _unpack_u32(data, at)[0]
                if end > size:
                    raise UnpickleError("truncated pickle")
                push(data[at + 4 : end].decode("utf-8", "surrogatepass"))
                at = end
            elif op == 0x68:  # BINGET
                value = memo[data[at]]
                if type(value) in _CONTAINERS:
                    self.shared = True
                push(value)
                at += 1
            elif op == 0x4B:  # BININT1
                push(data[at])
                at += 1
            elif op == 0x4D:  # BININT2
                push(_unpack_u16(data, at)[0])
                at += 2
            elif op == 0x72:  # LONG_BINPUT
                memo[_unpack_u32(data, at)[0]] = stack[-1]
                at += 4
            elif op == 0x6A:  # LONG_BINGET
                value = memo[_unpack_u32(data, at)[0]]
                if type(value) in _CONTAINERS:
                    self.shared = True
                push(value)
                at += 4
            elif op == 0x4A:  # BININT
                push(_unpack_i32(data, at)[0])
                at += 4
            elif op == 0x2E:  # STOP
                if len(stack) != 1 or self.marked:
                    raise UnpickleError("a pickle that ends amid a value")
                return stack[0]
            else:
                self.at = at
                slow[op](self)
                at = self.at
                stack = self.stack
                push = stack.append

    # -- reading

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            raise UnpickleError("truncated pickle")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def line(self) -> bytes:
        end = self.data.index(b"\n", self.at)
        piece = self.data[self.at : end]
        self.at = end + 1
        return piece

    def number(self, unpack: Callable, width: int) -> Any:
        value = unpack(self.data, self.at)[0]
        self.at += width
        return value

    def op_mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def op_empty_list(self) -> None:
        stack = self.stack
        if self.arrays is not None and len(stack) > 1 and stack[-2] is self.array:
            found = self.arrays.values(self.data, self.at)
            if found is not None:
                values, self.at = found
                stack.append(values)
                return
        stack.append([])

    def pop_mark(self) -> list[Any]:
        """The items above the topmost mark, which goes too."""
        items = self.stack
        self.stack = self.marked.pop()
        return items

    def py2_text(self, raw: bytes) -> str | bytes:
        return raw if self.encoding is None else raw.decode(self.encoding, "surrogateescape")

    # -- opcodes

    def op_proto(self) -> None:
        if self.take(1)[0] > 5:
            raise UnpickleError("unknown pickle protocol")

    def op_frame(self) -> None:
        self.at += 8

    def op_pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def op_pop_mark(self) -> None:
        self.pop_mark()

    def op_list(self) -> None:
        items = self.pop_mark()
        self.stack.append(items)

    def op_marked_tuple(self) -> None:
        items = self.pop_mark()
        self.stack.append(tuple(items))

    def op_dup(self) -> None:
        self.shared = True
        self.stack.append(self.stack[-1])

    def op_int(self) -> None:
        text = self.line()
        self.stack.append(text == b"01" if text in (b"00", b"01") else int(text))

    def op_long(self) -> None:
        self.stack.append(int(self.line().rstrip(b"L")))

    def op_long1(self) -> None:
        self.stack.append(int.from_bytes(self.take(self.take(1)[0]), "little", signed=True))

    def op_long4(self) -> None:
        self.stack.append(int.from_bytes(self.take(self.number(_unpack_u32, 4)), "little", signed=True))

    def op_string(self) -> None:
        text = self.line().strip()
        if len(text) < 2 or text[:1] not in (b"'", b'"') or text[:1] != text[-1:]:
            raise UnpickleError("unquoted string in a pickle")
        import codecs

        self.stack.append(self.py2_text(codecs.escape_decode(text[1:-1])[0]))  # type: ignore[attr-defined]

    def op_unicode(self) -> None:
        self.stack.append(self.line().decode("raw-unicode-escape"))

    def op_text(self, width_unpack: Callable, width: int) -> None:
        self.stack.append(self.take(self.number(width_unpack, width)).decode("utf-8", "surrogatepass"))

    def op_dict(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self.set_items(items)

    def op_setitem(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self.set_items([key, value])

    def op_setitems(self) -> None:
        self.set_items(self.pop_mark())

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise UnpickleError("items for something else than a dictionary in a pickle")
        for at in range(0, len(items), 2):
            key = items[at]
            if type(key) is not str:
                _check_key(key)
            target[key] = items[at + 1]

    def extend_list(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise UnpickleError("items for something else than a list in a pickle")
        target.extend(items)

    def op_append(self) -> None:
        item = self.stack.pop()
        self.extend_list([item])

    def op_appends(self) -> None:
        self.extend_list(self.pop_mark())

    def op_additems(self) -> None:
        items = self.pop_mark()
        target = self.stack[-1]
        if type(target) is not set:
            raise UnpickleError("items for something else than a set in a pickle")
        for item in items:
            _check_key(item)
        target.update(items)

    def op_frozenset(self) -> None:
        items = self.pop_mark()
        for item in items:
            _check_key(item)
        self.stack.append(frozenset(items))

    def op_tuple(self, count: int) -> None:
        stack = self.stack
        if len(stack) < count:
            raise UnpickleError("a pickle that takes more than it made")
        items = tuple(stack[-count:])
        del stack[-count:]
        stack.append(items)

    def op_put(self) -> None:
        self.memo[int(self.line())] = self.stack[-1]

    def op_memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index: int) -> None:
        value = self.memo[index]
        if type(value) in _CONTAINERS:
            self.shared = True
        self.stack.append(value)

    def op_global(self) -> None:
        module, name = self.line().decode("ascii"), self.line().decode("ascii")
        self.push_global(module, name)

    def op_stack_global(self) -> None:
        name = self.stack.pop()
        module = self.stack.pop()
        self.push_global(module, name)

    def push_global(self, module: str, name: str) -> None:
        found = _GLOBALS.get((module, name))
        if found is None and (module, name) == ("array", "array"):
            found = self.array
        if found is None:
            raise UnpickleError(f"{str(module)[:100]}.{str(name)[:100]} in a pickle")
        self.named = True
        self.stack.append(found)

    def op_reduce(self) -> None:
        args = self.stack.pop()
        target = self.stack.pop()
        if type(target) is not _Global or target.reduce is None or type(args) is not tuple:
            raise UnpickleError("a call in a pickle")
        value = target.reduce(args)
        self.made += len(value)
        if self.made > len(self.data):  # the same argument over and over
            raise UnpickleError("a pickle of endlessly repeated calls")
        self.stack.append(value)


_SLOW: dict[int, Callable[[_Machine], None]] = {
    ord("}"): lambda m: m.stack.append({}),
    ord("]"): _Machine.op_empty_list,
    ord(")"): lambda m: m.stack.append(()),
    0x8F: lambda m: m.stack.append(set()),
    ord("("): _Machine.op_mark,
    ord("N"): lambda m: m.stack.append(None),
    0x88: lambda m: m.stack.append(True),
    0x89: lambda m: m.stack.append(False),
    0x80: _Machine.op_proto,
    0x95: _Machine.op_frame,
    ord("0"): _Machine.op_pop,
    ord("1"): _Machine.op_pop_mark,
    ord("2"): _Machine.op_dup,
    ord("I"): _Machine.op_int,
    ord("L"): _Machine.op_long,
    0x8A: _Machine.op_long1,
    0x8B: _Machine.op_long4,
    ord("F"): lambda m: m.stack.append(float(m.line())),
    ord("G"): lambda m: m.stack.append(m.number(_unpack_f64, 8)),
    ord("S"): _Machine.op_string,
    ord("T"): lambda m: m.stack.append(m.py2_text(m.take(m.number(_unpack_u32, 4)))),
    ord("U"): lambda m: m.stack.append(m.py2_text(m.take(m.take(1)[0]))),
    ord("V"): _Machine.op_unicode,
    0x8C: lambda m: m.stack.append(m.take(m.take(1)[0]).decode("utf-8", "surrogatepass")),
    0x8D: lambda m: m.op_text(_unpack_u64, 8),
    ord("C"): lambda m: m.stack.append(m.take(m.take(1)[0])),
    ord("B"): lambda m: m.stack.append(m.take(m.number(_unpack_u32, 4))),
    0x8E: lambda m: m.stack.append(m.take(m.number(_unpack_u64, 8))),
    ord("d"): _Machine.op_dict,
    ord("s"): _Machine.op_setitem,
    ord("u"): _Machine.op_setitems,
    ord("l"): _Machine.op_list,
    ord("a"): _Machine.op_append,
    ord("e"): _Machine.op_appends,
    ord("t"): _Machine.op_marked_tuple,
    0x85: lambda m: m.op_tuple(1),
    0x86: lambda m: m.op_tuple(2),
    0x87: lambda m: m.op_tuple(3),
    0x90: _Machine.op_additems,
    0x91: _Machine.op_frozenset,
    ord("p"): _Machine.op_put,
    0x94: _Machine.op_memoize,
    ord("g"): lambda m: m.get(int(m.line())),
    ord("c"): _Machine.op_global,
    0x93: _Machine.op_stack_global,
    ord("R"): _Machine.op_reduce,
}
