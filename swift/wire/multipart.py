"""MIME multipart bodies: making multipart/byteranges, and reading any multipart body document by document.

What the documents of an upload mean is the object server's business. Spec: proxy-and-backend.md 21.6, 14.3.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from swift.wire.headers import HeaderKeyDict

READ_SIZE = 65536

Ranges = Sequence[tuple[int, int]]


def part_head(start: int, stop: int, length: int, content_type: str, boundary: str) -> bytes:
    """Boundary line and headers of one part; stop is exclusive."""
    return (
        f"--{boundary}\r\nContent-Type: {content_type}\r\n"
        f"Content-Range: bytes {start}-{stop - 1}/{length}\r\n\r\n"
    ).encode("latin-1")


def byteranges_length(ranges: Ranges, length: int, content_type: str, boundary: str) -> int:
    """Exact Content-Length of the body that byteranges_body makes."""
    size = len(boundary) + 4
    for start, stop in ranges:
        size += len(part_head(start, stop, length, content_type, boundary)) + (stop - start) + 2
    return size


def byteranges_body(
    ranges: Ranges,
    length: int,
    content_type: str,
    boundary: str,
    read: Callable[[int, int], Iterable[bytes]],
) -> Iterator[bytes]:
    """Parts in the order given; read(start, stop) yields the bytes of one range. Nothing follows the final `--`."""
    for start, stop in ranges:
        yield part_head(start, stop, length, content_type, boundary)
        yield from read(start, stop)
        yield b"\r\n"
    yield f"--{boundary}--".encode("latin-1")


# Bytes of the headers of one document, and of what may stand before the first one.
MAX_DOCUMENT_HEAD = 65536


class BadMultipart(ValueError):
    """Not a multipart body with this boundary, or one that ends in the middle."""


class Document:
    """One part of a multipart body: its headers, and its bytes as they are asked for."""

    __slots__ = ("_reader", "headers")

    def __init__(self, reader: "MultipartReader", headers: HeaderKeyDict) -> None:
        self._reader = reader
        self.headers = headers

    def read(self, size: int = READ_SIZE) -> bytes:
        """At least one and at most size bytes; b'' at the end of the document. Raises BadMultipart, and what the source raises."""
        return self._reader._document_data(self, size)

    def read_all(self, limit: int) -> bytes:
        """All of it. BadMultipart when it is longer than limit bytes."""
        parts = []
        for data in self:
            limit -= len(data)
            if limit < 0:
                raise BadMultipart("document too large")
            parts.append(data)
        return b"".join(parts)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read, b"")


class MultipartReader:
    """Splits a body into documents without holding more of it than one read.

    read(n) gives at least one and at most n bytes, b'' at the end: `read_available` of a request body, `read` of a backend's response.
    Nothing behind a boundary line is read before the next document is asked for, so that a body may pause there (spec 14.3).
    """

    def __init__(
        self, read: Callable[[int], bytes], boundary: str | bytes, read_size: int = READ_SIZE
    ) -> None:
        if isinstance(boundary, str):
            boundary = boundary.encode("latin-1")
        self._read = read
        self._read_size = read_size
        self._separator = b"\r\n--" + boundary
        # As if a line had ended before the first byte: the first boundary then is one like the others.
        self._buffer = b"\r\n"
        self._current: Document | None = None
        self._started = False
        self._closed = False

    def __iter__(self) -> Iterator[Document]:
        while True:
            document = self.next_document()
            if document is None:
                return
            yield document

    def next_document(self) -> Document | None:
        """The next document (the rest of the last one is skipped); None behind the closing boundary.

        Raises BadMultipart, and what the source raises.
        """
        if not self._started:
            self._started = True
            self._skip_preamble()
        if self._current is not None:
            while self._document_data(self._current, self._read_size):
                pass
        if self._closed:
            return None
        self._current = Document(self, self._read_headers())
        return self._current

    def _more(self) -> None:
        data = self._read(self._read_size)
        if not data:
            raise BadMultipart("multipart body ended early")
        self._buffer += data

    def _skip_preamble(self) -> None:
        while self._separator not in self._buffer:
            if len(self._buffer) > len(self._separator) and not self._buffer.startswith(self._separator[:4]):
                raise BadMultipart("multipart body does not begin with its boundary")
            if len(self._buffer) > MAX_DOCUMENT_HEAD:
                raise BadMultipart("multipart body does not begin with its boundary")
            self._more()
        if not self._buffer.startswith(self._separator):
            raise BadMultipart("multipart body does not begin with its boundary")
        self._end_boundary()

    def _end_boundary(self) -> None:
        """Take the separator at the start of the buffer and what ends its line."""
        size = len(self._separator)
        while len(self._buffer) < size + 2:
            self._more()
        ending = self._buffer[size : size + 2]
        if ending == b"--":
            self._closed = True
        elif ending != b"\r\n":
            raise BadMultipart("bad boundary line")
        self._buffer = self._buffer[size + 2 :]

    def _read_headers(self) -> HeaderKeyDict:
        headers = HeaderKeyDict()
        while True:
            # An empty head is the empty line alone.
            if self._buffer.startswith(b"\r\n"):
                self._buffer = self._buffer[2:]
                return headers
            end = self._buffer.find(b"\r\n\r\n")
            if 0 <= end <= MAX_DOCUMENT_HEAD:
                break
            if len(self._buffer) > MAX_DOCUMENT_HEAD:
                raise BadMultipart("headers of a document too large")
            self._more()
        for line in self._buffer[:end].decode("latin-1").split("\r\n"):
            name, colon, value = line.partition(":")
            if not colon or not name or "\n" in line or "\r" in line:
                raise BadMultipart("bad header line in a document")
            headers[name.strip()] = value.strip()
        self._buffer = self._buffer[end + 4 :]
        return headers

    def _document_data(self, document: Document, size: int) -> bytes:
        if document is not self._current or size <= 0:
            return b""
        separator = self._separator
        while True:
            found = self._buffer.find(separator)
            if found == 0:
                self._end_boundary()
                self._current = None
                return b""
            # A separator may have begun in the last bytes.
            safe = found if found > 0 else len(self._buffer) - len(separator) + 1
            if safe > 0:
                count = min(safe, size)
                data = self._buffer[:count]
                self._buffer = self._buffer[count:]
                return data
            self._more()
