"""Is all that a device has of one policy's objects also where else it should be? Asked of the other nodes by what replication says.

Each object is offered to the other node, as a replicator would, and nothing is sent: what it would take it lacks. So the answer does not depend
on which implementation is asked. Quickly, only those suffixes are looked at whose hashes differ.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from swift.cli.pull_findings import Part, short_reason
from swift.core import clock
from swift.core.concurrency import GreenPool, sleep
from swift.core.policy import ErasurePolicy, StoragePolicy
from swift.obj.device_view import DeviceView, Unanswered
from swift.obj.files.partitions import digest
from swift.obj.inventory import Contents
from swift.obj.replication.peers import PeerError, Peers, name_of
from swift.obj.ssync.sender import MOST_OFFERED, Busy, Options, Session, SyncError
from swift.obj.store import RECLAIM_AGE, Item, SetAside, Times
from swift.ring.lookup import Ring
from swift.wire.direct import DirectError, head_object

AT_ONCE = 8
COMPARED = 32  # partitions, whose hashes are held in memory
SUFFIXES_AT_ONCE = 64
BUSY_TRIES = 20
BUSY_SECONDS = 1.5
MOST_WAITS = 32  # for what may be on its way; more than that is missing
ON_ITS_WAY_SECONDS = 2.0  # that the writes of one object to all its nodes may be apart
NO_PREFERENCE = {"X-Backend-Fragment-Preferences": "[]", "X-Backend-Open-Expired": "true"}

Node = Mapping[str, Any]
Offer = tuple[str, Times]


class _Policy(NamedTuple):
    """What a session needs of a store when nothing is sent."""

    policy: StoragePolicy


class ObjectCheck:
    """One policy on one device. `own`: the device's entry in the ring, None if it has none; `pulled`: ids of all devices that go.

    `quick`: suffix hashes are believed, as replication does; otherwise each object is asked about. `tell(done, total)`: called now and then.
    `only`: partitions that are asked about, for a device that stays; nothing else of it counts then.
    """

    def __init__(
        self,
        part: Part,
        view: DeviceView,
        policy: StoragePolicy,
        ring: Ring,
        own: Node | None,
        pulled: frozenset[int],
        peers: Peers,
        quick: bool = False,
        tell: Callable[[int, int], None] = lambda done, total: None,
        only: Container[int] | None = None,
    ) -> None:
        self.part = part
        self.view = view
        self.policy = policy
        self.ring = ring
        self.own = own
        self.pulled = pulled
        self.peers = peers
        self.quick = quick
        self.tell = tell
        self.only = only
        self.options = Options(peers.conn_timeout, peers.node_timeout, peers.http_timeout)
        self._now = clock.time()
        self._waited = 0

    def run(self) -> None:
        """Count what there is and all problems. Raises nothing that concerns disks or nodes."""
        try:
            contents = self.view.contents(self.policy)
        except Unanswered as error:
            self.part.problem("not-told", why=str(error))
            return
        if self.ring.next_part_power is not None:
            self.part.problem("growing")
        partitions = contents.partitions
        if self.only is None:
            self._check_beside(contents)
        else:
            partitions = [partition for partition in partitions if partition in self.only]
        for at in range(0, len(partitions), COMPARED):
            self.tell(at, len(partitions))
            self._check_some(partitions[at : at + COMPARED])

    def _check_beside(self, contents: Contents) -> None:
        """What there is beside the partitions."""
        if contents.waiting:
            self.part.problem("waiting", items=contents.waiting)
        for name in contents.unknown:
            self.part.problem("unknown", example=name)
        self._check_set_aside(contents.set_aside)
        if contents.more_set_aside:
            self.part.problem("not-told", why="there is too much in quarantine")

    # ------------------------------------------------------------ partitions

    def _check_some(self, partitions: Sequence[int]) -> None:
        pool = GreenPool(AT_ONCE)
        found: dict[int, dict[str, Any]] = {}
        for partition in partitions:
            pool.spawn_n(self.part.guarded, self._look, partition, found)
        pool.waitall()
        same = self._same(found) if self.quick else set()
        for partition, hashes in found.items():
            for node in self._others(partition):
                if (node["id"], partition) not in same and not self._is_own(node):
                    pool.spawn_n(self.part.guarded, self._compare, partition, hashes, node)
        pool.waitall()

    def _look(self, partition: int, found: dict[int, dict[str, Any]]) -> None:
        try:
            hashes = (
                self.view.hashes(self.policy, partition)
                if self.quick
                else dict.fromkeys(self.view.suffixes(self.policy, partition), "")
            )
        except Unanswered as error:
            self.part.problem("unread", why=str(error))
            return
        if not hashes:
            return
        self.part.checked += 1
        nodes = self.ring.get_part_nodes(partition)
        if not nodes:
            self.part.problem("no-partition", example=str(partition))
            return
        if not self._is_home(partition):
            self.part.guests += 1
        if any(value is None for value in hashes.values()):
            self.part.problem("unread", why="some of its files are damaged")
        self._count_others(partition)
        found[partition] = hashes

    def _is_home(self, partition: int) -> bool:
        return self.own is not None and any(
            node["id"] == self.own["id"] for node in self.ring.get_part_nodes(partition)
        )

    def _is_own(self, node: Node) -> bool:
        return self.own is not None and node["id"] == self.own["id"]

    def _others(self, partition: int) -> list[Node]:
        """The primaries that stay."""
        return [node for node in self.ring.get_part_nodes(partition) if node["id"] not in self.pulled]

    def _count_others(self, partition: int) -> None:
        others = self._others(partition)
        if not isinstance(self.policy, ErasurePolicy):
            if not others:
                self.part.problem("alone", example=f"partition {partition}")
            return
        left = {self.policy.fragment_of(node["index"]) for node in others}
        if len(left) < self.policy.codec.data:
            why = f"{len(left)} fragments, and {self.policy.codec.data} are needed"
            self.part.problem("too-few", why=why)

    def _same(self, found: Mapping[int, dict[str, Any]]) -> set[tuple[int, int]]:
        """(node id, partition) of those that our servers know to be the same: asked about many at a time."""
        if isinstance(self.policy, ErasurePolicy):
            return set()  # each node has other fragments
        asked: dict[int, tuple[Node, dict[str, str]]] = {}
        for partition, hashes in found.items():
            value = digest(hashes)
            if value is not None:
                for node in self._others(partition):
                    asked.setdefault(node["id"], (node, {}))[1][str(partition)] = value
        same: set[tuple[int, int]] = set()
        pool = GreenPool(AT_ONCE)
        for node, digests in asked.values():
            pool.spawn_n(self.part.guarded, self._ask_many, node, digests, same)
        pool.waitall()
        return same

    def _ask_many(self, node: Node, digests: Mapping[str, str], same: set[tuple[int, int]]) -> None:
        try:
            equal = self.peers.equal(node, self.policy.idx, digests)
        except PeerError:
            return  # it shows when it is asked about each
        same.update((node["id"], int(partition)) for partition in equal)

    def _compare(self, partition: int, hashes: Mapping[str, Any], node: Node) -> None:
        try:
            suffixes = sorted(hashes)
            if self.quick:
                theirs = self.peers.hashes(node, self.policy.idx, str(partition))
                suffixes = [suffix for suffix in suffixes if self._differs(suffix, hashes, theirs, node)]
            lacking = list(self._lacking(partition, suffixes, node))
        except PeerError as error:
            self._no_answer(node, str(error))
        except SyncError as error:
            self._no_answer(node, str(error))
        except Unanswered as error:
            self.part.problem("unread", why=str(error))
        else:
            if lacking:
                example = f"{lacking[0]} of partition {partition}"
                self.part.problem("lacks", name_of(node), example=example, items=len(lacking))

    def _no_answer(self, node: Node, why: str) -> None:
        self.part.problem("no-answer", name_of(node), why=short_reason(why, name_of(node)))

    def _differs(self, suffix: str, ours: Mapping[str, Any], theirs: Mapping[Any, Any], node: Node) -> bool:
        mine, other = ours[suffix], theirs.get(suffix)
        if mine is None or not isinstance(self.policy, ErasurePolicy):
            return mine is None or mine != other
        if not isinstance(mine, dict) or not isinstance(other, dict) or self.own is None:
            return True
        indexes = [index for index in mine if index is not None]
        if len(indexes) > 1 or mine.get(None) != other.get(None):
            return True
        # the value is made of times alone: the same for another fragment of the same objects
        there = other.get(self.policy.fragment_of(node["index"]))
        return there != (mine[indexes[0]] if indexes else None)

    # ------------------------------------------------------------ objects

    def _lacking(self, partition: int, suffixes: Sequence[str], node: Node) -> Iterator[str]:
        """Hashes of what is here and not there. Raises SyncError, Unanswered."""
        for items in self._listed(partition, suffixes):
            offers = list(self._offers(partition, items))
            for start in range(0, len(offers), MOST_OFFERED):
                some = offers[start : start + MOST_OFFERED]
                missing = self._not_there(partition, some, node)
                if missing and self._waited >= MOST_WAITS:
                    yield from sorted(missing)
                elif missing:
                    self._waited += 1
                    # it may be on its way there just now
                    sleep(ON_ITS_WAY_SECONDS)
                    again = [offer for offer in some if offer[0] in missing]
                    yield from sorted(self._not_there(partition, again, node))

    def _listed(self, partition: int, suffixes: Sequence[str]) -> Iterator[list[Item]]:
        """What is here in these suffixes, as many at a time as one answer holds. Raises Unanswered."""
        left = [
            list(suffixes[at : at + SUFFIXES_AT_ONCE]) for at in range(0, len(suffixes), SUFFIXES_AT_ONCE)
        ]
        left.reverse()
        while left:
            some = left.pop()
            items, more = self.view.items(self.policy, partition, some)
            if not more:
                yield items
            elif len(some) > 1:
                half = len(some) // 2
                left += [some[half:], some[:half]]
            else:
                raise Unanswered(f"suffix {some[0]} of partition {partition} holds too many objects to tell")

    def _offers(self, partition: int, items: Iterable[Item]) -> Iterator[Offer]:
        for item in items:
            times = item.times
            if times is not None and not (times.deleted and float(times.data[:16]) < self._now - RECLAIM_AGE):
                yield item.name_hash, times
            newest = max((time for time, _ in item.unfinished), default="")
            if newest and self._is_durable_elsewhere(partition, item, newest):
                yield item.name_hash, Times(newest, durable=False)

    def _is_durable_elsewhere(self, partition: int, item: Item, time: str) -> bool:
        """A fragment that is not known durable counts if others know better; otherwise the write was never acknowledged."""
        if item.name is None:
            return True
        account, container, obj = item.name[1:].split("/", 2)
        headers = {**NO_PREFERENCE, "X-Backend-Storage-Policy-Index": str(self.policy.idx)}
        for node in self._others(partition):
            try:
                found = head_object(node, partition, account, container, obj, headers=headers)
            except DirectError as error:
                if error.http_status is None:
                    return True  # who can't be asked may know it
                continue
            if found.get("X-Backend-Durable-Timestamp", "") >= time:
                return True
        return False

    def _not_there(self, partition: int, offers: Sequence[Offer], node: Node) -> set[str]:
        """Of what was offered. Raises SyncError."""
        if not offers:
            return set()
        fragment = None
        if isinstance(self.policy, ErasurePolicy):
            fragment = self.policy.fragment_of(node["index"])
        durable = [offer for offer in offers if offer[1].durable]
        rest = [offer for offer in offers if not offer[1].durable]
        missing: set[str] = set()
        for some, with_nondurable in ((durable, False), (rest, True)):
            if some:
                there = self._check_only(partition, some, node, fragment, with_nondurable)
                missing |= {name_hash for name_hash, _ in some} - there
        return missing

    def _check_only(
        self, partition: int, offers: Sequence[Offer], node: Node, fragment: int | None, nondurable: bool
    ) -> set[str]:
        for attempt in range(BUSY_TRIES):
            session = Session(
                _Policy(self.policy),  # type: ignore[arg-type]
                node,
                str(partition),
                self.options,
                fragment,
                with_nondurable=nondurable,
            )
            try:
                return set(session.run(offers, check_only=True).in_sync)
            except Busy:
                if attempt == BUSY_TRIES - 1:
                    raise
                sleep(clock.uniform(BUSY_SECONDS / 3, BUSY_SECONDS))
        raise AssertionError("not reached")

    # ------------------------------------------------------------ quarantine

    def _check_set_aside(self, found: Sequence[SetAside]) -> None:
        """What is in quarantine may go if it is whole elsewhere: one whole copy, or fragments enough."""
        by_partition: dict[int, list[Item]] = {}
        for entry in found:
            if entry.item is not None:
                partition = int(entry.item.name_hash[:8], 16) >> self.ring.part_shift
                by_partition.setdefault(partition, []).append(entry.item)
        pool = GreenPool(AT_ONCE)
        for partition, items in by_partition.items():
            pool.spawn_n(self.part.guarded, self._check_set_aside_of, partition, items)
        pool.waitall()

    def _check_set_aside_of(self, partition: int, items: Sequence[Item]) -> None:
        offers = dict(self._offers(partition, items))
        there: dict[str, set[int]] = {name_hash: set() for name_hash in offers}
        for node in self._others(partition):
            if not offers:
                break
            try:
                missing = self._not_there(partition, list(offers.items()), node)
            except SyncError:
                continue
            index = 0
            if isinstance(self.policy, ErasurePolicy):
                index = self.policy.fragment_of(node["index"])
            for name_hash in offers.keys() - missing:
                there[name_hash].add(index)
        needed = self.policy.codec.data if isinstance(self.policy, ErasurePolicy) else 1
        lost = sorted(name_hash for name_hash, having in there.items() if len(having) < needed)
        if lost:
            self.part.problem("set-aside", example=lost[0], items=len(lost))
