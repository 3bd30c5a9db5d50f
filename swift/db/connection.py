"""Open SQLite connections, kept between requests (database.md 3).

Lives here: opening with the pragmas and functions that the files need, waiting for SQLite's locks, transactions that notice
when their file is replaced, and the cache of open connections. What proves damage is in swift.db.damage. Never here: what the
tables mean.

A database file must not be opened by anything but SQLite while this process holds a connection to it: closing any
descriptor of the file would drop SQLite's own locks.

Others may rename a new file over the one that we write to, without any lock: peers of the reference do. Then a journal of
ours must not be replayed into the new file by whoever opens that. So (1) nothing reaches the file before its commit, and until
then SQLite takes the journal for unfinished and leaves it alone; (2) before a commit the journal is marked with the file that
it belongs to, and after that it is checked that this file is still the one at the path; (3) whoever opens a file removes a
journal that is marked as another file's.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from swift.core import clock
from swift.core.concurrency import after_fork, raw_threading
from swift.engine.durable import fsync_dir
from swift.engine.fault_points import fault_point
from swift.engine.xattrs import get_xattr, set_xattr

from .errors import DatabaseBusy, DatabaseMissing, DatabaseReplaced
from .schema import chexor

MAX_IDLE_CONNECTIONS = 64
MAX_IDLE_SECONDS = 5.0  # an open file keeps a device from being unmounted
CALM_SECONDS = 1.0  # for a sweeper that hangs in a disk nobody waits longer before a fork
PAGE_CACHE_KIB = 512  # of one connection

Identity = tuple[int, int]
"""(device, inode) of a file: what tells it from one that has taken its path."""

_serials = itertools.count()


def identity_of(path: str) -> Identity | None:
    """The identity of the file that is at `path` now, None if there is none. Raises OSError."""
    try:
        st = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return st.st_dev, st.st_ino


# ---------------------------------------------------------------- journals

_MARK = "user.swift.journal_of"


def _mark_journal(path: str, identity: Identity) -> None:
    """Note on the journal beside `path` which file it undoes changes of. Where attributes are not to be had, it goes unmarked."""
    journal = path + "-journal"
    with contextlib.suppress(OSError):
        # its own number, too: in a copy of both files the mark means nothing
        set_xattr(journal, _MARK, f"{os.stat(journal).st_ino} {identity[1]}".encode())


def _remove_foreign_journal(path: str) -> None:
    """Remove a journal that was written for another file than the one at `path`. Raises OSError."""
    journal = path + "-journal"
    try:
        own, owner = map(int, get_xattr(journal, _MARK).split())
        if os.stat(journal).st_ino != own:
            return
        # asked after the mark was read: a file that has lost its path never gets it back
        found = identity_of(path)
        if found is not None and found[1] != owner:
            os.unlink(journal)
    except (OSError, ValueError):
        return


# ---------------------------------------------------------------- connections


class Connection(sqlite3.Connection):
    """A connection in autocommit mode whose statements wait for other connections' locks, up to `timeout` seconds."""

    path: str
    identity: Identity  # of the file when it was opened
    serial: int
    durable: bool = False
    is_prepared: bool = False
    is_current: bool = False  # the schema is known to be today's
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

    def prepare(self) -> None:
        """Set up a new connection; the first that reads the file. Raises DatabaseBusy, sqlite3.Error."""
        self.create_function("chexor", 3, chexor)
        # NORMAL would sync a journal together with the count of its pages: of what power loss leaves of that, a page of zeros can pass
        # SQLite's checksum and be played back
        self.execute(f"PRAGMA synchronous = {'EXTRA' if self.durable else 'FULL'}")
        self.execute("PRAGMA temp_store = MEMORY")
        self.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
        self.execute("PRAGMA cache_spill = OFF")  # see (1) above; callers bound what a transaction changes
        self.execute("PRAGMA journal_mode = DELETE")
        self.is_prepared = True

    def check_place(self) -> None:
        """Raises DatabaseReplaced if our file is no longer the one at its path."""
        if identity_of(self.path) != self.identity:
            raise DatabaseReplaced(f"{self.path} was replaced or removed by somebody else")

    @contextmanager
    def writing(self, sync: bool = False) -> Iterator[Connection]:
        """A write transaction: committed at the end of the block, rolled back when it raises.

        `sync`: the removal of the journal, which is what commits, is on disk too when the block is left; without it, power
        loss may undo the last transactions of a database. Raises DatabaseReplaced if the file lost its path before the
        transaction had come to its end: the change may be lost, and is to be made again in the new file.
        """
        self.execute("BEGIN IMMEDIATE")
        fault_point("db:transaction:begun")
        try:
            self.check_place()
            yield self
            fault_point("db:transaction:before_commit")
            _mark_journal(self.path, self.identity)
            fault_point("db:transaction:marked")
            self.check_place()
            self.execute("COMMIT")
        except BaseException as err:
            if self.in_transaction:
                self.execute("ROLLBACK")
            if isinstance(err, sqlite3.OperationalError):
                self.check_place()  # SQLite notices some moves, too, and calls the database read-only then
            raise
        fault_point("db:transaction:committed")
        self.check_place()
        if sync:
            fsync_dir(os.path.dirname(self.path))

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """A transaction in which nobody else is in the file, not even to read, nor gets in before its end. Changes nothing."""
        self.execute("BEGIN EXCLUSIVE")
        try:
            self.check_place()
            yield self
        finally:
            if self.in_transaction:
                self.execute("ROLLBACK")

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
    """A new connection to an existing database, still to be prepared. Raises DatabaseMissing, sqlite3.Error.

    `durable`: commits survive power loss also where the file system may reorder the removal of the journal.
    """
    try:
        _remove_foreign_journal(path)
        before = os.stat(path)
        conn = sqlite3.connect(
            f"file:{quote(path)}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            factory=Connection,
        )
    except (FileNotFoundError, NotADirectoryError) as err:
        raise DatabaseMissing(path) from err
    except sqlite3.OperationalError as err:
        if "unable to open" in str(err) and identity_of(path) is None:
            raise DatabaseMissing(path) from err
        raise
    conn.path = path
    conn.serial = next(_serials)
    conn.identity = (before.st_dev, before.st_ino)
    conn.timeout = timeout
    conn.durable = durable
    return conn


