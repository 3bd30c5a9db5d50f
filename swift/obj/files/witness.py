"""Whether what was read of a directory or a file will still hold later: by inode and time of change.

The times of change are the file system's own and come from the clock tick on most kernels: two changes within one tick look like
one. Hence two rules, without which deleted objects would be served:

1. `settled` is asked *before* the thing is read, so that a change in between shows afterwards.
2. It vouches for nothing that was changed less than a few ticks before, or seconds, where the file system keeps no fractions of these.

Time of change, not of modification: programs that copy files set the latter back. What never lives here: what is remembered.
"""

from __future__ import annotations

import os

from swift.core import clock

YOUNG_NS = 20_000_000
_SECONDS_NS = 2_050_000_000  # for times of whole seconds (ext4 with small inodes), or of every other one

# (inode, time of change in ns)
Sign = tuple[int, int]


def settled(target: int | str) -> Sign | None:
    """The sign of a file or directory whose names, content and attributes, read from now on, hold as long as it has that sign.

    None if it was changed a moment ago. Raises OSError.
    """
    st = os.stat(target)
    return (st.st_ino, st.st_ctime_ns) if is_past(st.st_ctime_ns) else None


def is_past(changed: int) -> bool:
    """True if whatever is changed from now on gets another time than this one of the file system's, in ns."""
    return changed < clock.file_time_ns() - (YOUNG_NS if changed % 1_000_000_000 else _SECONDS_NS)
