"""Where a path is mounted, and on what kind of file system."""

from __future__ import annotations

import contextlib
import os
import re


def is_mount(path: str) -> bool:
    """Returns True if something is mounted at `path`, or a `.ismount` file inside says so (object-disk 1). Never raises."""
    try:
        if os.path.lexists(os.path.join(path, ".ismount")):
            return True
        st = os.lstat(path)
        if (st.st_mode & 0o170000) == 0o120000:
            return False
        parent = os.lstat(os.path.join(path, ".."))
    except OSError:
        return False
    return st.st_dev != parent.st_dev or st.st_ino == parent.st_ino


def is_memory_file_system(path: str) -> bool:
    """True when path lies on tmpfs or ramfs, where a sync is free and nothing waits for a disk."""
    return file_system_of(path) in ("tmpfs", "ramfs")


def file_system_of(path: str) -> str:
    """The kind of file system that path lies on, by the kernel's name (`xfs`); "" when that can't be told.

    Asks the table of mounts, not the file system of `path`, which may hang.
    """
    try:
        parent, name = os.path.split(os.path.abspath(path))
        path = os.path.join(os.path.realpath(parent), name)
        with contextlib.suppress(OSError):
            os.readlink(path)  # of what is mounted here, the file system is not asked
            path = os.path.realpath(path)
        with open("/proc/self/mountinfo") as mounts:
            best, kind = "", ""
            for line in mounts:
                fields = line.split()
                point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
                if len(point) >= len(best) and (path == point or path.startswith(point.rstrip("/") + "/")):
                    best, kind = point, fields[fields.index("-") + 1]
        return kind
    except (OSError, ValueError, IndexError):
        return ""
