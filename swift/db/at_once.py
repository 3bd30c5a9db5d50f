"""Rows appended to a pending file in the event loop, where that can't wait for a disk: getting out of a thread costs more than the append.

All of it is done by calls that fail rather than wait: names are opened by openat2(RESOLVE_CACHED), the lock is asked for by LOCK_NB, the
bytes are written through a ring (swift.db.uring; pwritev2(RWF_NOWAIT) waits for a frozen file system). The kernel says EAGAIN whenever
the file's time must change, which is the first write in each tick of its clock: so this road is for databases that get many rows.

Lives here: that road, from the lock to the write, and when it is worth trying. Whatever is cold, missing, held, full or odd takes the trip.
Never here: grouping, the format, a database that is missing (only the trip decides that).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from typing import Any

from swift.core import clock
from swift.core.fault_points import fault_point
from swift.core.mounts import file_system_of
from swift.core.openat2 import AT_FDCWD, CLOSED, open_cached
from swift.core.threads import DevicePool

from . import uring

# where opening what is in memory asks the disk for nothing, and where a write can be refused. ext4 may read quotas.
FILE_SYSTEMS = frozenset(("xfs",))
MAX_DATABASES = 8192

_LINKS = 4  # STATX_NLINK: a look at the times would make the next write change them
_AT_EMPTY_PATH = 0x1000
_statx: Any = getattr(ctypes.PyDLL(None, use_errno=True), "statx", None)

_LOCK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
_FILE = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK  # a pipe in its place is an error, not a wait


class AtOnce:
    """What one process knows of the databases that it appends to."""

    def __init__(self) -> None:
        self._roads: dict[str, bool] = {}  # by device: nothing known yet, open, closed for good
        self._ticks: dict[
            str, int
        ] = {}  # by database: the tick of the clock in which its last rows were stored

    def stored(self, path: str) -> None:
        """Rows have just been stored for the database at `path`, whichever way."""
        if len(self._ticks) >= MAX_DATABASES:
            self._ticks.clear()
        self._ticks[path] = clock.file_time_ns()

    def append(self, path: str, pool: DevicePool, rows: bytes) -> int | None:
        """Append encoded records to the pending file of a database, whole or not at all; its size then.

        None if a trip must do it or tell why not; nothing is stored then. Never waits for a disk. Raises OSError when nobody knows.
        """
        if self._ticks.get(path) != clock.file_time_ns():
            return None  # the file's time would have to change
        if not self._roads.get(pool.path, True):
            return None
        lock = file = -1
        try:
            lock_path = os.fsencode(os.path.dirname(path)) + b"/.lock"
            lock = open_cached(AT_FDCWD, lock_path, _LOCK)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            identity = _identity(lock)
            # as in DirectoryLock: the lock of a directory that is not there any more guards nothing
            if identity != _identity_at(lock_path) or not self._is_open(pool, identity[0]):
                return None
            os.close(open_cached(AT_FDCWD, os.fsencode(path), os.O_PATH))
            file = open_cached(AT_FDCWD, os.fsencode(path) + b".pending", _FILE)
            size = os.lseek(file, 0, os.SEEK_END)
            if self._write(file, pool, rows):
                return size + len(rows)
            if os.lseek(file, 0, os.SEEK_END) != size:
                pool.leave(_cut, file, lock, size)
                file = lock = -1
            return None
        except uring.RingBroken:
            raise
        except OSError as error:
            if error.errno in CLOSED:
                self._roads[pool.path] = False
            return None
        finally:
            if file >= 0:
                _let_go(file, pool)
            if lock >= 0:
                os.close(lock)

    def _write(self, file: int, pool: DevicePool, rows: bytes) -> bool:
        """Returns True if all has been written."""
        try:
            written = uring.write_at_once(file, rows)
        except uring.RingBroken:
            self._roads[pool.path] = False
            raise
        except OSError as error:
            if error.errno in uring.CLOSED:
                self._roads[pool.path] = False
            return False
        if written == len(rows):
            fault_point("db:pending:appended")
            return True
        return False

    def _is_open(self, pool: DevicePool, number: int) -> bool:
        way = self._roads.get(pool.path)
        if way is None:
            way = self._roads[pool.path] = (
                _statx is not None
                and file_system_of(pool.path) in FILE_SYSTEMS
                and not _needs_stable_pages(number)
            )
        return way


def _cut(file: int, lock: int, size: int) -> None:
    """In a thread: half a record goes before its lock does."""
    try:
        os.ftruncate(file, size)
    finally:
        os.close(file)
        os.close(lock)


def _let_go(file: int, pool: DevicePool) -> None:
    answer = ctypes.create_string_buffer(256)
    failed = _statx(file, b"", _AT_EMPTY_PATH, _LINKS, answer)
    if failed or not struct.unpack_from("=I", answer, 16)[0]:
        pool.leave(os.close, file)  # it is the last that holds the file, whose blocks go with it
    else:
        os.close(file)


def _needs_stable_pages(number: int) -> bool:
    """True if a write to a page that is on its way to this device waits until it is there (checksums)."""
    device = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    for queue in (f"{device}/queue", f"{device}/../queue"):  # of a partition: that of its disk
        try:
            with open(f"{queue}/stable_writes") as file:
                return file.read().strip() != "0"
        except OSError:
            continue
    return True


def _identity(fd: int) -> tuple[int, int]:
    st = os.fstat(fd)
    return st.st_dev, st.st_ino


def _identity_at(path: bytes) -> tuple[int, int]:
    fd = open_cached(AT_FDCWD, path, os.O_PATH | os.O_NOFOLLOW)
    try:
        return _identity(fd)
    finally:
        os.close(fd)
