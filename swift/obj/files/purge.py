"""Removing from this device what is known to be elsewhere, and nothing that came since (object-disk 18, 19: revert)."""

from __future__ import annotations

import contextlib
import os

from swift.core import clock
from swift.core.fault_points import fault_point
from swift.obj.files import late_close
from swift.obj.files.layout import FileName, ObjectLocation, parse_name
from swift.obj.files.suffixes import Invalidation
from swift.obj.store import COMMIT_WINDOW, Times


def purge(
    where: ObjectLocation, times: Times, fragment: int | None = None, commit_window: float = COMMIT_WINDOW
) -> bool:
    """Unlink the files that `times` names; True if the hash directory is gone. Raises LockTimeout, OSError.

    A crash in between leaves some of them, which the next purge takes: the data go last. `.meta` files stay as long as there is data that
    they belong to, and so does the data to which a newer one has come: they go together, the next time. `commit_window`: seconds in
    which a fragment may yet become durable.
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
            if not times.durable:
                gone = [file for file in gone if _is_abandoned(where, file, commit_window)]
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
    if not times.durable:
        # older fragments may be durable, and were not offered with it; nor was the one that has become so
        return [
            file
            for file in files
            if file.extension == ".data"
            and file.timestamp == times.data
            and file.fragment == fragment
            and not file.durable
        ]
    gone = []
    for file in files:
        named = file.extension in (".data", ".ts", ".durable") and file.timestamp <= times.data
        if named and (file.extension != ".data" or fragment in (None, file.fragment)):
            gone.append(file)
    left = [file.timestamp for file in files if file.extension == ".data" and file not in gone]
    newest = max(times.data, times.meta or "", times.ctype or "")
    metas = [file for file in files if file.extension == ".meta"]
    if left:
        # what is older than all that stays belongs to none of it
        data = [file for file in gone if file.extension == ".data"]
        return [file for file in metas if file.timestamp <= newest and file.timestamp < min(left)] + data
    if not times.deleted and any(file.timestamp > newest for file in metas):
        return []
    return [file for file in metas if file.timestamp <= newest] + gone


def _is_abandoned(where: ObjectLocation, file: FileName, commit_window: float) -> bool:
    """True if whoever wrote a fragment had the time to say that it counts."""
    try:
        return clock.time() - os.stat(f"{where.hash_dir}/{file.name}").st_mtime > commit_window
    except FileNotFoundError:
        return False
