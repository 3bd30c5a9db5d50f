"""What a primary does for its partitions: compare them with its partners, and make the fragments that those lack (object-disk 19.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.errors import LockTimeout
from swift.obj.errors import ObjectError
from swift.obj.reconstruction.content import Reader
from swift.obj.reconstruction.work import RebuildWork, own_position, partners, policy_of
from swift.obj.replication.compare import Questions, own_digests
from swift.obj.replication.jobs import Holding
from swift.obj.replication.peers import Node, PeerError, name_of
from swift.obj.replication.push import Offer
from swift.obj.ssync.sender import BrokenOff, SyncError, in_portions

MOST_BROKEN = 20  # objects of one portion that could not be sent to their end


class Differing(NamedTuple):
    """A partition that is to be looked at. `nodes`: partners that may lack something; `has_strays`: it has fragments of other nodes."""

    partition: str
    nodes: list[Node]
    has_strays: bool


def compare(work: RebuildWork, holding: Holding, partitions: list[str], cycle: int) -> list[Differing]:
    """Compare partitions with their partners, many in one request; what is left to be looked at. Counts what is the same."""
    started = clock.monotonic()
    policy, report = policy_of(holding), work.report
    digests = own_digests(work, holding, partitions, cycle)
    questions = Questions()
    others: dict[str, list[Node]] = {}
    strays = set()
    for partition in partitions:
        nodes = holding.ring.get_part_nodes(int(partition))
        position = own_position(holding, nodes)
        if position is None:
            continue  # the ring has changed
        others[partition] = partners(nodes, position)
        digest = digests.get(partition)
        if digest is None:
            continue
        own = policy.fragment_of(position)
        if (digest.fragments or {}).keys() - {None, own}:
            strays.add(partition)
        value = digest.of_fragment(own)
        if value is not None:
            for node in others[partition]:
                questions.add(node, partition, value, policy.fragment_of(node["index"]))
    equal = questions.equal(work, holding)
    differing = []
    for partition, nodes_ in others.items():
        left = [node for node in nodes_ if (node["id"], partition) not in equal]
        report.add("hashmatch", len(nodes_) - len(left))
        if left or partition in strays:
            differing.append(Differing(partition, left, partition in strays))
        else:
            report.add("success")
            work.standing.note(holding, partition, True)
    report.add("attempted", len(partitions))
    if done := len(partitions) - len(differing):
        report.finish(done, clock.monotonic() - started)
    work.progress()
    return differing


def sync(work: RebuildWork, holding: Holding, differing: Differing) -> bool:
    """Have the partners get what they lack of a partition; True if they have all by now. Counts; raises nothing that concerns one partition."""
    partition = differing.partition
    position = own_position(holding, holding.ring.get_part_nodes(int(partition)))
    if position is None:
        return False  # the ring has changed
    started = clock.monotonic()
    work.metrics.increment(f"partition.update.count.{holding.device['device']}")
    try:
        return _Sync(work, holding, partition, position).run(differing.nodes)
    except (ObjectError, LockTimeout, OSError) as error:
        work.report.fail(differing.nodes)
        work.logger.error("ERROR syncing partition %s of %s: %s", partition, holding.device["device"], error)
        return False
    finally:
        work.metrics.timing("partition.update.timing", (clock.monotonic() - started) * 1000)
        work.progress()


class _Sync:
    def __init__(self, work: RebuildWork, holding: Holding, partition: str, position: int) -> None:
        self.work = work
        self.holding = holding
        self.partition = partition
        self.policy = policy_of(holding)
        self.own = self.policy.fragment_of(position)
        self.local: dict[str, Any] = {}

    def run(self, nodes: list[Node]) -> bool:
        """True if all of them have what we have."""
        self.local = self._hash([])
        whole = True
        for node in nodes:
            index = self.policy.fragment_of(node["index"])
            try:
                whole = self._bring(node, index) and whole
            except PeerError as error:
                whole = False
                self._failed(node, error)
                if error.status == 507:
                    self._stand_in(node, index)
            except SyncError as error:
                whole = False
                self._failed(node, error)
            self.work.progress()
        return whole

    def _failed(self, node: Node, error: Exception) -> None:
        self.work.report.fail([node])
        if isinstance(error, PeerError) and error.status == 507:
            self.work.logger.error("%s responded as unmounted", name_of(node))
        else:
            self.work.logger.error("ERROR syncing partition %s: %s", self.partition, error)

    def _stand_in(self, node: Node, index: int) -> None:
        """Have handoffs keep the fragments of a primary without a disk."""
        most = self.work.options.rebuild_handoff_node_count
        for tried, handoff in enumerate(self._handoffs(index)):
            if 0 <= most <= tried:
                return
            try:
                self._bring(handoff, index)
                return
            except (PeerError, SyncError) as error:
                self._failed(handoff, error)

    def _handoffs(self, index: int) -> Iterator[Node]:
        for node in self.holding.ring.get_more_nodes(int(self.partition)):
            if self.policy.fragment_of(node["handoff_index"]) == index:
                yield node

    def _hash(self, suffixes: list[str]) -> dict[str, dict[int | None, str]]:
        found = self.holding.store.suffix_hashes(self.partition, suffixes)
        self.work.hashed(0 if suffixes else len(found.hashes), found.hashed, tuple(found.damaged))
        return {suffix: value for suffix, value in found.hashes.items() if isinstance(value, dict)}

    def _lacking(self, remote: dict[str, Any], index: int) -> list[str]:
        found = []
        for suffix, value in self.local.items():
            theirs = remote.get(suffix)
            if not isinstance(theirs, dict):
                theirs = {}
            if (value.get(None), value.get(self.own)) != (theirs.get(None), theirs.get(index)):
                found.append(suffix)
        return found

    def _bring(self, node: Node, index: int) -> bool:
        """True if a node has all that we have, as its fragments `index`. Raises PeerError, SyncError."""
        work, holding = self.work, self.holding
        remote = work.peers.hashes(node, holding.policy.idx, self.partition)
        suffixes = self._lacking(remote, index)
        if suffixes:
            # what we remember may be older than what is on the disk
            self.local.update(dict.fromkeys(suffixes, {}))
            self.local.update(self._hash(suffixes))
            suffixes = self._lacking(remote, index)
        if not suffixes:
            work.report.add("hashmatch")
            return True
        work.report.add("rsync")
        work.report.add("suffix_sync", len(suffixes))
        work.metrics.update_stats("suffix.syncs", len(suffixes))
        offers = holding.store.hashes(self.partition, suffixes, self.own, only_durable=True)
        whole = True
        for portion in in_portions(offers):
            whole = self._send(node, index, portion) and whole
            work.progress()
        return whole

    def _send(self, node: Node, index: int, portion: list[Offer]) -> bool:
        work, holding = self.work, self.holding
        read = Reader(work, holding, self.partition, node, index)
        left = portion
        for _ in range(MOST_BROKEN):
            try:
                result = work.sessions.run(
                    holding.store,
                    node,
                    self.partition,
                    left,
                    fragment=index,
                    frag_index=self.own,
                    read=read,
                )
            except BrokenOff as error:
                # the others are not to wait for it
                work.logger.error("ERROR syncing partition %s: %s", self.partition, error)
                left = [offer for offer in left if offer[0] != error.name_hash]
                continue
            work.report.add("rebuilt", result.sent)
            work.report.add("rebuilt_bytes", result.bytes)
            return len(result.in_sync) == len(portion)
        return False
