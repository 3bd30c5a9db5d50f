"""Pipes kept for splicing, so that a transfer need not make one. Nothing here knows what goes through them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from swift.core.concurrency import after_fork

PIPE_SIZE = 1024 * 1024
_F_SETPIPE_SZ = 1031
_MAX_KEPT = 16

_pipes: list[tuple[int, int]] = []


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """A (read end, write end) pair from a small store; one that may still hold bytes is not put back."""
    if _pipes:
        pair = _pipes.pop()
    else:
        pair = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            fcntl.fcntl(pair[1], _F_SETPIPE_SZ, PIPE_SIZE)
    clean = False
    try:
        yield pair
        clean = True
    finally:
        if clean and len(_pipes) < _MAX_KEPT:
            _pipes.append(pair)
        else:
            os.close(pair[0])
            os.close(pair[1])


def _forget() -> None:
    """In a forked child: the parent may be using them."""
    for pair in _pipes:
        os.close(pair[0])
        os.close(pair[1])
    _pipes.clear()


after_fork.append(_forget)
