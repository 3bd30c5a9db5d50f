"""Idle connections to storage servers, kept between requests, and new ones where none is left.

What lives here: the pool of a process, its bounds and its reaper. What never does: what is said over a connection (client).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

from swift.core import clock
from swift.core.concurrency import after_fork, hub
from swift.engine.sockets import connect
from swift.engine.stream import Stream
from swift.wire.backend_tls import node_tls
from swift.wire.client import BackendConnection, ConnectError
from swift.wire.tls import TlsStream

MAX_IDLE_SECONDS = 30.0  # below every server's keep-alive limit, ours and the reference's (60)
# As many as a proxy has requests at a time (max_requests): a pool that is too small opens and closes connections under load.
MAX_IDLE_PER_NODE = 256
MAX_IDLE = 4096
# it takes work on both sides, where conn_timeout is for a network's way there and back
LEAST_HANDSHAKE_SECONDS = 5.0
REAP_SECONDS = 5.0  # how often idle connections are looked through for those that nobody will use any more


def open_stream(key: tuple[str, int], seconds: float) -> Stream | TlsStream:
    """A new connection to a node's (ip, port), encrypted where nodes speak TLS. Raises ConnectError."""
    stream = None
    try:
        tls = node_tls()
        stream = connect(key[0], key[1], seconds)
        return stream if tls is None else tls.connect(stream, key[0], max(seconds, LEAST_HANDSHAKE_SECONDS))
    except BaseException as err:
        if stream is not None:
            stream.close()
        if isinstance(err, OSError):
            raise ConnectError(f"{key[0]}:{key[1]}: {err}") from err
        raise


class ConnectionPool:
    """Idle connections by (ip, port), last in first out, bounded in number and age."""

    def __init__(self) -> None:
        self._idle: OrderedDict[tuple[str, int], deque[BackendConnection]] = OrderedDict()
        self._count = 0
        self._reaper: Any = None  # the hub's timer, while there is something to look through

    def get(self, ip: str, port: int, conn_timeout: float = 0.5) -> BackendConnection:
        """An idle connection, or a new one. Raises ConnectError."""
        conn = self.idle(ip, port)
        return conn if conn is not None else self.fresh(ip, port, conn_timeout)

    def idle(self, ip: str, port: int) -> BackendConnection | None:
        """An idle connection that seems alive, if there is one; never waits."""
        idle = self._idle.get((ip, port))
        if idle:
            oldest_allowed = clock.monotonic() - MAX_IDLE_SECONDS
            while idle:
                conn = idle.pop()
                self._count -= 1
                if conn.idle_since >= oldest_allowed and not conn.stream.is_dead():
                    conn.reused = True
                    return conn
                conn.close()
        return None

    def fresh(self, ip: str, port: int, conn_timeout: float = 0.5) -> BackendConnection:
        """A new connection. Raises ConnectError."""
        key = (ip, port)
        return BackendConnection(open_stream(key, conn_timeout), self, key, is_signed=True)

    def put(self, conn: BackendConnection) -> None:
        """Keeps an idle connection for the next caller."""
        stream = conn.stream
        if not stream.is_open:
            return
        idle = self._idle.get(conn._key)
        if idle is None:
            idle = self._idle[conn._key] = deque()
        if len(idle) >= MAX_IDLE_PER_NODE:
            conn.close()
            return
        conn.idle_since = clock.monotonic()
        idle.append(conn)
        self._count += 1
        if self._count > MAX_IDLE:
            self._drop_oldest()
        if self._reaper is None:
            self._reaper = hub().schedule_call_global(REAP_SECONDS, self._reap)

    def _reap(self) -> None:
        """Close what has been idle for too long, and what its peer has closed. Runs in the hub; never waits."""
        oldest_allowed = clock.monotonic() - MAX_IDLE_SECONDS
        for key, idle in list(self._idle.items()):
            for conn in list(idle):
                if conn.idle_since < oldest_allowed or conn.stream.is_dead():
                    idle.remove(conn)
                    self._count -= 1
                    conn.close()
            if not idle:
                del self._idle[key]
        self._reaper = hub().schedule_call_global(REAP_SECONDS, self._reap) if self._count else None

    def _drop_oldest(self) -> None:
        for key in list(self._idle):
            idle = self._idle[key]
            if idle:
                idle.popleft().close()
                self._count -= 1
                self._idle.move_to_end(key)
                return
            del self._idle[key]

    def clear(self) -> None:
        """Closes all idle connections (at shutdown, between tests)."""
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        for idle in self._idle.values():
            for conn in idle:
                conn.close()
        self._idle.clear()
        self._count = 0

    def forget(self) -> None:
        """For a forked child: the connections are its parent's, which alone may use them."""
        self._reaper = None  # so is the timer
        self.clear()


POOL = ConnectionPool()
after_fork.append(POOL.forget)
