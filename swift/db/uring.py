"""Writing to a file without waiting: io_uring, with RWF_NOWAIT or handed over to a thread of the kernel's.

pwritev2(RWF_NOWAIT) waits for a file system that is frozen; the same write through a ring (Linux 6.13) says EAGAIN there, too. What lives
here: rings and these two calls, for the thread of the event loop. What never does: what to do when they can't be had, who waits for what.
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

_SETUP, _ENTER, _REGISTER = 425, 426, 427  # on all architectures that Linux has
_OFF_RINGS, _OFF_ENTRIES = 0, 0x10000000
_SINGLE_MMAP = 1
_WRITE = 23
_SUBMIT = struct.Struct("=BBHiQQIIQ")
_RESULT = struct.Struct("=Qi")
_RESULT_SIZE = 16
_CQ_SIZE = 8
_MAX_WORKERS = 19
_WORKERS = 1024  # at most, of all rings of a thread: who hands over bounds how many hang, and one disk must not stall another
_OLDEST = (6, 13)  # before, the call waited for a frozen file system

# keeps the interpreter lock: it waits for nothing
_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


class Ring:
    """A ring of one entry, mapped into memory; `slots`: results, a power of two, that it holds until they are taken. Raises OSError."""

    def __init__(self, slots: int = 2) -> None:
        release = os.uname().release.split(".")
        if not all(part.isdecimal() for part in release[:2]) or tuple(map(int, release[:2])) < _OLDEST:
            raise OSError(errno.ENOSYS, "the kernel is too old")
        params = ctypes.create_string_buffer(struct.pack("=3I", 0, slots, _CQ_SIZE), 120)
        fd = _syscall(_SETUP, 1, params)
        if fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self.fd = fd
        try:
            _, given, _, _, _, features = struct.unpack_from("=6I", params)
            _, tail, mask, _, _, _, array = struct.unpack_from("=7I", params, 40)
            done_head, done_tail, _, _, _, done = struct.unpack_from("=6I", params, 80)
            if not features & _SINGLE_MMAP or given != slots:
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
        self.mask = slots - 1

    def submit(self, number: int, fd: int, address: int, length: int, flags: int = 0) -> None:
        """Have memory written to a file, where it is open for appending. Without RWF_NOWAIT a thread of the kernel's waits, where
        somebody must: the memory has to stay until the result is there. Raises OSError: then the ring is not to be used again.
        """
        _SUBMIT.pack_into(self.entries, 0, _WRITE, 0, 0, fd, 0, address, length, flags, number)
        words = self.words
        words[self.tail] = (words[self.tail] + 1) & 0xFFFFFFFF
        submitted = _syscall(_ENTER, self.fd, 1, 0, 0, None, 0)
        if submitted != 1:  # no memory: it stays in a ring that is never entered again
            raise OSError(errno.ENOSYS, "the ring took nothing")

    def result(self) -> tuple[int, int] | None:
        """The next (number, bytes written or negative errno), if there is one."""
        words = self.words
        head = words[self.done_head]
        if head == words[self.done_tail]:
            return None
        found: tuple[int, int] = _RESULT.unpack_from(self.ring, self.done + (head & self.mask) * _RESULT_SIZE)
        words[self.done_head] = (head + 1) & 0xFFFFFFFF
        return found

    def allow_workers(self) -> None:
        """As many of the kernel's threads as are needed: it would give a ring of one entry no more than one. Raises OSError."""
        if _syscall(_REGISTER, self.fd, _MAX_WORKERS, struct.pack("=2I", _WORKERS, 0), 2) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def forget(self) -> None:
        """In a forked child: its memory is not there, nothing may touch it, not even to let go of it."""
        _left.append(self)
        os.close(self.fd)


class _AtOnce(Ring):
    """With a buffer for the one write that it has at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(MAX_WRITE)
        self.address = ctypes.addressof((ctypes.c_char * MAX_WRITE).from_buffer(self.buffer))

    def write(self, fd: int, data: bytes) -> int:
        self.buffer[: len(data)] = data
        self.submit(0, fd, self.address, len(data), os.RWF_NOWAIT)
        result = self.result()
        if result is None:
            raise RingBroken()
        return result[1]


class RingBroken(OSError):
    """Nobody knows what became of the write."""

    def __init__(self) -> None:
        super().__init__(errno.EIO, "the ring did not answer")


_ring: _AtOnce | None = None
_is_closed = False
_left: list[Any] = []


def _forget() -> None:
    global _ring
    if _ring is not None:
        _ring.forget()
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
            _ring = _AtOnce()
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
