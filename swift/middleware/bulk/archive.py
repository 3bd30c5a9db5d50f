"""Tar archives as streams: one pass, in bounded memory, packed ones unpacked in a thread.

The headers are read by the standard library's tarfile; what it would leave unsaid (an archive that breaks off, a header that is none) is an
error here, and so is what would take memory without end. Never here: what becomes of the members.
"""

from __future__ import annotations

import bz2
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from swift.engine.threads import lane

READ_SIZE = 65536
# Bytes of compressed data that are unpacked at a time, and of what comes out of them: above that a thread does it.
INLINE = 4096
# Bytes of headers that one member may have: names, attributes, maps of sparse files.
MAX_HEADERS = 262144
# Bytes of an archive that belong to no object: of members that are not stored, of headers. Else what is packed well would keep us busy.
MAX_UNSTORED = 16 << 30
MAX_ENTRIES_BETWEEN = 1_000_000  # members one after the other that are no files

_GZIP_MAGIC = b"\x1f\x8b"


class BadArchive(Exception):
    """The archive can't be read further; the text says why, in the words of the library where these are to be had."""


class Member:
    """A file of the archive. name: str with surrogates for what is not UTF-8; size: bytes; attributes: pax headers.

    What is not read of it before the next member is asked for is passed over.
    """

    def __init__(self, archive: Archive, info: tarfile.TarInfo) -> None:
        self.name = info.name
        self.size = info.size
        self.attributes = info.pax_headers
        self._left = info.size
        stream = archive.stream
        self._read: Callable[[int], bytes] = stream.read_some
        if info.sparse is not None:  # type: ignore[attr-defined]
            opened: Any = archive.tar.extractfile(info)
            self._read = opened.read

    def read_some(self, size: int = READ_SIZE) -> bytes:
        """At most `size` bytes, b"" at its end. Raises BadArchive when the archive ends before it, ClientError when the client does."""
        size = min(size, self._left)
        if not size:
            return b""
        try:
            data = self._read(size)
        except _WHAT_TARFILE_RAISES as error:
            raise BadArchive(_text(error)) from error
        if not data:
            raise BadArchive("unexpected end of data")
        self._left -= len(data)
        return data

    def read(self) -> bytes:
        """All of it. Raises as read_some."""
        return b"".join(iter(self.read_some, b""))


class Archive:
    """`pull(size)` gives the next bytes of it as they came, b"" at the end; `packing` is one of PACKINGS."""

    def __init__(self, pull: Callable[[int], bytes], packing: str) -> None:
        self.stream = _Stream(PACKINGS[packing](pull))
        self.tar: tarfile.TarFile = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Member]:
        """The files, in their order. Raises BadArchive, ClientError."""
        passed_over = 0
        while True:
            info = self._next()
            if info is None:
                return
            if not info.isreg():
                passed_over += 1
                if passed_over > MAX_ENTRIES_BETWEEN:
                    raise BadArchive("too many members that are no files")
                continue
            passed_over = 0
            if info.size < 0:
                raise BadArchive("invalid header")
            yield Member(self, info)

    def _next(self) -> tarfile.TarInfo | None:
        stream = self.stream
        stream.headers_left = MAX_HEADERS
        try:
            if self.tar is None:
                self.tar = tarfile.TarFile(fileobj=stream, encoding="utf-8", errors="surrogateescape")  # type: ignore[arg-type]
            info = self.tar.next()
            self.tar.members = []  # type: ignore[attr-defined]
        except _WHAT_TARFILE_RAISES as error:
            raise BadArchive(_text(error)) from error
        stream.headers_left = None
        if info is None:
            stream.check_end()
        return info


_WHAT_TARFILE_RAISES = (
    tarfile.TarError,
    ValueError,
    OverflowError,
    RecursionError,
    EOFError,
    LookupError,
    TypeError,
)


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, tarfile.TarError) else "invalid header"


