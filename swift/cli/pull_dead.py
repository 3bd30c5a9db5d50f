"""May a disk go that can't be read any more? All other devices are asked for what they have of its partitions: it must be the same.

What was acknowledged is on more than one device, so on one of those that are left. Where each device that is left has all that any of them
has, nothing hangs on the dead one. What it held as a guest, what waited on it and its quarantine can't be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from swift.cli.cluster import ACCOUNT, CONTAINER, Cluster, Node, Target
from swift.cli.pull_databases import DatabaseCheck
from swift.cli.pull_findings import Part, short_reason
from swift.cli.pull_objects import ObjectCheck
from swift.cli.pull_views import Here, database_view, object_view
from swift.core.policy import StoragePolicy
from swift.db.replication.peer import Timeouts
from swift.obj.device_view import Unanswered
from swift.obj.replication.peers import Peers, name_of
from swift.ring.lookup import Ring


class DeadCheck:
    """One device. `pulled(ring)`: ids of all devices that go; `quick`: as for `ObjectCheck`."""

    def __init__(
        self,
        cluster: Cluster,
        target: Target,
        pulled: Callable[[str], frozenset[int]],
        peers: Peers,
        timeouts: Timeouts,
        here: Here,
        quick: bool,
    ) -> None:
        self.cluster = cluster
        self.target = target
        self.pulled = pulled
        self.peers = peers
        self.timeouts = timeouts
        self.here = here
        self.quick = quick

    def databases(self, part: Part, kind: str) -> None:
        """`kind`: account or container. Counts into `part`, as all here."""
        assert kind in (ACCOUNT, CONTAINER)
        ring, only = self._partitions(kind)
        for node, other in self._others(kind, only):
            try:
                view = database_view(self.cluster, other, kind, self.timeouts, self.here)
            except Unanswered as error:
                _no_answer(part, node, error)
                continue
            if view is not None:
                DatabaseCheck(part, view, ring, node, self.pulled(kind), self.timeouts, only).run()

    def objects(self, part: Part, policy: StoragePolicy) -> None:
        """Of one policy."""
        name = policy.ring_name
        ring, only = self._partitions(name)
        for node, other in self._others(name, only):
            try:
                view = object_view(self.cluster, other, policy, self.peers, self.here)
            except Unanswered as error:
                _no_answer(part, node, error)
                continue
            if view is not None:
                pulled = self.pulled(name)
                ObjectCheck(part, view, policy, ring, node, pulled, self.peers, self.quick, only=only).run()

    def _partitions(self, ring_name: str) -> tuple[Ring, frozenset[int]]:
        """The ring, and those of its partitions that the device has a copy of."""
        ring, own = self.cluster.rings[ring_name], self.target.nodes.get(ring_name)
        if own is None:
            return ring, frozenset()
        return ring, frozenset(
            partition
            for partition in range(ring.partition_count)
            if any(node["id"] == own["id"] for node in ring.get_part_nodes(partition))
        )

    def _others(self, ring_name: str, only: frozenset[int]) -> Iterator[tuple[Node, Target]]:
        """All devices that stay: their primaries, and whoever may keep something for them."""
        if not only:
            return
        gone = self.pulled(ring_name)
        for node in self.cluster.rings[ring_name].devs:
            if node is not None and node["id"] not in gone:
                yield node, Target(node["ip"], node["device"], {ring_name: node})


def _no_answer(part: Part, node: Node, error: Unanswered) -> None:
    part.problem("no-answer", name_of(node), why=short_reason(str(error), name_of(node)))
