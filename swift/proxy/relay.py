"""Bodies of object reads on their way to the client, continued from another node when one breaks off (spec proxy 10.4).

Bytes are spliced from socket to socket where the receiver lets them. Finding nodes is `swift.proxy.reader`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from swift.core.concurrency import sleep
from swift.engine.stream import FAIR_SHARE, SourceError, Stream, TargetError
from swift.proxy.reader import Source
from swift.proxy.routing import Node
from swift.wire.client import BackendError, BackendResponse
from swift.wire.errors import ResponseBroken
from swift.wire.multipart import part_head
from swift.wire.ranges import parse_content_range, parse_range, ranges_for_length

_MAX_PART_HEAD = 16 * 1024
SHORT_BODY = 128 * 1024

# (first byte, last byte of the object, node to ask before those not asked yet) → a source with the same ETag that answers
# exactly that, None if there is none left.
Resume = Callable[[int, int, Node | None], "Source | None"]
# Told of each node whose body broke off, and why.
OnBroken = Callable[[Source, BaseException], None]


class BodyBroken(ResponseBroken):
    """The body cannot be brought to its end: fewer bytes than announced went to the client."""


class _SourceBody:
    """What bodies from a source have in common: a time limit for each read, and the connection's way back to the pool."""

    def __init__(self, source: Source, timeout: float, on_broken: OnBroken) -> None:
        self.timeout = timeout
        self.on_broken = on_broken
        self.finished = False
        self._read_from(source)

    def _read_from(self, source: Source) -> None:
        self.source = source
        source.response.set_timeout(self.timeout)

    def _finish(self) -> None:
        if not self.finished:
            self.finished = True
            self.source.response.release()

    def _broke(self, error: Exception) -> None:
        self.source.response.close()
        self.on_broken(self.source, error)

    def close(self) -> None:
        """The client is gone or done: drop what is left."""
        if not self.finished:
            self.finished = True
            self.source.response.close()


class RangeBody(_SourceBody):
    """The bytes `first`..`last` of an object, from one source after the other.

    `resume` None: never continued (X-Newest, accounts and containers).
    """

    def __init__(
        self,
        source: Source,
        first: int,
        last: int,
        timeout: float,
        chunk_size: int,
        resume: Resume | None,
        on_broken: OnBroken,
    ) -> None:
        super().__init__(source, timeout, on_broken)
        self.at = first
        self.stop = last + 1
        self.chunk_size = chunk_size
        self.resume = resume

    def __len__(self) -> int:
        return self.stop - self.at

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[bytes]:
        """The body in pieces. Raises BodyBroken."""
        while self.at < self.stop:
            try:
                data = self.source.response.read(min(self.chunk_size, self.stop - self.at))
                if not data:
                    raise BackendError("body ended early")
            except BackendError as error:
                self._go_on(error)
                continue
            self.at += len(data)
            yield data
        self._finish()

    def recv_into(self, buffer: memoryview) -> int:
        """What comes next, where the caller wants it: the number of bytes, 0 at the end. Raises BodyBroken."""
        while self.at < self.stop:
            try:
                count = self.source.response.read_into(buffer[: self.stop - self.at])
                if not count:
                    raise BackendError("body ended early")
            except BackendError as error:
                self._go_on(error)
                continue
            self.at += count
            if self.at == self.stop:
                self._finish()
            return count
        return 0

    def send_to(self, stream: Stream) -> int:
        """Bring the whole body to the client's stream; bytes sent. Raises OSError if the client is gone, BodyBroken."""
        sent = 0
        while self.at < self.stop:
            before = self.at
            response = self.source.response
            data = response.take_buffered()
            if data:
                stream.sendall(data)
                self.at += len(data)
            if self.at < self.stop:
                self._splice(response, stream)
            sent += self.at - before
        self._finish()
        return sent

    def _splice(self, response: BackendResponse, stream: Stream) -> None:
        source = response.conn.stream
        if not isinstance(source, Stream):
            self._carry(response, stream)
            return
        try:
            moved = source.splice_to(stream, self.stop - self.at)
        except TargetError as error:
            # The client's own trouble, under its own name.
            raise (error.__cause__ or error) from None
        except SourceError as error:
            moved = error.moved
            failure: Exception = error
        else:
            failure = BackendError("body ended early")
        self.at += moved
        response.consumed(moved)
        if self.at < self.stop:
            self._go_on(failure)

    def _carry(self, response: BackendResponse, stream: Stream) -> None:
        """What comes encrypted goes through our hands."""
        turn = 0
        while self.at < self.stop:
            try:
                data = response.read(min(self.chunk_size, self.stop - self.at))
                if not data:
                    raise BackendError("body ended early")
            except BackendError as error:
                self._go_on(error)
                return
            stream.sendall(data)
            self.at += len(data)
            turn += len(data)
            if turn >= FAIR_SHARE:
                turn = 0
                sleep(0)

    def _go_on(self, error: Exception) -> None:
        self._broke(error)
        source = self.resume(self.at, self.stop - 1, None) if self.resume is not None else None
        if source is None:
            raise BodyBroken(f"{self.stop - self.at} bytes short: {error}") from error
        self._read_from(source)


