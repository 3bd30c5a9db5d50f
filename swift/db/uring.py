"""Writing to a file only if nobody has to be waited for: io_uring with RWF_NOWAIT, one call at a time.

pwritev2(RWF_NOWAIT) waits for a file system that is frozen; the same write through a ring (Linux 6.13) says EAGAIN there, too. What lives
here: the ring and that one call, for the thread of the event loop. What never does: what to do when it can't be had.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from typing import Any

from swift.core.concurrency import after_fork

CLOSED = frozenset((errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.EACCES))
MAX_WRITE = 65536  # bytes

_SETUP, _ENTER = 425, 426  # on all architectures that Linux has
_OFF_RINGS, _OFF_ENTRIES = 0, 0x10000000
_SINGLE_MMAP = 1
_WRITE = 23
_SUBMIT = struct.Struct("=BBHiQQIIQ")
_RESULT = struct.Struct("=Qi")
_RESULT_SIZE = 16
_SLOTS = 2  # entries of the completion ring of a ring of one
_OLDEST = (6, 13)  # before, the call waited for a frozen file system

# keeps the interpreter lock: it waits for nothing
_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


class _Ring:
    """A ring of one entry, mapped into memory."""

    def __init__(self) -> None:
        release = os.uname().release.split(".")
        if not all(part.isdecimal() for part in release[:2]) or tuple(map(int, release[:2])) < _OLDEST:
            raise OSError(errno.ENOSYS, "the kernel is too old")
        params = ctypes.create_string_buffer(120)
        fd = _syscall(_SETUP, 1, params)
        if fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self.fd = fd
        try:
            _, slots, _, _, _, features = struct.unpack_from("=6I", params)
            _, tail, mask, _, _, _, array = struct.unpack_from("=7I", params, 40)
            done_head, done_tail, _, _, _, done = struct.unpack_from("=6I", params, 80)
            if not features & _SINGLE_MMAP or slots != _SLOTS:
                raise OSError(errno.ENOSYS, "another kind of ring")
            size = max(array + 4, done + slots * _RESULT_SIZE)
            self.ring = mmap.mmap(fd, size, mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=_OFF_RINGS)
            self.entries = mmap.mmap(fd, 64, mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=_OFF_ENTRIES)
        except BaseException:
            os.close(fd)
            raise
        words = memoryview(self.ring)[: size & ~3].cast("I")
        self.words = words
        self.tail, self.done_head, self.done_tail, self.done = tail // 4, done_head // 4, done_tail // 4, done
        words[array // 4] = 0
        assert words[mask // 4] == 0
        self.buffer = bytearray(MAX_WRITE)
        self.address = ctypes.addressof((ctypes.c_char * MAX_WRITE).from_buffer(self.buffer))

    def write(self, fd: int, data: bytes) -> int:
        self.buffer[: len(data)] = data
        _SUBMIT.pack_into(self.entries, 0, _WRITE, 0, 0, fd, 0, self.address, len(data), os.RWF_NOWAIT, 0)
        words = self.words
        words[self.tail] = (words[self.tail] + 1) & 0xFFFFFFFF
        submitted = _syscall(_ENTER, self.fd, 1, 0, 0, None, 0)
        if submitted != 1:  # no memory: it stays in a ring that is never entered again
            raise OSError(errno.ENOSYS, "the ring took nothing")
        head = words[self.done_head]
        if head == words[self.done_tail]:
            raise RingBroken()
        result: int = _RESULT.unpack_from(self.ring, self.done + (head & 1) * _RESULT_SIZE)[1]
        words[self.done_head] = (head + 1) & 0xFFFFFFFF
        return result


class RingBroken(OSError):
    """Nobody knows what became of the write."""

    def __init__(self) -> None:
        super().__init__(errno.EIO, "the ring did not answer")


_ring: _Ring | None = None
_is_closed = False
_left: list[
    Any
] = []  # the memory of a ring is not in a forked child: nothing may touch it, not even to let go of it


def _forget() -> None:
    global _ring
    if _ring is not None:
        _left.append(_ring)
        os.close(_ring.fd)
    _ring = None


after_fork.append(_forget)


def write_at_once(fd: int, data: bytes) -> int:
    """Write to a file that is open for appending; the bytes written. In the event loop only.

    Raises BlockingIOError when somebody would have to be waited for, RingBroken, OSError; one of CLOSED where the call can't be had.
    """
    global _ring, _is_closed
    if _is_closed:
        raise OSError(errno.ENOSYS, "no ring")
    if len(data) > MAX_WRITE:
        raise BlockingIOError(errno.EAGAIN, "too long")
    if _ring is None:
        try:
            _ring = _Ring()
        except OSError:
            _is_closed = True
            raise
    try:
        written = _ring.write(fd, data)
    except OSError:
        _is_closed = True
        raise
    if written < 0:
        raise OSError(-written, os.strerror(-written))
    return written
