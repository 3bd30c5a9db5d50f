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
import weakref
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from swift.cache.memcache_connection import MemcacheConnection, ProtocolError
from swift.cache.memcache_server import MemcacheServer, NoPermit, Refused, ServerOptions
from swift.core import clock
from swift.core.concurrency import Event, sleep, spawn_n

POINTS_PER_SERVER = 50
JSON_FLAG = 2
PICKLE_FLAG = 1
LONGEST_RELATIVE_TTL = 30 * 24 * 60 * 60
UNCERTAIN_SECONDS = 60.0  # after trouble with a key's own server, that another lacks the key proves nothing
_MOST_MISSED = 10_000  # deletes that wait for their server
_MISSED_PAUSE = 0.5  # seconds

T = TypeVar("T")


class MemcacheConnectionError(Exception):
    """No memcached server could do what was asked."""


class Metrics(Protocol):
    def timing(self, name: str, milliseconds: float, sample_rate: float | None = None) -> None: ...


def wire_key(key: str) -> str:
    """The name under which ``key`` is stored: its MD5 in hex."""
    return hashlib.md5(key.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


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


class MemcacheClient:
    """A client of one or more memcached servers; may be shared by all green threads of a process.

    Times are seconds. Where no server answers, ``get`` returns None and ``set`` does nothing, unless ``raise_on_error``;
    ``incr`` raises MemcacheConnectionError. A ``delete`` that did not reach its server is made good once that answers.
    Raises ValueError for an empty or malformed server list.
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
        self.options = ServerOptions(
            max_connections,
            connect_timeout,
            pool_timeout,
            io_timeout,
            error_suppression_interval,
            error_suppression_limit,
            tls_context,
        )
        self._logger = logger or logging.getLogger(__name__)
        self._servers = {
            name: MemcacheServer(name, self.options, self._logger, self._came_back) for name in servers
        }
        self._tries = min(tries, len(self._servers))
        self._warning_size = item_size_warning_threshold
        self._metrics = metrics
        self._flights: dict[str, Event] = {}  # by wire key: the question that is under way
        self._missed: OrderedDict[str, str] = OrderedDict()  # wire key of a delete that failed: its server
        self._is_making_good = False
        self._listeners: list[Callable[[], None]] = []

    # -- what callers ask ----------------------------------------------------------------------------------------------
    def get(self, key: str, raise_on_error: bool = False) -> Any:
        """The value of ``key`` or None. JSON values are decoded, raw ones (counters) are bytes.

        With ``raise_on_error`` None means that there is none: MemcacheConnectionError is raised if no server answers, and if
        the key's own server was gone lately and only another one says that it has nothing. Those who ask for the same key at
        the same time share one question.
        """
        name = wire_key(key)
        flight: Any = self._flights.get(name)
        if flight is None:
            flight = self._flights[name] = Event()
            answer: Any = MemcacheConnectionError("the one who asked was stopped")
            try:
                answer = self._get(name)
            except MemcacheConnectionError as error:
                answer = error
            finally:
                if self._flights.get(name) is flight:
                    del self._flights[name]
                flight.send(answer)
        else:
            answer = flight.wait()
        if not isinstance(answer, MemcacheConnectionError):
            return _decode(answer)
        if raise_on_error:
            raise MemcacheConnectionError(*answer.args)
        return None

    def _get(self, name: str) -> tuple[int, bytes] | None:
        def ask(connection: MemcacheConnection) -> tuple[int, bytes] | None:
            connection.send(b"get %s\r\n" % name.encode())
            return connection.read_values().get(name)

        found = self._call("get", name, ask, 0.01, raise_on_error=True)
        if found is None:
            own = self._servers[next(self.ring.servers(name))]
            if own.is_lost and own.lost_since + UNCERTAIN_SECONDS > clock.monotonic():
                raise MemcacheConnectionError("the server that may have it does not answer")
        return found

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

        self._changed(name)
        self._call("set", name, ask, 0.1, raise_on_error=raise_on_error)

    def add(self, key: str, value: Any, time: float = 0) -> None:
        """Store ``value`` as JSON unless there is one."""
        name = wire_key(key)
        command = self._storage_command(b"add", name, key, value, True, time)

        def ask(connection: MemcacheConnection) -> None:
            connection.send(command)
            line = connection.read_line()
            if line not in (b"STORED", b"NOT_STORED"):
                raise Refused(line.decode("latin-1"))

        self._changed(name)
        self._call("add", name, ask, 0.1)

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
        self._changed(name)
        chooser = wire_key(server_key) if server_key else name
        own = next(self.ring.servers(chooser))
        reached, _ = self._ask("delete", chooser, _deleting(name), 0.1)
        if reached != own:
            self._make_good_later(name, own)

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
                raise Refused(refusals[0].decode("latin-1"))

        self._call("set_multi", wire_key(server_key), ask, 0.1, raise_on_error=raise_on_error)

    def get_multi(self, keys: Sequence[str], server_key: str) -> list[Any]:
        """Values in the order of ``keys`` from the server that is responsible for ``server_key``; None for missing ones."""
        names = [wire_key(key) for key in keys]

        def ask(connection: MemcacheConnection) -> dict[str, tuple[int, bytes]]:
            connection.send(b"get %s\r\n" % " ".join(names).encode())
            return connection.read_values()

        values = (self._call("get_multi", wire_key(server_key), ask, 0.1) if names else None) or {}
        return [_decode(values.get(name)) for name in names]

    def was_away(self, since: float, key: str | None = None) -> bool:
        """Returns True if a server (`key`: its own) went or came back after `since` (by clock.monotonic()).

        It may have forgotten what it had.
        """
        names = self._servers if key is None else (next(self.ring.servers(wire_key(key))),)
        return any(self._servers[name].troubled_at >= since for name in names)

    def when_back(self, callback: Callable[[], None]) -> None:
        """Calls `callback` each time that a server answers again, from a green thread of its own."""
        self._listeners.append(callback)

    def close(self) -> None:
        """Close idle connections."""
        for server in self._servers.values():
            server.close()

    # -- servers that come and go --------------------------------------------------------------------------------------
    def _came_back(self, server: MemcacheServer) -> None:
        for callback in self._listeners:
            callback()

    def _make_good_later(self, name: str, server: str) -> None:
        self._missed[name] = server
        self._missed.move_to_end(name)
        if len(self._missed) > _MOST_MISSED:
            self._missed.popitem(last=False)
        if not self._is_making_good:
            self._is_making_good = True
            spawn_n(_make_good, weakref.ref(self))

    def make_good(self) -> bool:
        """Delete what could not be deleted, so that no server comes back with it. Returns True if nothing is left to do."""
        for name, server in list(self._missed.items()):
            if self._servers[server].left_alone:
                continue
            self._missed.pop(name, None)  # before, for it may be missed again meanwhile
            try:
                with self._servers[server].connection() as connection:
                    _deleting(name)(connection)
            except (OSError, ProtocolError, Refused, ValueError):
                self._missed[name] = server
                break  # who asks it for something notices, too
        self._is_making_good = bool(self._missed)
        return not self._is_making_good

    def _changed(self, name: str) -> None:
        """Who asks from now on does not want the answer to a question from before."""
        self._flights.pop(name, None)

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
                    raise Refused(line.decode("latin-1"))
                connection.send(creation)
                line = connection.read_line()
                if line == b"STORED":
                    return int(first)
                if line != b"NOT_STORED":
                    raise Refused(line.decode("latin-1"))
            raise Refused("the counter comes and goes")

        result = self._call(command, name, ask, 0.001, raise_on_error=True)
        assert result is not None
        return result

    def _storage_command(
        self, verb: bytes, name: str, key: str, value: Any, serialize: bool, time: float
    ) -> bytes:
        if serialize:
            text = value.decode("utf-8") if isinstance(value, bytes) else value  # as in LocalCache
            data, flags = json.dumps(text).encode("ascii"), JSON_FLAG
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
        return self._ask(command, key_hash, ask, sample_rate, raise_on_error)[1]

    def _ask(
        self,
        command: str,
        key_hash: str,
        ask: Callable[[MemcacheConnection], T],
        sample_rate: float | None = None,
        raise_on_error: bool = False,
    ) -> tuple[str | None, T | None]:
        """Ask the responsible server and, if it fails, the next ones: (who answered, what). (None, None) when all failed."""
        started = clock.monotonic()
        suffix = ""
        failure: BaseException | None = None
        for number, name in enumerate(self.ring.servers(key_hash)):
            if number == self._tries:
                break
            server = self._servers[name]
            if server.left_alone:
                continue
            try:
                with server.connection() as connection:
                    result = ask(connection)
            except Refused as error:
                # The server is well, so it is neither avoided nor replaced by another.
                failure, suffix = error, "errors."
                self._logger.error("Memcached server %s refused %s: %s", name, command, error)
                break
            except NoPermit as error:
                # So is this one. Another would not have what belongs here, and get what nobody looks for there.
                failure, suffix = error, "timeout."
                server.failed(command, error)
                break
            except (OSError, ProtocolError, ValueError) as error:
                failure = error
                suffix = "timeout." if isinstance(error, TimeoutError) else "conn_err."
                server.failed(command, error)
                continue
            self._report(command, "", started, sample_rate)
            return name, result
        self._report(command, suffix or "conn_err.", started, sample_rate)
        if raise_on_error:
            raise MemcacheConnectionError(f"No memcached server did {command}") from failure
        return None, None

    def _report(self, command: str, suffix: str, started: float, sample_rate: float | None) -> None:
        if self._metrics is not None:
            self._metrics.timing(
                f"memcached.{command}.{suffix}timing", (clock.monotonic() - started) * 1000, sample_rate
            )


def _make_good(reference: weakref.ref[MemcacheClient]) -> None:
    """Ends, too, once nobody has use for the client any more."""
    while True:
        sleep(_MISSED_PAUSE)
        client = reference()
        if client is None or client.make_good():
            return
        del client


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


def _deleting(name: str) -> Callable[[MemcacheConnection], None]:
    def ask(connection: MemcacheConnection) -> None:
        connection.send(b"delete %s\r\n" % name.encode())
        connection.read_line()

    return ask


def _expect_stored(connection: MemcacheConnection) -> None:
    line = connection.read_line()
    if line != b"STORED":
        raise Refused(line.decode("latin-1"))
