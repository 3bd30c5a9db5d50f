"""What tells that a file has not changed since it was read, and how to look without waiting for a disk.

Lives here: marks, when they can be believed, and the roads to them. Never here: what was read.

A mark holds the time of the last change of an inode (ctime, which nobody can set back). Times are no finer than the tick of the
clock, on some file systems than a second: what changed twice within that has the same mark twice. So a mark tells that nothing
has changed only if the file, when it was read, had been at rest for longer than that.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

from swift.engine.openat2 import AT_FDCWD, CLOSED, open_cached

Mark = tuple[int, int, int, int]
"""(device, inode, size, time of change in nanoseconds) of a file."""

TICK_NS = 50_000_000  # times are of the last tick of the clock: 1 to 10 ms, and some for good measure
WHOLE_SECONDS_NS = (
    2_050_000_000  # what a file system with times of whole seconds, or of every other one, needs
)

_TMPFS, _RAMFS = 0x01021994, 0x858458F6
# where neither opening with O_PATH nor fstat calls anything of the file system that could wait
_LOCAL = frozenset((0x58465342, 0xEF53, 0x9123683E, 0xF2F52010))  # xfs, ext2 to ext4, btrfs, f2fs

Look = Callable[[bytes, "tuple[bytes, ...]"], "tuple[Mark | None, ...]"]
"""look(directory, names) -> marks of the directory and of the files in it, None for what is missing. Raises OSError."""


def mark(path: str | bytes) -> Mark | None:
    """The mark of a file, None if it is missing. May wait for a disk. Raises OSError."""
    try:
        st = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _mark(st)


def mark_of(fd: int) -> Mark:
    """The mark of an open file."""
    return _mark(os.fstat(fd))


def _mark(st: os.stat_result) -> Mark:
    return st.st_dev, st.st_ino, st.st_size, st.st_ctime_ns


def is_settled(found: Mark | None, read_at: int) -> bool:
    """True if a file that had this mark when, or before, it was read at `read_at` (nanoseconds) can't change without another mark."""
    if found is None:
        return True
    changed = found[3]
    unsure = TICK_NS if changed % 1_000_000_000 else WHOLE_SECONDS_NS
    return 0 <= changed < read_at - unsure


def look_anyway(directory: bytes, names: tuple[bytes, ...]) -> tuple[Mark | None, ...]:
    """A `Look` that may wait for the disk."""
    return mark(directory), *[mark(directory + b"/" + name) for name in names]


def look_at_once(directory: bytes, names: tuple[bytes, ...]) -> tuple[Mark | None, ...]:
    """A `Look` at what the kernel has in memory. Raises BlockingIOError when that doesn't tell, OSError where it can't be had."""
    try:
        dir_fd = open_cached(AT_FDCWD, directory, os.O_PATH)
    except FileNotFoundError:
        return (None,) * (1 + len(names))
    try:
        found: list[Mark | None] = [mark_of(dir_fd)]
        for name in names:
            try:
                fd = open_cached(dir_fd, name, os.O_PATH)
            except FileNotFoundError:
                found.append(None)
                continue
            try:
                found.append(mark_of(fd))
            finally:
                os.close(fd)
    finally:
        os.close(dir_fd)
    return tuple(found)


_statfs = ctypes.CDLL(None, use_errno=True).statfs


def _file_system(path: bytes) -> int:
    buffer = (ctypes.c_long * 64)()
    if _statfs(path, ctypes.byref(buffer)):
        raise OSError(ctypes.get_errno(), "statfs", path)
    return buffer[0] & 0xFFFFFFFF


def road_to(directory: bytes) -> Look | None:
    """How to look at files there without waiting for a disk; None if there is no such way. May wait itself. Raises OSError."""
    kind = _file_system(directory)
    if kind in (_TMPFS, _RAMFS):
        return look_anyway
    if kind not in _LOCAL:
        return None
    try:
        look_at_once(directory, ())
    except BlockingIOError:
        pass
    except OSError as err:
        if err.errno not in CLOSED:
            raise
        return None
    return look_at_once
