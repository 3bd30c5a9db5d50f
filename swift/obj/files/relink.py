"""One partition gone over by the relinker: its objects linked where the next power has them, and removed from where they were (object-disk 22.4).

Everything here blocks. A file leaves its former place only once the place to come has it, on disk, or has what is newer. Which partitions, of
which devices, and what is told of it, is `swift.obj.relinking`'s.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from swift.core.errors import LockTimeout
from swift.engine.durable import make_directories, sync_entries
from swift.engine.fault_points import fault_point
from swift.engine.locks import acquire_lock
from swift.obj.directories import DATADIR, policy_dir
from swift.obj.files import calls, partitions, walker
from swift.obj.files.decide import decide
from swift.obj.files.growing import is_same
from swift.obj.files.layout import ObjectLocation
from swift.obj.files.quarantine import quarantine_file
from swift.obj.files.suffixes import LOCK_TIMEOUT, Invalidation, get_hashes

TRIES = 5  # of a hash directory in which files come and go meanwhile
AT_ONCE = 100  # hash directories that share their syncs
FEW = 8  # of them: synced one by one

NEVER = float("inf")  # a tombstone may still have to say of a file in another partition that it is deleted

Tell = Callable[..., None]  # of a logger: message, its arguments


@dataclass
class Counts:
    """What was done. `hash_dirs`: whose place changes; `files`: of those that are needed there; `linked`, `removed`, `errors`."""

    hash_dirs: int = 0
    files: int = 0
    linked: int = 0
    removed: int = 0
    errors: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class Step:
    """What is to be done on one device for one policy. `to_power`: the power whose places are to hold the objects.

    `is_cleanup`: their former places are to be emptied. `clobber`: what to do when another file has the name of ours: the one that is not
    served goes to the quarantine; otherwise it is an error. `pace`: called before each hash directory. `warn`, `error`: tell an operator.
    """

    device_path: str
    policy_index: int
    ec: bool
    fragments: int | None
    to_power: int
    is_cleanup: bool
    clobber: bool
    pace: Callable[[], None]
    warn: Tell
    error: Tell

    @property
    def datadir(self) -> str:
        return f"{self.device_path}/{policy_dir(DATADIR, self.policy_index)}"

    def locate(self, partition: str, name_hash: str) -> ObjectLocation:
        return ObjectLocation(
            self.device_path, self.policy_index, partition, name_hash, None, self.ec, self.fragments
        )


class _Collision(Exception):
    """Another file has the name in the place to come."""


@dataclass
class _Moved:
    """A hash directory that was gone over: `names` were in `old` then. `linked`: how many of them were linked now."""

    old: ObjectLocation
    new: ObjectLocation
    names: list[str]
    linked: int


class PartitionRelink:
    """Goes over one partition; `counts` is added to."""

    def __init__(self, step: Step, partition: str, counts: Counts) -> None:
        self._step = step
        self._partition = partition
        self._counts = counts
        self._dir = f"{step.datadir}/{partition}"
        self._targets: dict[str, str] = {}  # partition → its directory
        self._linked_into: set[str] = set()

    def run(self) -> bool:
        """All of it; True if nothing is left to be done. What is in the way is told and counted."""
        step = self._step
        before = self._counts.errors
        try:
            self._wait_for_writers()
            for chunk in self._chunks():
                moved = [done for place in chunk if (done := self._try_link(place)) is not None]
                if self._sync(moved) and step.is_cleanup:
                    self._remove(moved)
        except FileNotFoundError:
            pass  # the partition is gone
        except (OSError, LockTimeout) as err:
            self._failed("Error going over %s: %s", self._dir, err)
        fault_point("relink:gone over")
        self._rehash()
        if step.is_cleanup and self._counts.errors == before:
            self._drop()
        return self._counts.errors == before

    def _failed(self, message: str, *args: Any) -> None:
        self._counts.errors += 1
        self._step.error(message, *args)

    def _wait_for_writers(self) -> None:
        """Who links a file here from now on knows of the relinker; what others have linked is to be seen."""
        os.close(acquire_lock(self._dir, LOCK_TIMEOUT))

    # ------------------------------------------------------------ which

    def _chunks(self) -> Iterator[list[tuple[ObjectLocation, ObjectLocation]]]:
        """(place, place to come) of the hash directories whose place changes, some of one suffix at a time."""
        for suffix in walker.list_suffixes(self._dir):
            scan = walker.SuffixScan(f"{self._dir}/{suffix}")
            try:
                while names := scan.next():
                    places = self._changing(names)
                    for first in range(0, len(places), AT_ONCE):
                        yield places[first : first + AT_ONCE]
            except OSError as err:
                self._failed("Error listing %s/%s: %s", self._dir, suffix, err)
            finally:
                scan.close()

    def _changing(self, names: list[str]) -> list[tuple[ObjectLocation, ObjectLocation]]:
        found = []
        for name in names:
            old = self._step.locate(self._partition, name)
            new = old.in_part_power(self._step.to_power)
            if new.partition != self._partition:
                found.append((old, new))
        return found

    # ------------------------------------------------------------ link

    def _try_link(self, place: tuple[ObjectLocation, ObjectLocation]) -> _Moved | None:
        """None if it is to stay as it is: something is in the way, or it is gone."""
        old, new = place
        self._step.pace()
        self._counts.hash_dirs += 1
        self._targets[new.partition] = new.partition_dir
        clobbered: set[str] = set()
        for _ in range(TRIES):
            try:
                return self._link(old, new, clobbered)
            except _Retry:
                continue
            except _Collision as err:
                self._failed("%s", err)
                return None
            except (OSError, LockTimeout) as err:
                self._failed("Error relinking %s: %s", old.hash_dir, err)
                return None
        self._failed("Error relinking %s: its files keep changing", old.hash_dir)
        return None

    def _link(self, old: ObjectLocation, new: ObjectLocation, clobbered: set[str]) -> _Moved | None:
        names = _names(old.hash_dir)
        if not names:
            with contextlib.suppress(OSError):
                os.rmdir(old.hash_dir)
            return None
        there = set(_names(new.hash_dir))
        wanted = _wanted({*names, *there}, self._step)
        missing = []
        for name in sorted(wanted.intersection(names)):
            if name not in there or self._is_in_the_way(old, new, name, clobbered):
                missing.append(name)
        if missing:
            self._link_all(old, new, missing)
        self._counts.files += len(wanted)
        self._counts.linked += len(missing)
        return _Moved(old, new, names, len(missing))

    def _is_in_the_way(
        self, old: ObjectLocation, new: ObjectLocation, name: str, clobbered: set[str]
    ) -> bool:
        """False if the file there is ours, or as good; True if it was moved away. Raises _Collision, _Retry."""
        step = self._step
        source, target = f"{old.hash_dir}/{name}", f"{new.hash_dir}/{name}"
        try:
            if is_same(source, target) and (name.endswith(".ts") or _has_same_bytes(source, target)):
                return False
            if step.clobber and name not in clobbered:
                clobbered.add(name)
                # the one that is not served by now
                path = source if step.is_cleanup else target
                away = quarantine_file(step.device_path, path)
                step.warn("Quarantined %s: hardlink collision (moved to %s)", path, away)
                if step.is_cleanup:
                    raise _Retry
                return True
        except FileNotFoundError:
            raise _Retry from None
        raise _Collision(
            f"hardlink collision: {source} to {target}"
            + ("" if step.clobber else " (consider enabling clobber_hardlink_collisions)")
        )

    def _link_all(self, old: ObjectLocation, new: ObjectLocation, names: list[str]) -> None:
        """Raises _Retry when something came or went meanwhile."""
        try:
            make_directories(new.hash_dir, new.device_path)
            with Invalidation(new.partition_dir, new.suffix, create=False):
                for name in names:
                    os.link(f"{old.hash_dir}/{name}", f"{new.hash_dir}/{name}")
                    fault_point("relink:linked")
        except (FileNotFoundError, FileExistsError):
            raise _Retry from None
        self._linked_into.add(new.partition)

    # ------------------------------------------------------------ sync

    def _sync(self, moved: list[_Moved]) -> bool:
        """What was linked, by whomever, is on disk when it returns True."""
        # a relinker of the other kind, or one that was killed, may have linked without a sync: before a removal all are synced
        todo = moved if self._step.is_cleanup else [done for done in moved if done.linked]
        try:
            if len(todo) > FEW:
                self._sync_device()
            else:
                for done in todo:
                    with contextlib.suppress(FileNotFoundError):
                        sync_entries(
                            done.new.hash_dir, self._step.device_path, own_entries=True, remember=False
                        )
        except OSError as err:
            self._failed("Error syncing %s: %s", self._dir, err)
            return False
        fault_point("relink:synced")
        return True

    def _sync_device(self) -> None:
        fd = os.open(self._dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            calls.sync_file_system(fd)
        finally:
            os.close(fd)

    # ------------------------------------------------------------ remove

    def _remove(self, moved: list[_Moved]) -> None:
        if not moved:
            return
        with Invalidation(self._dir, moved[0].old.suffix, create=False):
            for done in moved:
                try:
                    self._empty(done)
                except OSError as err:
                    self._failed("Error removing files of %s: %s", done.old.hash_dir, err)

    def _empty(self, done: _Moved) -> None:
        """Of the files that were seen, those that the place to come has, or has newer than."""
        there = set(_names(done.new.hash_dir))
        wanted = _wanted({*done.names, *there}, self._step)
        kept = 0
        for name in done.names:
            if name in wanted and name not in there:
                kept += 1  # it was moved away there, as damaged, meanwhile
                continue
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{done.old.hash_dir}/{name}")
                self._counts.removed += 1
            fault_point("relink:removed")
        with contextlib.suppress(OSError):
            os.rmdir(done.old.hash_dir)
        if kept:
            self._failed("%s is not in %s: left", done.old.hash_dir, done.new.partition_dir)

    # ------------------------------------------------------------ partitions

    def _rehash(self) -> None:
        step = self._step
        targets = set(self._targets) if step.is_cleanup else self._upper(self._linked_into)
        for partition in sorted(targets, key=int):
            self._hash(self._targets[partition])
        if step.is_cleanup:
            self._hash(self._dir)

    def _upper(self, partitions: set[str]) -> set[str]:
        """Those that no other partition's objects are still to be linked into."""
        half = 1 << (self._step.to_power - 1)
        return {partition for partition in partitions if int(partition) >= half}

    def _hash(self, partition_dir: str) -> None:
        step = self._step
        try:
            get_hashes(partition_dir, step.ec, step.fragments, reclaim_age=NEVER)
        except (OSError, LockTimeout) as err:
            step.warn("Error rehashing %s: %s", partition_dir, err)  # it stays marked

    def _drop(self) -> None:
        try:
            partitions.drop(self._dir)
        except (OSError, LockTimeout) as err:
            self._step.warn("Error removing partition directory %s: %s", self._dir, err)


class _Retry(Exception):
    """Somebody else was at work in the directory."""


def _names(hash_dir: str) -> list[str]:
    """Raises OSError."""
    try:
        return os.listdir(hash_dir)
    except FileNotFoundError:
        return []


def _wanted(names: set[str], step: Step) -> set[str]:
    """Those that count, of all that are in either place, and those of which nobody can tell."""
    return names - {file.name for file in decide(names, step.ec, step.fragments).obsolete}


def _has_same_bytes(one: str, other: str) -> bool:
    return os.path.samefile(one, other) or filecmp.cmp(one, other, shallow=False)
