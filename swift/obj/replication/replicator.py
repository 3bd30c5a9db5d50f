"""The object-replicator (object-disk 18).

A pass looks at all partitions of this node's devices that belong to replicated policies. What primaries do with theirs is in `update`, what
handoffs do with guests in `revert`; the frame is in `passes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from swift.core.concurrency import GreenPool, spawn
from swift.core.policy import REPLICATION
from swift.obj.replication import report, standing, update
from swift.obj.replication.compare import COMPARED
from swift.obj.replication.jobs import Holding, Partitions, chunks
from swift.obj.replication.options import ReplicatorOptions
from swift.obj.replication.passes import PassDaemon, RingChanged, Rings, interleaved
from swift.obj.replication.revert import revert
from swift.obj.replication.work import PushWork

COMPARISONS = 4  # of COMPARED partitions each, that are under way


class ObjectReplicator(PassDaemon):
    """The daemon. `conf`: section object-replicator. Raises ValueError, ConfigError."""

    section = "object-replicator"
    words = report.REPLICATED
    policy_type = REPLICATION
    per_disk = report.PER_DISK
    standing = standing.KEY
    options: ReplicatorOptions

    def make_options(self, conf: Mapping[str, Any]) -> ReplicatorOptions:
        return ReplicatorOptions(conf, self.logger)

    def make_work(self) -> PushWork:
        options = self.options
        return PushWork(
            options.peers,
            options.method,
            self._handoff_delete(),
            self._standing,
            self.metrics,
            self.logger,
        )

    def merged(self, per_disk: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return report.merged(per_disk)

    def _handoff_delete(self) -> int:
        """The option, unless no policy has more replicas than that."""
        wanted = self.options.handoff_delete
        most = max(
            (ring.replica_count for policy in self.policies(()) if (ring := self.ring(policy))), default=0
        )
        if wanted and wanted >= most:
            self.logger.warning(
                "No storage policies found for which handoff_delete=%d would have an effect. Disabling it.",
                wanted,
            )
            return 0
        return wanted

    def carry_out(self, work: PushWork, everything: list[Partitions], rings: Rings, pool: GreenPool) -> None:
        guests = interleaved([(found.holding, found.guests) for found in everything])
        if self.options.handoffs_first:
            self._revert_all(work, guests, rings, pool)
            pool.waitall()
            if work.report.guests_left:
                self.logger.warning(
                    "Handoffs first mode still has handoffs remaining. Aborting current replication pass."
                )
                return
            self._update_all(work, everything, rings, pool)
            return
        giving_back = spawn(self._until_rings_change, self._revert_all, work, guests, rings, pool)
        try:
            self._update_all(work, everything, rings, pool)
        finally:
            giving_back.wait()

    @staticmethod
    def _until_rings_change(function: Any, *args: Any) -> None:
        try:
            function(*args)
        except RingChanged:
            pass  # the other one sees it, too

    def _revert_all(
        self, work: PushWork, guests: Iterator[tuple[Holding, str]], rings: Rings, pool: GreenPool
    ) -> None:
        for holding, partition in guests:
            rings.check()
            pool.spawn(self.guarded, revert, work, holding, partition)

    def _update_all(
        self, work: PushWork, everything: list[Partitions], rings: Rings, pool: GreenPool
    ) -> None:
        comparisons = GreenPool(COMPARISONS)
        pieces = [(found.holding, list(chunks(found.home, COMPARED))) for found in everything if found.home]
        try:
            for holding, partitions in interleaved(pieces):
                rings.check()
                comparisons.spawn(self.guarded, self._update_some, work, holding, partitions, rings, pool)
        finally:
            comparisons.waitall()

    def _update_some(
        self, work: PushWork, holding: Holding, partitions: list[str], rings: Rings, pool: GreenPool
    ) -> None:
        for differing in update.compare(work, holding, partitions, self._cycle):
            if rings.changed:
                return
            pool.spawn(self.guarded, update.update, work, holding, differing)
