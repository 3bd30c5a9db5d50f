"""One connection to one memcached server: lines, values, TLS. Never here: which server, and what a value means."""

from __future__ import annotations

import ssl
from typing import Any

from swift.engine.sockets import connect
from swift.engine.stream import Stream

LONGEST_LINE = 8 * 1024
LARGEST_ANSWER = 128 * 1024 * 1024
_READ_SIZE = 64 * 1024


class ProtocolError(Exception):
    """The server said what no memcached says, or closed the connection."""


def open_connection(
    ip: str, port: int, seconds: float, tls_context: ssl.SSLContext | None = None, host: str = ""
) -> MemcacheConnection:
    """A new connection, with TLS and `host` as the server's name if a context is given. Raises OSError."""
    stream = connect(ip, port, seconds)
    if tls_context is None:
        return MemcacheConnection(stream)
    try:
        stream.set_deadline(seconds)
        return MemcacheConnection(_TlsStream(stream, tls_context, host or ip))
    except BaseException:
        stream.close()
        raise


class MemcacheConnection:
    """Reads answers in order. After any OSError or ProtocolError it must be closed: its place in the dialogue is lost."""

    def __init__(self, stream: Stream | _TlsStream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self.close = stream.close
        self.send = stream.sendall
        self.set_deadline = stream.set_deadline

    @property
    def in_step(self) -> bool:
        """No unread bytes are left: the next answer will belong to the next question."""
        return not self._buffer

    def is_dead(self) -> bool:
        return bool(self._buffer) or self._stream.is_dead()

    def read_line(self) -> bytes:
        """The next line without its end. Raises ProtocolError when it does not end within `LONGEST_LINE`."""
        buffer = self._buffer
        searched = 0
        while (end := buffer.find(b"\r\n", searched)) < 0:
            if len(buffer) > LONGEST_LINE:
                raise ProtocolError("line too long")
            searched = max(len(buffer) - 1, 0)
            self._receive()
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        return line

    def read_values(self) -> dict[str, tuple[int, bytes]]:
        """The answer to ``get``: wire key → (flags, data)."""
        values: dict[str, tuple[int, bytes]] = {}
        total = 0
        while (line := self.read_line()) != b"END":
            words = line.split()
            if not words or words[0] != b"VALUE":
                raise ProtocolError(f"unexpected answer {line[:80]!r}")
            if len(words) < 4 or not words[2].isdigit() or not words[3].isdigit():
                raise ProtocolError(f"malformed answer {line[:80]!r}")
            size = int(words[3])
            total += size + len(line)
            if total > LARGEST_ANSWER:
                raise ProtocolError("answer too large")
            values[words[1].decode("latin-1")] = (int(words[2]), self._read_block(size))
        return values

    def _read_block(self, size: int) -> bytes:
        buffer = self._buffer
        while len(buffer) < size + 2:
            self._receive()
        if buffer[size : size + 2] != b"\r\n":
            raise ProtocolError("a value of another length than announced")
        data = bytes(buffer[:size])
        del buffer[: size + 2]
        return data

    def _receive(self) -> None:
        data = self._stream.recv(_READ_SIZE)
        if not data:
            raise ProtocolError("connection closed")
        self._buffer += data


class _TlsStream:
    """The client side of TLS over a `Stream`."""

    def __init__(self, stream: Stream, context: ssl.SSLContext, host: str) -> None:
        self._stream = stream
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.close = stream.close
        self.set_deadline = stream.set_deadline
        self.is_dead = stream.is_dead
        self._drive(self._tls.do_handshake)

    def recv(self, size: int) -> bytes:
        try:
            return self._drive(self._tls.read, size)
        except ssl.SSLZeroReturnError:
            return b""

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._drive(self._tls.write, view) :]

    def _drive(self, step: Any, *args: Any) -> Any:
        while True:
            try:
                result = step(*args)
            except ssl.SSLWantReadError:
                self._flush()
                data = self._stream.recv(_READ_SIZE)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._stream.sendall(self._outgoing.read())
