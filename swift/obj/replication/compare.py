"""Telling in few requests which partitions are the same on other nodes (object-disk 16, 18.2).

Own digests are brought up to date here, and each peer is asked about many partitions at a time. Never here: what is done about the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from swift.core.concurrency import GreenPile
from swift.obj.replication.jobs import Holding
from swift.obj.replication.peers import Node, PeerError
from swift.obj.replication.work import Work
from swift.obj.server_replicate import MAX_COMPARED, PER_TRIP
from swift.obj.store import Digest
from swift.telemetry.units import handed_on

COMPARED = 512  # partitions that are compared together, so that each peer is asked about many at a time
LOOK_EACH = 10  # passes in which each partition is once looked through for suffixes that nobody told of
_AT_ONCE = 8  # requests


class Question(NamedTuple):
    """What one node is asked: {partition: the digest that it should have}; `fragments`: of which fragment there, with erasure coding."""

    node: Node
    digests: dict[str, str]
    fragments: dict[str, int]


def own_digests(work: Work, holding: Holding, partitions: list[str], cycle: int) -> dict[str, Digest]:
    """The digest of each partition; none for one where it can't be told. Counts."""
    found: dict[str, Digest] = {}
    groups: dict[bool, list[str]] = {True: [], False: []}
    for partition in partitions:
        groups[(int(partition) + cycle) % LOOK_EACH == 0].append(partition)
    for look_for_new, group in groups.items():
        for at in range(0, len(group), PER_TRIP):
            some = group[at : at + PER_TRIP]
            for partition, digest in zip(some, holding.store.digests(some, look_for_new), strict=True):
                if digest is not None:
                    found[partition] = digest
                    work.hashed(digest.suffixes, digest.hashed, digest.damaged)
    return found


class Questions:
    """What all nodes are to be asked about a list of partitions."""

    def __init__(self) -> None:
        self._by_node: dict[Any, Question] = {}

    def add(self, node: Node, partition: str, digest: str, fragment: int | None = None) -> None:
        """Ask a node whether its partition has this digest."""
        question = self._by_node.get(node["id"])
        if question is None:
            question = self._by_node[node["id"]] = Question(node, {}, {})
        question.digests[partition] = digest
        if fragment is not None:
            question.fragments[partition] = fragment

    def equal(self, work: Work, holding: Holding) -> set[tuple[Any, str]]:
        """(node id, partition) of what is the same there. Whoever cannot say is asked about each partition later."""
        pile = GreenPile(_AT_ONCE)
        for node, digests, fragments in self._by_node.values():
            items = list(digests.items())
            for at in range(0, len(items), MAX_COMPARED):
                some = dict(items[at : at + MAX_COMPARED])
                if len(some) > 1:
                    pile.spawn(handed_on(_ask), work, holding, node, some, fragments)
        return {(node_id, partition) for node_id, partitions in pile for partition in partitions}


def _ask(
    work: Work, holding: Holding, node: Node, digests: dict[str, str], fragments: Mapping[str, int]
) -> tuple[Any, set[str]]:
    try:
        return node["id"], work.peers.equal(node, holding.policy.idx, digests, fragments)
    except PeerError:
        return node["id"], set()  # it shows, and is counted, when it is asked about each
