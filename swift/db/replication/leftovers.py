"""What transfers that were broken off have left in a device's tmp."""

from __future__ import annotations

import contextlib
import os
import re
import stat

from swift.core import clock

from ..moves import sweep_leftovers

OURS_SECONDS = 86400.0
_OURS = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}\.(?:arriving|snapshot|db)(?:-journal)?", re.ASCII)


def sweep_tmp(device_path: str, oldest: float) -> int:
    """Delete files in a device's tmp that nobody has touched since `oldest` (epoch seconds); returns how many. Never raises.

    Databases of ours on their way in or out go after a day: they may be large. Removals that were broken off are ended, too.
    """
    oldest_of_ours = max(oldest, clock.time() - OURS_SECONDS)
    swept = sweep_leftovers(device_path)
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(os.path.join(device_path, "tmp"))):
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                limit = oldest_of_ours if _OURS.fullmatch(entry.name) else oldest
                if stat.S_ISREG(found.st_mode) and found.st_mtime < limit:
                    os.unlink(entry.path)
                    swept += 1
    return swept
