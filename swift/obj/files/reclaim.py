"""Removing what is old enough that no replica needs it: tombstones above all (object-disk 3.4).

Hashing a suffix does the same on its way; this is for suffixes that nobody hashes.
"""

from __future__ import annotations

import contextlib
import os

from swift.core import clock
from swift.engine.fault_points import fault_point
from swift.obj.files.cleanup import cleanup, garbage
from swift.obj.files.suffixes import Invalidation
from swift.obj.store import StoreOptions


def reclaim(
    partition_dir: str, suffix: str, names: list[str], ec: bool, fragments: int | None, options: StoreOptions
) -> int:
    """Clean up those of the hash directories `names` that hold garbage; how many. One trip. Raises LockTimeout, OSError."""
    suffix_dir = f"{partition_dir}/{suffix}"
    now = clock.time()
    cleaned = 0
    for name in names:
        hash_dir = f"{suffix_dir}/{name}"
        try:
            there = os.listdir(hash_dir)
        except OSError:
            continue  # gone by now, or damaged: who reads it will tell
        if there and not garbage(
            hash_dir, there, ec, fragments, options.reclaim_age, options.commit_window, now
        ):
            continue
        # the suffix is marked before its hash changes; under the lock nobody links a file into what is removed
        with Invalidation(partition_dir, suffix, create=False):
            cleanup(hash_dir, ec, fragments, options.reclaim_age, options.commit_window)
            fault_point("reclaim:removed")
        cleaned += 1
    if cleaned:
        with contextlib.suppress(OSError):
            os.rmdir(suffix_dir)
    return cleaned
