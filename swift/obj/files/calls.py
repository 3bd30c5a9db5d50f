"""System calls that Python does not have, for writes in batches and for what others have written.

Everything here blocks. What never lives here: what is written.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)

_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4
_sync_file_range: Any = getattr(_libc, "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


def start_writing(fd: int) -> None:
    """Have the disk begin to write what `fd` has in memory, without waiting. Promises nothing: an error shows in the fsync."""
    if _sync_file_range is not None:
        _sync_file_range(fd, 0, 0, _WRITE)


can_write_back = _sync_file_range is not None


def write_back(fd: int) -> None:
    """Have written what `fd` has in memory, and wait for it; whether the disk has it is another matter. Raises OSError."""
    if _sync_file_range(fd, 0, 0, _WAIT_BEFORE | _WRITE | _WAIT_AFTER):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


_syncfs: Any = _libc.syncfs


def sync_file_system(fd: int) -> None:
    """Have all that was written to the file system of `fd` on its disk. Raises OSError."""
    if _syncfs(fd):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
