"""Pending files that are locked and opened in the event loop, where that can't wait for a disk, and kept open while rows come.

All of it is done by calls that fail rather than wait: names are opened by openat2(RESOLVE_CACHED), the lock is asked for by LOCK_NB, the
bytes are written through a ring (swift.db.uring; pwritev2(RWF_NOWAIT) waits for a frozen file system). The kernel says EAGAIN whenever
the file's time must change, which is the first write in each tick of its clock: then a thread makes that one call, since what costs is
what a thread does between its calls, when it takes the interpreter back from the loop. On a memory file system nothing waits anyway, and
what the open files save is opening them for each row.

Lives here: that road, from the lock to the write, and the files that are kept open. Whatever is cold, missing, held or odd takes the trip.
Never here: grouping, the format, a database that is missing (only the trip decides that).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import weakref
from typing import Any

from swift.core import clock
from swift.core.concurrency import after_fork, hub
from swift.engine.fault_points import fault_point
from swift.engine.mounts import file_system_of
from swift.engine.openat2 import AT_FDCWD, CLOSED, open_cached
from swift.engine.threads import DevicePool

from . import pending, uring
from .marks import Mark, is_settled, mark, mark_of

# where opening what is in memory asks the disk for nothing, and where a write can be refused. ext4 may read quotas.
FILE_SYSTEMS = frozenset(("xfs",))
MAX_OPEN = 128  # databases whose files are kept open by a process
MAX_IDLE = 1.0  # seconds; an open file keeps a device from being unmounted

_LINKS_AND_NUMBER = 0x104  # STATX_NLINK, STATX_INO: a look at the times would make the next write change them
_AT_EMPTY_PATH = 0x1000
_statx: Any = getattr(ctypes.PyDLL(None, use_errno=True), "statx", None)

_LOCK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
_FILE = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK  # a pipe in its place is an error, not a wait


class Files:
    """The lock and the pending file of one database, open. Closed when the last has let go of it, if nobody has before.

    A call that a hung disk keeps in a thread has it in hand: nothing is closed, and no lock is lost, before that call's end.
    """

    __slots__ = (
        "_closed",
        "abandoned",
        "cut",
        "directory",
        "file",
        "lock",
        "locked",
        "mark",
        "path",
        "pool",
        "tick",
        "used",
        "written",
    )

    def __init__(self, path: str, pool: DevicePool) -> None:
        self.path = path
        self.pool = pool
        self.file = self.lock = -1
        self.locked = False  # by us, for rows that are being stored
        self.mark: Mark | None = None  # of the directory when all in it was last found in its place
        self.tick = 0  # of the clock, in which the last rows were stored
        self.used = 0.0
        self.cut: int | None = None  # where the file must end before anything follows
        self.written = False  # the thread's call has come to its end
        self.abandoned = False  # by whoever waited for that
        self._closed: list[bool] = [False]  # taken out by the one who closes
        self.directory = os.fsencode(os.path.dirname(path))
        self.lock = open_cached(AT_FDCWD, self.directory + b"/.lock", _LOCK)

    def take(self) -> bool:
        """True for the one who is to close them, False for all who come later: the descriptors may be somebody else's by now."""
        try:
            self._closed.pop()
        except IndexError:
            return False
        return True

    def close(self) -> None:
        """Close them, if nobody else does."""
        if self.take():
            self.close_taken()

    def close_taken(self) -> None:
        """The lock last: it guards what is done to the file."""
        for fd in (self.file, self.lock):
            if fd >= 0:
                os.close(fd)

    __del__ = close


