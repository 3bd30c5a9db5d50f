"""The second place that an object has while the partition power of its ring grows (object-disk 22).

From the first announcement until the last server has the larger ring, some look for an object in the partition that it has under one power
and some under the other. What is acknowledged is in both: the same file, linked twice.

Which power the other one is, the request says (`next_part_power`); where it does not, or not plainly, the relinker's state file on the device does:
- an upload that began before its proxy heard of the change, when the relinker may be past its partition;
- a write by the larger ring, while others still read by the smaller one.

Whoever links a file asks for the second place under the lock of the first one's partition; the relinker, once its state is on disk, takes
that lock before it looks into a partition. So it either sees the file, or the writer sees the state.
"""

from __future__ import annotations

import fcntl
import os

from swift.core import clock
from swift.engine.durable import make_directories, sync_entries
from swift.engine.fault_points import fault_point
from swift.obj.blocks import BLOCK_CRC32
from swift.obj.directories import DATADIR, policy_dir
from swift.obj.errors import ObjectError, SameTimeConflict
from swift.obj.files import metadata as _metadata
from swift.obj.files.layout import ObjectLocation
from swift.obj.files.relink_state import lock_path, powers
from swift.obj.files.suffixes import Invalidation

STRAGGLERS = 86400.0  # seconds: an upload that began before the change ends within that time after the relinker was at work
LINK_TRIES = 3


def second_place(where: ObjectLocation, next_part_power: int | None = None) -> ObjectLocation | None:
    """Where a file that is written to `where` belongs as well, by now; None if nowhere. `next_part_power`: by the request.

    The caller holds the lock of `where`'s partition. One system call when nothing grows.
    """
    if next_part_power is not None:
        other = where.in_part_power(next_part_power)
        if other.partition != where.partition:
            return other
    state = powers(where.device_path, policy_dir(DATADIR, where.policy_index))
    if state is None:
        return None
    after = state.next_part_power
    if not state.is_cleanup:
        if where.partition != where.in_part_power(after).partition:
            return _of_straggler(where, state.part_power, after, state.changed)
        if next_part_power == after:
            return _if_other(where, state.part_power)
        return None
    if state.prev_part_power is None:
        return None
    return _of_straggler(where, state.prev_part_power, after, state.changed)


def former_place(where: ObjectLocation, next_part_power: int | None) -> ObjectLocation | None:
    """Where older files of an object may still be, of which nothing new is to be linked there; by the request."""
    if next_part_power is None or where.in_part_power(next_part_power).partition != where.partition:
        return None
    return _if_other(where, next_part_power - 1)


def _of_straggler(where: ObjectLocation, before: int, after: int, changed: float) -> ObjectLocation | None:
    """The place under the larger power of what comes by the smaller ring, of which the request says nothing."""
    if where.partition != where.in_part_power(before).partition:
        return None
    if clock.time() - changed > STRAGGLERS:
        return None  # a device that was away when the others finished: nobody reads there
    return _if_other(where, after)


def _if_other(where: ObjectLocation, power: int) -> ObjectLocation | None:
    other = where.in_part_power(power)
    return other if other.partition != where.partition else None


def link_second(
    where: ObjectLocation, name: str, other: ObjectLocation, next_part_power: int | None = None
) -> None:
    """Give the file its name in its second place, too; on return that is on disk. The caller holds no lock.

    A file that is gone by now was superseded, by one whose writer links it himself. Raises SameTimeConflict, LockTimeout, OSError.
    """
    source, target = f"{where.hash_dir}/{name}", f"{other.hash_dir}/{name}"
    for attempt in range(LINK_TRIES):
        make_directories(other.hash_dir, other.device_path)
        try:
            with Invalidation(other.partition_dir, other.suffix, create=False):
                with _Former(where, other, next_part_power) as is_wanted:
                    if not is_wanted:
                        return
                    os.link(source, target)
                    fault_point("write:linked twice")
            break
        except FileExistsError:
            if not is_same(source, target):
                raise SameTimeConflict(f"{target} is there with other content") from None
            break
        except FileNotFoundError:
            if not os.path.lexists(source):
                return
            if attempt == LINK_TRIES - 1:
                raise
    try:
        sync_entries(other.hash_dir, other.device_path, own_entries=True, remember=False)
    except FileNotFoundError:
        if os.path.lexists(target):
            raise


class _Former:
    """True, as a context, if a link may be made in `other`: always in the place to come, in the former one until it is cleaned up.

    Nobody begins to clean up there meanwhile.
    """

    def __init__(self, where: ObjectLocation, other: ObjectLocation, next_part_power: int | None) -> None:
        self._is_former = (
            next_part_power is not None and where.in_part_power(next_part_power).partition == where.partition
        )
        self._where = where
        self._other = other
        self._power = next_part_power
        self._lock = -1

    def __enter__(self) -> bool:
        if not self._is_former:
            return True
        where = self._where
        path = lock_path(where.device_path, policy_dir(DATADIR, where.policy_index))
        try:
            self._lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass  # no relinker was ever here
        except BlockingIOError:
            return False  # one is at work, and all have the larger ring by then
        place = second_place(where, self._power)
        return place is not None and place.partition == self._other.partition

    def __exit__(self, *exc: object) -> None:
        if self._lock >= 0:
            os.close(self._lock)


def is_same(one: str, other: str) -> bool:
    """True if two files of the same name say the same, by their metadata. Raises OSError."""
    a, b = os.stat(one), os.stat(other)
    if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) or one.endswith(".ts"):
        return True
    return a.st_size == b.st_size and _said(one) == _said(other) is not None


def _said(path: str) -> dict[str, str] | None:
    """Metadata less what a server adds for itself."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return {key: value for key, value in _metadata.read(fd).items() if key != BLOCK_CRC32}
    except ObjectError:
        return None
    finally:
        os.close(fd)
