"""What is known of an object that is cut into segments: their lengths, and what tells a right one from a wrong one (proxy 14.7).

No nodes, no files, nothing that waits: whoever reads fragments asks here whether what came of them is the object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swift.coding.fragments import Codec, Fragment, FragmentError
from swift.core.checksum import crc32
from swift.core.hashing import md5
from swift.core.segment_sums import SegmentSums


def segment_length(number: int, object_length: int, segment_size: int) -> int:
    """Bytes of a segment: all have the same but the last."""
    return min(segment_size, object_length - number * segment_size)


class Whole:
    """What is to come out: an object of `length` bytes in segments of `segment_size`. `etag`: its MD5; `sums`: of its segments, if known."""

    __slots__ = ("codec", "etag", "fragment_size", "length", "segment_size", "sums")

    def __init__(
        self, codec: Codec, segment_size: int, length: int, etag: str, sums: SegmentSums | None
    ) -> None:
        self.codec = codec
        self.segment_size = segment_size
        self.fragment_size = codec.fragment_size(segment_size)
        self.length = length
        self.etag = etag
        self.sums = sums

    def length_of(self, number: int) -> int:
        """Bytes of a segment."""
        return segment_length(number, self.length, self.segment_size)

    def fragment_size_of(self, number: int) -> int:
        """Bytes of each fragment of a segment."""
        return self.codec.fragment_size(self.length_of(number))

    def made_of(self, archives: Mapping[int, bytes]) -> list[memoryview] | None:
        """The one segment of the object, in pieces, of whole archives by their index; None if there is anything wrong with it."""
        length = self.length
        try:
            for index, archive in archives.items():
                if self.codec.check(archive, length) != index:
                    return None
            pieces = self.codec.restored(archives, length)
        except FragmentError:
            return None
        return pieces if self.is_right(0, pieces) else None

    def can_tell(self, number: int) -> bool:
        """True if it is known what a segment must be."""
        return self.length <= self.segment_size or self.sums is not None and self.sums.of(number) is not None

    def is_right(self, number: int, pieces: Sequence[Fragment]) -> bool:
        """False if a segment is proven wrong."""
        expected = None if self.sums is None else self.sums.of(number)
        if expected is not None:
            crc = 0
            for piece in pieces:
                crc = crc32(piece, crc)
            return crc == expected
        if self.length > self.segment_size:
            return True
        digest = md5()
        for piece in pieces:
            digest.update(piece)
        return digest.hexdigest() == self.etag
