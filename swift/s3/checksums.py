"""The checksums that S3 knows of objects: CRC32, CRC32C, CRC64NVME, SHA1, SHA256 (spec s3.md 4.2, 14).

Each is fed with the pieces of a body; its value is the base64 of the bytes, most significant first. CRCs come from ISA-L, which the
wheel of pyeclib brings along; without it CRC32C and CRC64NVME are taken by tables, slowly. CRCs of parts can be put together into that
of the whole; all checksums of parts into a composite one. Never here: requests (`payload`).
"""

from __future__ import annotations

import base64
import binascii
import ctypes
import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from swift.coding.byte_maps import libraries
from swift.core.checksum import crc32
from swift.s3.errors import S3Error
from swift.s3.xml import element

PREFIX = "x-amz-checksum-"
SYSMETA = "x-object-sysmeta-s3api-checksum"
SYSMETA_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_CHECKSUM"
COMPOSITE, FULL_OBJECT = "COMPOSITE", "FULL_OBJECT"
# What a row of a listing says of a part, behind the type: so that nobody need ask for each of ten thousand.
ROW_TYPE = "X-Object-Sysmeta-Container-Update-Override-Content-Type"
ROW_TYPE_KEY = "HTTP_X_OBJECT_SYSMETA_CONTAINER_UPDATE_OVERRIDE_CONTENT_TYPE"
_IN_ROW = ";s3_checksum="
Step = Callable[[bytes | memoryview, int], int]


class Digest(Protocol):
    """A checksum that is being taken."""

    def update(self, data: bytes | memoryview) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    """`step(data, value) -> value`; `size`: bytes of the value."""

    def __init__(self, step: Step, size: int) -> None:
        self._step = step
        self._size = size
        self._value = 0

    def update(self, data: bytes | memoryview) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


class Algorithm(NamedTuple):
    """`name` as in headers, `size` bytes of its value, `make()` a Digest."""

    name: str
    size: int
    make: Callable[[], Digest]

    def parsed(self, text: str) -> bytes | None:
        """A value in base64; None if it is none of this algorithm."""
        try:
            value = base64.b64decode(text.encode("ascii"), validate=True)
        except (ValueError, binascii.Error):
            return None
        return value if len(value) == self.size and base64.b64encode(value).decode() == text else None


def shown(value: bytes) -> str:
    """The value in S3's form."""
    return base64.b64encode(value).decode()


# The polynomials, lowest power in the highest bit, as the CRCs are.
_POLYNOMIALS = {"crc32": 0xEDB88320, "crc32c": 0x82F63B78, "crc64nvme": 0x9A6C9329AC4BC9B5}


@lru_cache(maxsize=1)
def _kernels() -> tuple[Step, Step] | None:
    """(CRC32C, CRC64NVME), proved with known values; None if there is no library that has them."""
    for library in libraries():
        try:
            short, long = library.crc32_iscsi, library.crc64_rocksoft_refl
        except AttributeError:
            continue
        short.restype, short.argtypes = ctypes.c_uint32, (ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32)
        long.restype, long.argtypes = ctypes.c_uint64, (ctypes.c_uint64, ctypes.c_char_p, ctypes.c_uint64)
        crc32c, crc64 = _crc32c(short), _crc64(long)
        if (
            crc32c(b"6789", crc32c(b"12345", 0)) == 0xE3069283
            and crc64(b"123456789", 0) == 0xAE8B14860A799888
        ):
            return crc32c, crc64
    return None


def _crc32c(kernel: Any) -> Step:
    def step(data: bytes | memoryview, value: int) -> int:
        return int(kernel(_at(data), len(data), value ^ 0xFFFFFFFF)) ^ 0xFFFFFFFF

    return step


def _crc64(kernel: Any) -> Step:
    def step(data: bytes | memoryview, value: int) -> int:
        return int(kernel(value, _at(data), len(data)))

    return step


def _at(data: bytes | memoryview) -> Any:
    """What a C function takes for a pointer to it."""
    return data if isinstance(data, bytes) else (ctypes.c_char * len(data)).from_buffer(data)


def by_table(name: str) -> Step:
    """The step of a CRC without any library: right, and a hundred times slower."""
    polynomial = _POLYNOMIALS[name]
    ones = (1 << 8 * (8 if name == "crc64nvme" else 4)) - 1
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ polynomial if value & 1 else value >> 1
        table.append(value)

    def step(data: bytes | memoryview, value: int) -> int:
        value ^= ones
        for byte in data:
            value = table[(value ^ byte) & 255] ^ value >> 8
        return value ^ ones

    return step


@lru_cache(maxsize=2)
def _kernel(name: str) -> Step:
    kernels = _kernels()
    if kernels is None:
        return by_table(name)
    return kernels[0] if name == "crc32c" else kernels[1]


ALGORITHMS = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm("crc32", 4, lambda: _Crc(crc32, 4)),
        Algorithm("crc32c", 4, lambda: _Crc(_kernel("crc32c"), 4)),
        Algorithm("crc64nvme", 8, lambda: _Crc(_kernel("crc64nvme"), 8)),
        Algorithm("sha1", 20, lambda: hashlib.sha1(usedforsecurity=False)),
        Algorithm("sha256", 32, hashlib.sha256),
    )
}


