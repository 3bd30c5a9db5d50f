"""The bytes of an open object on their way out, by the kernel where nothing has to be checked (object-disk 5.3, 9.2).

One object per response. It is a WSGI body (an iterable), can send itself (`send_to`, see doc/architecture.md), and
gives ranges to `swift.wire.response`. How they are checked is in `checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from swift.engine.space import drop_cache
from swift.obj.checks import PIECE, Check, CheckedReader, is_needed
from swift.obj.errors import Quarantined
from swift.obj.store import ObjectStore, OpenObject, Place
from swift.wire.body import FileBody
from swift.wire.errors import ResponseBroken


class BodyDamaged(ResponseBroken):
    """The bytes on disk don't fit their checksum: the response must break off."""


class ObjectBody:
    """All bytes of an open object, or ranges of them; owns it.

    `keep_cache`: leave the bytes in the page cache. `on_damage`: called with the object's place after it was quarantined.
    """

    def __init__(
        self,
        store: ObjectStore,
        place: Place,
        found: OpenObject,
        keep_cache: bool,
        chunk_size: int = 65536,
        on_damage: Callable[[Place], None] | None = None,
    ) -> None:
        self.device = store.device
        self.validate_pct = store.options.validate_pct
        self.found: OpenObject | None = found
        self.size = found.size
        self.keep_cache = keep_cache
        self.chunk_size = chunk_size
        self.reader = CheckedReader(store, place, found, on_damage)

    def close(self) -> None:
        """Give the extent back and let go of what it has in the page cache, if it is not to be kept."""
        found, self.found = self.found, None
        if found is not None and found.fd >= 0:
            self.device.leave(_close, found, self.keep_cache or self.device.inline)

    def __del__(self) -> None:
        self.close()

    def _extent(self, start: int, stop: int) -> FileBody:
        """The bytes as they are, sent by the kernel."""
        found = self.reader.found
        return FileBody(found.fd, found.offset + start, stop - start, self.close, self.device.pool)

    # ------------------------------------------------------------ whole

    def as_needed(self) -> ObjectBody | FileBody:
        """What to send: the object as it is when it needs no check, so that the kernel can do it all."""
        return self if is_needed(self.reader.found, self.validate_pct) else self._extent(0, self.size)

    def __iter__(self) -> Iterator[bytes]:
        try:
            for _, view in self.reader.pieces():
                for start in range(0, len(view), self.chunk_size):
                    yield bytes(view[start : start + self.chunk_size])
        except Quarantined as damage:
            raise BodyDamaged(str(damage)) from None
        finally:
            self.close()

    def send_to(self, stream: Any) -> int:
        """Send all of it; returns the number of bytes. Raises BodyDamaged, OSError."""
        found = self.reader.found
        try:
            sent = 0
            for at, view in self.reader.pieces():
                if self.device.inline:
                    # the kernel has the same bytes: no need to copy ours in
                    stream.sendfile_all(found.fd, found.offset + at, len(view))
                else:
                    stream.sendall(view)
                sent += len(view)
            return sent
        except Quarantined as damage:
            raise BodyDamaged(str(damage)) from None
        finally:
            self.close()

    # ------------------------------------------------------------ ranges

    def app_iter_range(self, start: int, stop: int | None) -> FileBody | CheckedRange:
        """Body of the bytes from `start` up to `stop`."""
        end = self.size if stop is None else min(stop, self.size)
        if is_needed(self.reader.found, self.validate_pct):
            check = Check(self.reader.found)
            if check.is_worth(start, end):
                return CheckedRange(self, check, start, end)
        return self._extent(start, end)

    def app_iter_ranges(
        self, ranges: Sequence[tuple[int, int]], content_type: str, boundary: str, size: int
    ) -> FileBody:
        """Body of a multipart/byteranges response. Raises BodyDamaged."""
        found = self.reader.found
        if is_needed(found, self.validate_pct):
            for start, stop in ranges:
                check = Check(found)
                if stop - start <= PIECE and check.is_worth(start, stop):
                    for _ in CheckedRange(self, check, start, stop).pieces():
                        pass
        return FileBody.byteranges(
            found.fd, ranges, size, content_type, boundary, self.close, self.device.pool, found.offset
        )


class CheckedRange:
    """Bytes `start` up to `stop` of an object, whose blocks are checked as a whole before their last bytes leave."""

    __slots__ = ("_body", "_check", "_start", "_stop")

    def __init__(self, body: ObjectBody, check: Check, start: int, stop: int) -> None:
        self._body = body
        self._check = check
        self._start = start
        self._stop = stop

    def pieces(self) -> Iterator[memoryview]:
        """The bytes, valid until the next step but one. Raises BodyDamaged."""
        try:
            yield from self._body.reader.range_pieces(self._check, self._start, self._stop)
        except Quarantined as damage:
            raise BodyDamaged(str(damage)) from None

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


def _close(found: OpenObject, keep_cache: bool) -> None:
    """Runs on the device's pool: neither step may wait in the event loop."""
    if not keep_cache and not found.lent:
        drop_cache(found.fd, found.offset, found.size)
    found.close()
