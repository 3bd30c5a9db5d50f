"""The bytes of an open object on their way out: checked before they leave, sent by the kernel (object-disk 5.3, 9.2).

One object per response. It is a WSGI body (an iterable), can send itself (`send_to`, see doc/architecture.md), and
gives ranges to `swift.wire.response`.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from hashlib import md5
from typing import Any

from swift.core import clock, fs
from swift.core.checksum import crc32
from swift.obj import metadata as _metadata
from swift.obj.device import Device
from swift.obj.layout import ObjectLocation
from swift.obj.reader import OpenObject, quarantine
from swift.wire.body import FileBody
from swift.wire.errors import ResponseBroken

PIECE = 1 << 20  # bytes read, checked and sent at a time
RECHECK_SECONDS = 30.0
_CHECKED_MAX = 4096

# blocks of a file that were found good a moment ago are in the page cache, where nothing rots: (device, inode, time of
# change, size) → when all of it was checked
_checked: OrderedDict[tuple[int, int, int, int], float] = OrderedDict()


class BodyDamaged(ResponseBroken):
    """The bytes on disk don't fit their checksum: the response must break off."""


class ObjectBody:
    """All bytes of an open object, or ranges of them; owns its descriptor.

    `on_damage`: called with the object's location after it was quarantined.
    """

    def __init__(
        self,
        device: Device,
        where: ObjectLocation,
        found: OpenObject,
        keep_cache: bool,
        chunk_size: int = 65536,
        on_damage: Callable[[ObjectLocation], None] | None = None,
    ) -> None:
        self.device = device
        self.where = where
        self.fd = found.fd
        self.name = os.path.basename(found.path)
        self.size = found.size
        self.metadata = found.metadata
        self.keep_cache = keep_cache
        self.chunk_size = chunk_size
        self.on_damage = on_damage
        found.fd = -1

    def close(self) -> None:
        """Close the file and let go of what it has in the page cache, if it is not to be kept."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            if not self.keep_cache and not self.device.inline:
                fs.drop_cache(fd, 0, 0)
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    # ------------------------------------------------------------ whole

    def _pieces(self) -> Iterator[tuple[int, memoryview]]:
        """(offset, bytes) of the whole body; each block is checked before its last piece is handed out.

        The bytes are valid until the next step. Raises BodyDamaged.
        """
        check = _Check(self)
        buffer = memoryview(bytearray(min(PIECE, max(self.size, 1))))
        offset = 0
        while offset < self.size:
            view = buffer[: min(check.room(), len(buffer), self.size - offset)]
            count = self._read(view, offset, check)
            yield offset, view[:count]
            offset += count
        check.done()

    def _read(self, view: memoryview, offset: int, check: _Check) -> int:
        try:
            count = self.device.run(check.read, self.fd, view, offset)
        except OSError as err:
            if err.errno == errno.EIO:
                self._damaged(f"can't be read: {err}")
            raise
        if not count:
            self._damaged(f"ends at {offset} of {self.size} bytes")
        if check.failed:
            self._damaged("checksum differs")
        return count

    def _damaged(self, reason: str) -> None:
        self.device.run(quarantine, self.where, reason, None, self.name)
        if self.on_damage is not None:
            self.on_damage(self.where)
        raise BodyDamaged(f"{self.where.hash_dir}: {reason}")

    def __iter__(self) -> Iterator[bytes]:
        try:
            for _, view in self._pieces():
                for start in range(0, len(view), self.chunk_size):
                    yield bytes(view[start : start + self.chunk_size])
        finally:
            self.close()

    def send_to(self, stream: Any) -> int:
        """Send all of it; returns the number of bytes. Raises BodyDamaged, OSError."""
        try:
            sent = 0
            for offset, view in self._pieces():
                if self.device.inline:
                    # the kernel has the same bytes: no need to copy ours in
                    stream.sendfile_all(self.fd, offset, len(view))
                else:
                    stream.sendall(view)
                sent += len(view)
            return sent
        finally:
            self.close()

    # ------------------------------------------------------------ ranges

    def app_iter_range(self, start: int, stop: int | None) -> FileBody | CheckedRange:
        """Body of the bytes from `start` up to `stop`."""
        end = self.size if stop is None else min(stop, self.size)
        if not _Check.not_needed(self):
            check = _Check(self)
            if check.is_worth(start, end):
                return CheckedRange(self, check, start, end)
        return FileBody(self.fd, start, end - start, self.close, self.device.pool)

    def app_iter_ranges(
        self, ranges: Sequence[tuple[int, int]], content_type: str, boundary: str, size: int
    ) -> FileBody:
        """Body of a multipart/byteranges response. Raises BodyDamaged."""
        if not _Check.not_needed(self):
            for start, stop in ranges:
                check = _Check(self)
                if stop - start <= PIECE and check.is_worth(start, stop):
                    for _ in CheckedRange(self, check, start, stop).pieces():
                        pass
        return FileBody.byteranges(
            self.fd, ranges, size, content_type, boundary, self.close, self.device.pool
        )


class CheckedRange:
    """Bytes `start` up to `stop` of an object, whose blocks are checked as a whole before their last bytes leave."""

    __slots__ = ("_body", "_check", "_start", "_stop")

    def __init__(self, body: ObjectBody, check: _Check, start: int, stop: int) -> None:
        self._body = body
        self._check = check
        self._start = start
        self._stop = stop

    def pieces(self) -> Iterator[memoryview]:
        """The bytes, valid until the next step but one. Raises BodyDamaged."""
        body, check = self._body, self._check
        offset, end = check.seek(self._start, self._stop)
        size = min(PIECE, end - offset)
        buffers = memoryview(bytearray(size)), memoryview(bytearray(size))
        turn = 0
        held: memoryview | None = None
        while offset < end:
            view = buffers[turn][: min(check.room(), size, end - offset)]
            count = body._read(view, offset, check)
            wanted = view[max(self._start - offset, 0) : max(min(count, self._stop - offset), 0)]
            if len(wanted):
                if held is not None:
                    yield held
                held = wanted
                turn = 1 - turn
            offset += count
        if held is not None:
            yield held

    def __iter__(self) -> Iterator[bytes]:
        try:
            for view in self.pieces():
                yield bytes(view)
        finally:
            self.close()

    def send_to(self, stream: Any) -> int:
        """Send them; returns the number of bytes. Raises BodyDamaged, OSError."""
        try:
            sent = 0
            for view in self.pieces():
                stream.sendall(view)
                sent += len(view)
            return sent
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._body.close()


def body_of(body: ObjectBody) -> ObjectBody | FileBody:
    """What to send: the object as it is when it needs no check, so that the kernel can do it all."""
    if _Check.not_needed(body):
        return FileBody(body.fd, 0, body.size, body.close, body.device.pool)
    return body


class _Check:
    """Checks a whole body as it is read: by its block checksums if there are any, else by MD5."""

    def __init__(self, body: ObjectBody) -> None:
        self.failed = False
        self.key = _key(body.fd)
        self.blocks: tuple[int, list[int]] | None = None
        self.digest: Any = None
        self.etag = body.metadata.get("ETag", "")
        self.size = self.left = body.size
        self.number = 0
        self.filled = 0
        self.crc = 0
        stored = body.metadata.get(_metadata.BLOCK_CRC32)
        if stored is not None:
            self.blocks = _metadata.parse_block_crcs(stored, self.etag, body.size)
        if self.blocks is None:
            self.digest = md5(usedforsecurity=False)

    @staticmethod
    def not_needed(body: ObjectBody) -> bool:
        """Whether chance (etag_validate_pct) or a check of a moment ago says that the bytes can go out as they are."""
        percent = body.where.etag_validate_pct
        if percent < 100 and clock.uniform(0, 100) >= percent:
            return True
        return clock.monotonic() - _checked.get(_key(body.fd), -RECHECK_SECONDS) < RECHECK_SECONDS

    def room(self) -> int:
        """Bytes up to the end of the current block."""
        return self.blocks[0] - self.filled if self.blocks is not None else PIECE

    def is_worth(self, start: int, stop: int) -> bool:
        """Whether the blocks around a range are not much more than the range itself."""
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
        self.number = first // self.blocks[0]
        self.left = self.size - first
        return first, end

    def read(self, fd: int, view: memoryview, offset: int) -> int:
        """Read into `view` and check; runs on the device's pool. Sets `failed`."""
        count = os.preadv(fd, [view], offset)
        data = view[:count]
        self.left -= count
        if self.blocks is not None:
            size, crcs = self.blocks
            self.crc = crc32(data, self.crc)
            self.filled += count
            if self.filled == size or self.left == 0:
                self.failed = self.crc != crcs[self.number]
                self.number += 1
                self.filled = self.crc = 0
        else:
            self.digest.update(data)
            if self.left == 0:
                self.failed = self.digest.hexdigest() != self.etag
        return count

    def done(self) -> None:
        """All was read and good."""
        _checked[self.key] = clock.monotonic()
        _checked.move_to_end(self.key)
        if len(_checked) > _CHECKED_MAX:
            _checked.popitem(last=False)


def _key(fd: int) -> tuple[int, int, int, int]:
    st = os.fstat(fd)
    return st.st_dev, st.st_ino, st.st_ctime_ns, st.st_size
