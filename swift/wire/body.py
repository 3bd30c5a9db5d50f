"""Response bodies: bytes of an open file that send themselves, and `BodyFilter`, for what looks at or changes a body on its way out.

The body protocol is in doc/architecture.md. Bodies that come from another server live with whoever can continue them from a third
(swift.proxy.relay).
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from swift.wire.errors import ResponseBroken
from swift.wire.multipart import part_head

READ_SIZE = 65536
# So much of a file is looked at, read or sent at a time before it is asked again whether it is in memory.
STRETCH = 1024 * 1024

# What a kernel or file system without RWF_NOWAIT answers. tmpfs is one: its files are always in memory.
_CANNOT_TELL = frozenset((errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS))

# Bytes as they are, or (offset, length) of the file.
Piece = bytes | tuple[int, int]


class FileTooShort(ResponseBroken):
    """The file ended before the bytes that were announced."""


class FileBody:
    """Length bytes of an open file from offset on.

    What is in the page cache goes out by sendfile. The rest is read in `pool` (an engine.threads.DevicePool), so that a slow disk holds up
    nobody else; without a pool everything is sent by sendfile. close is called once, when the body is done with; the descriptor is the
    caller's until then.
    """

    __slots__ = ("_close", "_fd", "_pieces", "_pool")

    def __init__(
        self,
        fd: int,
        offset: int,
        length: int,
        close: Callable[[], Any] | None = None,
        pool: Any = None,
    ) -> None:
        self._fd = fd
        self._pieces: Sequence[Piece] = ((offset, length),)
        self._close = close
        self._pool = pool

    @classmethod
    def byteranges(
        cls,
        fd: int,
        ranges: Sequence[tuple[int, int]],
        size: int,
        content_type: str,
        boundary: str,
        close: Callable[[], Any] | None = None,
        pool: Any = None,
        base: int = 0,
    ) -> "FileBody":
        """A multipart/byteranges body; ranges are (start, stop) with stop exclusive, size that of the whole entity.

        The entity begins at `base` in the file.
        """
        made = cls(fd, 0, 0, close, pool)
        pieces: list[Piece] = []
        for start, stop in ranges:
            pieces += (
                part_head(start, stop, size, content_type, boundary),
                (base + start, stop - start),
                b"\r\n",
            )
        pieces.append(f"--{boundary}--".encode("latin-1"))
        made._pieces = pieces
        return made

    def send_to(self, stream: Any) -> int:
        """Send all of it; the number of bytes. Raises OSError, TimeoutError and FileTooShort."""
        sent = 0
        for piece in self._pieces:
            if isinstance(piece, bytes):
                stream.sendall(piece)
                sent += len(piece)
            else:
                self._send_stretches(stream, *piece)
                sent += piece[1]
        return sent

    def _send_stretches(self, stream: Any, offset: int, length: int) -> None:
        end = offset + length
        pool = self._pool
        if pool is None or pool.inline:
            if stream.sendfile_all(self._fd, offset, length) < length:
                raise FileTooShort(f"the file ends before byte {end}")
            return
        while offset < end:
            count = min(STRETCH, end - offset)
            if in_page_cache(self._fd, offset, count):
                done = stream.sendfile_all(self._fd, offset, count)
            else:
                data = pool.run(_read, self._fd, count, offset, min(STRETCH, end - offset - count))
                done = len(data)
                stream.sendall(data)
            if done == 0:
                raise FileTooShort(f"the file ends before byte {end}")
            offset += done

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            offset, length = piece
            end = offset + length
            while offset < end:
                data = self._read(min(READ_SIZE, end - offset), offset)
                if not data:
                    raise FileTooShort(f"the file ends before byte {end}")
                offset += len(data)
                yield data

    def _read(self, count: int, offset: int) -> bytes:
        if self._pool is None or in_page_cache(self._fd, offset, count):
            return os.pread(self._fd, count, offset)
        return self._pool.run(os.pread, self._fd, count, offset)

    def close(self) -> None:
        """Let go of the file. Calling it again does nothing."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def __del__(self) -> None:
        self.close()


def _read(fd: int, count: int, offset: int, ahead: int) -> bytes:
    """Bytes of a file, after the kernel was told that the `ahead` bytes behind them come next. Even telling it may wait for a disk."""
    if ahead > 0:
        os.posix_fadvise(fd, offset + count, ahead, os.POSIX_FADV_WILLNEED)
    return os.pread(fd, count, offset)


def in_page_cache(fd: int, offset: int, count: int) -> bool:
    """Returns True if reading these bytes will not wait for a disk, as far as their first and last byte tell."""
    byte = bytearray(1)
    try:
        os.preadv(fd, (byte,), offset, os.RWF_NOWAIT)
        if count > 4096:
            os.preadv(fd, (byte,), offset + count - 1, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _CANNOT_TELL:
            return True
        raise
    return True


def read_whole(body: Iterable[bytes], limit: int) -> bytes:
    """All of a body, which is closed then. Raises ValueError for one of more than `limit` bytes, and what reading it raises."""
    parts = []
    left = limit
    try:
        for data in body:
            left -= len(data)
            if left < 0:
                raise ValueError(f"more than {limit} bytes")
            parts.append(data)
    finally:
        close_if_possible(body)
    return b"".join(parts)


def close_if_possible(body: Any) -> None:
    """Let go of a body, which need not have a close()."""
    close = getattr(body, "close", None)
    if close is not None:
        close()


class BodyFilter:
    """A response body as a filter lets it be seen: the base of everything that counts, checks or changes one.

    Subclasses override `pieces` and, if they want to know of the end, `ended`. There is no `send_to`: what goes through a filter goes
    through Python. The body below is closed exactly once, also when nobody ever asked for a piece.
    """

    def __init__(self, below: Iterable[bytes]) -> None:
        self._below: Iterable[bytes] | None = below

    def pieces(self, below: Iterable[bytes]) -> Iterator[bytes]:
        """The body in pieces, made of those of the body below."""
        yield from below

    def ended(self) -> None:
        """Called once, after the body below was closed."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(()) if self._below is None else self.pieces(self._below)

    def close(self) -> None:
        """Let go of the body below. Calling it again does nothing."""
        below, self._below = self._below, None
        if below is not None:
            try:
                close_if_possible(below)
            finally:
                self.ended()
