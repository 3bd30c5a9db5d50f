"""Linear maps of bytes over GF(2), at the speed of memory: ISA-L's kernels, which the wheel of pyeclib brings along.

They are made for products in one field, but what they look up is any linear map of a byte. Called without the interpreter's lock, on
buffers where they lie. Where the library is missing, or is not what it should be, `load` says so, and whoever wanted it does without.
What never lives here: what the maps mean (`linear_code`).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import pathlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

LEAST = 512  # bytes of a run: below its vectors the library goes another way, which knows its field only
MOST_SOURCES = 128

# The images of the bits 1, 2, 4 … 128.
ByteMap = tuple[int, ...]


class Kernels(NamedTuple):
    """The library. `matrices`: it takes a map as a matrix of bits, so many times over; 0: as a table of half bytes."""

    run: Any
    matrices: int


@lru_cache(maxsize=1)
def load() -> Kernels | None:
    """The library; None if there is none that can be used."""
    for library in libraries():
        try:
            make_tables, run = library.ec_init_tables, library.ec_encode_data
        except AttributeError:
            continue
        make_tables.restype = run.restype = None
        make_tables.argtypes = ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p
        run.argtypes = (ctypes.c_int,) * 3 + (ctypes.c_void_p,) * 3
        matrices = _form_of(make_tables)
        if matrices is not None:
            return Kernels(run, matrices)
    return None


def libraries() -> Iterator[ctypes.CDLL]:
    """The libraries that may be it, opened."""
    for name in _names():
        try:
            yield ctypes.CDLL(name)
        except OSError:
            continue


def _names() -> Iterator[str]:
    """Where it may be: beside pyeclib, or where the system has it."""
    import pyeclib

    folder = pathlib.Path(pyeclib.__file__).resolve().parent
    for beside in (folder.parent / "pyeclib.libs", folder / ".dylibs"):
        if beside.is_dir():
            yield from sorted(map(str, beside.glob("libisal*")))
    found = ctypes.util.find_library("isal")
    if found:
        yield found


def _form_of(make_tables: Any) -> int | None:
    """What the library wants for this processor, by what it makes for two products in its field; None if that is nothing known."""
    factors = 2, 0x8E
    made = ctypes.create_string_buffer(128)
    make_tables(2, 1, bytes(factors), made)
    maps = [tuple(_product(factor, 1 << bit) for bit in range(8)) for factor in factors]
    for matrices in (0, 1, 4):
        expected = b"".join(_table(byte_map, matrices) for byte_map in maps)
        if made.raw == expected.ljust(128, b"\0"):
            return matrices
    return None


def _product(a: int, b: int) -> int:
    """In the field of ISA-L."""
    product = 0
    while a:
        if a & 1:
            product ^= b
        a >>= 1
        b <<= 1
        if b & 0x100:
            b ^= 0x11D
    return product


def _table(byte_map: ByteMap, matrices: int) -> bytes:
    """A map as the library wants it."""
    if matrices:  # the rows of one, the row of the highest bit first
        rows = [
            sum(1 << bit for bit, image in enumerate(byte_map) if image >> row & 1)
            for row in range(7, -1, -1)
        ]
        return bytes(rows * matrices)
    return bytes(_image(byte_map, half << shift) for shift in (0, 4) for half in range(16))


def _image(byte_map: ByteMap, byte: int) -> int:
    image = 0
    for bit, one in enumerate(byte_map):
        if byte >> bit & 1:
            image ^= one
    return image


class Rows:
    """Outputs each of which is a sum of maps of all sources: `maps[output][source]`."""

    __slots__ = ("_run", "_sources", "_outputs", "_tables")

    def __init__(self, kernels: Kernels, maps: Sequence[Sequence[ByteMap]]) -> None:
        self._run = kernels.run
        self._outputs, self._sources = len(maps), len(maps[0])
        self._tables = b"".join(_table(one, kernels.matrices) for row in maps for one in row)

    def run(self, length: int, sources: Sequence[int], outputs: Sequence[int]) -> None:
        """Make `length` bytes, not less than LEAST, at each of the addresses `outputs` of those at the addresses `sources`."""
        if length < LEAST or len(sources) != self._sources or len(outputs) != self._outputs:
            raise ValueError("not what these rows are of")
        self._run(
            length,
            self._sources,
            self._outputs,
            self._tables,
            (ctypes.c_void_p * len(sources))(*sources),
            (ctypes.c_void_p * len(outputs))(*outputs),
        )