class ConnectionCache:
    """Idle connections by path, least recently used out first; one that is in use belongs to its user alone."""

    def __init__(self, limit: int = MAX_IDLE_CONNECTIONS, max_idle: float = MAX_IDLE_SECONDS) -> None:
        self.limit = limit
        self.max_idle = max_idle
        self._idle: OrderedDict[tuple[str, bool], list[Connection]] = OrderedDict()
        self._count = 0
        self._lock = raw_threading.Lock()
        self._sweeping = raw_threading.Lock()  # held while the sweeper is inside of SQLite
        self._sweeper: Any = None
        self._end = raw_threading.Event()
        self._is_calm = False

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
            if self._sweeper is None:
                self._start_sweeper()
            if self._count > self.limit:
                oldest, waiting = next(iter(self._idle.items()))
                evicted = waiting.pop(0)
                self._count -= 1
                if not waiting:
                    del self._idle[oldest]
        if evicted is not None:
            evicted.close()

    def sweep(self) -> bool:
        """Close what has been idle for too long; True while anything is left."""
        limit = clock.monotonic() - self.max_idle
        old: list[Connection] = []
        with self._lock:
            for key, waiting in list(self._idle.items()):
                while waiting and waiting[0].idle_since <= limit:
                    old.append(waiting.pop(0))
                    self._count -= 1
                if not waiting:
                    del self._idle[key]
            left = bool(self._idle)
            if not left:
                self._sweeper = None  # the next connection that is given back starts another
        with self._sweeping:
            for conn in old:
                conn.close()
        return left

    def before_fork(self) -> None:
        """Waits until the sweeper, which nobody has called, is out of SQLite: a child would find its mutexes held for ever."""
        self._is_calm = self._sweeping.acquire(timeout=CALM_SECONDS)

    def after_fork(self) -> None:
        """In the parent and in the child."""
        if self._is_calm:
            self._sweeping.release()

    def _start_sweeper(self) -> None:
        """A thread of its own while there is anything idle: in every process, and a close that hangs stalls nobody."""
        self._sweeper = raw_threading.Thread(target=self._sweep_on, name="idle databases", daemon=True)
        try:
            self._sweeper.start()
        except RuntimeError:  # no thread to be had: the next one who gives back tries again
            self._sweeper = None

    def _sweep_on(self) -> None:
        while not self._end.wait(self.max_idle / 3):
            if not self.sweep():
                return

    def stop_sweeper(self) -> None:
        """For the end of the process: nobody is inside of SQLite when the interpreter goes."""
        self._end.set()
        sweeper = self._sweeper
        if sweeper is not None:
            sweeper.join(1.0)

    def start_over(self) -> None:
        """In a forked child: connections must not be used across a fork, and the sweeper stayed with the parent."""
        inherited = [conn for waiting in self._idle.values() for conn in waiting]
        self.__init__(self.limit, self.max_idle)  # type: ignore[misc]
        for conn in inherited:
            conn.close()

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
os.register_at_fork(
    before=CONNECTIONS.before_fork,
    after_in_parent=CONNECTIONS.after_fork,
    after_in_child=CONNECTIONS.after_fork,
)
after_fork.append(CONNECTIONS.start_over)
atexit.register(CONNECTIONS.stop_sweeper)
