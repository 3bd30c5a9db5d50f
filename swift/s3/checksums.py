"""The checksums that S3 knows of objects: CRC32, CRC32C, CRC64NVME, SHA1, SHA256 (spec s3.md 4.2, 14).

Each is fed with the pieces of a body; its value is the base64 of the bytes, most significant first. CRCs come from ISA-L, which the
wheel of pyeclib brings along; without it CRC32C and CRC64NVME are refused. Never here: headers (`payload`).
"""

from __future__ import annotations

import base64
import binascii
import ctypes
import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from swift.coding.byte_maps import libraries
from swift.core.checksum import crc32
from swift.s3.errors import S3Error

PREFIX = "x-amz-checksum-"
SYSMETA = "x-object-sysmeta-s3api-checksum"
SYSMETA_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_CHECKSUM"


class Digest(Protocol):
    """A checksum that is being taken."""

    def update(self, data: bytes) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    """`step(data, value) -> value`; `size`: bytes of the value."""

    def __init__(self, step: Callable[[bytes, int], int], size: int) -> None:
        self._step = step
        self._size = size
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


class Algorithm(NamedTuple):
    """`name` as in headers, `size` bytes of its value, `make()` a Digest; Raises S3Error where it can't be taken here."""

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


@lru_cache(maxsize=1)
def _kernels() -> tuple[Callable[[bytes, int], int], Callable[[bytes, int], int]] | None:
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


def _crc32c(kernel: Any) -> Callable[[bytes, int], int]:
    def step(data: bytes, value: int) -> int:
        return int(kernel(data, len(data), value ^ 0xFFFFFFFF)) ^ 0xFFFFFFFF

    return step


def _crc64(kernel: Any) -> Callable[[bytes, int], int]:
    def step(data: bytes, value: int) -> int:
        return int(kernel(value, data, len(data)))

    return step


def _kernel(index: int, name: str) -> Callable[[bytes, int], int]:
    kernels = _kernels()
    if kernels is None:
        raise S3Error("NotImplemented", f"The {PREFIX}{name} algorithm is not supported.")
    return kernels[index]


ALGORITHMS = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm("crc32", 4, lambda: _Crc(crc32, 4)),
        Algorithm("crc32c", 4, lambda: _Crc(_kernel(0, "crc32c"), 4)),
        Algorithm("crc64nvme", 8, lambda: _Crc(_kernel(1, "crc64nvme"), 8)),
        Algorithm("sha1", 20, lambda: hashlib.sha1(usedforsecurity=False)),
        Algorithm("sha256", 32, hashlib.sha256),
    )
}


def stored(algorithm: Algorithm, value: bytes) -> str:
    """What is kept with a whole object."""
    return f"{algorithm.name}:{shown(value)}:FULL_OBJECT"


def headers_of(kept: str | None) -> list[tuple[str, str]]:
    """What an answer tells of a checksum that is kept with an object."""
    if not kept:
        return []
    name, _, rest = kept.partition(":")
    value, _, kind = rest.rpartition(":")
    if name not in ALGORITHMS or not value:
        return []
    return [(PREFIX + name, value), (PREFIX + "type", kind)]
