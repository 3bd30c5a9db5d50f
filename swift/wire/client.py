"""Connections to storage servers: keep-alive, parsed by hand.

What lives here: sending a request head and body, reading a response head and body. What never
does: keeping idle connections (connection_pool), choosing nodes, retrying on other nodes, error limiting (proxy), anything about accounts, containers or objects.
Spec: proxy-and-backend.md sections 1.2 and 1.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from swift.core.remembered import Remembered
from swift.engine.stream import Stream, wait_readable_any
from swift.wire.signing import finished
from swift.wire.tls import TlsStream

MAX_HEAD = 128 * 1024  # bytes of one response head
MAX_HEADERS = 512
MAX_FORMS, MAX_FORM = 256, 4096  # sets of names; characters of one
READ_SIZE = 64 * 1024
# Read at a time while a head is waited for, with the small body behind it. What comes of a large body would be copied where it could be spliced.
HEAD_SIZE = 16 * 1024

_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([^\r\n]*))?(?:\r\n|\Z)")
_CHUNK_LINE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_EMPTY = memoryview(b"")

# What a body's head says of it: (may the connection be kept behind it, is it chunked, Content-Length, bytes that follow a GET: -1 unknown).
Framing = tuple[bool, bool, int | None, int]
# (status, reason, headers, the last value by lower-case name, framing) of a response; read only
ParsedHead = tuple[int, str, list[tuple[str, str]], dict[str, str], Framing]
_MOST_PARSED = 256
_LONGEST_PARSED = 2048  # bytes
_parsed: dict[bytes, ParsedHead] = {}


_forms: Remembered[tuple[str, ...], str] = Remembered(MAX_FORMS, MAX_FORM)


class BackendError(Exception):
    """A storage server could not be reached, broke off, or answered with something that is not HTTP."""


class ConnectError(BackendError):
    """No connection: refused, unreachable or not within conn_timeout."""


class BackendTimeout(BackendError):
    """Connected, but silent for longer than the time limit."""


class StaleConnection(BackendError):
    """A pooled connection turned out to be closed before the first byte of an answer."""


def header_block(headers: Iterable[tuple[str, str]]) -> bytes:
    """Header lines as they go on the wire, without the closing empty line.

    Values are latin-1 text of wire bytes. Raises ValueError if a name or value would break the framing.
    """
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    return _framed("".join(lines), len(lines))


def header_block_of(headers: Mapping[str, str]) -> bytes:
    """`header_block` of headers whose names recur: how their lines look is made once for each set of names."""
    names = tuple(headers)
    form = _forms.get(names)
    if form is None:
        form = _forms.keep(names, "".join([f"{name.replace('%', '%%')}: %s\r\n" for name in names]))
    return _framed(form % tuple(headers.values()), len(names))


def _framed(text: str, count: int) -> bytes:
    if not text.count("\r") == text.count("\n") == count or "\0" in text:
        raise ValueError("line break or NUL in a header")
    return text.encode("latin-1")


class Keeper(Protocol):
    """Who keeps connections between requests."""

    def put(self, conn: BackendConnection) -> None:
        """Keep an idle connection."""


class BackendConnection:
    """One connection to a storage server; one request at a time."""

    __slots__ = (
        "_body_sent",
        "_host",
        "_is_signed",
        "_key",
        "_pool",
        "_sent_method",
        "buffer",
        "idle_since",
        "reused",
        "stream",
    )

    def __init__(
        self, stream: Stream | TlsStream, pool: Keeper, key: tuple[str, int], is_signed: bool = False
    ) -> None:
        """`is_signed`: it leads to a node of this cluster, so that what is sent carries the cluster's signature, if it has one."""
        self.stream = stream
        self._is_signed = is_signed
        self._pool = pool
        self._key = key
        self._host = f" HTTP/1.1\r\nHost: {key[0]}:{key[1]}\r\n".encode()
        self._sent_method = ""
        self._body_sent = False
        self.buffer = b""
        self.reused = False
        self.idle_since = 0.0

    # -- requests ------------------------------------------------------------------------------------------------------
    def send(
        self, method: str, path: str, headers: bytes, body: bytes = b"", timeout: float | None = None
    ) -> None:
        """Sends a whole request, or a head whose body follows by send_bytes.

        path is percent-quoted; headers come from header_block and must describe the body. Raises BackendError.
        """
        self._sent_method = method
        self._body_sent = bool(body)
        stream = self.stream
        head = b"%s%s%s" % (f"{method} {path}".encode("latin-1"), self._host, headers)
        head = finished(head, body) if self._is_signed else head + b"\r\n"
        stream.set_timeout(timeout)
        try:
            if body:
                stream.sendmsg_all((head, body))
            else:
                stream.sendall(head)
        except TimeoutError as err:
            raise BackendTimeout(f"send to {self._key[0]}:{self._key[1]}") from err
        except OSError as err:
            if self.reused:
                raise StaleConnection(str(err)) from err
            raise BackendError(f"send to {self._key[0]}:{self._key[1]}: {err}") from err

    def send_bytes(self, data: bytes | memoryview | list[bytes], timeout: float | None = None) -> None:
        """Sends a piece of a request body, framed by the caller. Raises BackendError."""
        self._body_sent = True
        stream = self.stream
        if timeout is not None:
            stream.set_timeout(timeout)
        try:
            if isinstance(data, list):
                stream.sendmsg_all(data)
            else:
                stream.sendall(data)
        except TimeoutError as err:
            raise BackendTimeout("send") from err
        except OSError as err:
            raise BackendError(f"send: {err}") from err

    def response(self, timeout: float | None = None) -> BackendResponse:
        """The final response (interim ones are passed over). Raises BackendError."""
        while True:
            response = self._head(timeout)
            if response.status >= 200:
                return response

    def wait_continue(self, timeout: float | None = None) -> BackendResponse:
        """The next response head, interim (100, with its headers) or final. Raises BackendError.

        After a final one the connection is not used again: whether the server still waits for the body is its secret.
        """
        response = self._head(timeout)
        if response.status >= 200:
            response.keep_alive = False
        return response

    def _head(self, timeout: float | None) -> BackendResponse:
        stream = self.stream
        stream.set_timeout(timeout)
        buffer = self.buffer
        try:
            while True:
                if buffer:
                    end = buffer.find(b"\r\n\r\n")
                    if end >= 0:
                        break
                    if len(buffer) > MAX_HEAD:
                        raise self._broken("response head too large")
                data = stream.recv(HEAD_SIZE)
                if not data:
                    if not buffer and self.reused:
                        raise StaleConnection("closed while idle")
                    raise self._broken("closed before the end of the response head")
                buffer = buffer + data if buffer else data
        except TimeoutError as err:
            raise BackendTimeout(f"response of {self._key[0]}:{self._key[1]}") from err
        except OSError as err:
            if not buffer and self.reused:
                raise StaleConnection(str(err)) from err
            raise self._broken(str(err)) from err
        head = buffer[:end]
        parsed = _parsed.get(head) or self._parse(head)
        if self._is_signed and parsed[0] == 401:
            # Nothing else is unauthorized between nodes. It says nothing of what was asked for.
            raise self._broken("does not take our signature: its log says why")
        self.buffer = buffer[end + 4 :]
        self.reused = False
        return BackendResponse(self, *parsed)

    def _parse(self, head: bytes) -> ParsedHead:
        """What a head says, remembered: all servers that store the same thing say the same. Raises BackendError."""
        text = head.decode("latin-1")
        match = _STATUS_LINE.match(text)
        if match is None:
            raise self._broken("not an HTTP response")
        minor, code, reason = match.groups()
        headers: list[tuple[str, str]] = []
        lower: dict[str, str] = {}
        for line in text[match.end() :].split("\r\n") if match.end() < len(text) else ():
            name, colon, value = line.partition(":")
            if not colon:
                raise self._broken("bad header line in the response")
            value = lower[name.lower()] = value.strip(" \t")
            headers.append((name, value))
        if len(headers) > MAX_HEADERS:
            raise self._broken("too many headers in the response")
        status = int(code)
        parsed = status, reason or "", headers, lower, self._framing(status, lower, minor == "1")
        if len(_parsed) >= _MOST_PARSED:
            _parsed.clear()
        if len(head) <= _LONGEST_PARSED:
            _parsed[head] = parsed
        return parsed

    def _framing(self, status: int, lower: Mapping[str, str], http11: bool) -> Framing:
        connection = lower.get("connection")
        keep_alive = (
            http11
            if connection is None
            else connection.lower() != "close" and (http11 or connection.lower() == "keep-alive")
        )
        if status == 204 or status == 304 or status < 200:
            return keep_alive, False, 0, 0
        if lower.get("transfer-encoding", "").lower() == "chunked":
            return keep_alive, True, None, -1
        length = lower.get("content-length")
        if length is None:
            return False, False, None, -1
        if length.isdecimal() and len(length) < 20:
            return keep_alive, False, int(length), int(length)
        raise self._broken("bad Content-Length in the response")

    def _broken(self, why: str) -> BackendError:
        return BackendError(f"{self._key[0]}:{self._key[1]}: {why}")

    # -- end of life ---------------------------------------------------------------------------------------------------
    def release(self) -> None:
        """Back to the pool: only when the last response was read to its end."""
        if self.buffer:
            self.close()
        else:
            self._pool.put(self)

    def close(self) -> None:
        """Closes the socket."""
        self.stream.close()

    def __del__(self) -> None:
        # The hub knows every open stream, so that none ends by being forgotten; whoever is forgotten himself leaves none behind.
        self.stream.close()


