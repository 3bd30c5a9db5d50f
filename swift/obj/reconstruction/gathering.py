"""Fragment archives of one object, from the nodes that should have them (object-disk 19.3).

Who is asked, and which answers are of this object. What the fragments say is not looked at here: see `rebuild`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

from swift.core.concurrency import GreenPile
from swift.core.object_headers import EC_ETAG, EC_INDEX, EC_LENGTH
from swift.core.timestamp import internal_timestamp
from swift.obj.reconstruction.work import RebuildWork, policy_of
from swift.obj.replication.jobs import Holding
from swift.obj.replication.peers import Node, name_of
from swift.telemetry.units import transaction_headers
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError, BackendResponse, header_block

_EC_ETAG, _EC_INDEX, _EC_LENGTH = EC_ETAG.lower(), EC_INDEX.lower(), EC_LENGTH.lower()
MAX_FAILURES = 2  # of one node, for one object
MAX_ASKED = 3  # times in one search: a node may have several fragments
MAX_FRAGMENTS_HEADER = 65536  # characters


class Wanted(NamedTuple):
    """The object whose fragments are looked for. `timestamp`: internal form; `etag`, `length`: of the object; `archive`: bytes of each archive."""

    partition: str
    name: str
    timestamp: str
    etag: str
    length: int
    archive: int


class Said(NamedTuple):
    """What a node answered. `status`: 0 for nothing. `timestamp`: of what is there; `indexes`: of its fragments of this object."""

    node: Node
    status: int
    timestamp: str
    indexes: frozenset[int] = frozenset()


class Archive:
    """The fragments with one index, in order, as a node sends them."""

    def __init__(self, node: Node, response: BackendResponse, index: int, timeout: float) -> None:
        self.node = node
        self.index = index
        self._response = response
        response.set_timeout(timeout)

    def __str__(self) -> str:
        return f"fragment #{self.index} of {name_of(self.node)}"

    def fragment(self, size: int) -> bytes:
        """The next one. Raises BackendError."""
        buffer = bytearray(size)
        view = memoryview(buffer)
        done = 0
        while done < size:
            count = self._response.read_into(view[done:])
            if not count:
                raise BackendError("the archive ended early")
            done += count
        return bytes(buffer)

    def close(self) -> None:
        """Give the connection back if nothing more comes over it."""
        if self._response.remaining:
            self._response.close()
        else:
            self._response.release()


class Gathering:
    """The search for fragments of one object other than `target`, on all nodes but the one that lacks it and this one."""

    def __init__(
        self,
        work: RebuildWork,
        holding: Holding,
        wanted: Wanted,
        target: int,
        own_index: int,
        lacking: Node,
    ) -> None:
        self.work = work
        self.holding = holding
        self.wanted = wanted
        self.target = target
        self.own_index = own_index
        self.said: dict[Any, Said] = {}  # by node, the last thing
        self._failures: dict[Any, int] = {}
        self._policy = policy_of(holding)
        self.data = self._policy.codec.data
        self._left_out = {lacking["id"], holding.device["id"]}
        self._path = f"/{wanted.partition}{quote(wanted.name, errors='surrogateescape')}"
        self._nodes = self._in_order()
        self._handoffs: Iterator[Node] | None = None

    def _in_order(self) -> list[Node]:
        """Primaries; those with data fragments first, of which segments are made by joining them."""
        ring, policy = self.holding.ring, self._policy
        nodes = [
            node
            for node in ring.get_part_nodes(int(self.wanted.partition))
            if node["id"] not in self._left_out
        ]
        return sorted(nodes, key=lambda node: policy.fragment_of(node["index"]) >= policy.codec.data)

    def distrust(self, node: Node) -> None:
        """What this node has of the object is wrong: it is asked no more."""
        self._failures[node["id"]] = MAX_FAILURES

    def failed(self, node: Node) -> None:
        """This node broke off."""
        self._failures[node["id"]] = self._failures.get(node["id"], 0) + 1

    def take(self, count: int, in_use: set[int], start: int = 0) -> list[Archive]:
        """At most so many archives with indexes that are not in use, which they are then, from byte `start` on; fewer if there are no more."""
        found: list[Archive] = []
        asked: dict[Any, int] = {}
        while len(found) < count:
            nodes = self._next(count - len(found), asked, in_use)
            if not nodes:
                break
            for node in nodes:
                asked[node["id"]] = asked.get(node["id"], 0) + 1
            for archive in self._ask(nodes, in_use, start):
                if archive.index in in_use or len(found) == count:
                    archive.close()
                else:
                    in_use.add(archive.index)
                    found.append(archive)
        return found

    def _next(self, count: int, asked: dict[Any, int], in_use: set[int]) -> list[Node]:
        """Whom to ask now: those that are not known to have nothing else than what is in use."""
        usable = [
            node
            for node in self._nodes
            if asked.get(node["id"], 0) < MAX_ASKED
            and self._failures.get(node["id"], 0) < MAX_FAILURES
            and self._may_have(node, in_use)
        ]
        if usable:
            return usable[:count]
        handoff = self._next_handoff()
        while handoff is not None:
            self._nodes.append(handoff)
            if handoff["id"] not in self._left_out:
                return [handoff]
            handoff = self._next_handoff()
        return []

    def _may_have(self, node: Node, in_use: set[int]) -> bool:
        said = self.said.get(node["id"])
        return said is None or bool(said.indexes - in_use - {self.target})

    def _next_handoff(self) -> Node | None:
        ring = self.holding.ring
        if len(self._nodes) + 2 >= self.work.options.request_node_count(int(ring.replica_count)):
            return None
        if self._handoffs is None:
            self._handoffs = iter(ring.get_more_nodes(int(self.wanted.partition)))
        return next(self._handoffs, None)

    # ------------------------------------------------------------ asking

    def _ask(self, nodes: list[Node], in_use: set[int], start: int) -> list[Archive]:
        calls = [(node, self._call(node, self._headers(node, in_use, start))) for node in nodes]
        self._send(calls)
        found = []
        for node, call in calls:
            archive = self._answer(node, call, start)
            if archive is not None:
                found.append(archive)
        return found

    def _headers(self, node: Node, in_use: set[int], start: int) -> bytes:
        said = self.said.get(node["id"])
        exclude = [] if said is None else sorted(said.indexes & (in_use | {self.target}))
        headers = [
            ("X-Backend-Storage-Policy-Index", str(self._policy.idx)),
            ("X-Backend-Replication", "True"),
            (
                "X-Backend-Fragment-Preferences",
                json.dumps([{"timestamp": self.wanted.timestamp, "exclude": exclude}]),
            ),
            ("User-Agent", f"obj-reconstructor {os.getpid()}"),
            *transaction_headers(),
        ]
        if start:
            headers.append(("Range", f"bytes={start}-"))
        return header_block(headers)

    def _call(self, node: Node, block: bytes) -> BackendCall:
        options = self.work.options
        return BackendCall(
            node["replication_ip"],
            int(node["replication_port"]),
            "GET",
            f"/{quote(node['device'], '')}{self._path}",
            block,
            conn_timeout=options.conn_timeout,
            timeout=options.node_timeout,
        )

    @staticmethod
    def _send(calls: list[tuple[Node, BackendCall]]) -> None:
        """Only connections are waited for, all at a time; who can't be reached has no connection afterwards."""
        pile = None
        for _, call in calls:
            try:
                sent = call.send_idle()
            except BackendError:
                sent = False
            if not sent:
                if pile is None:
                    pile = GreenPile(len(calls))
                pile.spawn(_send_fresh, call)
        if pile is not None:
            for _ in pile:
                pass

    def _answer(self, node: Node, call: BackendCall, start: int) -> Archive | None:
        if call.conn is None:
            self._note(Said(node, 0, ""))
            return None
        try:
            response = call.response()
        except BackendError as error:
            self.work.logger.debug("%s: %s", name_of(node), error)
            self._note(Said(node, 0, ""))
            return None
        timestamp = _timestamp_of(response)
        index = self._index_in(response, start) if response.status in (200, 206) else None
        if index is not None and not self._is_same_object(response, timestamp):
            index = None
        indexes: set[int] = set()
        if index is not None:
            indexes = {index, *_fragments_in(response, timestamp)}
        self._note(Said(node, response.status, timestamp, frozenset(indexes)))
        if index is None or index == self.target:
            _let_go(response)
            return None
        return Archive(node, response, index, self.work.options.node_timeout)

    def _note(self, said: Said) -> None:
        if not said.status:
            self.failed(said.node)
        self.said[said.node["id"]] = said

    def _index_in(self, response: BackendResponse, start: int) -> int | None:
        """Which fragments it brings; None for something that is no archive of this object's length."""
        text = response.get(_EC_INDEX) or ""
        if not (
            text.isascii() and text.isdigit() and len(text) < 10 and int(text) < self._policy.codec.total
        ):
            return None
        if response.content_length != self.wanted.archive - start:
            return None
        return int(text)

    def _is_same_object(self, response: BackendResponse, timestamp: str) -> bool:
        wanted = self.wanted
        if timestamp != wanted.timestamp:
            return False
        length = response.get(_EC_LENGTH, str(wanted.length))
        if response.get(_EC_ETAG) == wanted.etag and length == str(wanted.length):
            return True
        self.work.logger.error("%s: fragments of different objects at %s", wanted.name, timestamp)
        return False


def _send_fresh(call: BackendCall) -> None:
    try:
        call.send_fresh()
    except BackendError:
        call.close()


def _timestamp_of(response: BackendResponse) -> str:
    """Of what is there, in internal form; '' if it is not said."""
    for name in ("x-backend-data-timestamp", "x-backend-timestamp", "x-timestamp"):
        value = response.get(name)
        if value:
            try:
                return internal_timestamp(value)
            except ValueError:
                return ""
    return ""


def _fragments_in(response: BackendResponse, timestamp: str) -> list[int]:
    """The indexes of all fragments that are there at that time, as far as it says so."""
    text = response.get("x-backend-fragments")
    if not text or len(text) > MAX_FRAGMENTS_HEADER:
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    indexes = found.get(timestamp) if isinstance(found, dict) else None
    return [index for index in indexes if type(index) is int] if isinstance(indexes, list) else []


def _let_go(response: BackendResponse) -> None:
    if response.buffered:
        response.drain()
    else:
        response.close()