# The types of a whole made of parts that each algorithm can have; the first is what it has unless asked.
KINDS = {
    "crc32": (COMPOSITE, FULL_OBJECT), "crc32c": (COMPOSITE, FULL_OBJECT), "crc64nvme": (FULL_OBJECT,),
    "sha1": (COMPOSITE,), "sha256": (COMPOSITE,),
}  # fmt: skip


def combined(algorithm: Algorithm, parts: Iterable[tuple[bytes, int]]) -> bytes:
    """The CRC of a whole, by (value, bytes) of its parts in order. Raises KeyError for what is no CRC."""
    polynomial, bits = _POLYNOMIALS[algorithm.name], algorithm.size * 8
    whole = power = 0
    last = -1
    for value, length in parts:
        if length != last:
            last, power = length, _power(8 * length, polynomial, bits)
        whole = _times(power, whole, polynomial, bits) ^ int.from_bytes(value, "big")
    return whole.to_bytes(algorithm.size, "big")


def composite(algorithm: Algorithm, parts: Iterable[bytes]) -> str:
    """The checksum of the checksums of parts in order, with their number, in S3's form."""
    digest = algorithm.make()
    count = 0
    for value in parts:
        digest.update(value)
        count += 1
    return f"{shown(digest.digest())}-{count}"


def _times(first: int, second: int, polynomial: int, bits: int) -> int:
    """The product of two polynomials, modulo the CRC's."""
    product = 0
    bit = 1 << bits - 1
    while bit and first:
        if first & bit:
            product ^= second
            first ^= bit
        bit >>= 1
        second = second >> 1 ^ polynomial if second & 1 else second >> 1
    return product


@lru_cache(maxsize=4)
def _squares(polynomial: int, bits: int) -> tuple[int, ...]:
    """x to the powers 1, 2, 4, 8 … modulo the CRC's polynomial."""
    found = [1 << bits - 2]
    while len(found) < 64:
        found.append(_times(found[-1], found[-1], polynomial, bits))
    return tuple(found)


def _power(exponent: int, polynomial: int, bits: int) -> int:
    """x to a power (below 2 ** 64), modulo the CRC's polynomial."""
    power = 1 << bits - 1
    for square in _squares(polynomial, bits):
        if not exponent:
            break
        if exponent & 1:
            power = _times(square, power, polynomial, bits)
        exponent >>= 1
    return power


def stored(algorithm: Algorithm, value: bytes) -> str:
    """What is kept with a whole object, or a part."""
    return f"{algorithm.name}:{shown(value)}:{FULL_OBJECT}"


def in_row(media_type: str, name: str, word: str) -> str:
    """A type with what a row says behind it: an algorithm with the value of a part in hex, or the type of an upload.

    All of it letters that the parameter of a type may have: listings take types apart and put them together again.
    """
    return f"{media_type}{_IN_ROW}{name}.{word}"


def of_row(media_type: str) -> tuple[str, str, str]:
    """(the type, algorithm, what a row says of it), both "" for nothing."""
    plain, _, text = media_type.partition(_IN_ROW)
    name, _, word = text.partition(";")[0].partition(".")
    return (plain, name, word) if name in ALGORITHMS else (plain, "", "")


def of_part(media_type: str) -> tuple[str, str]:
    """(the type, `algorithm:value` or "") of a part's row."""
    plain, name, word = of_row(media_type)
    try:
        return plain, f"{name}:{shown(bytes.fromhex(word))}" if name else ""
    except ValueError:
        return plain, ""


def element_name(name: str) -> str:
    """What documents call a checksum of an algorithm."""
    return f"Checksum{name.upper()}"


def split(kept: str | None) -> tuple[str, str, str] | None:
    """(algorithm, value in S3's form, type) of what is kept with an object; None if there is nothing that is known."""
    name, _, rest = (kept or "").partition(":")
    value, _, kind = rest.rpartition(":")
    return (name, value, kind) if name in ALGORITHMS and value else None


def headers_of(kept: str | None) -> list[tuple[str, str]]:
    """What an answer tells of a checksum that is kept with an object."""
    found = split(kept)
    if found is None:
        return []
    name, value, kind = found
    return [(PREFIX + name, value), (PREFIX + "type", kind)]


def headers_of_part(text: str) -> list[tuple[str, str]]:
    """What an answer tells of a part's checksum, `algorithm:value`."""
    name, _, value = text.partition(":")
    return [(PREFIX + name, value)] if name in ALGORITHMS and value else []


def elements_of(kept: str | None) -> list[str]:
    """What a document tells of a checksum that is kept with an object."""
    found = split(kept)
    if found is None:
        return []
    name, value, kind = found
    return [element(element_name(name), value), element("ChecksumType", kind)]


def unsupported() -> S3Error:
    """The error of an algorithm that there isn't."""
    names = ", ".join(name.upper() for name in ALGORITHMS)
    return S3Error(
        "InvalidRequest",
        f"Checksum algorithm provided is unsupported. Please try again with any of the valid types: [{names}]",
    )
