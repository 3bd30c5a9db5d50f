"""What a handoff does with a partition that is not its own: give it to all primaries, then remove what they surely have (object-disk 18.3).

Removed is only what was named by its times and is known to be there: never a whole directory, and nothing that came meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from swift.core import clock
from swift.core.concurrency import sleep
from swift.core.errors import LockTimeout
from swift.obj.errors import ObjectError
from swift.obj.replication.jobs import Holding
from swift.obj.replication.peers import Node
from swift.obj.replication.push import Offer, PushFailed
from swift.obj.replication.work import PushWork
from swift.obj.ssync.sender import in_portions
from swift.obj.store import PartitionLock, Times

LOCK_SECONDS = 0.2


def revert(work: PushWork, holding: Holding, partition: str) -> None:
    """Give a partition back. Counts; raises nothing that concerns one partition."""
    started = clock.monotonic()
    report = work.report
    report.add("attempted")
    gone = False
    nodes = holding.others(partition)
    if nodes is None or not holding.is_guest(partition):
        return  # the ring has changed
    try:
        with closing(lock_for_revert(holding, partition)):
            gone = _Revert(work, holding, partition, nodes).run()
    except LockTimeout:
        work.metrics.increment("partition.lock-failure.count")
        work.logger.info("Unable to lock handoff partition %s of %s", partition, holding.device["device"])
    except (ObjectError, OSError) as error:
        report.fail(nodes)
        work.logger.error("ERROR syncing handoff partition %s: %s", partition, error)
    if gone:
        report.add("success")
        report.add("remove")
        work.metrics.increment(f"partition.delete.count.{holding.device['device']}")
    else:
        report.guests_left += 1
    work.standing.note(holding, partition, gone)
    report.finish(1, clock.monotonic() - started)
    work.metrics.timing("partition.delete.timing", (clock.monotonic() - started) * 1000)
    work.progress()


def lock_for_revert(holding: Holding, partition: str) -> PartitionLock:
    """While we hold it nobody replicates into the partition. Raises LockTimeout."""
    until = clock.monotonic() + LOCK_SECONDS
    while True:
        try:
            return holding.store.lock_partition(partition)
        except LockTimeout:
            if clock.monotonic() >= until:
                raise
            sleep(0.01)


class _Revert:
    def __init__(self, work: PushWork, holding: Holding, partition: str, nodes: list[Node]) -> None:
        self.work = work
        self.holding = holding
        self.partition = partition
        self.nodes = nodes
        self.enough = min(work.handoff_delete, len(nodes)) or len(nodes)
        self._failed: set[Any] = set()  # nodes that are not tried again for this partition

    def run(self) -> bool:
        """True if nothing is left here. Raises ObjectError, LockTimeout, OSError."""
        store = self.holding.store
        for portion in in_portions(store.hashes(self.partition)):
            for name_hash, times in self._safe(portion):
                store.purge(store.locate(self.partition, name_hash, None), times)
            self.work.progress()
            if len(self.nodes) - len(self._failed) < self.enough:
                break  # nothing more can be removed; what can be reached has had its part
        return store.drop_partition(self.partition)

    def _safe(self, portion: list[Offer]) -> list[Offer]:
        """Those of the objects that enough primaries have."""
        having: Counter[str] = Counter()
        by_region: dict[Any, Mapping[str, Times]] = {}
        for node in self.nodes:
            if node["id"] in self._failed:
                continue
            region = node["region"]
            offers, check_only = portion, False
            if region in by_region:
                # one copy goes to another region; how the others there get theirs is that region's own affair
                offers, check_only = [offer for offer in portion if offer[0] in by_region[region]], True
            found = self._push(node, offers, check_only)
            if found is None:
                self._failed.add(node["id"])
                continue
            if region != self.holding.device["region"]:
                by_region.setdefault(region, found)
            having.update(found.keys())
        return [offer for offer in portion if having[offer[0]] >= self.enough]

    def _push(self, node: Node, offers: list[Offer], check_only: bool) -> Mapping[str, Times] | None:
        work = self.work
        suffixes = len({name_hash[-3:] for name_hash, _ in offers})
        work.report.add("rsync")
        work.report.add("suffix_count", suffixes)
        work.report.add("suffix_sync", suffixes)
        work.metrics.update_stats("suffix.syncs", suffixes)
        try:
            return work.method.in_sync(self.holding, node, self.partition, offers, check_only)
        except PushFailed as error:
            work.report.fail([node])
            work.logger.error("ERROR syncing handoff partition %s: %s", self.partition, error)
            return None
        finally:
            work.progress()
