"""Advisory locks on directories, which all processes of a node and the reference's respect."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator

from swift.core import clock
from swift.core.errors import LockTimeout

_libc = ctypes.CDLL(None, use_errno=True)


def acquire_lock(
    directory: str,
    timeout: float,
    limit: int = 1,
    name: str | None = None,
    rest: Callable[[float], object] | None = None,
) -> int:
    """Take the flock `.lock` (or `.lock-<name>`, and `…-1`, `…-2` up to `limit` holders) in `directory` (object-disk 12).

    `rest`: what to sleep with, where the holder may be another green thread of ours; by default the thread sleeps. Returns
    the descriptor that holds the lock: closing that gives it back. Raises LockTimeout, OSError (ENOENT when the directory
    is missing).
    """
    base = f"{directory}/.lock" if name is None else f"{directory}/.lock-{name}"
    deadline = 0.0
    pause = 0.0005
    while True:
        for slot in range(limit):
            fd = os.open(f"{base}-{slot}" if slot else base, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_nlink:
                    return fd
                # whoever had it removed it together with its directory: another one may stand in its place, or will
                os.close(fd)
            except OSError as err:
                os.close(fd)
                if err.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            except BaseException:
                os.close(fd)
                raise
        now = clock.monotonic()
        if not deadline:
            deadline = now + timeout
        if now >= deadline:
            raise LockTimeout(f"no lock on {base} within {timeout:g} s")
        if rest is not None:
            rest(min(pause, deadline - now))
        else:
            # not time.sleep: green threads may have replaced that one, and this runs in threads without any
            _libc.usleep(int(min(pause, max(deadline - now, 0)) * 1e6) + 1)
        pause = min(pause * 2, max(0.01, timeout / 100))


@contextlib.contextmanager
def locked(directory: str, timeout: float, limit: int = 1, name: str | None = None) -> Iterator[int]:
    """`acquire_lock` as a context; creates `directory` if missing."""
    try:
        fd = acquire_lock(directory, timeout, limit, name)
    except FileNotFoundError:
        os.makedirs(directory, exist_ok=True)
        fd = acquire_lock(directory, timeout, limit, name)
    try:
        yield fd
    finally:
        os.close(fd)
