"""Where damaged things go on a device, and how they are moved there (object-disk 10). Nothing ever deletes them.

What of an object is moved, and under which lock, is its store's affair.
"""

from __future__ import annotations

import errno
import os

from swift.core import clock
from swift.engine.durable import make_directories
from swift.obj.directories import DATADIR, split_policy_dir

QUARANTINE_DIR = "quarantined"


def datadir_of(path: str) -> str:
    """The last component of `path` that names an object data directory; `objects` when there is none."""
    for part in reversed(path.split("/")):
        if part.startswith(DATADIR):
            try:
                if split_policy_dir(part)[0] == DATADIR:
                    return part
            except ValueError:
                continue
    return DATADIR


def move_away(device_path: str, source: str, directory: str, name: str) -> str:
    """Move `source` into `directory`, made if missing (the device never), under `name` or that and a random end.

    Returns where to. Raises OSError.
    """
    make_directories(directory, device_path)
    target = f"{directory}/{name}"
    try:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "taken")
        os.rename(source, target)
    except OSError as err:
        if err.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        target = f"{target}-{clock.uuid4().hex}"
        os.rename(source, target)
    return target


def quarantine_stray(device_path: str, datadir: str, path: str) -> str:
    """Move a file that belongs to no hash directory to the quarantine of `datadir`; returns where to. Raises OSError."""
    return move_away(device_path, path, f"{device_path}/{QUARANTINE_DIR}/{datadir}", os.path.basename(path))
