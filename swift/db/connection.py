"""Open SQLite connections, kept between requests (database.md 3).

Lives here: opening with the pragmas and functions that the files need, waiting for SQLite's locks, transactions, the
cache of open connections and the errors that mean a damaged file. Never here: what the tables mean.

A database file must not be opened by anything but SQLite while this process holds a connection to it: closing any
descriptor of the file would drop SQLite's own locks.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from swift.core import clock
from swift.core.concurrency import raw_threading, sleep, spawn_n
from swift.core.fs import fault_point, fsync_dir

from .errors import DatabaseBusy, DatabaseMissing
from .schema import chexor

MAX_IDLE_CONNECTIONS = 64
MAX_IDLE_SECONDS = 15.0  # an open file keeps a device from being unmounted
PAGE_CACHE_KIB = 512  # of one connection

_serials = itertools.count()

_DAMAGE = (
    "database disk image is malformed",
    "malformed database schema",
    " is not a database",
    "disk I/O error",
)


def is_damage(error: BaseException) -> bool:
    """Whether an SQLite error says that the file itself is broken, so that the database must be set aside."""
    text = str(error)
    return any(sign in text for sign in _DAMAGE)


class Connection(sqlite3.Connection):
    """A connection in autocommit mode whose statements wait for other connections' locks, up to `timeout` seconds."""

    path: str
    identity: tuple[int, int]  # (st_dev, st_ino) of the file when it was opened
    serial: int
    is_current: bool = False  # whether the schema is known to be today's
    timeout: float = 25.0
    idle_since: float = 0.0

    def execute(self, sql: str, args: Any = (), /) -> sqlite3.Cursor:
        try:
            return super().execute(sql, args)
        except sqlite3.OperationalError as err:
            if "locked" not in str(err):
                raise
        return self._execute_patiently(sql, args)

    def _execute_patiently(self, sql: str, args: Any) -> sqlite3.Cursor:
        deadline = clock.monotonic() + self.timeout
        pause = 0.001
        while True:
            clock.sleep(pause)  # green where the process is patched, so that others go on
            pause = min(pause * 2, 0.05)
            try:
                return super().execute(sql, args)
            except sqlite3.OperationalError as err:
                if "locked" not in str(err):
                    raise
                if clock.monotonic() >= deadline:
                    raise DatabaseBusy(f"{self.path}: locked for more than {self.timeout:g} s") from err

    @contextmanager
    def writing(self, sync: bool = False) -> Iterator[Connection]:
        """A write transaction: committed at the end of the block, rolled back when it raises.

        `sync`: the removal of the journal, which is what commits, is on disk too when the block is left; without it, power
        loss may undo the last transactions of a database.
        """
        self.execute("BEGIN IMMEDIATE")
        fault_point("db:transaction:begun")
        try:
            yield self
            fault_point("db:transaction:before_commit")
            self.execute("COMMIT")
        except BaseException:
            if self.in_transaction:
                self.execute("ROLLBACK")
            raise
        fault_point("db:transaction:committed")
        if sync:
            fsync_dir(os.path.dirname(self.path))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Several reads of one state of the database."""
        self.execute("BEGIN")
        try:
            yield self
        finally:
            if self.in_transaction:
                self.execute("ROLLBACK")

    def version(self) -> tuple[int, int, int]:
        """A value that differs when the content may have changed, by whichever connection, since it was last asked."""
        return self.serial, self.execute("PRAGMA data_version").fetchone()[0], self.total_changes


def open_connection(path: str, timeout: float = 25.0, durable: bool = False) -> Connection:
    """A new connection to an existing database. Raises DatabaseMissing, DatabaseBusy, sqlite3.Error.

    `durable`: commits survive power loss also where the file system may reorder the removal of the journal.
    """
    try:
        before = os.stat(path)
        conn = sqlite3.connect(
            f"file:{quote(path)}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            factory=Connection,
        )
    except FileNotFoundError as err:
        raise DatabaseMissing(path) from err
    except sqlite3.OperationalError as err:
        if "unable to open" in str(err) and not os.path.exists(path):
            raise DatabaseMissing(path) from err
        raise
    try:
        conn.path = path
        conn.serial = next(_serials)
        conn.identity = (before.st_dev, before.st_ino)
        conn.timeout = timeout
        conn.create_function("chexor", 3, chexor)
        conn.execute(f"PRAGMA synchronous = {'EXTRA' if durable else 'NORMAL'}")
        conn.execute("PRAGMA temp_store = MEMORY")
        conn.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
        conn.execute("PRAGMA journal_mode = DELETE")
    except BaseException:
        conn.close()
        raise
    return conn


class ConnectionCache:
    """Idle connections by path, least recently used out first; one that is in use belongs to its user alone."""

    def __init__(self, limit: int = MAX_IDLE_CONNECTIONS, max_idle: float = MAX_IDLE_SECONDS) -> None:
        self.limit = limit
        self.max_idle = max_idle
        self._idle: OrderedDict[tuple[str, bool], list[Connection]] = OrderedDict()
        self._count = 0
        self._lock = raw_threading.Lock()
        self._sweeping = False

    def take(self, path: str, timeout: float, durable: bool = False) -> Connection:
        """A connection to the file that is at `path` now. Raises as open_connection."""
        while True:
            with self._lock:
                waiting = self._idle.get((path, durable))
                if not waiting:
                    break
                conn = waiting.pop()
                self._count -= 1
                if not waiting:
                    del self._idle[path, durable]
            try:
                st = os.stat(path)
            except FileNotFoundError as err:
                conn.close()
                raise DatabaseMissing(path) from err
            if conn.identity == (st.st_dev, st.st_ino):
                conn.timeout = timeout
                return conn
            conn.close()
        return open_connection(path, timeout, durable)

    def give_back(self, conn: Connection, durable: bool = False) -> None:
        """Keep a connection that is in good order and in no transaction."""
        conn.idle_since = clock.monotonic()
        evicted = None
        key = (conn.path, durable)
        with self._lock:
            self._idle.setdefault(key, []).append(conn)
            self._idle.move_to_end(key)
            self._count += 1
            if self._count > self.limit:
                oldest, waiting = next(iter(self._idle.items()))
                evicted = waiting.pop(0)
                self._count -= 1
                if not waiting:
                    del self._idle[oldest]
        if evicted is not None:
            evicted.close()

    def sweep(self) -> None:
        """Close what has been idle for too long."""
        limit = clock.monotonic() - self.max_idle
        old: list[Connection] = []
        with self._lock:
            for key, waiting in list(self._idle.items()):
                while waiting and waiting[0].idle_since <= limit:
                    old.append(waiting.pop(0))
                    self._count -= 1
                if not waiting:
                    del self._idle[key]
        for conn in old:
            conn.close()

    def start_sweeper(self) -> None:
        """Sweep from now on in a green thread; for servers, whose connections may otherwise idle for ever."""
        if not self._sweeping:
            self._sweeping = True
            spawn_n(self._sweep_forever)

    def _sweep_forever(self) -> None:
        while True:
            sleep(self.max_idle / 3)
            self.sweep()

    def forget(self, directory: str) -> None:
        """Close idle connections to files in a directory, which is about to be moved or removed."""
        prefix = directory + "/"
        with self._lock:
            keys = [key for key in self._idle if key[0].startswith(prefix)]
            old = [conn for key in keys for conn in self._idle.pop(key)]
            self._count -= len(old)
        for conn in old:
            conn.close()


CONNECTIONS = ConnectionCache()
