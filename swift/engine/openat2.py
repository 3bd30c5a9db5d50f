"""Opening only what the kernel has in memory: openat2 with RESOLVE_CACHED (Linux 5.12), which Python does not have.

What lives here: the call and the question whether it can be had. What never does: what to do when it can't.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

AT_FDCWD = -100
CLOSED = frozenset((errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.E2BIG))

_RESOLVE_CACHED = 0x20
_OPENAT2 = 437  # on all architectures that Linux has
# PyDLL keeps the interpreter lock during the call: it waits for nothing, so nobody else need get the lock
_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_hows: dict[int, ctypes.Array[ctypes.c_char]] = {}


def _how(flags: int) -> ctypes.Array[ctypes.c_char]:  # struct open_how
    packed = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_CACHED)
    how = _hows[flags] = ctypes.create_string_buffer(packed, 24)
    return how


def open_cached(dir_fd: int, path: bytes, flags: int) -> int:
    """A descriptor of `path`, if all of the way there is in the kernel's memory: no disk is waited for.

    Raises OSError: EAGAIN when a disk may be needed, ENOENT for a name known to be missing, one of CLOSED where the call can't be had.
    """
    fd: int = _syscall(_OPENAT2, dir_fd, path, _hows.get(flags) or _how(flags), 24)
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return fd
