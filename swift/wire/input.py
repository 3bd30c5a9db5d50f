"""wsgi.input: the body of one request, read from the connection as it is asked for.

Three forms with one face: no body, a counted body, a chunked body; and `InputFilter`, for what counts, checks or changes one on its
way to the application. The `100 Continue` goes out when the body is first read. What never lives here: the head, the response, limits
on whole bodies (those are the application's), any way to the socket past these objects.
Spec: proxy-and-backend.md 21.2, 21.3, 14.3.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from swift.core.concurrency import sleep
from swift.wire.errors import BadChunk, ClientDisconnected, ClientTimeout

if TYPE_CHECKING:
    from swift.engine.stream import Stream
    from swift.wire.tls import TlsStream

READ_SIZE = 65536
# What of one body is taken, without a wait, before others have their turn: a client may well send faster than we read.
FAIR_SHARE = 4 * 1024 * 1024
# The line of a chunk is as much work as so many bytes.
CHUNK_WORK = 4096
# readline() without a limit gives up looking for the end of the line there, and returns what it has.
MAX_LINE = 65536
MAX_CHUNK_LINE = 1024
MAX_TRAILER = 8192
# What of a first body may still be unread when the application asks for a second one.
_REST_BEFORE_SECOND_BODY = 65536

_CHUNK_LINE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n\0]*)?\r\n")
# Behind the data of one chunk: its end, and the line of the next.
_NEXT_CHUNK = re.compile(rb"\r\n([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n\0]*)?\r\n")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0\f\v]*\r\n")


class InputSource:
    """The receiving side of a connection: bytes that arrived and are not used yet, then the socket."""

    __slots__ = ("buffer", "stream", "taken")

    def __init__(self, stream: "Stream | TlsStream") -> None:
        self.stream = stream
        self.buffer = b""
        self.taken = 0  # since others had their turn

    def take(self, work: int) -> None:
        """Others have their turn once this connection has taken its share; `work`: in bytes."""
        self.taken += work
        if self.taken >= FAIR_SHARE:
            self.taken = 0
            sleep(0)

    def recv(self, size: int) -> bytes:
        """At least one byte from the socket, past the buffer. Raises ClientError."""
        try:
            data = self.stream.recv(size)
        except TimeoutError as error:
            raise ClientTimeout("timed out while reading the request body") from error
        except OSError as error:
            raise ClientDisconnected(str(error)) from error
        if not data:
            raise ClientDisconnected("connection closed before the end of the request body")
        self.take(len(data))
        return data

    def recv_into(self, view: memoryview) -> int:
        """Fills view as far as bytes are there, past the buffer; at least one. Raises ClientError."""
        try:
            count = self.stream.recv_into(view)
        except TimeoutError as error:
            raise ClientTimeout("timed out while reading the request body") from error
        except OSError as error:
            raise ClientDisconnected(str(error)) from error
        if count == 0 and len(view):
            raise ClientDisconnected("connection closed before the end of the request body")
        self.take(count)
        return count


class RequestBody:
    """A request without a body; the base of those with one."""

    # Class attributes, so that the one instance for all bodiless requests needs no state.
    expecting = False
    received = 0
    remaining: int | None = 0
    done = True

    def read(self, size: int | None = -1) -> bytes:
        """size bytes, fewer only at the end of the body; all of it without size. Raises ClientError."""
        return b""

    def read_available(self, size: int = READ_SIZE) -> bytes:
        """What is there, at least one and at most size bytes; waits only if nothing is. b'' at the end of the body."""
        return b""

    def recv_into(self, buffer: Any) -> int:
        """read_available() into a writable buffer; the number of bytes, 0 at the end."""
        return 0

    def readline(self, size: int | None = -1) -> bytes:
        """Up to and with the next LF, at most size (or MAX_LINE) bytes. Raises ClientError."""
        return b""

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        lines, size = [], 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        while True:
            line = self.readline()
            if not line:
                return
            yield line

    def set_hundred_continue_response_headers(self, headers: Iterable[tuple[str, str]]) -> None:
        """Headers of every 100 Continue that is still to be sent for this request."""

    def send_hundred_continue_response(self) -> None:
        """Send a further 100 Continue now; a chunked body can then be read once more from a new first chunk."""

    def ahead(self, count: int) -> bytes:
        """Nothing stands behind the head."""
        return b""

    def finish_expecting(self) -> None:
        """The final response has begun: no 100 may follow."""

    def discard(self, limit: int) -> bool:
        """Read and drop what is left; False when more than limit bytes were. Raises ClientError."""
        return True


NO_BODY = RequestBody()


def _discard(body: RequestBody, limit: int) -> bool:
    while limit > 0:
        data = body.read_available(READ_SIZE)
        if not data:
            return True
        limit -= len(data)
    return body.done


class _ReadAhead(RequestBody):
    """read() and readline() on top of read_available(), which hands out `_ahead` first."""

    # Bytes that readline() looked at and did not return.
    _ahead = b""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(self.read_available, b""))
        data = self.read_available(size)
        missing = size - len(data)
        if not missing or not data:
            return data
        parts = [data]
        while missing:
            data = self.read_available(missing)
            if not data:
                break
            missing -= len(data)
            parts.append(data)
        return b"".join(parts)

    def readline(self, size: int | None = -1) -> bytes:
        limit = MAX_LINE if size is None or size < 0 else size
        data = self._ahead
        self._ahead = b""
        scanned = 0
        while True:
            found = data.find(b"\n", scanned, limit)
            if found >= 0:
                end = found + 1
                break
            if len(data) >= limit:
                end = limit
                break
            scanned = len(data)
            more = self.read_available(READ_SIZE)
            if not more:
                return data
            data += more
        self._ahead = data[end:]
        return data[:end]


class _ReceivedBody(RequestBody):
    """What counted and chunked bodies have in common."""

    def __init__(self, source: InputSource, expecting: bool) -> None:
        self.source = source
        self.expecting = expecting
        self.hundred_headers: list[tuple[str, str]] = []

    def set_hundred_continue_response_headers(self, headers: Iterable[tuple[str, str]]) -> None:
        self.hundred_headers = list(headers)

    def send_hundred_continue_response(self) -> None:
        self.expecting = False
        lines = "".join([f"{name}: {value}\r\n" for name, value in self.hundred_headers])
        if lines.count("\n") != len(self.hundred_headers) or "\r" in lines.replace("\r\n", ""):
            raise ValueError("line break in a header of a 100 Continue")
        try:
            self.source.stream.sendall(b"HTTP/1.1 100 Continue\r\n" + lines.encode("latin-1") + b"\r\n")
        except TimeoutError as error:
            raise ClientTimeout("timed out while sending 100 Continue") from error
        except OSError as error:
            raise ClientDisconnected(str(error)) from error

    def finish_expecting(self) -> None:
        self.expecting = False

    def ahead(self, count: int) -> bytes:
        """The first bytes behind the head as they come over the wire, which stay to be read. Raises ClientError.

        To be called before anything was read, for no more than the sender is known to send at once.
        """
        source = self.source
        have = len(source.buffer)
        if have < count:
            if self.expecting:
                self.send_hundred_continue_response()
            parts = [source.buffer]
            while have < count:
                data = source.recv(READ_SIZE)
                have += len(data)
                parts.append(data)
            source.buffer = b"".join(parts)
        return source.buffer[:count]

    def recv_into(self, buffer: Any) -> int:
        data = self.read_available(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def discard(self, limit: int) -> bool:
        return _discard(self, limit)


class CountedBody(_ReceivedBody):
    """A body of Content-Length bytes."""

    def __init__(self, source: InputSource, length: int, expecting: bool) -> None:
        super().__init__(source, expecting)
        self.length = length
        self.remaining: int = length

    @property
    def received(self) -> int:  # type: ignore[override]
        return self.length - self.remaining

    @property
    def done(self) -> bool:  # type: ignore[override]
        return self.remaining == 0

    def read(self, size: int | None = -1) -> bytes:
        left = self.remaining
        if left == 0:
            return b""
        if size is None or size < 0 or size > left:
            size = left
        source = self.source
        buffer = source.buffer
        have = len(buffer)
        if have >= size:
            # Most bodies are small and came with the head.
            self.remaining = left - size
            if have == size:
                source.buffer = b""
                return buffer
            source.buffer = buffer[size:]
            return buffer[:size]
        if self.expecting:
            self.send_hundred_continue_response()
        source.buffer = b""
        self.remaining = left - have
        parts = [buffer] if have else []
        missing = size - have
        while missing:
            data = source.recv(missing if missing < READ_SIZE else READ_SIZE)
            missing -= len(data)
            self.remaining -= len(data)
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_available(self, size: int = READ_SIZE) -> bytes:
        data = self._arrived(size)
        if not data and self.remaining and size > 0:
            if self.expecting:
                self.send_hundred_continue_response()
            data = self.source.recv(min(size, self.remaining))
            self.remaining -= len(data)
        return data

    def recv_into(self, buffer: Any) -> int:
        if self.source.buffer or not self.remaining:
            return super().recv_into(buffer)
        if self.expecting:
            self.send_hundred_continue_response()
        count = self.source.recv_into(memoryview(buffer)[: self.remaining])
        self.remaining -= count
        return count

    def _arrived(self, size: int) -> bytes:
        """At most size bytes of what is there, without waiting."""
        source = self.source
        data = source.buffer
        size = min(size, self.remaining)
        if len(data) <= size:
            source.buffer = b""
        else:
            source.buffer = data[size:]
            data = data[:size]
        self.remaining -= len(data)
        return data

    def readline(self, size: int | None = -1) -> bytes:
        limit = MAX_LINE if size is None or size < 0 else size
        source = self.source
        scanned = 0
        if self.expecting and self.remaining and limit and not source.buffer:
            self.send_hundred_continue_response()
        while True:
            end = min(limit, self.remaining)
            found = source.buffer.find(b"\n", scanned, end)
            if found >= 0:
                return self._arrived(found + 1)
            if len(source.buffer) >= end:
                return self._arrived(end)
            scanned = len(source.buffer)
            source.buffer += source.recv(READ_SIZE)


class ChunkedBody(_ReadAhead, _ReceivedBody):
    """A body of unknown length in chunks. The sizes are checked strictly; trailers are read and dropped."""

    remaining = None

    def __init__(self, source: InputSource, expecting: bool) -> None:
        super().__init__(source, expecting)
        self.received = 0
        self.done = False
        self._chunk_left = 0
        self._first = True
        self._line_end_due = False

    def send_hundred_continue_response(self) -> None:
        if not self._first and not self.done and not self.discard(_REST_BEFORE_SECOND_BODY):
            raise BadChunk("the first body goes on after its end")
        super().send_hundred_continue_response()
        if self.done:
            self.done = False
            self._first = True
            self._chunk_left = 0

    def read_available(self, size: int = READ_SIZE) -> bytes:
        if self._ahead:
            data = self._ahead[:size]
            self._ahead = self._ahead[size:]
            return data
        if self.done or size <= 0:
            return b""
        source, asked = self.source, size
        if self._chunk_left == 0 and not self._next_chunk():
            return b""
        data = source.buffer
        source.buffer = b""
        if not data:
            data = source.recv(READ_SIZE)
        left = self._chunk_left
        if size > left:
            size = left
        if len(data) > size:
            source.buffer = data[size:]
            data = data[:size]
        self._chunk_left = left = left - len(data)
        self.received += len(data)
        # The CRLF behind the data is looked at when more is asked for: nobody has to wait for it.
        self._line_end_due = left == 0
        return data if left or not source.buffer else self._with_chunks_behind(data, asked)

    def _with_chunks_behind(self, data: bytes, size: int) -> bytes:
        """`data`, the end of a chunk, and those behind it that are here from beginning to end, as far as they fit into `size`.

        Small chunks come by the thousand in one read: each on its own would have all that is behind it copied.
        """
        source, parts, at = self.source, [data], 0
        buffer, room = source.buffer, size - len(data)
        while match := _NEXT_CHUNK.match(buffer, at):
            begin, count = match.end(), int(match.group(1), 16)
            # what is odd, and the last chunk, are for `_next_chunk`
            if not 0 < count <= room or begin + count > len(buffer) or begin - at > MAX_CHUNK_LINE:
                break
            at = begin + count
            parts.append(buffer[begin:at])
            room -= count
        if at:
            source.buffer = buffer[at:]
            self.received += size - len(data) - room
            source.take(CHUNK_WORK * (len(parts) - 1))
        return b"".join(parts)

    def recv_into(self, buffer: Any) -> int:
        source = self.source
        if self._ahead or self.done:
            return super().recv_into(buffer)
        if self._chunk_left == 0 and not self._next_chunk():
            return 0
        if source.buffer or self._chunk_left < CHUNK_WORK:
            return super().recv_into(buffer)
        count = source.recv_into(memoryview(buffer)[: self._chunk_left])
        self._chunk_left -= count
        self.received += count
        self._line_end_due = self._chunk_left == 0
        return count

    def _next_chunk(self) -> bool:
        """Read the size line of the next chunk; False when it was the last one."""
        if self.expecting:
            self.send_hundred_continue_response()
        self._first = False
        source = self.source
        if self._line_end_due:
            self._expect_line_end()
        while True:
            match = _CHUNK_LINE.match(source.buffer)
            if match is not None:
                break
            if b"\n" in source.buffer or len(source.buffer) > MAX_CHUNK_LINE:
                raise BadChunk("bad chunk size")
            source.buffer += source.recv(READ_SIZE)
        if match.end() > MAX_CHUNK_LINE:
            raise BadChunk("bad chunk size")
        source.take(CHUNK_WORK)
        source.buffer = source.buffer[match.end() :]
        self._chunk_left = int(match.group(1), 16)
        if self._chunk_left:
            return True
        self._skip_trailer()
        self.done = True
        return False

    def _expect_line_end(self) -> None:
        source = self.source
        while len(source.buffer) < 2:
            if source.buffer not in (b"", b"\r"):
                break
            source.buffer += source.recv(READ_SIZE)
        if source.buffer[:2] != b"\r\n":
            raise BadChunk("bad end of a chunk")
        source.buffer = source.buffer[2:]
        self._line_end_due = False

    def _skip_trailer(self) -> None:
        source = self.source
        size = 0
        while True:
            buffer = source.buffer
            if buffer.startswith(b"\r\n"):
                source.buffer = buffer[2:]
                return
            match = _TRAILER_LINE.match(buffer)
            if match is not None:
                size += match.end()
                source.buffer = buffer[match.end() :]
            elif b"\n" in buffer or size + len(buffer) > MAX_TRAILER:
                raise BadChunk("bad trailer")
            else:
                source.buffer = buffer + source.recv(READ_SIZE)
            if size > MAX_TRAILER:
                raise BadChunk("bad trailer")


class InputFilter(_ReadAhead):
    """A request body as a filter lets it be seen: the base of everything that counts, checks or changes one.

    Subclasses override `pull` and nothing else: all other methods get their bytes there, and nothing leads past it. The body below may
    be any file-like object.
    """

    def __init__(self, below: Any) -> None:
        self._below = below
        self._read_below: Callable[[int], bytes] = getattr(below, "read_available", None) or below.read
        self._ended = False

    def pull(self, size: int) -> bytes:
        """The next bytes of the body, b'' only at its end; about `size`, what is beyond is kept for the next read. Raises ClientError."""
        return self._read_below(size)

    def read_available(self, size: int = READ_SIZE) -> bytes:
        if size <= 0:
            return b""
        data = self._ahead
        if not data:
            if self._ended:
                return b""
            data = self.pull(size)
            self._ended = not data
        self._ahead = data[size:]
        return data[:size]

    def recv_into(self, buffer: Any) -> int:
        data = self.read_available(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    @property
    def expecting(self) -> bool:  # type: ignore[override]
        return getattr(self._below, "expecting", False)

    @property
    def received(self) -> int:  # type: ignore[override]
        """Bytes that came from the client, whatever was made of them."""
        return getattr(self._below, "received", 0)

    @property
    def remaining(self) -> None:  # type: ignore[override]
        """Unknown: how long the body is when it comes out here is the filter's matter."""
        return None

    @property
    def done(self) -> bool:  # type: ignore[override]
        return self._ended and not self._ahead

    def set_hundred_continue_response_headers(self, headers: Iterable[tuple[str, str]]) -> None:
        self._below.set_hundred_continue_response_headers(headers)

    def send_hundred_continue_response(self) -> None:
        self._below.send_hundred_continue_response()
        self._ended = False

    def finish_expecting(self) -> None:
        if self.expecting:
            self._below.finish_expecting()

    def discard(self, limit: int) -> bool:
        return _discard(self, limit)
