"""The body of a response as the body of another request: what a copy reads from one place and writes to another.

Nothing is collected: each piece is asked for when the one before it has been written. A body that has `recv_into` (one that comes from
a storage server) is received where the writer wants it. Never here: what the request is, and whose fault a body is that breaks off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from swift.wire.body import close_if_possible
from swift.wire.errors import ClientError
from swift.wire.input import MAX_LINE, READ_SIZE, RequestBody


class SourceBroken(ClientError):
    """The response did not come to its end; nothing that was made of it may count."""


class BodyInput(RequestBody):
    """`wsgi.input` of a request with the body of a response, an iterable of bytes; close() it in the end, read or not.

    `length`: its Content-Length. A body that is shorter, or raises, raises SourceBroken to who reads, and `broken` says why; what is
    beyond the length is not handed out. None: it ends where it ends.
    """

    def __init__(self, body: Iterable[bytes], length: int | None = None) -> None:
        self.broken: Exception | None = None
        self.received = 0
        self.remaining = length
        self._below: Iterable[bytes] | None = body
        self._receive = getattr(body, "recv_into", None)
        self._pieces: Iterator[bytes] | None = None
        self._ahead = memoryview(b"")

    @property
    def done(self) -> bool:  # type: ignore[override]
        return self.remaining == 0

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(self.read_available, b""))
        parts = []
        while size > 0:
            data = self.read_available(size)
            if not data:
                break
            size -= len(data)
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_available(self, size: int = READ_SIZE) -> bytes:
        if self.remaining is not None:
            size = min(size, self.remaining)
        if size <= 0:
            return b""
        if not self._ahead:
            self._ahead = self._next_piece()
        piece = self._ahead
        if len(piece) <= size:
            self._ahead = memoryview(b"")
            data = piece.obj if type(piece.obj) is bytes and len(piece.obj) == len(piece) else bytes(piece)
        else:
            data, self._ahead = bytes(piece[:size]), piece[size:]
        return self._took(data)

    def recv_into(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self.remaining is not None:
            view = view[: self.remaining]
        if not view:
            return 0
        if self._receive is None or self._ahead:
            data = self.read_available(len(view))
            view[: len(data)] = data
            return len(data)
        try:
            count = self._receive(view)
        except Exception as error:
            raise self._broke(error) from error
        self._count(count)
        return count

    def readline(self, size: int | None = -1) -> bytes:
        limit = MAX_LINE if size is None or size < 0 else size
        line = b""
        while len(line) < limit:
            data = self.read_available(min(limit - len(line), READ_SIZE))
            if not data:
                break
            end = data.find(b"\n") + 1
            if end:
                self._put_back(data[end:])
                return line + data[:end]
            line += data
        return line

    def discard(self, limit: int) -> bool:
        """Nobody waits for the rest of it."""
        return True

    def close(self) -> None:
        """Let go of the response. Calling it again does nothing."""
        below, self._below = self._below, None
        self._receive, self._pieces, self._ahead = None, iter(()), memoryview(b"")
        if below is not None:
            close_if_possible(below)

    # -- the body below ----------------------------------------------------------------------------------------------------

    def _next_piece(self) -> memoryview:
        """What comes next, empty at the end. Raises SourceBroken."""
        try:
            if self._pieces is None:
                self._pieces = iter(self._below or ())
            for piece in self._pieces:
                if piece:
                    if self.remaining is not None and len(piece) >= self.remaining:
                        next(self._pieces, None)  # some find out at their end only that they were wrong
                    return memoryview(piece)
        except Exception as error:
            raise self._broke(error) from error
        return memoryview(b"")

    def _took(self, data: bytes) -> bytes:
        self._count(len(data))
        return data

    def _count(self, count: int) -> None:
        if self.remaining is not None:
            if not count and self.remaining:
                raise self._broke(SourceBroken(f"{self.remaining} bytes are missing"))
            self.remaining -= count
        self.received += count

    def _put_back(self, data: bytes) -> None:
        self._ahead = memoryview(data + bytes(self._ahead))
        self.received -= len(data)
        if self.remaining is not None:
            self.remaining += len(data)

    def _broke(self, error: Exception) -> SourceBroken:
        self.broken = error
        return error if isinstance(error, SourceBroken) else SourceBroken(str(error))
