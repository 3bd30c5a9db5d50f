"""The memcached client: text protocol over pooled connections, servers chosen on a hash ring, failing servers left alone.

All daemons of a cluster, reference nodes included, share one set of memcached servers, so keys, server choice and value
forms are an interface (spec proxy 24). In-process caches with the same face live in `swift.cache.local_cache`; which of them a
server uses is decided by the cache filter.
"""

from __future__ import annotations

import hashlib
import json
import logging
import ssl
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from swift.cache.memcache_connection import MemcacheConnection, ProtocolError, open_connection
from swift.core import clock
from swift.core.concurrency import Semaphore

DEFAULT_PORT = 11211
POINTS_PER_SERVER = 50
JSON_FLAG = 2
PICKLE_FLAG = 1
LONGEST_RELATIVE_TTL = 30 * 24 * 60 * 60

T = TypeVar("T")


class MemcacheConnectionError(Exception):
    """No memcached server could do what was asked."""


class _Refused(Exception):
    """A server answered, in good order, that it will not."""


class Metrics(Protocol):
    def timing(self, name: str, milliseconds: float, sample_rate: float | None = None) -> None: ...


def wire_key(key: str) -> str:
    """The name under which ``key`` is stored: its MD5 in hex."""
    return hashlib.md5(key.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


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


class HashRing:
    """Which servers to ask for a key, in order (spec proxy 24; vectors 31.5)."""

    def __init__(self, servers: Sequence[str]) -> None:
        points = sorted(
            (hashlib.md5(f"{server}-{i}".encode(), usedforsecurity=False).hexdigest(), server)
            for server in servers
            for i in range(POINTS_PER_SERVER)
        )
        self._points = [point for point, _ in points]
        self._servers = [server for _, server in points]
        self.size = len(set(servers))

    def servers(self, key_hash: str) -> Iterator[str]:
        """Each server once, the responsible one first."""
        count = len(self._points)
        # The ring of every other client of the cluster begins one past the successor point.
        position = (bisect_right(self._points, key_hash) + 1) % count
        seen: set[str] = set()
        for step in range(count):
            server = self._servers[(position + step) % count]
            if server not in seen:
                seen.add(server)
                yield server
                if len(seen) == self.size:
                    return


_TIMEOUT_WEIGHT = 4  # errors


class _NoPermit(TimeoutError):
    """All connections were in use: says more of us than of the server."""


class _Server:
    """One server's connections and its recent errors."""

    def __init__(self, name: str, max_connections: int) -> None:
        self.name = name
        self.host, self.port = parse_server(name)
        self.idle: list[MemcacheConnection] = []
        self.permits = Semaphore(max_connections)
        self.errors: list[float] = []
        self.suppressed_until = 0.0


class MemcacheClient:
    """A client of one or more memcached servers; may be shared by all green threads of a process.

    Times are seconds. Where no server answers, ``get`` returns None and ``set`` does nothing, unless ``raise_on_error``;
    ``incr`` raises MemcacheConnectionError. Raises ValueError for an empty or malformed server list.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        max_connections: int = 2,
        connect_timeout: float = 0.3,
        pool_timeout: float = 1.0,
        io_timeout: float = 2.0,
        tries: int = 3,
        error_suppression_interval: float = 60.0,
        error_suppression_limit: float = 10,
        tls_context: ssl.SSLContext | None = None,
        item_size_warning_threshold: int = -1,
        logger: Any = None,
        metrics: Metrics | None = None,
    ) -> None:
        if not servers:
            raise ValueError("No memcached servers are configured")
        self.ring = HashRing(servers)
        self._servers = {name: _Server(name, max_connections) for name in servers}
        self._tries = min(tries, len(self._servers))
        self._connect_timeout = connect_timeout
        self._pool_timeout = pool_timeout
        self._io_timeout = io_timeout
        self._suppression_interval = error_suppression_interval
        self._suppression_limit = error_suppression_limit
        self._tls_context = tls_context
        self._warning_size = item_size_warning_threshold
        self._logger = logger or logging.getLogger(__name__)
        self._metrics = metrics

    # -- what callers ask ----------------------------------------------------------------------------------------------
    def get(self, key: str, raise_on_error: bool = False) -> Any:
        """The value of ``key`` or None. JSON values are decoded, raw ones (counters) are bytes."""
        name = wire_key(key)

        def ask(connection: MemcacheConnection) -> Any:
            connection.send(b"get %s\r\n" % name.encode())
            return connection.read_values().get(name)

        return _decode(self._call("get", name, ask, 0.01, raise_on_error=raise_on_error))

    def set(
        self,
        key: str,
        value: Any,
        serialize: bool = True,
        time: float = 0,
        min_compress_len: int = 0,
        raise_on_error: bool = False,
    ) -> None:
        """Store ``value`` as JSON, or as it stands unless ``serialize``, for ``time`` seconds (0: no limit).

        ``min_compress_len`` is accepted for callers of old and has no effect. Raises TypeError for a value JSON can't hold.
        """
        name = wire_key(key)
        command = self._storage_command(b"set", name, key, value, serialize, time)

        def ask(connection: MemcacheConnection) -> None:
            connection.send(command)
            _expect_stored(connection)

        self._call("set", name, ask, 0.1, raise_on_error=raise_on_error)

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        """Add ``delta`` to a counter and return the sum; a missing one starts at 0 and lives for ``time`` seconds.

        A negative ``delta`` counts down, never below 0. Raises MemcacheConnectionError.
        """
        return self._count("incr" if delta >= 0 else "decr", key, int(delta), time)

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        """`incr` by ``-delta``."""
        return self._count("decr" if delta >= 0 else "incr", key, -int(delta), time)

    def delete(self, key: str, server_key: str | None = None) -> None:
        """Forget ``key``; ``server_key`` names the key that chose its server, for what `set_multi` stored."""
        name = wire_key(key)

        def ask(connection: MemcacheConnection) -> None:
            connection.send(b"delete %s\r\n" % name.encode())
            connection.read_line()

        self._call("delete", wire_key(server_key) if server_key else name, ask, 0.1)

    def set_multi(
        self,
        mapping: Mapping[str, Any],
        server_key: str,
        serialize: bool = True,
        time: float = 0,
        min_compress_len: int = 0,
        raise_on_error: bool = False,
    ) -> None:
        """Store all of ``mapping`` on the server that is responsible for ``server_key``, in one exchange."""
        commands = [
            self._storage_command(b"set", wire_key(key), key, value, serialize, time)
            for key, value in mapping.items()
        ]

        def ask(connection: MemcacheConnection) -> None:
            connection.send(b"".join(commands))
            refusals = [line for line in (connection.read_line() for _ in commands) if line != b"STORED"]
            if refusals:
                raise _Refused(refusals[0].decode("latin-1"))

        self._call("set_multi", wire_key(server_key), ask, 0.1, raise_on_error=raise_on_error)

    def get_multi(self, keys: Sequence[str], server_key: str) -> list[Any]:
        """Values in the order of ``keys`` from the server that is responsible for ``server_key``; None for missing ones."""
        names = [wire_key(key) for key in keys]

        def ask(connection: MemcacheConnection) -> dict[str, tuple[int, bytes]]:
            connection.send(b"get %s\r\n" % " ".join(names).encode())
            return connection.read_values()

        values = (self._call("get_multi", wire_key(server_key), ask, 0.1) if names else None) or {}
        return [_decode(values.get(name)) for name in names]

    def close(self) -> None:
        """Close idle connections."""
        for server in self._servers.values():
            while server.idle:
                server.idle.pop().close()

    # -- how it is done ------------------------------------------------------------------------------------------------
    def _count(self, command: str, key: str, delta: int, time: float) -> int:
        name = wire_key(key)
        amount = abs(delta)
        first = b"%d" % max(delta, 0)
        question = b"%s %s %d\r\n" % (command.encode(), name.encode(), amount)
        creation = b"add %s 0 %d %d\r\n%s\r\n" % (name.encode(), _ttl(time), len(first), first)

        def ask(connection: MemcacheConnection) -> int:
            for _ in range(2):  # somebody else may create or drop the counter between our two questions
                connection.send(question)
                line = connection.read_line()
                if line.isdigit():
                    return int(line)
                if line != b"NOT_FOUND":
                    raise _Refused(line.decode("latin-1"))
                connection.send(creation)
                line = connection.read_line()
                if line == b"STORED":
                    return int(first)
                if line != b"NOT_STORED":
                    raise _Refused(line.decode("latin-1"))
            raise _Refused("the counter comes and goes")

        result = self._call(command, name, ask, 0.001, raise_on_error=True)
        assert result is not None
        return result

    def _storage_command(
        self, verb: bytes, name: str, key: str, value: Any, serialize: bool, time: float
    ) -> bytes:
        if serialize:
            data, flags = json.dumps(value).encode("ascii"), JSON_FLAG
        else:
            data, flags = value if isinstance(value, bytes) else str(value).encode(), 0
        if 0 <= self._warning_size <= len(data):
            self._logger.warning(
                "Item size larger than warning threshold: %d (%d) >= %d for key prefix %s",
                len(data), len(data), self._warning_size, key.split("/", 1)[0],
            )  # fmt: skip
        return b"%s %s %d %d %d\r\n%s\r\n" % (verb, name.encode(), flags, _ttl(time), len(data), data)

    def _call(
        self,
        command: str,
        key_hash: str,
        ask: Callable[[MemcacheConnection], T],
        sample_rate: float | None = None,
        raise_on_error: bool = False,
    ) -> T | None:
        """Ask the responsible server and, if it fails, the next ones. None when all failed."""
        started = clock.monotonic()
        suffix = ""
        failure: BaseException | None = None
        for number, name in enumerate(self.ring.servers(key_hash)):
            if number == self._tries:
                break
            server = self._servers[name]
            if server.suppressed_until > clock.monotonic():
                continue
            try:
                with self._connection(server) as connection:
                    result = ask(connection)
            except _Refused as error:
                # The server is well, so it is neither avoided nor replaced by another.
                failure, suffix = error, "errors."
                self._logger.error("Memcached server %s refused %s: %s", name, command, error)
                break
            except (OSError, ProtocolError, ValueError) as error:
                failure = error
                suffix = "timeout." if isinstance(error, TimeoutError) else "conn_err."
                self._note_error(server, command, error)
                continue
            self._report(command, "", started, sample_rate)
            return result
        self._report(command, suffix or "conn_err.", started, sample_rate)
        if raise_on_error:
            raise MemcacheConnectionError(f"No memcached server did {command}") from failure
        return None

    @contextmanager
    def _connection(self, server: _Server) -> Iterator[MemcacheConnection]:
        if not server.permits.acquire(timeout=self._pool_timeout):
            raise _NoPermit("timed out waiting for a free connection")
        connection = None
        try:
            while server.idle:
                candidate = server.idle.pop()
                if not candidate.is_dead():
                    connection = candidate
                    break
                candidate.close()
            if connection is None:
                connection = open_connection(
                    server.host, server.port, self._connect_timeout, self._tls_context
                )
            connection.set_deadline(self._io_timeout)
            try:
                yield connection
            except _Refused:
                if connection.in_step:
                    server.idle.append(connection)
                    connection = None
                raise
            server.idle.append(connection)
            connection = None
        finally:
            server.permits.release()
            if connection is not None:
                connection.close()

    def _note_error(self, server: _Server, command: str, error: BaseException) -> None:
        if isinstance(error, TimeoutError):
            self._logger.error("Timeout talking to memcached: %s (%s): %s", server.name, command, error)
        else:
            self._logger.error("Error talking to memcached: %s (%s): %s", server.name, command, error)
        if self._suppression_interval <= 0:
            return
        now = clock.monotonic()
        server.errors = [moment for moment in server.errors if moment > now - self._suppression_interval]
        # One that hangs costs each request the whole time limit, so that it gets fewer chances than one that refuses.
        weight = 1 if isinstance(error, _NoPermit) or not isinstance(error, TimeoutError) else _TIMEOUT_WEIGHT
        server.errors.extend([now] * weight)
        if len(server.errors) > self._suppression_limit:
            server.suppressed_until = now + self._suppression_interval
            server.errors.clear()
            self._logger.error("Error limiting server %s", server.name)

    def _report(self, command: str, suffix: str, started: float, sample_rate: float | None) -> None:
        if self._metrics is not None:
            self._metrics.timing(
                f"memcached.{command}.{suffix}timing", (clock.monotonic() - started) * 1000, sample_rate
            )


def _ttl(seconds: float) -> int:
    seconds = int(seconds)
    if seconds > LONGEST_RELATIVE_TTL:
        return int(clock.time()) + seconds
    return seconds


def _decode(found: tuple[int, bytes] | None) -> Any:
    if found is None:
        return None
    flags, data = found
    if flags & PICKLE_FLAG:
        return None
    if flags & JSON_FLAG:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            return None
    return data


def _expect_stored(connection: MemcacheConnection) -> None:
    line = connection.read_line()
    if line != b"STORED":
        raise _Refused(line.decode("latin-1"))
