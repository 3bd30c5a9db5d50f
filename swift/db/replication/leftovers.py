"""What transfers that were broken off have left in a device's tmp."""

from __future__ import annotations

import contextlib
import os
import stat

from ..moves import sweep_leftovers


def sweep_tmp(device_path: str, oldest: float) -> int:
    """Delete files in a device's tmp that nobody has touched since `oldest` (epoch seconds); returns how many. Never raises.

    Removals that were broken off are ended, too.
    """
    swept = sweep_leftovers(device_path)
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(os.path.join(device_path, "tmp"))):
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and found.st_mtime < oldest:
                    os.unlink(entry.path)
                    swept += 1
    return swept
