"""Reading an open object so that damage is found before the bytes go anywhere (object-disk 5.3): for bodies, the auditor and ssync.

A `Check` takes the bytes of an extent and compares them with the block checksums kept with the object, else with its ETag as MD5;
a `CheckedReader` reads piece by piece on the device's pool, and has what is damaged quarantined.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from hashlib import md5
from typing import Any

from swift.core import clock
from swift.core.checksum import crc32
from swift.obj.blocks import BLOCK_CRC32, parse_block_crcs
from swift.obj.damage import read_or_judge
from swift.obj.errors import Corrupt, Quarantined
from swift.obj.store import ObjectStore, OpenObject, Place

PIECE = 1 << 20  # bytes read and checked at a time
RECHECK_SECONDS = 30.0
_CHECKED_MAX = 4096

# blocks that were found good a moment ago are in the page cache, where nothing rots: identity → when all of it was checked
_checked: OrderedDict[tuple[int, ...], float] = OrderedDict()


def is_needed(found: OpenObject, validate_pct: float) -> bool:
    """False if chance (etag_validate_pct) or a check of a moment ago says that the bytes can go out as they are."""
    if validate_pct < 100 and clock.uniform(0, 100) >= validate_pct:
        return False
    return clock.monotonic() - _checked.get(found.identity, -RECHECK_SECONDS) >= RECHECK_SECONDS


def is_good(body: bytes, metadata: dict[str, str], validate_pct: float) -> bool:
    """True if a whole small body fits its checksums: the block CRC if there is one, else the ETag as MD5."""
    if validate_pct < 100 and clock.uniform(0, 100) >= validate_pct:
        return True
    etag = metadata.get("ETag", "")
    stored = metadata.get(BLOCK_CRC32)
    if stored is not None:
        blocks = parse_block_crcs(stored, etag, len(body))
        if blocks is not None:
            size, crcs = blocks
            return all(crc32(body[n * size : (n + 1) * size]) == crc for n, crc in enumerate(crcs))
    return md5(body, usedforsecurity=False).hexdigest() == etag


class Check:
    """Checks the bytes of an object as they are read, in order: by its block checksums if there are any, else by MD5."""

    __slots__ = (
        "_crc",
        "_filled",
        "_found",
        "_left",
        "_number",
        "blocks",
        "digest",
        "etag",
        "failed",
        "size",
    )

    def __init__(self, found: OpenObject, by_etag: bool = False) -> None:
        """`by_etag`: by MD5 in any case."""
        self.failed = False
        self.blocks: tuple[int, list[int]] | None = None
        self.digest: Any = None
        self.etag = found.metadata.get("ETag", "")
        self.size = self._left = found.size
        self._found = found
        self._number = 0
        self._filled = 0
        self._crc = 0
        stored = found.metadata.get(BLOCK_CRC32)
        if stored is not None and not by_etag:
            self.blocks = parse_block_crcs(stored, self.etag, found.size)
        if self.blocks is None:
            self.digest = md5(usedforsecurity=False)

    def room(self) -> int:
        """Bytes up to the end of the current block."""
        return self.blocks[0] - self._filled if self.blocks is not None else PIECE

    def is_worth(self, start: int, stop: int) -> bool:
        """True if the blocks around a range are not much more than the range itself."""
        if self.blocks is None or stop <= start:
            return False
        first, end = self._bounds(start, stop)
        return end - first <= max(2 * (stop - start), PIECE)

    def _bounds(self, start: int, stop: int) -> tuple[int, int]:
        assert self.blocks is not None
        size = self.blocks[0]
        return start - start % size, min(-(-stop // size) * size, self.size)

    def seek(self, start: int, stop: int) -> tuple[int, int]:
        """Go to the first block of a range; (its first byte, the end of the range's last block)."""
        first, end = self._bounds(start, stop)
        assert self.blocks is not None
        self._number = first // self.blocks[0]
        self._left = self.size - first
        return first, end

    def read(self, view: memoryview, at: int, flags: int = 0) -> int:
        """Read into `view` the bytes from `at` (of the object) on, and check them. Blocks. Sets `failed`; raises Corrupt, OSError.

        `flags`: of preadv2.
        """
        count: int = read_or_judge(os.preadv, self._found.fd, [view], self._found.offset + at, flags)
        data = view[:count]
        self._left -= count
        if self.blocks is not None:
            size, crcs = self.blocks
            self._crc = crc32(data, self._crc)
            self._filled += count
            if self._filled == size or self._left == 0:
                self.failed = self._crc != crcs[self._number]
                self._number += 1
                self._filled = self._crc = 0
        else:
            self.digest.update(data)
            if self._left == 0:
                self.failed = self.digest.hexdigest() != self.etag
        return count

    def done(self) -> None:
        """All was read and good."""
        _checked[self._found.identity] = clock.monotonic()
        _checked.move_to_end(self._found.identity)
        if len(_checked) > _CHECKED_MAX:
            _checked.popitem(last=False)


class CheckedReader:
    """Reads an open object. `on_damage`: called with its place after it was quarantined."""

    __slots__ = ("found", "on_damage", "place", "store")

    def __init__(
        self,
        store: ObjectStore,
        place: Place,
        found: OpenObject,
        on_damage: Callable[[Place], None] | None = None,
    ) -> None:
        self.store = store
        self.place = place
        self.found = found
        self.on_damage = on_damage

    def pieces(self) -> Iterator[tuple[int, memoryview]]:
        """(where they begin, bytes) of the whole object; each block is checked before its last piece is handed out.

        The bytes are valid until the next step. Raises Quarantined.
        """
        check = Check(self.found)
        size = self.found.size
        buffer = memoryview(bytearray(min(PIECE, max(size, 1))))
        at = 0
        while at < size:
            view = buffer[: min(check.room(), len(buffer), size - at)]
            count = self._read(check, view, at)
            yield at, view[:count]
            at += count
        check.done()

    def range_pieces(self, check: Check, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes from `start` up to `stop`, of which the last are held back until all their blocks are checked.

        `check`: a new one that has blocks. They are valid until the next step but one. Raises Quarantined.
        """
        at, end = check.seek(start, stop)
        size = min(PIECE, end - at)
        buffers = memoryview(bytearray(size)), memoryview(bytearray(size))
        turn = 0
        held: memoryview | None = None
        while at < end:
            view = buffers[turn][: min(check.room(), size, end - at)]
            count = self._read(check, view, at)
            wanted = view[max(start - at, 0) : max(min(count, stop - at), 0)]
            if len(wanted):
                if held is not None:
                    yield held
                held = wanted
                turn = 1 - turn
            at += count
        if held is not None:
            yield held

    def _read(self, check: Check, view: memoryview, at: int) -> int:
        try:
            count: int = self.store.device.run_on(self.found, check.read, view, at)
        except Corrupt as err:
            self._damaged(f"can't be read: {err}")
        if not count:
            self._damaged(f"ends at {at} of {self.found.size} bytes")
        if check.failed:
            self._damaged("checksum differs")
        return count

    def _damaged(self, reason: str) -> None:
        self.store.quarantine(self.place, reason, self.found)
        if self.on_damage is not None:
            self.on_damage(self.place)
        raise Quarantined(f"{self.place.name_hash}: {reason}")
