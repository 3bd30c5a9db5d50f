"""Requests to a server that is not one of this cluster's nodes, by its URL: http or https, by name, through a proxy where one is set.

What lives here: names, TLS, connections that are kept for the next request, one request and the head of its answer. What never does: what
the request means, and trying again. Nothing waits for a resolver.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from swift.core import clock
from swift.core.concurrency import sleep
from swift.engine.resolver import HostAddress
from swift.engine.sockets import connect
from swift.wire.body_input import BodyInput
from swift.wire.client import (
    BackendConnection,
    BackendError,
    BackendResponse,
    ConnectError,
    StaleConnection,
    header_block,
)
from swift.wire.errors import ClientError
from swift.wire.tls import TlsStream

MAX_IDLE = 8  # connections
MAX_IDLE_SECONDS = 4.0
MAX_HOSTS = 1024
MOST_WHOLE = 1024 * 1024  # bytes of an answer that is taken whole
SMALL_BODY = 64 * 1024  # bytes; longer ones are announced first, and not sent where they are not wanted
PIECE = 64 * 1024
_PORTS = {"http": 80, "https": 443}
_STREAM = 1  # SOCK_STREAM


class RemoteAnswer(NamedTuple):
    """`headers`: by lower-case name, the last one of each."""

    status: int
    headers: Mapping[str, str]


class _Way(NamedTuple):
    """What a connection leads to. `proxy`: (host, port) of the proxy in between."""

    scheme: str
    host: str
    port: int
    proxy: tuple[str, int] | None


class Remote:
    """`conn_timeout`: seconds for a connection; `answer_timeout`: for each wait after that; `proxies`: URLs, of which any is taken;
    `context`: of TLS, for a server that shows another certificate than the world's or wants to see one.

    Raises ValueError for a proxy that is none.
    """

    def __init__(
        self,
        conn_timeout: float,
        answer_timeout: float = 60.0,
        proxies: Sequence[str] = (),
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.conn_timeout = conn_timeout
        self.answer_timeout = answer_timeout
        self.proxies = [_host_and_port(proxy if "//" in proxy else f"//{proxy}", 80) for proxy in proxies]
        self._kept: dict[_Way, _Kept] = {}
        self._addresses: dict[tuple[str, int], HostAddress] = {}
        self._context = context

    def check(self, url: str) -> None:
        """Raises ValueError for a URL that nothing can be asked of."""
        self._way_of(url)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: BodyInput | None = None,
        length: int = 0,
    ) -> RemoteAnswer:
        """One request; `url` is quoted. `body`: of `length` bytes. Raises BackendError, ValueError for what can't be sent, and what the
        body raises."""
        return _answer(self._response(method, url, headers, body, length))

    def whole(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[RemoteAnswer, bytes]:
        """One small request and its answer with the body. Raises BackendError, also for one of more than MOST_WHOLE bytes, ValueError."""
        response = self._response(method, url, headers, BodyInput([body], len(body)), len(body))
        parts: list[bytes] = []
        size = 0
        try:
            while data := response.read(PIECE):
                parts.append(data)
                size += len(data)
                if size > MOST_WHOLE:
                    raise BackendError(f"{url}: an answer of more than {MOST_WHOLE} bytes")
        except BaseException:
            response.conn.close()
            raise
        response.release()
        return _head(response), b"".join(parts)

    def _response(
        self, method: str, url: str, headers: Mapping[str, str], body: BodyInput | None, length: int
    ) -> BackendResponse:
        way, path = self._way_of(url)
        lines = [*headers.items(), ("Content-Length", str(length))]
        if body is not None and length > SMALL_BODY:
            lines.append(("Expect", "100-continue"))
        block = header_block(lines)
        small = None
        if body is None or length <= SMALL_BODY:
            small = b"" if body is None else _whole(body, length)
        if len(self._kept) >= MAX_HOSTS:
            self.close()
        kept = self._kept.setdefault(way, _Kept())
        while True:
            conn = kept.take() or self._connect(way, kept)
            try:
                return self._sent(conn, method, path, block, small, body, length)
            except StaleConnection:
                conn.close()  # it was closed before a byte of an answer, and nothing of a long body has left yet
            except BaseException:
                conn.close()
                raise

    def _sent(
        self,
        conn: BackendConnection,
        method: str,
        path: str,
        block: bytes,
        small: bytes | None,
        body: BodyInput | None,
        length: int,
    ) -> BackendResponse:
        if small is not None or body is None:
            conn.send(method, path, block, small or b"", self.answer_timeout)
            return conn.response(self.answer_timeout)
        conn.send(method, path, block, timeout=self.answer_timeout)
        response = conn.wait_continue(self.answer_timeout)
        if response.status >= 200:
            return response
        left = length
        while left:
            data = body.read_available(min(PIECE, left))
            if not data:
                raise BackendError("the body ended early")
            conn.send_bytes(data, self.answer_timeout)
            left -= len(data)
        return conn.response(self.answer_timeout)

    # -- connections -------------------------------------------------------------------------------------------------------

    def _way_of(self, url: str) -> tuple[_Way, str]:
        """(what the connection is to, the target in the request line). Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"not a URL of HTTP: {url[:200]!r}")
        for text in (parts.path, parts.query):
            if not text.isascii() or not text.isprintable() or " " in text:
                raise ValueError(f"not a quoted path: {text[:200]!r}")
        host, port = _host_and_port(url, _PORTS[parts.scheme])
        proxy = self.proxies[int(clock.random() * len(self.proxies))] if self.proxies else None
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        if proxy is not None and parts.scheme == "http":
            path = f"http://{parts.netloc.rpartition('@')[2]}{path}"
        return _Way(parts.scheme, host, port, proxy), path

    def _connect(self, way: _Way, kept: _Kept) -> BackendConnection:
        """A new connection. Raises ConnectError."""
        host, port = way.proxy or (way.host, way.port)
        try:
            stream = connect(self._address(host, port), port, self.conn_timeout)
        except OSError as err:
            raise ConnectError(f"{host}:{port}: {err}") from err
        name = f"[{way.host}]" if ":" in way.host else way.host
        conn = BackendConnection(stream, kept, (name, way.port))
        if way.scheme == "http":
            return conn
        try:
            if way.proxy is not None:
                self._tunnel(conn, f"{name}:{way.port}")
            if self._context is None:
                self._context = ssl.create_default_context()
            tls = TlsStream(stream, self._context, way.host)
            tls.handshake(self.answer_timeout)
            conn.stream = tls
            return conn
        except OSError as err:
            stream.close()
            raise ConnectError(f"{way.host}:{way.port}: {err}") from err
        except BaseException:
            stream.close()
            raise

    def _tunnel(self, conn: BackendConnection, target: str) -> None:
        conn.send("CONNECT", target, b"", timeout=self.answer_timeout)
        status = conn.response(self.answer_timeout).status
        if not 200 <= status < 300 or conn.buffer:
            raise ConnectError(f"the proxy answers {status} to CONNECT {target}")

    def _address(self, host: str, port: int) -> str:
        """The numbers of a host. Raises ConnectError."""
        known = self._addresses.get((host, port))
        if known is None:
            if len(self._addresses) >= MAX_HOSTS:
                self._addresses.clear()
            known = self._addresses[host, port] = HostAddress(host, port, _STREAM)
        end = clock.monotonic() + self.conn_timeout
        while True:
            found = known.get()
            if found is not None:
                return str(found[1][0])
            if known.error is not None or clock.monotonic() >= end:
                raise ConnectError(f"{host}: {known.error or 'its address is not known in time'}")
            sleep(0.02)

    def close(self) -> None:
        """Close the connections that are kept."""
        for kept in self._kept.values():
            kept.close()
        self._kept.clear()


