"""Checksums of the segments of an erasure-coded object, kept beside its fragments so that no damaged byte is served.

Made by the proxy at the PUT, of the object's own bytes, and kept with every fragment archive; other implementations keep and pass them on
as any system metadata. What is done with a segment that differs is `reassembly`'s business.
"""

from __future__ import annotations

import base64
import binascii
import struct

from swift.coding.fragments import Fragment
from swift.core.checksum import crc32
from swift.core.object_headers import EC_PREFIX

SEGMENT_SUMS = f"{EC_PREFIX}Segment-Crc32"
MAX_SUMS = 256  # for longer objects they would not fit beside a file everywhere
SMALLEST = 64 * 1024  # bytes of an object of one segment; below, its MD5 costs as little


class SegmentSums:
    """CRC-32 of each segment, in order."""

    __slots__ = ("_crcs",)

    def __init__(self, crcs: tuple[int, ...]) -> None:
        self._crcs = crcs

    def of(self, number: int) -> int | None:
        """That of a segment, if it is known."""
        return self._crcs[number] if number < len(self._crcs) else None

    @classmethod
    def parse(cls, value: str | None, etag: str, segments: int) -> SegmentSums | None:
        """From the header; None for one that is not about this object."""
        bound, _, text = (value or "").partition(";")
        if not text or bound != etag[:16]:
            return None
        try:
            packed = base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            return None
        if len(packed) != 4 * min(segments, MAX_SUMS):
            return None
        return cls(struct.unpack(f">{len(packed) // 4}I", packed))


class SegmentSummer:
    """Takes the segments of an object one by one."""

    __slots__ = ("_crcs", "_last")

    def __init__(self) -> None:
        self._crcs: list[int] = []
        self._last = 0

    def take(self, segment: Fragment) -> None:
        """The next one."""
        self._last = len(segment)
        if len(self._crcs) < MAX_SUMS:
            self._crcs.append(crc32(segment))

    def footer(self, etag: str) -> dict[str, str]:
        """The header to keep with the object; none if it is not worth it."""
        if not self._crcs or len(self._crcs) == 1 and self._last < SMALLEST:
            return {}
        packed = struct.pack(f">{len(self._crcs)}I", *self._crcs)
        return {SEGMENT_SUMS: f"{etag[:16]};{base64.b64encode(packed).decode()}"}
