"""Temporary files that a crash left behind on a device: removed when older than the reclaim age (object-disk 6.1)."""

from __future__ import annotations

import contextlib
import os
import stat

from swift.core import clock
from swift.obj.directories import TMPDIR, split_policy_dir


def remove_old(device_path: str, reclaim_age: float) -> int:
    """Unlink files in `tmp` and `tmp-N` that weren't changed for `reclaim_age` seconds; returns how many. Never raises."""
    removed = 0
    try:
        names = os.listdir(device_path)
    except OSError:
        return 0
    for name in names:
        if not name.startswith(TMPDIR):
            continue
        try:
            if split_policy_dir(name)[0] != TMPDIR:
                continue
            entries = list(os.scandir(f"{device_path}/{name}"))
        except (ValueError, OSError):
            continue
        oldest = clock.time() - reclaim_age
        for entry in entries:
            with contextlib.suppress(OSError):
                st = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(st.st_mode) and st.st_mtime < oldest:
                    os.unlink(entry.path)
                    removed += 1
    return removed
