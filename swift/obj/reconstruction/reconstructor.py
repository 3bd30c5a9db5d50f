"""The object-reconstructor (object-disk 19).

A pass looks at all partitions of this node's devices that belong to erasure-coded policies. What primaries do with theirs is in `sync`, what
is done with fragments of other nodes in `revert`; the frame is in `replication.passes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import GreenPool, spawn
from swift.core.policy import ERASURE_CODING
from swift.obj.reconstruction import report
from swift.obj.reconstruction.options import ReconstructorOptions
from swift.obj.reconstruction.revert import revert
from swift.obj.reconstruction.sync import Differing, compare, sync
from swift.obj.reconstruction.work import RebuildWork
from swift.obj.replication.compare import COMPARED
from swift.obj.replication.jobs import Holding, Partitions, chunks
from swift.obj.replication.passes import PassDaemon, Rings, interleaved
from swift.run.daemon import Overrides

COMPARISONS = 4  # of COMPARED partitions each, that are under way


class ObjectReconstructor(PassDaemon):
    """The daemon. `conf`: section object-reconstructor. Raises ValueError, ConfigError."""

    section = "object-reconstructor"
    words = report.RECONSTRUCTED
    policy_type = ERASURE_CODING
    per_disk = report.PER_DISK
    standing = report.STANDING
    options: ReconstructorOptions

    def make_options(self, conf: Mapping[str, Any]) -> ReconstructorOptions:
        return ReconstructorOptions(conf, self.logger)

    def make_work(self) -> RebuildWork:
        return RebuildWork(self.options, self._standing, self.metrics, self.logger)

    def is_published(self, overrides: Overrides, worker: int | None) -> bool:
        return not overrides.partitions and (worker is not None or not overrides.devices)

    def merged(self, per_disk: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return report.merged(per_disk)

    def carry_out(
        self, work: RebuildWork, everything: list[Partitions], rings: Rings, pool: GreenPool
    ) -> None:
        guests = interleaved([(found.holding, found.guests) for found in everything])
        giving_back = spawn(self._revert_all, work, guests, rings, pool)
        try:
            if not self.options.handoffs_only:
                self._sync_all(work, everything, rings, pool)
        finally:
            giving_back.wait()
        pool.waitall()
        if self.options.handoffs_only:
            self.logger.info("Handoffs only mode: %d handoffs remaining.", work.report.guests_left)

    def _is_current(self, rings: Rings, holding: Holding) -> bool:
        """False for a policy whose ring has changed: the rest of its partitions waits for the next pass."""
        return rings.is_current(holding.ring)

    def _revert_all(
        self, work: RebuildWork, guests: Iterator[tuple[Holding, str]], rings: Rings, pool: GreenPool
    ) -> None:
        for holding, partition in guests:
            if self._is_current(rings, holding):
                pool.spawn(self.guarded, self._revert_guest, work, holding, partition)

    def _revert_guest(self, work: RebuildWork, holding: Holding, partition: str) -> None:
        if not holding.is_guest(partition):
            return  # the ring has changed
        started = clock.monotonic()
        work.report.add("attempted")
        gone = False
        try:
            gone = revert(work, holding, partition)
        finally:
            work.report.add("success", int(gone))
            work.report.add("remove", int(gone))
            work.standing.note(holding, partition, gone)
            work.report.finish(1, clock.monotonic() - started)

    def _sync_all(
        self, work: RebuildWork, everything: list[Partitions], rings: Rings, pool: GreenPool
    ) -> None:
        comparisons = GreenPool(COMPARISONS)
        pieces = [(found.holding, list(chunks(found.home, COMPARED))) for found in everything if found.home]
        try:
            for holding, partitions in interleaved(pieces):
                if self._is_current(rings, holding):
                    comparisons.spawn(self.guarded, self._sync_some, work, holding, partitions, rings, pool)
        finally:
            comparisons.waitall()

    def _sync_some(
        self, work: RebuildWork, holding: Holding, partitions: list[str], rings: Rings, pool: GreenPool
    ) -> None:
        for differing in compare(work, holding, partitions, self._cycle):
            if not self._is_current(rings, holding):
                return
            pool.spawn(self.guarded, self._sync_one, work, holding, differing)

    def _sync_one(self, work: RebuildWork, holding: Holding, differing: Differing) -> None:
        started = clock.monotonic()
        partition = differing.partition
        whole = False
        try:
            whole = not differing.nodes or sync(work, holding, differing)
            if differing.has_strays:
                whole = revert(work, holding, partition) and whole
        finally:
            work.report.add("success", int(whole))
            work.standing.note(holding, partition, whole)
            work.report.finish(1, clock.monotonic() - started)