class BackendResponse:
    """A response head, and its body as far as the caller asks for it.

    status: int; headers: list of (name, value) as received, read only; content_length: int, or None when chunked or until close.
    """

    __slots__ = (
        "_chunk_left",
        "_done",
        "_left",
        "_lower",
        "chunked",
        "conn",
        "content_length",
        "headers",
        "keep_alive",
        "reason",
        "status",
    )

    def __init__(
        self,
        conn: BackendConnection,
        status: int,
        reason: str,
        headers: list[tuple[str, str]],
        lower: dict[str, str],
        framing: Framing,
    ) -> None:
        self.conn = conn
        self.status = status
        self.reason = reason
        self.headers = headers
        self._lower = lower
        self._chunk_left = 0
        self.keep_alive, self.chunked, self.content_length, self._left = framing
        if conn._sent_method == "HEAD":
            self._left = 0
            self.chunked = False
        self._done = self._left == 0

    def get(self, lower_name: str, default: str | None = None) -> str | None:
        """A header by its lower-case name (the last one, if repeated)."""
        return self._lower.get(lower_name, default)

    # -- body ----------------------------------------------------------------------------------------------------------
    def set_timeout(self, seconds: float | None) -> None:
        """Bounds each single wait for the body from now on; until then it is what the wait for the head left over."""
        self.conn.stream.set_timeout(seconds)

    @property
    def buffered(self) -> bool:
        """The whole body has already arrived: read_all will not wait."""
        return self._done or not self.chunked and 0 <= self._left <= len(self.conn.buffer)

    def take_whole(self) -> list[bytes] | None:
        """The whole body in pieces, and `release`, if it has arrived; else None."""
        conn = self.conn
        data = conn.buffer
        if self._done:
            data = b""
        elif self.chunked or self._left != len(data):
            if not self.buffered:
                return None
            data = self.take_buffered()
        else:
            conn.buffer = b""
            self._left = 0
            self._done = True
        self.release()
        return [data] if data else []

    def peek(self) -> bytes | None:
        """The whole body if it has arrived, which stays to be read; else None."""
        if not self.buffered or self._done:
            return b"" if self._done else None
        data = self.conn.buffer
        return data if len(data) == self._left else data[: self._left]

    @property
    def remaining(self) -> int:
        """Body bytes not yet handed out; -1 when unknown (chunked, or until close)."""
        return 0 if self._done else self._left

    def take_buffered(self) -> bytes:
        """What has arrived of a body with a Content-Length, without waiting."""
        conn = self.conn
        data = conn.buffer
        if self._done or not data:
            return b""
        if len(data) <= self._left:
            conn.buffer = b""
        else:
            conn.buffer = data[self._left :]
            data = data[: self._left]
        self._left -= len(data)
        if self._left == 0:
            self._done = True
        return data

    def consumed(self, count: int) -> None:
        """Tells that count bytes of a body with a Content-Length were moved past us (splice)."""
        self._left -= count
        if self._left == 0:
            self._done = True

    def read(self, size: int = READ_SIZE) -> bytes:
        """The next piece of the body, at most size bytes; b'' at its end. Raises BackendError if it breaks off."""
        if self._done:
            return b""
        if self.chunked:
            return self._read_chunked(size)
        conn = self.conn
        if conn.buffer:
            data = conn.buffer
            if self._left >= 0 and len(data) > self._left:
                size = min(size, self._left)
            conn.buffer = data[size:]
            data = data[:size]
        else:
            data = self._recv(size if self._left < 0 else min(size, self._left))
        if not data:
            if self._left > 0:
                raise conn._broken("body ended early")
            self._done = True
            return b""
        if self._left > 0:
            self._left -= len(data)
            if self._left == 0:
                self._done = True
        return data

    def read_into(self, view: memoryview) -> int:
        """As `read`, into a buffer: the number of bytes, 0 at the end of the body."""
        conn = self.conn
        if self._done or self.chunked or conn.buffer or self._left < 0:
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)
        try:
            count = conn.stream.recv_into(view[: self._left])
        except TimeoutError as err:
            raise BackendTimeout("body") from err
        except OSError as err:
            raise conn._broken(f"body: {err}") from err
        if not count:
            raise conn._broken("body ended early")
        self._left -= count
        if self._left == 0:
            self._done = True
        return count

    def _recv(self, size: int) -> bytes:
        try:
            return self.conn.stream.recv(size)
        except TimeoutError as err:
            raise BackendTimeout("body") from err
        except OSError as err:
            raise self.conn._broken(f"body: {err}") from err

    def _read_chunked(self, size: int) -> bytes:
        conn = self.conn
        if self._chunk_left == 0:
            while True:
                match = _CHUNK_LINE.match(conn.buffer)
                if match is not None:
                    break
                if b"\n" in conn.buffer or len(conn.buffer) > 1024:
                    raise conn._broken("bad chunk header")
                self._more()
            conn.buffer = conn.buffer[match.end() :]
            self._chunk_left = int(match.group(1), 16)
            if self._chunk_left == 0:
                self._skip_trailer()
                self._done = True
                return b""
        if not conn.buffer:
            self._more()
        data = conn.buffer[: min(size, self._chunk_left)]
        conn.buffer = conn.buffer[len(data) :]
        self._chunk_left -= len(data)
        if self._chunk_left == 0:
            while len(conn.buffer) < 2:
                self._more()
            if conn.buffer[:2] != b"\r\n":
                raise conn._broken("bad chunk end")
            conn.buffer = conn.buffer[2:]
        return data

    def _skip_trailer(self) -> None:
        conn = self.conn
        while not conn.buffer.startswith(b"\r\n"):
            end = conn.buffer.find(b"\r\n\r\n")
            if end >= 0:
                conn.buffer = conn.buffer[end + 4 :]
                return
            if len(conn.buffer) > MAX_HEAD:
                raise conn._broken("trailer too large")
            self._more()
        conn.buffer = conn.buffer[2:]

    def _more(self) -> None:
        data = self._recv(READ_SIZE)
        if not data:
            raise self.conn._broken("body ended early")
        self.conn.buffer += data

    def read_all(self, limit: int) -> bytes:
        """The whole body and release(). Raises BackendError, also when it is longer than limit bytes; the connection is closed then."""
        try:
            return self._read_all(limit)
        except BaseException:
            self.conn.close()
            raise

    def _read_all(self, limit: int) -> bytes:
        first = self.read(min(limit + 1, READ_SIZE))
        if self._done:
            if len(first) > limit:
                raise self.conn._broken(f"body longer than {limit} bytes")
            self.release()
            return first
        parts = [first]
        size = len(first)
        while True:
            data = self.read(READ_SIZE)
            if not data:
                break
            parts.append(data)
            size += len(data)
            if size > limit:
                raise self.conn._broken(f"body longer than {limit} bytes")
        self.release()
        return b"".join(parts)

    def chunks(self, size: int = READ_SIZE) -> Iterator[bytes]:
        """The rest of the body in pieces. Raises BackendError if it breaks off."""
        while True:
            data = self.read(size)
            if not data:
                return
            yield data

    def release(self) -> None:
        """Gives the connection back to the pool if the body was read to its end and the server keeps it open; else closes it.

        A server that refuses a request may leave the request's body unread, to be taken for the next request.
        """
        if self._done and self.keep_alive and (200 <= self.status < 300 or not self.conn._body_sent):
            self.conn.release()
        else:
            self.conn.close()

    def drain(self, limit: int = READ_SIZE) -> None:
        """Reads and drops a short rest of the body, then release(). Longer rests cost less as a new connection. Never raises."""
        try:
            while not self._done and limit > 0:
                limit -= len(self.read(READ_SIZE))
        except BackendError:
            self.conn.close()
            return
        self.release()

    def close(self) -> None:
        """Drops the connection, whatever is left to read."""
        self.conn.close()


def wait_any(connections: Iterable[BackendConnection], seconds: float | None) -> list[BackendConnection]:
    """Waits until one of the connections has something to read; returns those that do ([] after the time limit)."""
    connections = list(connections)
    ready = [c for c in connections if c.buffer]
    if ready:
        return ready
    carriers = [c.stream if isinstance(c.stream, Stream) else c.stream.carrier for c in connections]
    ready = [c for c in connections if not isinstance(c.stream, Stream) and c.stream.holds_input()]
    if ready:
        return ready
    streams = set(map(id, wait_readable_any(carriers, seconds)))
    return [c for c, carrier in zip(connections, carriers, strict=True) if id(carrier) in streams]