class _Stream:
    """What tarfile takes for a file, read forwards only."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._buffer = memoryview(b"")
        self._position = 0
        self._last = b""  # what was read last in one piece
        self._unstored = 0
        self.headers_left: int | None = (
            None  # bytes that may still be read as headers, None when it is not headers that are read
        )

    def tell(self) -> int:
        return self._position

    def read_some(self, size: int) -> bytes:
        if not self._buffer:
            self._buffer = memoryview(next(self._source, b""))
        data = bytes(self._buffer[:size])
        self._buffer = self._buffer[size:]
        self._position += len(data)
        return data

    def read(self, size: int) -> bytes:
        if self.headers_left is not None:
            self._count_unstored(size)
            self.headers_left -= size
            if self.headers_left < 0:
                raise tarfile.ReadError("headers are too long")
        data = self.read_some(size)
        if 0 < len(data) < size:
            parts = [data]
            missing = size - len(data)
            while missing and (data := self.read_some(missing)):
                parts.append(data)
                missing -= len(data)
            data = b"".join(parts)
        self._last = data
        return data

    def seek(self, position: int) -> int:
        """Forwards; the end of the archive is noticed by the next read."""
        ahead = position - self._position
        if ahead < 0:
            raise tarfile.ReadError("invalid header")
        self._count_unstored(ahead)
        while ahead:
            data = self.read_some(min(ahead, 1 << 20))
            if not data:
                break
            ahead -= len(data)
        return self._position

    def _count_unstored(self, count: int) -> None:
        self._unstored += count
        if self._unstored > MAX_UNSTORED:
            raise tarfile.ReadError("too much that is no file")

    def check_end(self) -> None:
        """Raises BadArchive unless what was read last is one of the ends that an archive may have."""
        if self._last and (len(self._last) < tarfile.BLOCKSIZE or self._last.strip(b"\0")):
            raise BadArchive(
                "unexpected end of data" if len(self._last) < tarfile.BLOCKSIZE else "invalid header"
            )


# -- packings --------------------------------------------------------------------------------------------------------------


def _plain(pull: Callable[[int], bytes]) -> Iterator[bytes]:
    return iter(lambda: pull(READ_SIZE), b"")


class _Unpacker(ABC):
    """`feed(data)`: at most READ_SIZE bytes of what is packed in it and in what came before; `hungry`: it needs more; `ended`: one stream is whole.

    `rest`: what came behind the end.
    """

    hungry = True

    @abstractmethod
    def feed(self, data: bytes) -> bytes: ...

    @property
    @abstractmethod
    def ended(self) -> bool: ...

    @property
    @abstractmethod
    def rest(self) -> bytes: ...


class _Gzip(_Unpacker):
    def __init__(self) -> None:
        self._below = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def feed(self, data: bytes) -> bytes:
        below = self._below
        data = below.decompress(below.unconsumed_tail + data, READ_SIZE)
        # With a full piece there may be more where it came from.
        self.hungry = not below.unconsumed_tail and len(data) < READ_SIZE
        return data

    @property
    def ended(self) -> bool:
        return self._below.eof

    @property
    def rest(self) -> bytes:
        return self._below.unused_data


class _Bzip2(_Unpacker):
    def __init__(self) -> None:
        self._below = bz2.BZ2Decompressor()

    def feed(self, data: bytes) -> bytes:
        data = self._below.decompress(data, READ_SIZE)
        self.hungry = self._below.needs_input
        return data

    @property
    def ended(self) -> bool:
        return self._below.eof

    @property
    def rest(self) -> bytes:
        return self._below.unused_data


def _unpacked(pull: Callable[[int], bytes], make: Callable[[], _Unpacker]) -> Iterator[bytes]:
    """Streams one behind the other, as parallel packers make them; zeros behind the last are padding."""
    submit = None
    unpacker, fresh = make(), True
    data = b""
    while True:
        if unpacker.hungry and not data:
            data = pull(READ_SIZE)
            if not data:
                if fresh:
                    return
                raise tarfile.ReadError("unexpected end of data")
            if fresh and not (data := data.lstrip(b"\0")):
                continue
        fresh = False
        try:
            if len(data) < INLINE and unpacker.hungry:
                piece = unpacker.feed(data)
            else:
                submit = submit or lane()
                piece = submit(unpacker.feed, data).wait()
        except (zlib.error, OSError, EOFError) as error:
            raise tarfile.ReadError("invalid compressed data") from error
        data = b""
        if piece:
            yield piece
        if unpacker.ended:
            data = unpacker.rest.lstrip(b"\0")
            unpacker, fresh = make(), not data


def _gzip(pull: Callable[[int], bytes]) -> Iterator[bytes]:
    first = b""
    while len(first) < 2 and (data := pull(READ_SIZE)):
        first += data
    if first[:2] != _GZIP_MAGIC:
        raise tarfile.ReadError("not a gzip file")
    given = [first]
    yield from _unpacked(lambda size: given.pop() if given else pull(size), _Gzip)


def _bzip2(pull: Callable[[int], bytes]) -> Iterator[bytes]:
    return _unpacked(pull, _Bzip2)


PACKINGS: dict[str, Callable[[Callable[[int], bytes]], Iterator[bytes]]] = {
    "tar": _plain,
    "tar.gz": _gzip,
    "tar.bz2": _bzip2,
}
