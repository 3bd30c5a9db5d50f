"""The answer to one request: its head, how its body is framed, and how its bytes get to the socket.

What never lives here: requests, and which of them a connection serves (connection.py). Spec: proxy-and-backend.md 21.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from swift.core.concurrency import sleep
from swift.wire.errors import ClientDisconnected, ClientTimeout, ResponseTooShort
from swift.wire.input import InputSource, RequestBody
from swift.wire.serving import Serving

# A response up to that size is copied behind its head, which costs less than a second buffer in the system call.
JOIN_LIMIT = 32768
# An unread request body up to that size is read and dropped, so that the connection can be kept.
DISCARD_LIMIT = 1024 * 1024
# Bytes sent from one body before other green threads get a turn.
FAIR_SHARE = 4 * 1024 * 1024
# Answering.length of a body that ends with the connection.
UNTIL_CLOSE = -1

_GONE = frozenset(
    (errno.EPIPE, errno.ECONNRESET, errno.ESHUTDOWN, errno.ENOTCONN, errno.EBADF, errno.ETIMEDOUT)
)


class _HeaderKinds(dict[str, str | None]):
    """Response header name in any case → its lower-case form if this module cares about it, else None."""

    _LIMIT = 4096
    _OURS = frozenset(("content-length", "transfer-encoding", "connection", "date"))

    def __missing__(self, name: str) -> str | None:
        lower = name.lower()
        kind = lower if lower in self._OURS else None
        if len(self) < self._LIMIT:
            self[name] = kind
        return kind


_KINDS = _HeaderKinds()


class Answering(InputSource):
    """The answering half of a connection."""

    __slots__ = (
        "chunked",
        "close_after",
        "head_sent",
        "headers",
        "length",
        "sent",
        "server",
        "start_response",
        "status",
    )

    def __init__(self, server: Serving, stream: Any) -> None:
        super().__init__(stream)
        self.server = server
        self.status: str | None = None
        self.headers: list[tuple[str, str]] = []
        self.head_sent = False
        self.close_after = False
        self.length: int | None = None
        self.chunked = False
        self.sent = 0
        # Bound once: it is handed to the application with every request.
        self.start_response = self._start_response

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None:
            try:
                if self.head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status is not None:
            raise AssertionError("start_response was called twice")
        self.status = status
        self.headers = headers
        return self._write

    def _write(self, data: bytes) -> None:
        """The write() of WSGI, for very old applications."""
        raise NotImplementedError("write() is not supported; return the body")

    def _respond(self, environ: dict[str, Any], body: RequestBody, result: Any) -> None:
        kind = type(result)
        if kind is list or kind is tuple:
            data = result[0] if len(result) == 1 else b"".join(result)
            self._respond_bytes(environ, body, data)
            return
        status = self.status
        if status is not None and (environ["REQUEST_METHOD"] == "HEAD" or _bodiless(status)):
            self._send(self._head(environ, body, None))
            return
        send_to = getattr(result, "send_to", None)
        if send_to is not None and status is not None and self.stream.zero_copy:
            head = self._head(environ, body, None)
            if self.length is not None and self.length > 0:
                self._send_more(head)
                self.sent = self._sent_by(send_to)
                if self.sent < self.length:
                    raise ResponseTooShort(f"{self.sent} bytes of {self.length}")
                return
            if self.length == 0:
                self._send(head)
                return
        self._respond_chunks(environ, body, iter(result))

    def _respond_bytes(self, environ: dict[str, Any], body: RequestBody, data: bytes) -> None:
        head = self._head(environ, body, len(data))
        length = self.length
        if length is None or not (length or data):
            self._send(head)
            return
        if len(data) > length:
            data = data[:length]
        if len(data) <= JOIN_LIMIT:
            self._send(head + data)
        else:
            self._send_parts((head, data))
        self.sent = len(data)
        if len(data) < length:
            raise ResponseTooShort(f"{len(data)} bytes of {length}")

    def _respond_chunks(self, environ: dict[str, Any], body: RequestBody, chunks: Iterator[bytes]) -> None:
        data = b""
        # An empty piece is no reason to send the head: the application may still change its mind about the status.
        for data in chunks:
            if data:
                break
        head = self._head(environ, body, None if data else 0)
        length = self.length
        if self.chunked:
            self._send_chunked(head, data, chunks)
            return
        if length is None:
            self._send(head)
            return
        pending = [head]
        turn = 0
        while True:
            if length >= 0 and self.sent + len(data) > length:
                data = data[: length - self.sent]
            pending.append(data)
            self._send_parts(pending)
            pending = []
            self.sent += len(data)
            if self.sent == length:
                break
            turn += len(data)
            if turn >= FAIR_SHARE:
                turn = 0
                sleep(0)
            data = next(chunks, None)  # type: ignore[assignment, arg-type]
            if data is None:
                break
        if 0 <= length != self.sent:
            raise ResponseTooShort(f"{self.sent} bytes of {length}")

    def _send_chunked(self, head: bytes, data: bytes, chunks: Iterator[bytes]) -> None:
        pending = [head]
        turn = 0
        while True:
            if data:
                pending += (b"%x\r\n" % len(data), data, b"\r\n")
                self._send_parts(pending)
                pending = []
                self.sent += len(data)
                turn += len(data)
                if turn >= FAIR_SHARE:
                    turn = 0
                    sleep(0)
            data = next(chunks, None)  # type: ignore[assignment, arg-type]
            if data is None:
                break
        pending.append(b"0\r\n\r\n")
        self._send_parts(pending)

    def _head(self, environ: dict[str, Any], body: RequestBody, known_length: int | None) -> bytes:
        """Status line and headers; decides framing.

        Sets length to the bytes of body to send: None for none at all, -1 for as many as there are until close. Sets chunked.
        """
        status = self.status
        if status is None:
            raise AssertionError("the application never called start_response")
        server = self.server
        headers = self.headers
        length: int | None = None
        dated = connection_said = False
        kinds = _KINDS
        for name, value in [pair for pair in headers if kinds[pair[0]]]:
            kind = kinds[name]
            if kind == "content-length" and length is None:
                length = int(value)
            elif kind == "date":
                dated = True
            elif kind == "connection" and "close" in value.lower():
                connection_said = self.close_after = True
            else:
                headers = _those_to_send(self.headers)
        if not body.done:
            self._decide_unread(body)
        if server.draining or server.clients.queue:
            self.close_after = True
        if length is not None and status[:3] in _PLAIN and environ["REQUEST_METHOD"] != "HEAD":
            self.chunked = False
            self.length = length
            framing = ""
        else:
            framing = self._decide_framing(environ, length, known_length)
        lines = [f"{name}: {value}\r\n" for name, value in headers]
        text = f"HTTP/1.1 {status}\r\n{''.join(lines)}{framing}"
        count = len(lines) + (2 if framing else 1)
        if text.count("\n") != count or text.count("\r") != count or "\0" in text:
            raise ValueError("line break or NUL in a response header")
        if not dated:
            text += server.date_line()
        if self.close_after:
            text += "\r\n" if connection_said else "Connection: close\r\n\r\n"
        elif environ["SERVER_PROTOCOL"] == "HTTP/1.0" or _asks_to_keep(environ.get("HTTP_CONNECTION")):
            text += "Connection: keep-alive\r\n\r\n"
        else:
            text += "\r\n"
        return text.encode("latin-1")

    def _decide_framing(
        self, environ: dict[str, Any], announced: int | None, known_length: int | None
    ) -> str:
        """Sets length and chunked; the header line that says it, '' if the application or nobody does.

        announced: Content-Length of the application's headers.
        """
        self.chunked = False
        bodiless = environ["REQUEST_METHOD"] == "HEAD" or _bodiless(self.status or "")
        self.length = None if bodiless else announced
        if announced is not None or bodiless:
            return ""
        if known_length is not None:
            self.length = known_length
            return f"Content-Length: {known_length}\r\n"
        if environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            self.chunked = True
            return "Transfer-Encoding: chunked\r\n"
        self.close_after = True
        self.length = UNTIL_CLOSE
        return ""

    def _decide_unread(self, body: RequestBody) -> None:
        """The response begins before the request body was read to its end."""
        if body.expecting:
            body.finish_expecting()
            self.close_after = True
        elif body.remaining is not None and body.remaining > DISCARD_LIMIT:
            self.close_after = True

    # --- the socket

    def _send(self, data: bytes) -> None:
        # As _out, without its calls: nearly every answer leaves here.
        self.head_sent = True
        try:
            self.stream.sendall(data)
        except TimeoutError as error:
            raise ClientTimeout("timed out while sending") from error
        except OSError as error:
            raise ClientDisconnected(str(error)) from error

    def _send_parts(self, parts: Sequence[bytes]) -> None:
        if len(parts) == 1:
            self._out(self.stream.sendall, parts[0])
        else:
            self._out(self.stream.sendmsg_all, parts)

    def _send_more(self, head: bytes) -> None:
        """Send a head that the kernel shall join with the body behind it."""
        self._out(self.stream.send_more, head)

    def _out(self, send: Callable[[Any], Any], what: Any) -> None:
        self.head_sent = True
        try:
            send(what)
        except TimeoutError as error:
            raise ClientTimeout("timed out while sending") from error
        except OSError as error:
            raise ClientDisconnected(str(error)) from error

    def _sent_by(self, send_to: Callable[[Any], int]) -> int:
        try:
            return send_to(self.stream)
        except TimeoutError as error:
            raise ClientTimeout("timed out while sending") from error
        except OSError as error:
            # A broken disk is the application's matter, a broken socket the client's.
            if error.errno in _GONE:
                raise ClientDisconnected(str(error)) from error
            raise


def _asks_to_keep(connection: str | None) -> bool:
    """HTTP/1.1 keeps connections anyway; who asks for it by that word alone is told, as clients of old wait to hear it."""
    return connection is not None and connection.lower() == "keep-alive"


# The usual statuses of answers with a body.
_PLAIN = frozenset(("200", "201", "202", "206", "404"))


def _bodiless(status: str) -> bool:
    return status[0] == "1" or status[:3] in ("204", "304")


def _those_to_send(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without what framing is ours to say: a second Content-Length, Transfer-Encoding, a Connection that is to stay."""
    kept = []
    has_length = False
    for pair in headers:
        kind = _KINDS[pair[0]]
        if kind == "transfer-encoding" or kind == "connection" and "close" not in pair[1].lower():
            continue
        if kind == "content-length":
            if has_length:
                continue
            has_length = True
        kept.append(pair)
    return kept
