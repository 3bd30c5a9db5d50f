"""Checksums of the blocks of an object, kept among its metadata (doc/architecture.md, fast checksum handshake).

Their stored form and how they are made of bytes that pass. Checking what is read is in `checks`.
"""

from __future__ import annotations

import base64
import binascii
import struct
from functools import lru_cache

from swift.core.checksum import crc32

BLOCK_CRC32 = "X-Object-Sysmeta-Block-Crc32"
MIN_BLOCK = 65536
MAX_BLOCKS = 64


def block_size_for(length: int | None) -> int:
    """Bytes per checksum of an object of `length` bytes: the smallest power of two that gives at most MAX_BLOCKS."""
    if length is None:
        return MIN_BLOCK
    size = MIN_BLOCK
    while size * MAX_BLOCKS < length:
        size *= 2
    return size


def format_block_crcs(etag: str, block_size: int, crcs: list[int]) -> str:
    """The value stored under BLOCK_CRC32. Bound to the ETag, so that it can't be taken for that of other content."""
    packed = struct.pack(f">{len(crcs)}I", *crcs)
    return f"{etag[:16]};{block_size};{binascii.b2a_base64(packed, newline=False).decode()}"


def parse_block_crcs(value: str, etag: str, length: int) -> tuple[int, list[int]] | None:
    """(block size, CRCs) for the content with this ETag and length; None if the value is not about it."""
    bound, _, rest = value.partition(";")
    size_text, _, packed_text = rest.partition(";")
    if bound != etag[:16]:
        return None
    try:
        size = int(size_text)
        packed = base64.b64decode(packed_text, validate=True)
    except (ValueError, binascii.Error):
        return None
    if size < 1 or len(packed) % 4 or len(packed) // 4 != -(-length // size):
        return None
    return size, list(struct.unpack(f">{len(packed) // 4}I", packed))


class BlockCrcs:
    """Takes the bytes of an object in order and gives its block checksums; for an unknown length blocks grow as needed."""

    __slots__ = ("block_size", "_crcs", "_current", "_filled")

    def __init__(self, length: int | None) -> None:
        self.block_size = block_size_for(length)
        self._crcs: list[int] = []
        self._current = 0
        self._filled = 0

    def update(self, data: bytes | memoryview) -> None:
        """Add the next bytes."""
        room = self.block_size - self._filled
        if len(data) < room:
            self._current = crc32(data, self._current)
            self._filled += len(data)
            return
        view = memoryview(data)
        start = 0
        while len(view) - start >= room:
            self._crcs.append(crc32(view[start : start + room], self._current))
            start += room
            self._current = self._filled = 0
            if len(self._crcs) == MAX_BLOCKS:
                self._double()
            room = self.block_size
        if start < len(view):
            self._current = crc32(view[start:])
            self._filled = len(view) - start

    def _double(self) -> None:
        """Merge pairs of blocks: the CRC of two runs follows from theirs."""
        size = self.block_size
        self._crcs = [
            combine(first, second, size)
            for first, second in zip(self._crcs[::2], self._crcs[1::2], strict=True)
        ]
        self.block_size = size * 2

    def finish(self) -> list[int]:
        """The checksums of all blocks; the object is complete."""
        return [*self._crcs, self._current] if self._filled else list(self._crcs)

    def total(self, length: int) -> int:
        """zlib.crc32 of all `length` bytes."""
        crcs = self.finish()
        total = 0
        for number, crc in enumerate(crcs):
            run = min(self.block_size, length - number * self.block_size)
            total = combine(total, crc, run)
        return total


# CRC-32 of joined runs: crc(A+B) = crc(A) * x^(8*len(B)) + crc(B), in the ring of polynomials over GF(2) modulo
# the CRC's polynomial (bit-reversed here, as the CRC is).

_POLYNOMIAL = 0xEDB88320


def _multiply(a: int, b: int) -> int:
    product = 0
    mask = 1 << 31
    while a:
        if a & mask:
            product ^= b
            a ^= mask
        mask >>= 1
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


@lru_cache(maxsize=256)
def _shift(length: int) -> int:
    """x^(8*length)."""
    power = 1 << 31  # x^0
    square = 1 << 23  # x^8
    while length:
        if length & 1:
            power = _multiply(square, power)
        square = _multiply(square, square)
        length >>= 1
    return power


def combine(first: int, second: int, length: int) -> int:
    """crc32(A + B) from the CRCs of A and B and the length of B in bytes."""
    return _multiply(_shift(length), first) ^ second
