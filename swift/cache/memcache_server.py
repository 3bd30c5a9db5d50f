"""One memcached server as this process sees it: its connections, its errors, and whether it is left alone.

A server that failed too often is asked nothing until it has answered a question that no request waits for. Waiting for one of
our own connections says nothing about the server. Never here: which server a key belongs to, and what is asked.
"""

from __future__ import annotations

import ssl
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from swift.cache.memcache_connection import MemcacheConnection, ProtocolError, open_connection
from swift.core import clock
from swift.core.concurrency import Semaphore, raw_socket, sleep, spawn_n
from swift.engine.resolver import HostAddress

DEFAULT_PORT = 11211
PROBE_SECONDS = 1.0  # between two tries to reach a server that is left alone
_LATE = 0.25  # seconds behind a time limit that tell that the event loop is behind


class Refused(Exception):
    """A server answered, in good order, that it will not."""


class NoPermit(TimeoutError):
    """All connections were in use: says more of us than of the server."""


def parse_server(server: str) -> tuple[str, int]:
    """``host``, ``host:port`` or ``[v6]:port`` → (host, port). Raises ValueError for anything else."""
    if server.startswith("["):
        host, bracket, rest = server[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else ""
        if not bracket or (rest and not port):
            raise ValueError(f"Invalid memcached server {server!r}")
    elif server.count(":") > 1:
        raise ValueError(f"Invalid memcached server {server!r}: write an IPv6 address as [address]:port")
    else:
        host, _, port = server.partition(":")
    if not host or (port and not (port.isdigit() and 0 < int(port) < 65536)):
        raise ValueError(f"Invalid memcached server {server!r}")
    return host, int(port or DEFAULT_PORT)


@dataclass(frozen=True)
class ServerOptions:
    """Times are seconds; `suppression_limit`: errors within `suppression_interval` (0: a server is never left alone)."""

    max_connections: int = 2
    connect_timeout: float = 0.3
    pool_timeout: float = 1.0
    io_timeout: float = 2.0
    suppression_interval: float = 60.0
    suppression_limit: float = 10
    tls_context: ssl.SSLContext | None = None


class MemcacheServer:
    """``came_back`` is called, in a green thread of its own, when the server answers again after it was lost. It may have
    forgotten everything meanwhile. Raises ValueError for a malformed name."""

    def __init__(
        self, name: str, options: ServerOptions, logger: Any, came_back: Callable[[MemcacheServer], None]
    ) -> None:
        self.name = name
        self.host, self.port = parse_server(name)
        self.left_alone = False
        self.probe_pause = min(PROBE_SECONDS, options.suppression_interval)
        self.is_lost = False  # until it has answered again
        self.lost_since = float("-inf")
        self.troubled_at = float("-inf")  # when it was last found gone, or back, by clock.monotonic()
        self._options = options
        self._logger = logger
        self._came_back = came_back
        self._address = HostAddress(self.host, self.port, raw_socket.SOCK_STREAM)
        self._idle: list[MemcacheConnection] = []
        self._permits = Semaphore(options.max_connections)
        self._errors: list[float] = []

    @contextmanager
    def connection(self) -> Iterator[MemcacheConnection]:
        """A connection for one dialogue. Raises NoPermit, OSError, ProtocolError."""
        if not self._permits.acquire(timeout=self._options.pool_timeout):
            raise NoPermit("timed out waiting for a free connection")
        connection = None
        try:
            connection = self._idle_connection() or self._open()
            connection.set_deadline(self._options.io_timeout)
            try:
                yield connection
            except Refused:
                if connection.in_step:
                    self._idle.append(connection)
                    connection = None
                raise
            self._idle.append(connection)
            connection = None
            if self.is_lost and not self.left_alone:
                self._found()
        finally:
            self._permits.release()
            if connection is not None:
                connection.close()

    def _idle_connection(self) -> MemcacheConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_dead():
                return connection
            connection.close()
            self._lost()
        return None

    def _open(self) -> MemcacheConnection:
        seconds = self._options.connect_timeout
        address = self._known_address(seconds)
        started = clock.monotonic()
        try:
            return open_connection(address, self.port, seconds, self._options.tls_context, self.host)
        except TimeoutError:
            if clock.monotonic() > started + seconds + _LATE:
                raise NoPermit("this process was too busy to see whether it connected") from None
            raise
        except OSError:
            self._address.ask_again()
            raise

    def _known_address(self, seconds: float) -> str:
        give_up = clock.monotonic() + seconds
        while True:
            found = self._address.get()
            if found is not None:
                return str(found[1][0])
            if clock.monotonic() >= give_up:
                raise OSError(
                    f"the address of {self.host} is not known: {self._address.error or 'no answer yet'}"
                )
            sleep(0.01)

    def _lost(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            self.lost_since = self.troubled_at = clock.monotonic()

    def _found(self) -> None:
        self.is_lost = False
        self.troubled_at = clock.monotonic()
        spawn_n(self._came_back, self)

    def failed(self, command: str, error: BaseException) -> None:
        """Note an error, log it, and leave the server alone if there were too many."""
        kind = "Timeout" if isinstance(error, TimeoutError) else "Error"
        self._logger.error("%s talking to memcached: %s (%s): %s", kind, self.name, command, error)
        if isinstance(error, NoPermit):
            return
        self._lost()
        options = self._options
        if options.suppression_interval <= 0 or self.left_alone:
            return
        now = clock.monotonic()
        self._errors = [moment for moment in self._errors if moment > now - options.suppression_interval]
        self._errors.append(now)
        # One that hangs costs every request the whole time limit, and is back as soon as it answers the first probe.
        if isinstance(error, TimeoutError) or len(self._errors) > options.suppression_limit:
            self._errors.clear()
            self._logger.error("Error limiting server %s", self.name)
            self.left_alone = True
            spawn_n(_probe_until_it_answers, weakref.ref(self))

    def answers(self) -> bool:
        """Asks the server that is left alone; if it answers, it is used again. Returns True if nothing is left to do."""
        self.close()
        try:
            with self.connection() as connection:
                connection.send(b"get swift-probe\r\n")
                connection.read_values()
        except (OSError, ProtocolError, Refused, ValueError):
            return False
        self._logger.warning("memcached server %s answers again", self.name)
        self.left_alone = False
        self._found()
        return True

    def close(self) -> None:
        """Close idle connections."""
        while self._idle:
            self._idle.pop().close()


def _probe_until_it_answers(reference: weakref.ref[MemcacheServer]) -> None:
    """Ends, too, once nobody has use for the server any more."""
    while (server := reference()) is not None:
        pause = server.probe_pause
        del server
        sleep(pause)
        server = reference()
        if server is None or server.answers():
            return
        del server
