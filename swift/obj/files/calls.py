"""System calls that Python does not have, or makes in more steps than one, for writes in batches.

Everything here blocks. What never lives here: what is written.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)

_DIRENT = struct.Struct("QqHB")
_DIRENTS_SIZE = 8192


def names_in(fd: int) -> list[str]:
    """What a directory holds that was opened just now and not read from: os.listdir in a third of its system calls. Raises OSError."""
    buffer = ctypes.create_string_buffer(_DIRENTS_SIZE)
    names: list[str] = []
    while True:
        size = _getdents64(fd, buffer, _DIRENTS_SIZE)
        if size <= 0:
            if size == 0:
                return names
            code = ctypes.get_errno()
            if code == errno.EINTR:
                continue
            raise OSError(code, os.strerror(code))
        raw = buffer.raw
        at = 0
        while at < size:
            length = _DIRENT.unpack_from(raw, at)[2]
            start = at + 19
            name = raw[start : raw.index(b"\0", start)]
            if name not in (b".", b".."):
                names.append(os.fsdecode(name))
            at += length


_getdents64: Any = _libc.getdents64  # glibc 2.30, musl

_WRITE = 2
_sync_file_range: Any = getattr(_libc, "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


def start_writing(fd: int) -> None:
    """Have the disk begin to write what `fd` has in memory, without waiting. Promises nothing: an error shows in the fsync."""
    if _sync_file_range is not None:
        _sync_file_range(fd, 0, 0, _WRITE)


_syncfs: Any = _libc.syncfs


def sync_file_system(fd: int) -> None:
    """Have all that was written to the file system of `fd` on its disk. Raises OSError."""
    if _syncfs(fd):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
