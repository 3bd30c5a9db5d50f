"""Rows on their way into pending files: off the event loop, and together with those that come at the same time.

While one trip to a disk is under way for a database, the rows that come for it wait, and share the next: one lock, one write
and, with sync_pending_updates, one sync for all of them. A failed trip fails every row of its group, as none is known to be
stored. Where the file can be locked and opened without waiting, a trip is one call, or none (swift.db.at_once). On a memory file system
nothing blocks, and no trip is needed. Lives here: the grouping and the trip. Never
here: the format (swift.db.pending), when a file is merged (swift.db.server).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from swift.core import clock
from swift.core.concurrency import Event, sleep, spawn_n
from swift.engine.durable import fsync_dir
from swift.engine.fault_points import fault_point
from swift.engine.threads import DevicePool

from . import pending
from .at_once import AtOnce, Files
from .errors import DatabaseBusy, DatabaseMissing
from .pending import DirectoryLock

MAX_GROUP = 1024  # rows in one trip
LOCK_SLICE = 0.1  # seconds that a thread waits for a directory's lock

Exists = Callable[[str], bool]


class _Group:
    """Rows for one pending file that are stored together, and those who wait for them."""

    __slots__ = ("done", "error", "rows", "size", "timeout")

    def __init__(self) -> None:
        self.done = Event()
        self.error: Exception | None = None
        self.rows: list[bytes] = []
        self.size = 0  # of the file afterwards
        self.timeout = 0.0


class Appender:
    """Appends encoded rows to the pending files of a server's databases. `durable`: they survive power loss, too.

    `exists(path)` tells whether there is a database; it may look at the disk.
    """

    def __init__(self, exists: Exists, durable: bool) -> None:
        self._exists = exists
        self.durable = durable
        self._waiting: dict[str, list[_Group]] = {}  # by database, only while a trip is under way
        self._at_once = AtOnce()

    def append(self, path: str, pool: DevicePool, row: bytes, timeout: float) -> int:
        """Return when the row is stored for the database at `path`; the pending file's size then.

        `timeout`: seconds to wait for the directory's lock. Raises DatabaseMissing, DatabaseBusy, OSError, and as the pool.
        """
        if pool.inline:
            files = None if self.durable else self._at_once.lock(path, pool)
            return self._store(path, row, timeout) if files is None else self._at_once.write_here(files, row)
        groups = self._waiting.get(path)
        if groups is None:
            files = None if self.durable else self._at_once.lock(path, pool)
            if files is not None:
                size = self._at_once.write(files, row)
                if size is not None:
                    return size
                if not self._must_not_wait(files, pool):
                    return self._write_first(path, pool, files, row)
            group = _Group()
            self._waiting[path] = [group]
            # a green thread that nobody knows and so nobody kills: others may hang on the trip as well
            spawn_n(self._carry, path, pool, True)
        else:
            group = groups[-1] if groups else _Group()
            if not groups or len(group.rows) >= MAX_GROUP:
                group = _Group()
                groups.append(group)
        group.rows.append(row)
        group.timeout = max(group.timeout, timeout)
        group.done.wait()
        if group.error is not None:
            raise _copy(group.error)
        return group.size

    def _write_first(self, path: str, pool: DevicePool, files: Files, row: bytes) -> int:
        """Write the row of the caller alone, in a thread; then those that have come meanwhile are carried, whatever became of it."""
        groups = self._waiting[path] = []
        try:
            return self._at_once.write_in_thread(files, row)
        finally:
            if groups:
                spawn_n(self._carry, path, pool, False)
            else:
                del self._waiting[path]

    def _carry(self, path: str, pool: DevicePool, needs_trip: bool) -> None:
        """Trip after trip, until nobody waits. `needs_trip`: the first does, as was just found."""
        groups = self._waiting[path]
        while groups:
            group = groups.pop(0)  # whoever comes from now on waits for the next
            try:
                group.size = self._carry_one(path, pool, group, needs_trip)
            except Exception as err:
                group.error = err
            except BaseException:
                group.error = OSError(5, "the trip was given up", path)
                raise
            finally:
                needs_trip = False
                if not groups:
                    del self._waiting[path]
                group.done.send()

    def _carry_one(self, path: str, pool: DevicePool, group: _Group, needs_trip: bool) -> int:
        """Store a group; the pending file's size."""
        files = None if self.durable or needs_trip else self._at_once.lock(path, pool)
        if files is None:
            return self._trip(path, pool, group)
        rows = b"".join(group.rows)
        size = self._at_once.write(files, rows)
        if size is not None:
            return size
        if self._must_not_wait(files, pool):
            return self._trip(path, pool, group)
        return self._at_once.write_in_thread(files, rows)

    def _must_not_wait(self, files: Files, pool: DevicePool) -> bool:
        """Gives the lock back where the write would wait for a thread, and returns True: all threads may be waiting for that very lock."""
        return not pool.is_free and self._at_once.give_back(files)

    def _trip(self, path: str, pool: DevicePool, group: _Group) -> int:
        """Store a group. Whoever holds the lock for long is not waited for in a thread of the device: others need those."""
        rows, give_up = b"".join(group.rows), clock.monotonic() + group.timeout
        while True:
            left = give_up - clock.monotonic()
            try:
                size: int = pool.run(self._store, path, rows, max(0.0, min(left, LOCK_SLICE)))
                return size
            except DatabaseBusy:
                if left <= LOCK_SLICE:
                    raise
            sleep(LOCK_SLICE / 4)

    def _store(self, path: str, rows: bytes, timeout: float) -> int:
        file = path + ".pending"
        with DirectoryLock(os.path.dirname(path), timeout):
            if not self._exists(path):
                raise DatabaseMissing(path)
            size = pending.append(file, rows)
        if self.durable:
            fault_point("db:pending:to_be_synced")
            sync_file(file)
        return size


def _copy(error: Exception) -> Exception:
    """An error of its own for each who waits: they add their tracebacks."""
    try:
        copy = type(error)(*error.args)
    except TypeError:
        return error
    copy.__cause__ = error.__cause__
    return copy


_entries_synced: set[tuple[str, int, int]] = set()


def sync_file(path: str) -> None:
    """fdatasync a pending file and, the first time, its directory entry. A file that is gone has been merged. Raises OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fdatasync(fd)
        st = os.fstat(fd)
    finally:
        os.close(fd)
    key = (path, st.st_dev, st.st_ino)
    if key not in _entries_synced:
        if len(_entries_synced) > 65536:
            _entries_synced.clear()
        fsync_dir(os.path.dirname(path))
        _entries_synced.add(key)
