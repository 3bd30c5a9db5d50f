"""Letting go of large files without waiting while the file system frees their blocks: that is left to a thread.

A file that has lost its name takes its blocks with it when the last descriptor goes; freeing some gigabytes takes a file system
up to seconds, in which neither the client of a DELETE or an overwrite nor a whole server on a memory file system should wait.
What never lives here: when a file may go.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from swift.core.concurrency import after_fork, raw_queue, raw_threading

LARGE = 4 * 1024 * 1024  # bytes; less is freed on the spot
MAX_WAITING = 256  # descriptors; beyond that whoever comes waits

_descriptors: Any = raw_queue.SimpleQueue()
_started = False


def unlink(path: str) -> None:
    """os.unlink. Raises OSError."""
    if os.lstat(path).st_size < LARGE or _descriptors.qsize() >= MAX_WAITING:
        os.unlink(path)
        return
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # no descriptor to be had: that must not keep the file
        os.unlink(path)
        return
    try:
        os.unlink(path)
    except BaseException:
        os.close(fd)
        raise
    _hand_over(fd)


def close(fd: int) -> None:
    """os.close of what may be the last descriptor of a large file. Raises OSError."""
    if os.fstat(fd).st_size < LARGE or _descriptors.qsize() >= MAX_WAITING:
        os.close(fd)
    else:
        _hand_over(fd)


def _hand_over(fd: int) -> None:
    global _started
    if not _started:
        try:
            raw_threading.Thread(target=_work, name="late close", daemon=True).start()
        except RuntimeError:  # the system has no more threads
            os.close(fd)
            return
        _started = True
    _descriptors.put(fd)


def _work() -> None:
    descriptors = _descriptors
    while True:
        with contextlib.suppress(OSError):  # a file that is gone has nothing left to lose
            os.close(descriptors.get())


def _forget() -> None:
    """In a forked child: the thread stayed with the parent, the child's copies of what waits are closed here."""
    global _descriptors, _started
    waiting, _descriptors = _descriptors, raw_queue.SimpleQueue()
    _started = False
    while not waiting.empty():
        os.close(waiting.get_nowait())


after_fork.append(_forget)
