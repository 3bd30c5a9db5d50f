"""The second phase of an erasure-coded write: a fragment archive becomes known durable (object-disk 6.2)."""

from __future__ import annotations

import errno
import os

from swift.engine.durable import fsync_dir
from swift.engine.fault_points import fault_point
from swift.obj.errors import NoSpace, NotExist
from swift.obj.files.cleanup import unlink_quietly
from swift.obj.files.decide import decide
from swift.obj.files.growing import link_second, second_place
from swift.obj.files.layout import ObjectLocation, file_name
from swift.obj.files.suffixes import Invalidation
from swift.obj.files.writer import check_unchanged, clean_up
from swift.obj.store import StoreOptions


def commit(
    where: ObjectLocation,
    options: StoreOptions,
    timestamp: str,
    fragment: int,
    next_part_power: int | None = None,
    seen: list[str] | None = None,
) -> None:
    """Rename `<timestamp>#<fragment>.data` to its durable name, make that durable, and remove what no longer counts.

    What was committed before is none the worse for a second time. `seen`: what was in the directory, if nothing newer may be there now
    (Refused, 412). Raises NotExist, NoSpace, LockTimeout, OSError.
    """
    name, other = _commit_one(where, timestamp, fragment, next_part_power, seen)
    if other is not None:
        link_second(where, name, other, next_part_power)
        unlink_quietly(other.hash_dir, file_name(timestamp, ".data", None, fragment))
        clean_up(other, options)
    fault_point("commit:durable")
    try:
        names: list[str] | None = os.listdir(where.hash_dir)
    except OSError:  # it is committed nevertheless
        names = None
    if names != [name]:
        clean_up(where, options, names)


def _commit_one(
    where: ObjectLocation,
    timestamp: str,
    fragment: int,
    next_part_power: int | None,
    seen: list[str] | None = None,
) -> tuple[str, ObjectLocation | None]:
    """Returns the durable name, and the second place that the file is to have."""
    other: ObjectLocation | None = None
    source = f"{where.hash_dir}/{file_name(timestamp, '.data', None, fragment)}"
    name = file_name(timestamp, ".data", None, fragment, durable=True)
    target = f"{where.hash_dir}/{name}"
    try:
        # the lock keeps away whoever quarantines the directory, and the suffix is marked before its hash changes
        with Invalidation(where.partition_dir, where.suffix, create=False):
            other = second_place(where, next_part_power)
            if seen is not None:
                check_unchanged(where, seen)
            os.rename(source, target)
            fault_point("commit:renamed")
    except FileNotFoundError:
        if not _is_superseded(where, timestamp):
            raise NotExist(source) from None
    except OSError as err:
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(str(err)) from None
        raise
    try:
        fsync_dir(where.hash_dir)
    except FileNotFoundError:
        # superseded, and what took its place has been removed since
        if not _is_superseded(where, timestamp):
            raise NotExist(where.hash_dir) from None
    return name, other


def _is_superseded(where: ObjectLocation, timestamp: str) -> bool:
    """True if nothing is left to commit: it was done before, or a tombstone or durable fragments as new are there."""
    try:
        names = os.listdir(where.hash_dir)
    except FileNotFoundError:
        return False
    decision = decide(names, True, where.fragments)
    if decision.durable_set is not None and decision.durable_set >= timestamp:
        return True
    return decision.ts is not None and decision.ts.timestamp > timestamp
