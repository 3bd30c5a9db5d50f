"""What a primary does for its partitions: compare them with the other primaries, and push what those lack (object-disk 18.2)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from swift.core import clock
from swift.core.errors import LockTimeout
from swift.obj.errors import ObjectError
from swift.obj.replication.compare import Questions, own_digests
from swift.obj.replication.jobs import Holding
from swift.obj.replication.peers import Node, PeerError, name_of
from swift.obj.replication.push import PushFailed
from swift.obj.replication.work import PushWork


class Differing:
    """A partition that is not known to be the same everywhere. `nodes`: the other primaries it may differ from."""

    __slots__ = ("nodes", "partition")

    def __init__(self, partition: str, nodes: list[Node]) -> None:
        self.partition = partition
        self.nodes = nodes


def compare(work: PushWork, holding: Holding, partitions: list[str], cycle: int) -> list[Differing]:
    """Compare partitions with their other primaries, many in one request; what is left to be looked at. Counts what is the same."""
    started = clock.monotonic()
    report = work.report
    digests = own_digests(work, holding, partitions, cycle)
    others = {partition: holding.others(partition) or [] for partition in partitions}
    questions = Questions()
    for partition, digest in digests.items():
        for node in others[partition]:
            questions.add(node, partition, digest.value)
    equal = questions.equal(work, holding)
    differing = []
    for partition in partitions:
        nodes = [node for node in others[partition] if (node["id"], partition) not in equal]
        report.add("hashmatch", len(others[partition]) - len(nodes))
        if nodes:
            differing.append(Differing(partition, nodes))
        else:
            report.add("success")
            work.standing.note(holding, partition, True)
    report.add("attempted", len(partitions))
    if done := len(partitions) - len(differing):
        report.finish(done, clock.monotonic() - started)
    work.progress()
    return differing


def update(work: PushWork, holding: Holding, differing: Differing) -> None:
    """Have all other primaries get what we have of a partition. Counts; raises nothing that concerns one partition."""
    started = clock.monotonic()
    partition = differing.partition
    whole = False
    try:
        whole = _Update(work, holding, partition).run(differing.nodes)
        work.report.add("success", int(whole))
    except (ObjectError, LockTimeout, OSError) as error:
        work.report.fail(differing.nodes)
        work.logger.error("ERROR syncing partition %s of %s: %s", partition, holding.device["device"], error)
    finally:
        work.standing.note(holding, partition, whole)
        work.report.finish(1, clock.monotonic() - started)
        work.metrics.timing("partition.update.timing", (clock.monotonic() - started) * 1000)
        work.progress()


class _Update:
    def __init__(self, work: PushWork, holding: Holding, partition: str) -> None:
        self.work = work
        self.holding = holding
        self.partition = partition
        self.local: dict[str, Any] = {}
        self._served_regions: set[Any] = set()

    def run(self, nodes: list[Node]) -> bool:
        """True if all of them have what we have."""
        work, holding = self.work, self.holding
        work.metrics.increment(f"partition.update.count.{holding.device['device']}")
        self.local = self._hash([])
        nodes = list(nodes)
        clock.shuffle(nodes)
        attempts = len(nodes)
        reached = 0
        whole = True
        for node in chain(nodes, self._handoffs()):
            if attempts <= 0:
                return whole
            attempts -= 1
            if node["region"] in self._served_regions:
                continue
            try:
                self._bring_up_to_date(node)
                reached += 1
            except PeerError as error:
                whole = False
                work.report.fail([node])
                if error.status == 507:
                    work.logger.error("%s responded as unmounted", name_of(node))
                    enough = work.handoff_delete and 1 + reached + attempts >= work.handoff_delete
                    attempts += 0 if enough else 1
                else:
                    work.logger.error("ERROR asking about partition %s: %s", self.partition, error)
            except PushFailed as error:
                whole = False
                work.report.fail([node])
                work.logger.error("ERROR syncing partition %s: %s", self.partition, error)
            work.progress()
        if attempts > 0:
            work.logger.error(
                "Ran out of handoffs while replicating partition %s of policy %d",
                self.partition,
                holding.policy.idx,
            )
        return whole

    def _handoffs(self) -> Iterator[Node]:
        for node in self.holding.ring.get_more_nodes(int(self.partition)):
            if node["id"] != self.holding.device["id"]:
                yield node

    def _hash(self, suffixes: list[str]) -> dict[str, Any]:
        found = self.holding.store.suffix_hashes(self.partition, suffixes)
        self.work.hashed(0 if suffixes else len(found.hashes), found.hashed, tuple(found.damaged))
        return {suffix: value for suffix, value in found.hashes.items() if value is not None}

    def _lacking(self, remote: dict[str, Any]) -> list[str]:
        return [suffix for suffix, value in self.local.items() if remote.get(suffix, -1) != value]

    def _bring_up_to_date(self, node: Node) -> None:
        work, holding = self.work, self.holding
        remote = work.peers.hashes(node, holding.policy.idx, self.partition)
        suffixes = self._lacking(remote)
        if suffixes:
            # what we remember may be older than what is on the disk
            self.local = self._hash(suffixes)
            suffixes = self._lacking(remote)
        if not suffixes:
            work.report.add("hashmatch")
            return
        work.report.add("rsync")
        work.report.add("suffix_sync", len(suffixes))
        work.metrics.update_stats("suffix.syncs", len(suffixes))
        work.method.push(holding, node, self.partition, suffixes)
        if node["region"] != holding.device["region"]:
            self._served_regions.add(node["region"])
