"""What is computed of an object on its way into fragments: the fragments, the digests of all, and what is kept beside them.

No node is talked to here, nothing is waited for; where the work is done, its callers decide.
"""

from __future__ import annotations

from collections.abc import Mapping

from swift.coding.fragments import Fragment, Parts
from swift.core.checksum import crc32
from swift.core.hashing import md5
from swift.core.object_headers import (
    EC_ETAG,
    EC_INDEX,
    EC_LENGTH,
    EC_PREFIX,
    EC_SCHEME,
    EC_SEGMENT_SIZE,
    OVERRIDES,
)
from swift.core.policy import ErasurePolicy
from swift.core.segment_sums import SegmentSummer


class Encoder:
    """Segments of one object into fragments, and the digests of all: of the object, and by index of its archives."""

    def __init__(self, policy: ErasurePolicy) -> None:
        self.codec = policy.codec
        self.segment_size = policy.segment_size
        self.length = 0
        self.sums = SegmentSummer()
        self._md5 = md5()
        self._md5s = [md5() for _ in range(self.codec.total)]
        self._crcs = [0] * self.codec.total

    def take(self, segment: bytes) -> list[bytes]:
        """The fragments of the next segment, which is not empty. One call at a time; long for a large segment."""
        self.digest(segment)
        fragments = self.codec.encode(segment)
        for index, fragment in enumerate(fragments):
            self._take_part(index, fragment)
        return fragments

    def digest(self, segment: Fragment) -> None:
        """The part of `encode` that is about the object, which must come with it; may be called beside it."""
        self.length += len(segment)
        self._md5.update(segment)
        self.sums.take(segment)

    def encode(self, room: memoryview, segment: int) -> list[Parts]:
        """The fragments of the next segment, of `segment` bytes at the beginning of a room (see `Codec.encode_in`)."""
        fragments = self.codec.encode_in(room, segment)
        for index, parts in enumerate(fragments):
            for part in parts:
                self._take_part(index, part)
        return fragments

    def _take_part(self, index: int, part: Fragment) -> None:
        self._md5s[index].update(part)
        self._crcs[index] = crc32(part, self._crcs[index])

    def whole(self, body: bytes) -> list[bytes]:
        """The fragment archives of a whole object."""
        size = self.segment_size
        if len(body) <= size:
            return self.take(body) if body else [b""] * self.codec.total
        made = [self.take(body[start : start + size]) for start in range(0, len(body), size)]
        return [b"".join(archive) for archive in zip(*made, strict=True)]

    def etag(self) -> str:
        """The MD5 of the object in hex."""
        return self._md5.hexdigest()

    def describing(self, etag: str) -> dict[str, str]:
        """What is kept with each archive, whichever it is, and what the listing is told."""
        override = OVERRIDES[0]
        return {
            EC_ETAG: etag,
            EC_LENGTH: str(self.length),
            f"{override}Etag": etag,
            f"{override}Size": str(self.length),
            EC_SCHEME: self.codec.scheme,
            EC_SEGMENT_SIZE: str(self.segment_size),
            **self.sums.footer(etag),
        }

    def archive_sums(self) -> list[tuple[str, int]]:
        """The MD5 in hex and the CRC of each archive."""
        return [(digest.hexdigest(), crc) for digest, crc in zip(self._md5s, self._crcs, strict=True)]

    def own(self, index: int) -> dict[str, str]:
        """What is kept with this archive only."""
        return {
            EC_INDEX: str(index),
            "Etag": self._md5s[index].hexdigest(),
            "X-Backend-Body-Crc32": f"{self._crcs[index]:08x}",
        }


def merged_footers(
    describing: Mapping[str, str], added: Mapping[str, str] | None, own: Mapping[str, str]
) -> dict[str, str]:
    """The footers of one archive; what filters added counts, except where it would say something else of the fragments."""
    kept = {
        name: value
        for name, value in (added or {}).items()
        if not name.startswith(EC_PREFIX) and name != "Etag" and value is not None
    }
    return {**describing, **kept, **own}
