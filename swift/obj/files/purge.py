"""Removing from this device what is known to be elsewhere, and nothing that came since (object-disk 18, 19: revert)."""

from __future__ import annotations

import contextlib
import os

from swift.core.fault_points import fault_point
from swift.obj.files import late_close
from swift.obj.files.layout import FileName, ObjectLocation, parse_name
from swift.obj.files.suffixes import Invalidation
from swift.obj.store import Times


def purge(where: ObjectLocation, times: Times, fragment: int | None = None) -> bool:
    """Unlink the files that `times` names; True if the hash directory is gone. Raises LockTimeout, OSError.

    A crash in between leaves some of them, which the next purge takes: the data go last. `.meta` files stay as long as there is data
    that they belong to, and data whose `.meta` is newer than what was named stay with it: nobody would send it without them.
    """
    try:
        # under the lock that files are linked under: what is not listed here was not there when we began
        with Invalidation(where.partition_dir, where.suffix, create=False):
            names = os.listdir(where.hash_dir)
            files = []
            for name in names:
                with contextlib.suppress(ValueError):
                    files.append(parse_name(name, where.ec, where.fragments))
            gone = _named(files, times, fragment)
            for file in gone:
                with contextlib.suppress(FileNotFoundError):
                    late_close.unlink(f"{where.hash_dir}/{file.name}")
                fault_point("purge:unlinked")
            if len(gone) < len(names):
                return False
            os.rmdir(where.hash_dir)
            return True
    except FileNotFoundError:
        return True


def _named(files: list[FileName], times: Times, fragment: int | None) -> list[FileName]:
    gone = []
    for file in files:
        named = file.extension in (".data", ".ts", ".durable") and file.timestamp <= times.data
        if named and (file.extension != ".data" or fragment in (None, file.fragment)):
            gone.append(file)
    metas = [file for file in files if file.extension == ".meta"]
    newest = max(times.data, times.meta or "", times.ctype or "")
    if not times.deleted and any(file.timestamp > newest for file in metas):
        return []
    if any(file.extension == ".data" and file not in gone for file in files):
        return [file for file in gone if file.extension == ".data"]
    return [file for file in metas if file.timestamp <= newest] + gone
