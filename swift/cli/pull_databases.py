"""Are all accounts or containers of a device also where else they should be? Their servers are told of each what a replicator would tell."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Protocol

from swift.cli.pull_findings import Part, short_reason
from swift.core import clock
from swift.core.concurrency import GreenPool
from swift.db.broker import Broker
from swift.db.devices import is_there
from swift.db.replication import inventory
from swift.db.replication.inventory import SHARDING, Told
from swift.db.replication.peer import (
    Answer,
    Peer,
    Timeouts,
    ask_about_many,
    can_be_asked_about_many,
)
from swift.db.replication.peer_state import from_answer
from swift.engine.threads import DeviceBusy, pool_for
from swift.obj.device_view import Unanswered
from swift.ring.lookup import Ring

AT_ONCE = 8
PAGE = 200  # databases
RECLAIM_AGE = 604800.0
NO_HASH = "0" * 32
AGENT = f"swift-safe-to-pull {os.getpid()}"

Node = Mapping[str, Any]
Page = tuple[list[Told], "tuple[int, str] | None", list[str]]


class DatabaseView(Protocol):
    """A device with databases. Raises Unanswered."""

    def page(self, after: tuple[int, str]) -> Page:
        """As `inventory.told_of`, of what comes behind."""


class RemoteDatabases:
    """Through the server of their kind."""

    def __init__(self, node: Node, timeouts: Timeouts) -> None:
        self._node = node
        self._peer = Peer(node, 0, NO_HASH, timeouts, AGENT)

    def page(self, after: tuple[int, str]) -> Page:
        answer = self._peer.call("inventory", after[0], after[1], PAGE)
        if answer.status in (400, 404, 405, 500) and not self._peer.takes_files:
            raise Unanswered(f"{self._peer} is served by the reference, which can't tell")
        if not answer.is_good:
            raise Unanswered(
                f"{self._peer}: {short_reason(why_not(answer), str(self._peer))}", answer.status == 507
            )
        try:
            return inventory.told_of(answer.document())
        except ValueError as error:
            raise Unanswered(f"{self._peer} answered nonsense: {error}") from None


class LocalDatabases:
    """Through the device's directory. Raises Unanswered unless it is there."""

    def __init__(
        self, root: str, name: str, mount_check: bool, kind: str, make_broker: Callable[[str], Broker]
    ) -> None:
        self._path = os.path.join(root, name)
        self._directory = f"{kind}s"
        self._make_broker = make_broker
        if not pool_for(self._path).run(is_there, self._path, mount_check):
            raise Unanswered(f"{self._path} is not {'mounted' if mount_check else 'there'}")

    def page(self, after: tuple[int, str]) -> Page:
        try:
            document = pool_for(self._path).run_long(
                inventory.page, self._path, self._directory, self._make_broker, after, PAGE
            )
        except (OSError, DeviceBusy) as error:
            raise Unanswered(f"{self._path}: {error}") from None
        return inventory.told_of(document)