class _Kept:
    """The connections that lead to one place and wait for its next request."""

    def __init__(self) -> None:
        self.idle: deque[BackendConnection] = deque()

    def put(self, conn: BackendConnection) -> None:
        """Keep a connection whose answer was read to its end."""
        conn.idle_since = clock.monotonic()
        self.idle.append(conn)
        if len(self.idle) > MAX_IDLE:
            self.idle.popleft().close()

    def take(self) -> BackendConnection | None:
        """One that has not waited for too long, and is still open."""
        oldest = clock.monotonic() - MAX_IDLE_SECONDS
        while self.idle:
            conn = self.idle.pop()
            if conn.idle_since >= oldest and not conn.stream.is_dead():
                conn.reused = True
                return conn
            conn.close()
        return None

    def close(self) -> None:
        """Close all of them."""
        while self.idle:
            self.idle.pop().close()


def _head(response: BackendResponse) -> RemoteAnswer:
    return RemoteAnswer(response.status, {name.lower(): value for name, value in response.headers})


def _answer(response: BackendResponse) -> RemoteAnswer:
    response.drain()
    return _head(response)


def _whole(body: BodyInput, length: int) -> bytes:
    data = body.read(length)
    if len(data) < length:
        raise ClientError("the body ended early")
    return data


def _host_and_port(url: str, default: int) -> tuple[str, int]:
    """Raises ValueError."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(f"no host in {url[:200]!r}")
    return parts.hostname, parts.port or default
