"""One pass of the auditor over one device: all partitions of all policies, each object in its turn (object-disk 20.2, 20.3).

A few objects are under way at a time, so that the disk reads while the processor hashes. What becomes of processes, devices that are
missing and passes as a whole is in `auditor`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.concurrency import GreenPool, Semaphore
from swift.core.errors import LockTimeout
from swift.core.policy import ErasurePolicy
from swift.obj.auditing.figures import ALL, Figures
from swift.obj.auditing.options import CHECKSUMS, MIXED, AuditorOptions
from swift.obj.auditing.pass_times import PassTimes
from swift.obj.auditing.proving import prove
from swift.obj.auditing.rows import DeviceRows
from swift.obj.auditing.status import WRITE_SECONDS, Remaining, StatusFile
from swift.obj.auditing.watchers import Watching
from swift.obj.device import Device
from swift.obj.directories import DATADIR, policy_dir
from swift.obj.errors import DeviceUnavailable, ObjectError
from swift.obj.store import Examination, Examined, ObjectStore, Place
from swift.run.rate import RateLimiter

HANDS = 2  # batches under way
BATCH = 64  # objects that are looked at in one trip
BATCHES_PER_SECOND = 4  # at least, whatever the limit is
MAX_BAD_IN_A_ROW = 100
STATE_FILE = "auditor_proofs.json"
# Of large objects that a pass has seen before, in each pass: those that are proved by their ETag again.
ETAG_SHARE = 1 / 20
# Objects whose names are looked at before anything is judged; so many wrong ones, and no right one, are no accident.
SAMPLE, MANY = 20, 3


class GaveUp(Exception):
    """So many objects in a row are damaged that it is the device, or our way to it, or swift.conf: nothing more is moved away."""


class Pace(NamedTuple):
    """How fast a pass may go; one for all devices of a process."""

    files: RateLimiter
    bytes: RateLimiter
    batch: int

    @classmethod
    def of(cls, files_per_second: float, bytes_per_second: float) -> Pace:
        batch = min(BATCH, int(files_per_second / BATCHES_PER_SECOND)) if files_per_second else BATCH
        return cls(RateLimiter(files_per_second), RateLimiter(bytes_per_second), max(1, batch))


class _Part:
    """The objects of one policy on the device."""

    def __init__(self, store: ObjectStore, status: StatusFile, partitions: list[str]) -> None:
        self.store = store
        self.status = status
        self.remaining = Remaining(partitions)
        self.codec = store.policy.codec if isinstance(store.policy, ErasurePolicy) else None
        self.written = -WRITE_SECONDS


class _Batch(NamedTuple):
    part: _Part
    partition: str
    places: list[Place]


class DevicePass:
    """`rows`: compares what is new with its listings; None: nobody does."""

    def __init__(
        self,
        device: Device,
        stores: Sequence[ObjectStore],
        audit_type: str,
        options: AuditorOptions,
        pace: Pace,
        figures: Figures,
        watching: Watching,
        rows: DeviceRows | None,
        logger: Any,
    ) -> None:
        self.device = device
        self.stores = stores
        self.audit_type = audit_type
        self.options = options
        self.pace = pace
        self.figures = figures
        self.watching = watching
        self.rows = rows
        self.logger = logger
        self.resumed = False
        self._reads = audit_type == ALL
        self._wanted = Examination(self._reads, options.prove_by == CHECKSUMS, options.tempfile_age)
        self._times = (
            PassTimes(device.path, STATE_FILE) if self._reads and options.prove_by == MIXED else None
        )
        self._bad_in_a_row = 0
        self._failed: Exception | None = None
        self._turn = Semaphore(1)

    def run(self) -> None:
        """To the end. Raises DeviceUnavailable, DeviceOverloaded, GaveUp, OSError: then it goes on there the next time."""
        self._check_names()
        parts = [self._part(store) for store in self.stores]
        if self._times is not None:
            self.device.run_mounted(True, self._times.begin, clock.time())
        batches = self._batches(parts)
        hands = GreenPool(HANDS)
        for _ in range(HANDS):
            hands.spawn(self._hand, batches)
        hands.waitall()
        batches.close()  # here and now: not by whichever thread collects garbage
        if self._failed is not None:
            with contextlib.suppress(ObjectError):
                for part in parts:
                    self._write(part)
            raise self._failed
        if self.rows is not None:
            self.rows.end()
        if self._times is not None:
            self.device.run(self._times.end, True)
        for part in parts:
            self.device.run(part.status.remove)

    def _check_names(self) -> None:
        right = wrong = 0
        for store in self.stores:
            with contextlib.closing(store.walk()) as places:
                found = store.misplaced(list(islice(places, SAMPLE)))
            right, wrong = right + found[0], wrong + found[1]
            if right:
                return
        if wrong >= MANY:
            raise GaveUp(f"of {wrong} objects none lies where its name belongs")

    def _part(self, store: ObjectStore) -> _Part:
        index = store.policy.idx
        status = StatusFile(self.device.path, policy_dir(DATADIR, index), index, self.audit_type)
        partitions = self.device.run_mounted(False, status.read)
        self.resumed = self.resumed or partitions is not None
        return _Part(store, status, store.partitions() if partitions is None else partitions)

    # ------------------------------------------------------------ what is to be done

    def _batches(self, parts: list[_Part]) -> Generator[_Batch, None, None]:
        """A partition of each policy in turn."""
        left = list(parts)
        while left:
            for part in list(left):
                partition = part.remaining.begin()
                if partition is None:
                    left.remove(part)
                    continue
                if clock.monotonic() - part.written >= WRITE_SECONDS:
                    self._write(part)
                yield from self._partition(part, partition)
                part.remaining.done(partition)

    def _partition(self, part: _Part, partition: str) -> Iterator[_Batch]:
        try:
            with contextlib.closing(part.store.walk([partition])) as places:
                while some := list(islice(places, self.pace.batch)):
                    part.remaining.add(partition)
                    yield _Batch(part, partition, some)
        except DeviceUnavailable:
            raise
        except (ObjectError, OSError) as err:
            self.figures.error("ERROR listing partition %s of %s: %s", partition, self.device.path, err)

    def _write(self, part: _Part) -> None:
        part.written = clock.monotonic()
        if self.rows is not None:
            self.rows.settle()  # what waits in memory would be lost with us, and is not seen again
        self.device.run(part.status.write, part.remaining.left())

    def _hand(self, batches: Iterator[_Batch]) -> None:
        while self._failed is None:
            try:
                with self._turn:
                    batch = next(batches, None) if self._failed is None else None
                if batch is None:
                    return
                self._audit(batch)
                batch.part.remaining.done(batch.partition)
            except Exception as err:
                self._failed = self._failed or err
                return

    # ------------------------------------------------------------ doing it

    def _audit(self, batch: _Batch) -> None:
        self.pace.files.wait(len(batch.places))
        figures = self.figures
        started = clock.monotonic()
        figures.begin_work()
        try:
            left = batch.places
            while left:
                found = batch.part.store.examine(left, self._wanted)
                left = left[sum(examined.counts for examined in found) :]
                self._judge_all(batch.part, found)
        finally:
            figures.end_work()
        figures.looked(len(batch.places), clock.monotonic() - started)

    def _judge_all(self, part: _Part, found: list[Examined]) -> None:
        try:
            while found:
                self._judge(part, found.pop(0))
        finally:
            for examined in found:
                if examined.found is not None:
                    self.device.leave(examined.found.close)

    def _judge(self, part: _Part, examined: Examined) -> None:
        place, found = examined.place, examined.found
        good = found is not None
        if found is not None and self._reads:
            if found.fd >= 0:
                good = self._prove(part, examined)
            else:
                self._count(found.size)
        self._tell(examined)
        if good and found is not None:
            self._bad_in_a_row = 0
            self.figures.passed(found.size)
            if examined.counts:
                self._show(part, examined)
        elif examined.deleted is not None:
            self._bad_in_a_row = 0
            self.figures.passed()
            if self.rows is not None:
                self.rows.see_tombstone(part.store, place, *examined.deleted)

    def _prove(self, part: _Part, examined: Examined) -> bool:
        options = self.options
        try:
            by_checksums = self._is_by_checksums(examined)
            return prove(part.store, examined, part.codec, by_checksums, options.chunk, self._count)
        except (LockTimeout, OSError) as err:
            examined.error = f"{examined.path}: {err}"
            return False

    def _is_by_checksums(self, examined: Examined) -> bool:
        """False for what is proved by its ETag."""
        found = examined.found
        assert found is not None
        if self._times is None:
            return self.options.prove_by == CHECKSUMS
        is_new = found.identity[2] >= self._times.before * 1e9
        return not is_new and clock.random() >= ETAG_SHARE

    def _count(self, count: int) -> None:
        self.figures.read(count)
        self.pace.bytes.wait(count)

    def _tell(self, examined: Examined) -> None:
        place = examined.place
        if examined.error:
            self.figures.error("ERROR auditing %s", examined.error)
        for text in place.notes or ():
            self.logger.warning("%s", text)
            if text.startswith("Quarantined"):
                self.figures.quarantined()
                self._bad_in_a_row += 1
        place.notes = None
        if self._bad_in_a_row >= MAX_BAD_IN_A_ROW:
            raise GaveUp(f"{MAX_BAD_IN_A_ROW} damaged objects in a row")

    def _show(self, part: _Part, examined: Examined) -> None:
        found, place = examined.found, examined.place
        assert found is not None
        if self.watching and self.watching.see_object(dict(found.metadata), examined.path):
            try:
                part.store.quarantine(place, "a watcher asked for it", found)
            except (LockTimeout, OSError) as err:
                examined.error = f"{examined.path}: {err}"
            self._tell(examined)
        elif self.rows is not None:
            self.rows.see_object(part.store, place, found)