class MultirangeBody(_SourceBody):
    """A `multipart/byteranges` body as its source made it; broken off, the rest is made here, with the same boundary.

    `range_header`: the client's. The object's length and type are read from the first part as it passes.
    """

    def __init__(
        self,
        source: Source,
        range_header: str,
        timeout: float,
        chunk_size: int,
        resume: Resume | None,
        on_broken: OnBroken,
    ) -> None:
        super().__init__(source, timeout, on_broken)
        self.range_header = range_header
        self.chunk_size = chunk_size
        self.resume = resume
        self._current: RangeBody | None = None
        self._good_node: Node | None = None

    def __iter__(self) -> Iterator[bytes]:
        """The body in pieces. Raises BodyBroken."""
        response = self.source.response
        length = response.content_length or 0
        at = 0
        head = b""
        while at < length:
            try:
                data = response.read(self.chunk_size)
                if not data:
                    raise BackendError("body ended early")
            except BackendError as error:
                self.finished = True
                self._broke(error)
                yield from self._rest(head, at, length, error)
                return
            if b"\r\n\r\n" not in head and len(head) < _MAX_PART_HEAD:
                head += data
            at += len(data)
            yield data
        self._finish()

    def _rest(self, head: bytes, at: int, length: int, error: Exception) -> Iterator[bytes]:
        """What follows byte `at` of the body."""
        boundary = multipart_boundary(self.source.response.get("content-type") or "")
        part = _first_part(head)
        if self.resume is None or part is None or not boundary:
            raise BodyBroken(str(error)) from error
        content_type, object_length = part
        ranges = ranges_for_length(parse_range(self.range_header) or [], object_length) or []
        for start, stop in ranges:
            text = part_head(start, stop, object_length, content_type, boundary)
            yield text[at:]
            at = max(at - len(text), 0)
            if at < stop - start:
                yield from self._range(start + at, stop - 1, error)
            at = max(at - (stop - start), 0)
            yield b"\r\n"[at:]
            at = max(at - 2, 0)
        yield f"--{boundary}--".encode("latin-1")[at:]

    def _range(self, first: int, last: int, error: Exception) -> Iterator[bytes]:
        assert self.resume is not None
        source = self.resume(first, last, self._good_node)
        if source is None:
            raise BodyBroken(str(error)) from error
        self._current = RangeBody(
            source, first, last, self.timeout, self.chunk_size, self.resume, self.on_broken
        )
        yield from self._current
        self._good_node = self._current.source.node
        self._current = None

    def close(self) -> None:
        """The client is gone or done: drop what is left."""
        super().close()
        if self._current is not None:
            self._current.close()


def multipart_boundary(content_type: str) -> str | None:
    """The boundary of a `multipart/byteranges` Content-Type."""
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() != "multipart/byteranges":
        return None
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "boundary":
            return value.strip().strip('"')
    return None


def _first_part(head: bytes) -> tuple[str, int] | None:
    """(Content-Type, length of the object) that the first part's headers tell."""
    found: dict[str, str] = {}
    for line in head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        found[name.lower()] = value.strip()
    content_range = parse_content_range(found.get("content-range"))
    if content_range is None:
        return None
    return found.get("content-type", ""), content_range[2]


class UnsizedBody(_SourceBody):
    """A body whose length nobody announced; never continued."""

    def __iter__(self) -> Iterator[bytes]:
        """The body in pieces. Raises BodyBroken."""
        try:
            yield from self.source.response.chunks()
        except BackendError as error:
            self.finished = True
            self._broke(error)
            raise BodyBroken(str(error)) from error
        self._finish()


def gathered(body: Iterable[bytes], length: int) -> Iterable[bytes]:
    """A body of which some has not arrived yet: waited for if it is short, since one write costs less than a relay.

    Raises BodyBroken if a short one cannot be brought to its end: then nothing was told to the client yet.
    """
    return [b"".join(body)] if 0 <= length <= SHORT_BODY else body
