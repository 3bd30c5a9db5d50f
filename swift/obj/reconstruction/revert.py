"""Giving back what belongs to other nodes: fragments to the primaries that have their index, tombstones to enough of them (object-disk 19.4).

Removed is only what was named by its times and is known to be there: never a whole directory, and nothing that came meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing

from swift.core import clock
from swift.core.errors import LockTimeout
from swift.engine.fault_points import fault_point
from swift.obj.errors import ObjectError
from swift.obj.reconstruction.work import RebuildWork, own_position, policy_of
from swift.obj.replication.jobs import Holding
from swift.obj.replication.peers import Node
from swift.obj.replication.push import Offer
from swift.obj.replication.revert import lock_for_revert
from swift.obj.ssync.sender import BrokenOff, SyncError, in_portions

MOST_BROKEN = 20  # objects of one portion that could not be sent to their end


def revert(work: RebuildWork, holding: Holding, partition: str) -> bool:
    """Give back what a partition has of other nodes; True if nothing of it is left. Counts; raises nothing that concerns one partition."""
    started = clock.monotonic()
    nodes = holding.ring.get_part_nodes(int(partition))
    gone = False
    try:
        with closing(lock_for_revert(holding, partition)):
            gone = _Revert(work, holding, partition, nodes).run()
    except LockTimeout:
        work.metrics.increment("partition.lock-failure.count")
        work.logger.info("Unable to lock handoff partition %s of %s", partition, holding.device["device"])
    except (ObjectError, OSError) as error:
        work.report.fail([holding.device])
        work.logger.error("ERROR reverting partition %s: %s", partition, error)
    if gone:
        work.metrics.increment(f"partition.delete.count.{holding.device['device']}")
    else:
        work.report.guests_left += 1
    work.metrics.timing("partition.delete.timing", (clock.monotonic() - started) * 1000)
    work.progress()
    return gone


class _Revert:
    def __init__(self, work: RebuildWork, holding: Holding, partition: str, nodes: tuple[Node, ...]) -> None:
        self.work = work
        self.holding = holding
        self.partition = partition
        self.nodes = nodes
        self.policy = policy_of(holding)
        self.position = own_position(holding, nodes)

    def run(self) -> bool:
        """True if nothing is left that belongs elsewhere. Raises ObjectError, LockTimeout, OSError."""
        store = self.holding.store
        found = store.suffix_hashes(self.partition, look_for_new=True)
        self.work.hashed(len(found.hashes), found.hashed, found.damaged)
        suffixes: dict[int | None, list[str]] = {}
        unknown = False
        for suffix, value in sorted(found.hashes.items()):
            if not isinstance(value, dict):
                unknown = True
                continue
            for index in value:
                suffixes.setdefault(index, []).append(suffix)
        others = suffixes.pop(None, [])
        if self.position is not None:
            suffixes.pop(self.policy.fragment_of(self.position), None)
        gone = not unknown
        for index in suffixes:
            assert index is not None
            gone = self._give_back(index, suffixes[index]) and gone
        if self.position is not None:
            return gone
        if others:
            gone = self._spread_tombstones(others) and gone
        return store.drop_partition(self.partition) and gone

    # ------------------------------------------------------------ fragments

    def _give_back(self, index: int, suffixes: list[str]) -> bool:
        """True if all fragments with this index are at their primaries, and gone here."""
        targets = [node for node in self.nodes if self.policy.fragment_of(node["index"]) == index]
        most = self.work.options.max_objects_per_revert
        whole = True
        given = 0
        # a durable fragment may stand behind a newer one that is not: neither is offered in the place of the other
        for only_durable in (True, False):
            offers = self._offers(index, suffixes, only_durable)
            for portion in in_portions(offers):
                if most:
                    if given >= most:
                        return False
                    whole = whole and len(portion) <= most - given
                    portion = portion[: most - given]
                    given += len(portion)
                whole = self._give_portion(index, portion, targets, not only_durable) and whole
                self.work.progress()
        return whole

    def _offers(self, index: int, suffixes: list[str], only_durable: bool) -> Iterator[Offer]:
        for name_hash, times in self.holding.store.hashes(self.partition, suffixes, index, only_durable):
            if not times.deleted and times.durable == only_durable:
                yield name_hash, times

    def _give_portion(
        self, index: int, portion: list[Offer], targets: list[Node], with_nondurable: bool
    ) -> bool:
        safe = portion
        for node in targets:
            having = self._having(node, safe, index, with_nondurable)
            safe = [offer for offer in safe if offer[0] in having]
            if not safe:
                return False
        store = self.holding.store
        fault_point("revert:safe")
        gone = 0
        for name_hash, times in safe:
            place = store.locate(self.partition, name_hash, None)
            # of what is not durable it is only known that it was taken away where nothing is left: it may be too young for it
            gone += store.purge(place, times, index) or times.durable
        self.work.report.add("reverted", gone)
        return gone == len(portion)

    def _having(
        self, node: Node, portion: list[Offer], index: int | None, with_nondurable: bool = False
    ) -> set[str]:
        """Which of the objects a node has by now, as far as it is known; it is sent what it lacks."""
        work = self.work
        suffixes = len({name_hash[-3:] for name_hash, _ in portion})
        work.report.add("rsync")
        work.report.add("suffix_sync", suffixes)
        work.metrics.update_stats("suffix.syncs", suffixes)
        left = portion
        for _ in range(MOST_BROKEN):
            try:
                result = work.sessions.run(
                    self.holding.store,
                    node,
                    self.partition,
                    left,
                    fragment=index,
                    frag_index=index,
                    with_nondurable=with_nondurable,
                )
            except BrokenOff as error:
                work.logger.error("ERROR reverting partition %s: %s", self.partition, error)
                left = [offer for offer in left if offer[0] != error.name_hash]
                continue
            except SyncError as error:
                work.report.fail([node])
                work.logger.error("ERROR reverting partition %s: %s", self.partition, error)
                break
            return set(result.in_sync)
        return set()

    # ------------------------------------------------------------ tombstones

    def _spread_tombstones(self, suffixes: list[str]) -> bool:
        """True if so many primaries have each tombstone that no object can be made of what the others have, and it is gone here."""
        policy, store = self.policy, self.holding.store
        enough = policy.codec.total * policy.duplication - policy.codec.data + 1
        nodes = list(self.nodes)
        clock.shuffle(nodes)
        whole = True
        everything = store.hashes(self.partition, suffixes, only_durable=True)
        offers = (offer for offer in everything if offer[1].deleted)
        for portion in in_portions(offers):
            having: Counter[str] = Counter()
            reached = 0
            for node in nodes:
                found = self._having(node, portion, None)
                having.update(found)
                reached += bool(found)
                if reached >= enough:
                    break
            safe = [offer for offer in portion if having[offer[0]] >= enough]
            fault_point("revert:safe")
            for name_hash, times in safe:
                store.purge(store.locate(self.partition, name_hash, None), times)
            self.work.report.add("reverted", len(safe))
            whole = whole and len(safe) == len(portion)
            self.work.progress()
        return whole
