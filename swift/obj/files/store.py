"""The object store of files: what each method of `ObjectStore` does on the disk, and on which road.

A read takes the short road through `warm`, in the event loop, if the kernel has all of it in memory, else a trip to `reader`. A write
whose body is at hand goes into the device's next `batch`; a large one, or one that the batch gives back, takes trips: `state` (what is
there), `writer`. Their functions block; each `_…_trip` here is one trip to the device's pool. On a memory file system all is done on the spot.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.concurrency import Semaphore
from swift.core.errors import LockTimeout
from swift.core.object_headers import EC_INDEX
from swift.core.policy import ERASURE_CODING, ErasurePolicy, StoragePolicy
from swift.obj.checks import CheckedReader
from swift.obj.device import Device
from swift.obj.directories import DATADIR, is_suffix, policy_dir
from swift.obj.errors import (
    Elsewhere,
    NotExist,
    Overtaken,
    SameTimeConflict,
    StateChanged,
)
from swift.obj.files import inventory, partitions, set_aside, walker
from swift.obj.files.batch import SmallWrite
from swift.obj.files.carriers import OnTheSpot, Writers
from swift.obj.files.commit import commit
from swift.obj.files.examine import examine, misplaced
from swift.obj.files.known import verified_times
from swift.obj.files.layout import ObjectLocation
from swift.obj.files.plans import CommitPlan, DeletePlan, PostPlan, PutPlan, is_guarded, look_at
from swift.obj.files.purge import purge
from swift.obj.files.quarantine import quarantine, quarantine_hash_dir
from swift.obj.files.reader import INLINE_LIMIT, open_object
from swift.obj.files.reclaim import reclaim
from swift.obj.files.state import FileState, read_state
from swift.obj.files.suffixes import Hashing, SuffixDamaged, hash_some, invalidate_all
from swift.obj.files.upload import TRIES, FileUpload
from swift.obj.files.warm import WarmObjects
from swift.obj.files.witness import Sign
from swift.obj.files.writer import NewObjectFile, tombstone, write_file
from swift.obj.store import (
    EXTENT,
    Digest,
    Examination,
    Examined,
    FragmentPreferences,
    HashedSuffixes,
    Item,
    NewObject,
    ObjectStore,
    OpenObject,
    PartitionLock,
    Place,
    RemovalCheck,
    SetAside,
    State,
    StoreOptions,
    Times,
    Write,
)

HASHING_SECONDS = (
    0.25  # of one step; with many steps at a time nobody else would get at the disk, so there is one
)
INLINE_SECONDS = 0.01  # the same in memory, where others wait for the event loop
MAX_STEPS = 8192  # of one partition: each hashes a suffix at least
MAX_DIGESTS = 100_000  # partitions whose digests are kept
MAX_SMALL = INLINE_LIMIT  # bytes; a larger body would hold up the others of its batch


def _location(place: Place) -> ObjectLocation:
    assert isinstance(place, ObjectLocation)
    return place


class _Step(NamedTuple):
    """`damaged`: what was moved away, for the log."""

    hashing: Hashing
    damaged: list[str]


class FileStore(ObjectStore):
    """Each object in a directory of its own; its places are `ObjectLocation`s."""

    def __init__(self, device: Device, policy: StoragePolicy, options: StoreOptions) -> None:
        super().__init__(device, policy, options)
        self.ec = policy.policy_type == ERASURE_CODING
        self.codec = policy.codec if isinstance(policy, ErasurePolicy) else None
        self.fragments: int | None = self.codec.total if self.codec is not None else None
        self.datadir = f"{device.path}/{policy_dir(DATADIR, policy.idx)}"
        shared = options.shared
        self.warm: WarmObjects = shared.setdefault("warm", WarmObjects(options.warm_bytes))
        self._hashing = Semaphore(1)
        self._digests: dict[str, tuple[tuple[int, int, int], Digest]] = {}
        self.writers: Any = (
            OnTheSpot(options) if device.inline else shared.setdefault("writers", Writers(options))
        )

    def locate(self, partition: str, name_hash: str, name: str | None) -> ObjectLocation:
        return ObjectLocation(
            self.device.path,
            self.policy.idx,
            partition,
            name_hash,
            name,
            self.ec,
            self.fragments,
            self.options.validate_pct,
        )

    # ------------------------------------------------------------ for requests

    def open(
        self,
        place: Place,
        want: int,
        now: float | None = None,
        open_expired: bool = False,
        frag_index: int | None = None,
        frag_prefs: FragmentPreferences | None = None,
    ) -> OpenObject:
        device, warm, where = self.device, self.warm, _location(place)
        signs: list[Sign | None] | None = None
        # what is remembered is the only file of its directory: only who excludes it has something to choose
        if frag_index is None and not frag_prefs and warm.is_open(device):
            known = warm.open(device, where, want, now, open_expired)
            if known is not None:
                return known
            signs = []
        found: OpenObject = device.run_mounted(
            False, self._open_trip, where, now, open_expired, frag_index, frag_prefs, want, signs
        )
        if signs is not None:
            warm.remember(device, where, found, signs)
        return found

    def _open_trip(
        self,
        where: ObjectLocation,
        now: float | None,
        open_expired: bool,
        frag_index: int | None,
        frag_prefs: FragmentPreferences | None,
        want: int,
        signs: list[Sign | None] | None,
    ) -> OpenObject:
        try:
            return open_object(where, now, open_expired, frag_index, frag_prefs, want, signs)
        except NotExist:
            self.device.check()  # nothing is found on a disk that has gone, either
            raise

    def _in_batch(self, item: SmallWrite, write: Write) -> Any:
        """The result of its plan, written with what else waits. Raises Elsewhere when it is to take a trip, and what the plan raises."""
        knows_fragment = write.fragment is None or isinstance(item.plan, PutPlan)
        if write.next_part_power is not None or not knows_fragment or item.bytes > MAX_SMALL:
            raise Elsewhere("no batch")
        return self.device.carry(self.writers.carrier(self.device), item, item.bytes)

    def put(
        self,
        place: Place,
        metadata: dict[str, str],
        body: bytes,
        check: Callable[[State], None],
        write: Write,
    ) -> State:
        where = _location(place)
        index = self.index_of(metadata, write)

        state: State
        try:
            state = self._in_batch(
                SmallWrite(where, PutPlan(where, metadata, body, check, write, index), len(body)), write
            )
        except Elsewhere:
            state = self.device.run_mounted(True, self._put_trip, where, metadata, body, check, write)
        return state

    def _put_trip(
        self,
        where: ObjectLocation,
        metadata: dict[str, str],
        body: bytes,
        check: Callable[[State], None],
        write: Write,
    ) -> State:
        for _ in range(TRIES):
            state = read_state(where, write.now, write.fragment)
            check(state)
            with contextlib.suppress(Overtaken):
                write_file(
                    where,
                    self.options,
                    metadata,
                    ".data",
                    body,
                    write.next_part_power,
                    not self.device.inline,
                    state.names,
                    self.index_of(metadata, write),
                    is_guarded(check),
                    write.is_exact,
                )
                return state
        raise StateChanged(where.hash_dir)

    def index_of(self, metadata: Mapping[str, str], write: Write) -> int | None:
        """Which fragment is to be written; None for a whole copy."""
        if not self.ec:
            return None
        index = metadata.get(EC_INDEX)
        return write.fragment if index is None else int(index)

    def begin(
        self,
        place: Place,
        size: int | None,
        check: Callable[[State], None],
        write: Write,
        taking: Callable[[memoryview], None],
    ) -> tuple[State, NewObject]:
        state, new = self.device.run_mounted(True, self._begin_trip, place, size, check, write)
        return state, FileUpload(self, new, write, taking, check)

    def _begin_trip(
        self, where: ObjectLocation, size: int | None, check: Callable[[State], None], write: Write
    ) -> tuple[FileState, NewObjectFile]:
        state = read_state(where, write.now, write.fragment)
        check(state)
        new = NewObjectFile(where, self.options)
        if is_guarded(check):
            new.seen = state.names
        if write.is_exact:
            new.only_with = state.names
        try:
            new.reserve(size)
        except BaseException:
            new.close()
            raise
        return state, new

    def post(
        self, place: Place, change: Callable[[OpenObject], dict[str, str]], write: Write
    ) -> tuple[OpenObject, dict[str, str]]:
        where = _location(place)

        done: tuple[OpenObject, dict[str, str]]
        try:
            done = self._in_batch(SmallWrite(where, PostPlan(where, change, write)), write)
        except Elsewhere:
            done = self.device.run_mounted(True, self._post_trip, where, change, write)
        return done

    def _post_trip(
        self, where: ObjectLocation, change: Callable[[OpenObject], dict[str, str]], write: Write
    ) -> tuple[OpenObject, dict[str, str]]:
        for _ in range(TRIES):
            listed, found = look_at(where, write, False)
            metadata = change(found)
            try:
                write_file(
                    where,
                    self.options,
                    dict(metadata),
                    ".meta",
                    next_part_power=write.next_part_power,
                    names=listed.names,
                    is_exact=write.is_exact,
                )
            except (FileNotFoundError, Overtaken):  # gone, or changed, since we looked
                continue
            return found, metadata
        raise StateChanged(where.hash_dir)

    def delete(self, place: Place, timestamp: str, check: RemovalCheck, write: Write) -> tuple[State, bool]:
        where = _location(place)

        done: tuple[State, bool]
        try:
            done = self._in_batch(SmallWrite(where, DeletePlan(where, timestamp, check, write)), write)
        except Elsewhere:
            done = self.device.run_mounted(True, self._delete_trip, where, timestamp, check, write)
        return done

    def _delete_trip(
        self, where: ObjectLocation, timestamp: str, check: RemovalCheck, write: Write
    ) -> tuple[State, bool]:
        for _ in range(TRIES):
            state = read_state(where, write.now)
            if not check(state):
                return state, False
            try:
                tombstone(
                    where,
                    self.options,
                    timestamp,
                    write.next_part_power,
                    state.names,
                    check.note(state),
                    is_guarded(check),
                    write.is_exact,
                )
            except Overtaken:
                continue
            except SameTimeConflict:
                # That very DELETE came before, and nobody heard of what became of it; it is synced now.
                if state.timestamp != timestamp:
                    raise
            return state, True
        raise StateChanged(where.hash_dir)

    def commit(self, place: Place, timestamp: str, fragment: int, next_part_power: int | None = None) -> None:
        if not self.ec:
            return
        if not self.device.inline and next_part_power is None:
            where = _location(place)
            item = SmallWrite(where, CommitPlan(timestamp, fragment))
            try:
                self.device.carry(self.writers.carrier(self.device), item, 0)
            except Elsewhere:
                pass
            else:
                return
        self.device.run_mounted(True, commit, place, self.options, timestamp, fragment, next_part_power)

    # ------------------------------------------------------------ for daemons

    def partitions(self) -> list[str]:
        found: list[str] = self.device.run_mounted(False, walker.list_partitions, self.datadir)
        return found

    def begin_pass(self) -> list[str]:
        found: list[str] = self.device.run_mounted(
            True, partitions.begin_pass, self.device.path, self.datadir, self.options.reclaim_age
        )
        return found

    def lock_partition(self, partition: str) -> PartitionLock:
        lock: PartitionLock = self.device.run_mounted(
            True, partitions.lock, f"{self.datadir}/{partition}", self.device.path
        )
        return lock

    def drop_partition(self, partition: str) -> bool:
        return bool(self.device.run_mounted(True, partitions.drop, f"{self.datadir}/{partition}"))

    def invalidate(self, partition: str, suffixes: Iterable[str], are_durable: bool = False) -> None:
        wanted = sorted(set(filter(is_suffix, suffixes)))
        mark = invalidate_all if are_durable else partitions.take_over
        self.device.run_mounted(True, mark, f"{self.datadir}/{partition}", wanted)

    def digests(self, partitions: Iterable[str], look_for_new: bool = False) -> list[Digest | None]:
        left = list(partitions)
        found: list[Digest | None] = []
        while left:
            with self._hashing:
                began = clock.monotonic()
                steps = self.device.run_mounted(True, self._digests_step, left, look_for_new)
                self.options.rest(began)
            for partition, step in zip(left, steps, strict=False):
                found.append(self._digest(partition, step))
            left = left[len(steps) :]
        return found

    def _digests_step(self, names: list[str], look_for_new: bool) -> list[_Step | Digest | None]:
        """The first of them, as many as there is time for; the last one may be unfinished."""
        until = clock.monotonic() + self._step_seconds()
        steps: list[_Step | Digest | None] = []
        for name in names:
            sign = partitions.sign_of(f"{self.datadir}/{name}")
            known = self._digests.get(name)
            if sign is not None and known is not None and known[0] == sign and not look_for_new:
                steps.append(known[1])
                continue
            try:
                step = self._hashes_step(f"{self.datadir}/{name}", [], look_for_new, ())
            except (OSError, LockTimeout):
                steps.append(None)
            else:
                steps.append(step)
                self._remember(name, sign, step)
            if clock.monotonic() >= until:
                break
        return steps

    def _remember(self, partition: str, sign: tuple[int, int, int] | None, step: _Step) -> None:
        """Keep what a partition's digest is for as long as its remembered hashes stay the same."""
        if sign is None or step.hashing.left or sign != partitions.sign_of(f"{self.datadir}/{partition}"):
            self._digests.pop(partition, None)
            return
        value = partitions.digest(step.hashing.hashes)
        if value is not None:
            if len(self._digests) >= MAX_DIGESTS:
                self._digests.clear()
            fragments = partitions.fragment_digests(step.hashing.hashes) if self.ec else None
            self._digests[partition] = sign, Digest(value, len(step.hashing.hashes), fragments=fragments)

    def _digest(self, partition: str, step: _Step | Digest | None) -> Digest | None:
        if step is None or isinstance(step, Digest):
            return step
        whole = HashedSuffixes(step.hashing.hashed, step.hashing.hashes, step.damaged)
        if step.hashing.left:
            try:
                rest = self.suffix_hashes(partition)
            except (OSError, LockTimeout):
                return None
            whole = HashedSuffixes(whole.hashed + rest.hashed, rest.hashes, [*whole.damaged, *rest.damaged])
        value = partitions.digest(whole.hashes)
        if value is None:
            return None
        fragments = partitions.fragment_digests(whole.hashes) if self.ec else None
        return Digest(value, len(whole.hashes), whole.hashed, tuple(whole.damaged), fragments)

    def verified_times(
        self, partition: str, name_hashes: Sequence[str], fragment: int | None = None
    ) -> list[Times | None]:
        places = [self.locate(partition, name_hash, None) for name_hash in name_hashes]
        found: list[Times | None] = self.device.run_mounted(True, verified_times, places, fragment)
        return found

    def suffix_hashes(
        self, partition: str, recalculate: Iterable[str] = (), look_for_new: bool = False
    ) -> HashedSuffixes:
        hashed = 0
        damaged: list[str] = []
        skip: set[str] = set()
        wanted = list(recalculate)
        for _ in range(MAX_STEPS):
            with self._hashing:
                began = clock.monotonic()
                step: _Step = self.device.run_mounted(
                    True, self._hashes_step, f"{self.datadir}/{partition}", wanted, look_for_new, skip
                )
                self.options.rest(began)
            hashed += step.hashing.hashed
            damaged += step.damaged
            if not step.hashing.left:
                break
            skip.update(step.hashing.failed)
            wanted, look_for_new = [], False
        return HashedSuffixes(hashed, step.hashing.hashes, damaged)

    def _step_seconds(self) -> float:
        return INLINE_SECONDS if self.device.inline else HASHING_SECONDS

    def _hashes_step(
        self, partition_dir: str, recalculate: list[str], look_for_new: bool, skip: Collection[str]
    ) -> _Step:
        """Short enough that others wait for the disk no longer than for a slow write, however large the partition is."""
        damaged = []

        def set_aside(damage: SuffixDamaged) -> None:
            target = quarantine_hash_dir(self.device.path, damage.path)
            damaged.append(f"Quarantined object {damage.path}: {damage} (moved to {target})")

        options = self.options
        hashing = hash_some(
            partition_dir,
            self.ec,
            self.fragments,
            recalculate,
            look_for_new,
            options.reclaim_age,
            options.commit_window,
            set_aside,
            self._step_seconds(),
            skip,
        )
        if not hashing.hashes:
            self.device.check()  # nothing is found on a disk that has gone, either
            partitions.make_room(self.datadir)
        return _Step(hashing, damaged)

    def hashes(
        self,
        partition: str,
        suffixes: Iterable[str] | None = None,
        fragment: int | None = None,
        only_durable: bool = False,
    ) -> Iterator[tuple[str, Times]]:
        run = self.device.run
        partition_dir = f"{self.datadir}/{partition}"
        there: list[str] = self.device.run_mounted(False, walker.list_suffixes, partition_dir)
        wanted = None if suffixes is None else set(filter(is_suffix, suffixes))
        for suffix in there:
            if wanted is None or suffix in wanted:
                path = f"{partition_dir}/{suffix}"
                yield from run(walker.suffix_times, path, self.ec, self.fragments, fragment, only_durable)

    def suffixes(self, partition: str) -> list[str]:
        found: list[str] = self.device.run_mounted(False, walker.list_suffixes, f"{self.datadir}/{partition}")
        return found

    def inventory(self, partition: str, suffixes: Iterable[str] | None = None) -> Iterator[Item]:
        partition_dir = f"{self.datadir}/{partition}"
        there: list[str] = self.device.run_mounted(False, walker.list_suffixes, partition_dir)
        wanted = None if suffixes is None else set(filter(is_suffix, suffixes))
        for suffix in there:
            if wanted is None or suffix in wanted:
                yield from self.device.run(
                    inventory.suffix_items, f"{partition_dir}/{suffix}", self.ec, self.fragments
                )

    def set_aside(self, name_hash: str | None = None, most: int = 10_000) -> list[SetAside]:
        directory = set_aside.quarantine_of(self.device.path, self.policy.idx)
        found: list[SetAside] = self.device.run_mounted(
            False, set_aside.entries, directory, self.ec, self.fragments, name_hash, most
        )
        return found

    def take_back(self, place: Place, entry: str) -> list[str]:
        back: list[str] = self.device.run_mounted(True, set_aside.take_back, place, entry, self.options)
        return back

    def walk(self, partitions: Iterable[str] | None = None) -> Generator[Place, None, None]:
        device = self.device
        for partition in self.partitions() if partitions is None else partitions:
            scan = walker.PartitionScan(f"{self.datadir}/{partition}")
            try:
                while names := device.run_mounted(False, scan.next):
                    for name_hash in names:
                        yield self.locate(partition, name_hash, None)
            finally:
                device.leave(scan.close)

    def changed(self, partition: str, since: float) -> Iterator[list[Place]]:
        device, partition_dir = self.device, f"{self.datadir}/{partition}"
        for suffix in device.run_mounted(False, walker.list_suffixes, partition_dir):
            scan = device.run(walker.SuffixScan, f"{partition_dir}/{suffix}")
            try:
                while names := device.run(scan.next):
                    found = device.run(walker.changed_since, f"{partition_dir}/{suffix}", names, since)
                    yield [self.locate(partition, name_hash, None) for name_hash in found]
            finally:
                device.leave(scan.close)

    def reclaim(self, partition: str) -> Iterator[int]:
        device, partition_dir = self.device, f"{self.datadir}/{partition}"
        for suffix in device.run_mounted(True, walker.list_suffixes, partition_dir):
            scan = device.run(walker.SuffixScan, f"{partition_dir}/{suffix}")
            try:
                while names := device.run(scan.next):
                    yield device.run(
                        reclaim, partition_dir, suffix, names, self.ec, self.fragments, self.options
                    )
            finally:
                device.leave(scan.close)

    def verify(self, place: Place, pace: Callable[[int], None] | None = None) -> int:
        found = self.open(place, EXTENT, open_expired=True, frag_prefs=[] if self.ec else None)
        try:
            for _, view in CheckedReader(self, place, found).pieces():
                if pace is not None:
                    pace(len(view))
        finally:
            self.device.leave(found.close)
        return found.size

    def purge(self, place: Place, times: Times, fragment: int | None = None) -> bool:
        return bool(self.device.run_mounted(True, purge, place, times, fragment, self.options.commit_window))

    def quarantine(self, place: Place, reason: str, found: OpenObject | None = None) -> None:
        version, inode = (None, None) if found is None else (found.version, found.inode)
        self.device.run(quarantine, place, reason, None, version, inode)

    def misplaced(self, places: Sequence[Place]) -> tuple[int, int]:
        found: tuple[int, int] = self.device.run_mounted(False, misplaced, places)
        return found

    def examine(self, places: Sequence[Place], wanted: Examination) -> list[Examined]:
        found: list[Examined] = self.device.run_mounted(
            False, examine, places, wanted, self.options, self.codec
        )
        return found
