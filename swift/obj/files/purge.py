"""Removing from this device what is known to be elsewhere, and nothing that came since (object-disk 18, 19: revert)."""

from __future__ import annotations

import contextlib
import os

from swift.core import clock
from swift.engine.fault_points import fault_point
from swift.obj.files import late_close
from swift.obj.files.layout import FileName, ObjectLocation, parse_name
from swift.obj.files.suffixes import Invalidation
from swift.obj.store import COMMIT_WINDOW, Times


def purge(
    where: ObjectLocation, times: Times, fragment: int | None = None, commit_window: float = COMMIT_WINDOW
) -> bool:
    """Unlink the files that `times` names; True if the hash directory is gone. Raises LockTimeout, OSError.

    A crash in between leaves some of them, which the next purge takes: the data go last. `.meta` files stay as long as there is data that
    they belong to, and so does the data to which a newer one has come: they go together, the next time. None stays alone, or nothing
    would ever take it away. `commit_window`: seconds in which a fragment may yet become durable, and metadata find their object.
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
            elif times.deleted and not all(
                _is_abandoned(where, file, commit_window)
                for file in gone
                if file.extension == ".meta" and file.timestamp > times.data
            ):
                gone = []  # an object that was written in between may be on its way here
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
    left = [file for file in files if file.extension == ".data" and file not in gone]
    metas = [file for file in files if file.extension == ".meta"]
    if times.deleted and not left:
        # whoever deleted did not know of the newer ones; they have nothing to belong to here, nor will be offered to anybody
        return metas + gone
    newest = max(times.data, times.meta or "", times.ctype or "")
    known = [file for file in metas if file.timestamp <= newest]
    data = [file for file in gone if file.extension == ".data"]
    if times.deleted or any(_counts(file, files) for file in left):
        # what is older than all that stays belongs to none of it
        oldest = min(file.timestamp for file in left)
        return [file for file in known if file.timestamp < oldest] + data
    if len(known) < len(metas):
        return []
    # what is left was never committed: should it be yet, the peer has the metadata for it, too
    return known + (data if left else gone)


def _counts(file: FileName, files: list[FileName]) -> bool:
    """True if a file of data is no fragment, or one that was committed."""
    return (
        file.fragment is None
        or file.durable
        or any(other.extension == ".durable" and other.timestamp == file.timestamp for other in files)
    )


def _is_abandoned(where: ObjectLocation, file: FileName, commit_window: float) -> bool:
    """True if whoever wrote a fragment had the time to say that it counts."""
    try:
        return clock.time() - os.stat(f"{where.hash_dir}/{file.name}").st_mtime > commit_window
    except FileNotFoundError:
        return False