class DatabaseCheck:
    """One kind of databases on one device; see `pull_objects.ObjectCheck`, also for `only`."""

    def __init__(
        self,
        part: Part,
        view: DatabaseView,
        ring: Ring,
        own: Node | None,
        pulled: frozenset[int],
        timeouts: Timeouts,
        only: Container[int] | None = None,
    ) -> None:
        self.part = part
        self.view = view
        self.ring = ring
        self.own = own
        self.pulled = pulled
        self.timeouts = timeouts
        self.only = only
        self._now = clock.time()

    def run(self) -> None:
        """Count what there is and all problems. Raises nothing that concerns disks or nodes."""
        after: tuple[int, str] | None = (-1, "")
        try:
            while after is not None:
                found, after, aside = self.view.page(after)
                self._check(found)
                if self.only is None:
                    self._check_set_aside(aside)
        except Unanswered as error:
            self.part.problem("not-told", why=str(error))

    def _check(self, found: Sequence[Told]) -> None:
        asked: dict[int, tuple[Node, list[Told]]] = {}
        for told in found:
            if self.only is not None and int(told.name_hash[:8], 16) >> self.ring.part_shift not in self.only:
                continue
            self.part.checked += 1
            if told.state is None:
                self.part.problem("unread", why=told.fault)
                continue
            if inventory.is_long_deleted(told, self._now - RECLAIM_AGE):
                continue
            partition = self.ring.get_part(*told.names)
            primaries = self.ring.get_part_nodes(partition)
            if self.own is None or all(node["id"] != self.own["id"] for node in primaries):
                self.part.guests += 1
            others = [node for node in primaries if node["id"] not in self.pulled]
            if not others:
                self.part.problem("alone", example=_name(told))
            if told.db_state == SHARDING:
                self.part.problem("sharding", example=_name(told))
            for node in others:
                if self.own is not None and node["id"] == self.own["id"]:
                    continue  # it stays, and has what it has
                asked.setdefault(node["id"], (node, []))[1].append(told)
        pool = GreenPool(AT_ONCE)
        for peer, replicas in asked.values():
            pool.spawn_n(self.part.guarded, self._ask, peer, replicas)
        pool.waitall()

    def _ask(self, node: Node, replicas: Sequence[Told]) -> None:
        answers: Sequence[Answer] = ()
        if len(replicas) > 1 and can_be_asked_about_many(node):
            questions = [[self._part_of(told), told.name_hash, *told.arguments] for told in replicas]
            answers = ask_about_many(node, questions, self.timeouts, AGENT)
        for number, told in enumerate(replicas):
            peer = Peer(node, self._part_of(told), told.name_hash, self.timeouts, AGENT)
            answer = answers[number] if answers else peer.call("sync", *told.arguments)
            self._judge(peer, told, answer)

    def _part_of(self, told: Told) -> int:
        return self.ring.get_part(*told.names)

    def _judge(self, peer: Peer, told: Told, answer: Answer) -> None:
        if answer.status == 404:
            assert told.state is not None
            self.part.problem("lacks", str(peer), example=_name(told), items=max(told.state.max_row, 0))
            return
        if not answer.is_good:
            self.part.problem("no-answer", str(peer), why=short_reason(why_not(answer), str(peer)))
            return
        try:
            document = answer.document()
            theirs = from_answer(document)
            point = document.get("point", -1)
            rows = inventory.rows_missing(told, theirs, point if type(point) is int else -1)
            if rows or not inventory.knows_all_but_rows(told, theirs):
                self.part.problem("lacks", str(peer), example=_name(told), items=rows)
            elif told.ranges and not self._knows_ranges(peer, told):
                self.part.problem("sharding", str(peer), example=_name(told))
        except ValueError as error:
            self.part.problem("no-answer", str(peer), why=str(error)[:200])

    def _knows_ranges(self, peer: Peer, told: Told) -> bool:
        answer = peer.call("get_shard_ranges")
        if not answer.is_good:
            return False
        ranges = answer.document()
        return isinstance(ranges, list) and inventory.knows_ranges(told.ranges, ranges)

    def _check_set_aside(self, entries: Sequence[str]) -> None:
        """A database in quarantine may go if one of its others is there: its own rows can't be trusted to be told of."""
        for entry in entries:
            name_hash = entry[:32]
            if len(name_hash) != 32 or set(name_hash) - set("0123456789abcdef"):
                continue
            partition = int(name_hash[:8], 16) >> self.ring.part_shift
            others = [n for n in self.ring.get_part_nodes(partition) if n["id"] not in self.pulled]
            if not any(self._is_there(node, partition, name_hash) for node in others):
                self.part.problem("set-aside", example=name_hash, items=1)

    def _is_there(self, node: Node, partition: int, name_hash: str) -> bool:
        # the mildest call there is: nothing is learned from it, and it is refused where there is no replica
        return Peer(node, partition, name_hash, self.timeouts, AGENT).call("merge_syncs", []).is_good


def _name(told: Told) -> str:
    return "/".join(told.names) or told.name_hash


def why_not(answer: Answer) -> str:
    """What went wrong with a call."""
    if not answer.status:
        return answer.body.decode("utf-8", "replace")[:200]
    return f"it answered {answer.status}"
