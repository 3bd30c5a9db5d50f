"""A library's erasure code, learned: whole fragments, headers included, made where their segment lies.

`Learned.of` finds out what the library does and proves it on other data; where that fails there is nothing, and the library does it all.
What never lives here: the library (its owner hands in how it encodes), and the check of fragments from elsewhere.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any

from swift.coding import byte_maps
from swift.coding.linear_code import SHORTEST, LinearCode, bytes_to_learn

HEADER = 80  # bytes before the payload of a fragment
COVERED = 59  # bytes of the header that its checksum is of
# Of a header: the index, the bytes of the payload and of what else there is, the bytes of the segment.
SIZES = Struct("<IIIQ")
_CRC = Struct("<I")
_CRC_AT = 67
_MOST_HEADERS = 256  # lengths of segments

Encode = Callable[[bytes], list[bytes]]
# Of a fragment: its header and its payload.
Parts = tuple[bytes, memoryview]


def is_fit(size: int) -> bool:
    """True for payloads of so many bytes: they are worth it, and whole words."""
    return size >= SHORTEST and size % 2 == 0


class Learned:
    """What `encode` makes of a segment: `data` fragments with its bytes, and others. All methods may be called in threads."""

    __slots__ = ("_code", "_headers", "_template", "data", "total")

    def __init__(self, code: LinearCode, template: bytes) -> None:
        """`template`: any header."""
        self.data = code.data
        self.total = code.data + code.parity
        self._code = code
        self._template = template
        self._headers: dict[int, list[bytes]] = {}

    @classmethod
    def of(cls, encode: Encode, fragment_size: Callable[[int], int], data: int) -> Learned | None:
        """None if it is not to be learned, or not to be carried out here. `fragment_size`: bytes of a fragment of so long a segment."""
        kernels = byte_maps.load()
        size = max(bytes_to_learn(data), 2 * SHORTEST)
        segment = data * size
        if kernels is None or fragment_size(segment) != HEADER + size:
            return None

        def parity(payloads: list[bytes]) -> list[bytes]:
            return [fragment[HEADER:] for fragment in encode(b"".join(payloads))[data:]]

        code = LinearCode.learned(kernels, data, size, parity)
        if code is None:
            return None
        learned = cls(code, encode(bytes(segment))[0][:HEADER])
        for length in (segment, segment - 123):
            if not learned._is_proven(encode, length, fragment_size(length) - HEADER):
                return None
        return learned

    def _is_proven(self, encode: Encode, segment: int, size: int) -> bool:
        """True if what it makes of data is what the library makes."""
        if not is_fit(size) or size * self.data < segment:
            return False
        room = memoryview(bytearray(self.total * size))
        room[:segment] = hashlib.shake_128(b"any data").digest(segment)
        expected = encode(bytes(room[:segment]))
        return [header + payload for header, payload in self.encode_in(room, segment, size)] == expected

    def encode_in(self, room: memoryview, segment: int, size: int) -> list[Parts]:
        """The fragments of the segment of `segment` bytes at the beginning of the room, whose payloads, of `size` bytes, are in it."""
        end = self.data * size
        room[segment:end] = bytes(end - segment)
        payloads = [room[start : start + size] for start in range(0, self.total * size, size)]
        self._code.encoding.run(payloads[: self.data], payloads[self.data :])
        return list(zip(self.headers(segment, size), payloads, strict=True))

    def headers(self, segment: int, size: int) -> list[bytes]:
        """Of the fragments of a segment, whose payloads have `size` bytes."""
        made = self._headers.get(segment)
        if made is None:
            made = []
            for index in range(self.total):
                header = bytearray(self._template)
                SIZES.pack_into(header, 0, index, size, 0, segment)
                _CRC.pack_into(header, _CRC_AT, zlib.crc32(memoryview(header)[:COVERED]))
                made.append(bytes(header))
            if len(self._headers) >= _MOST_HEADERS:
                self._headers.clear()
            self._headers[segment] = made
        return made

    def made(self, payloads: Mapping[int, Any], want: Sequence[int]) -> list[memoryview]:
        """The payloads `want` of the same segment as these, by their indexes. Raises NotEnough."""
        plan = self._code.plan(tuple(payloads), want)
        sources = [payloads[index] for index in plan.sources]
        made = [memoryview(bytearray(len(sources[0]))) for _ in want]
        plan.run(sources, made)
        return made
