"""In how many places the C library keeps what native threads ask memory for.

glibc gives each of the first threads (eight for each processor) an arena of its own, and each arena keeps the most that it ever held. What disk
threads and SQLite ask for is small and short-lived, so a busy storage server would grow by some megabytes a thread, and keep them for good.
"""

from __future__ import annotations

import ctypes
import os

ARENAS = 2  # the one of the first thread, which runs all Python code but disk work, and one for all others
_M_ARENA_MAX = -8


def share_arenas() -> bool:
    """For this process and those forked from it, before the first thread is there. Returns False where the C library has no such thing,
    or where the environment says how many it is to have (MALLOC_ARENA_MAX, GLIBC_TUNABLES).
    """
    if "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS))
    except (AttributeError, OSError):
        return False