class AtOnce:
    """What one process knows of the databases that it appends to. Belongs to the event loop."""

    def __init__(self) -> None:
        self._roads: dict[str, bool] = {}  # by device: nothing known yet, open, closed for good
        self._without_ring: set[str] = set()  # devices
        self._open: dict[str, Files] = {}
        self._sweep_due = False
        _all.add(self)

    def lock(self, path: str, pool: DevicePool) -> Files | None:
        """The files of a database, its directory locked: to be written to. None if a trip must do it or tell why not.

        Never waits for a disk.
        """
        if not self._roads.get(pool.path, True):
            return None
        files = self._open.get(path)
        try:
            if files is None:
                files = self._opened(path, pool)
            if files is None or files.locked:
                return None
            fcntl.flock(files.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files.locked = True
            if self._is_in_place(files):
                return files
        except BlockingIOError:  # somebody has the lock, or the names are not in memory
            if files is not None:
                self._unlock(files)
            return None
        except OSError as error:
            if error.errno in CLOSED:
                self._roads[pool.path] = False
        if files is not None:
            self._let_go(files)
        return None

    def write(self, files: Files, rows: bytes) -> int | None:
        """Append encoded records, whole or not at all, and unlock: the file's size. None: `write_in_thread` must do it.

        Never waits for a disk. Raises OSError when nobody knows.
        """
        if files.tick != clock.file_time_ns() or files.pool.path in self._without_ring:
            return None  # the file's time would have to change
        file = files.file
        size = os.lseek(file, 0, os.SEEK_END)
        written = 0
        try:
            written = uring.write_at_once(file, rows)
        except uring.RingBroken:
            self._roads[files.pool.path] = False
            self._let_go(files)
            raise
        except OSError as error:
            if error.errno in uring.CLOSED:
                self._without_ring.add(files.pool.path)
        if written != len(rows):
            if os.lseek(file, 0, os.SEEK_END) != size:
                files.cut = size
            return None
        fault_point("db:pending:appended")
        self._unlock(files)
        return size + written

    def write_here(self, files: Files, rows: bytes) -> int:
        """As `write`, on a memory file system, where every call comes back at once. Raises OSError."""
        try:
            pending.append_to(files.file, rows)
            return os.lseek(files.file, 0, os.SEEK_CUR)
        finally:
            self._unlock(files)

    def write_in_thread(self, files: Files, rows: bytes) -> int:
        """As `write`, in a thread of the device. Raises OSError, and as the pool.

        Whatever becomes of it, the lock is given back: by us if the thread has not begun, else by the thread when it comes to its end.
        """
        files.written = False
        call = None
        # asked here: each call of the thread is followed by a wait for the interpreter
        size = os.lseek(files.file, 0, os.SEEK_END) if files.cut is None else files.cut
        try:
            call = files.pool.submit(_write, files, rows, certain=True)
            call.wait()
        except BaseException:
            if self._open.get(files.path) is files:
                del self._open[files.path]
            files.abandoned = True  # before the call is looked at: the thread may still have them in hand
            if files.written or call is None or not call.running:
                self._let_go(files)
            raise
        files.tick = clock.file_time_ns()
        self._unlock(files)
        return size + len(rows)

    def give_back(self, files: Files) -> bool:
        """Unlock what is not written to after all, for a trip to do it; False if that may not be, as half a record was left in the file."""
        if files.cut is not None:
            return False
        self._unlock(files)
        return True

    # -- files

    def _opened(self, path: str, pool: DevicePool) -> Files | None:
        if len(self._open) >= MAX_OPEN:
            # those that are locked are in the hands of a thread, which writes to them
            unused = next((files for files in self._open.values() if not files.locked), None)
            if unused is None:
                return None
            self._let_go(unused)
        files = Files(path, pool)
        if not self._is_open(pool, os.fstat(files.lock).st_dev):
            return None
        self._open[path] = files
        if not self._sweep_due:
            self._sweep_due = True
            hub().schedule_call_global(MAX_IDLE, self._sweep)
        return files

    def _is_in_place(self, files: Files) -> bool:
        """True if these are the files that the path leads to, and the database is there. Raises OSError."""
        directory, read_at = files.directory, clock.time_ns()
        found = mark(directory) if files.pool.inline else _mark_at(directory)
        if found is None:
            return False
        # whatever is made, removed or renamed in a directory, or with it, changes its mark
        if found == files.mark:
            return True
        path = os.fsencode(files.path)
        # as in DirectoryLock: the lock of a directory that is not there any more guards nothing
        if _identity(files.lock) != _identity_at(directory + b"/.lock", os.O_NOFOLLOW):
            return False
        os.close(open_cached(AT_FDCWD, path, os.O_PATH))
        if files.file < 0 or _identity(files.file) != _identity_at(path + b".pending", 0):
            old, files.file = files.file, -1
            if old >= 0:
                files.pool.leave(os.close, old)  # it is the last that holds the file, whose blocks go with it
            files.file = open_cached(AT_FDCWD, path + b".pending", _FILE)
            files.tick = 0
        files.mark = found if is_settled(found, read_at) else None
        return True

    def _unlock(self, files: Files) -> None:
        if files.locked:
            files.locked = False
            fcntl.flock(files.lock, fcntl.LOCK_UN)
        files.used = clock.monotonic()

    def _let_go(self, files: Files) -> None:
        """Close files, in a thread: with the last that holds a file go its blocks."""
        if self._open.get(files.path) is files:
            del self._open[files.path]
        if not files.take():
            return  # the thread that had them in hand was faster
        if files.locked and files.cut is None:
            self._unlock(files)
        files.pool.leave(files.close_taken)

    def _sweep(self) -> None:
        """Close what has not been used of late; once more later while anything is open."""
        limit = clock.monotonic() - MAX_IDLE
        for files in list(self._open.values()):
            if not files.locked and files.used <= limit:
                self._let_go(files)
        self._sweep_due = bool(self._open)
        if self._sweep_due:
            hub().schedule_call_global(MAX_IDLE, self._sweep)

    def forget(self) -> None:
        """In a forked child: the files are the parent's, and so is the timer."""
        self._open.clear()
        self._sweep_due = False

    def _is_open(self, pool: DevicePool, number: int) -> bool:
        way = self._roads.get(pool.path)
        if way is None:
            way = self._roads[pool.path] = _statx is not None and (
                pool.inline or file_system_of(pool.path) in FILE_SYSTEMS and not _needs_stable_pages(number)
            )
        return way


_all: weakref.WeakSet[AtOnce] = weakref.WeakSet()


def _forget() -> None:
    for known in list(_all):
        known.forget()


after_fork.append(_forget)


def _write(files: Files, rows: bytes) -> None:
    """In a thread: half a record goes before anything else comes. Nothing is written that nobody waits for any more."""
    if files.abandoned:
        files.close()
        return
    try:
        if files.cut is not None:
            os.ftruncate(files.file, files.cut)
            files.cut = None
        pending.append_to(files.file, rows)
    finally:
        files.written = True  # before `abandoned` is looked at
        if files.abandoned:
            files.close()


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


def _mark_at(path: bytes) -> Mark:
    fd = open_cached(AT_FDCWD, path, os.O_PATH)
    try:
        return mark_of(fd)
    finally:
        os.close(fd)


def _identity(fd: int) -> tuple[int, ...]:
    """(device, inode) of an open file, asked for without its times. Raises OSError."""
    answer = ctypes.create_string_buffer(256)
    if _statx(fd, b"", _AT_EMPTY_PATH, _LINKS_AND_NUMBER, answer):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return *struct.unpack_from("=Q", answer, 32), *struct.unpack_from("=II", answer, 136)


def _identity_at(path: bytes, flags: int) -> tuple[int, ...]:
    fd = open_cached(AT_FDCWD, path, os.O_PATH | flags)
    try:
        return _identity(fd)
    finally:
        os.close(fd)
