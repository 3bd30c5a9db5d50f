"""Gathering the fragments of an object: which nodes are asked, how many at a time, and until when (spec proxy 14.6).

What the answers mean together is decided in `fragment_buckets`; reading them in step is `reassembly`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from swift.core import clock
from swift.core.object_headers import EC_LENGTH
from swift.core.policy import ErasurePolicy
from swift.proxy.backend import Asking, beside_each_other, let_go, read_answer
from swift.proxy.backend_headers import as_block
from swift.proxy.fragment_buckets import (
    Bucket,
    Buckets,
    FragmentSource,
    Needs,
    data_timestamp,
    fragment_index,
)
from swift.proxy.quorum import Answer, best_answer
from swift.proxy.routing import Node, NodeIterator, Place, is_handoff
from swift.proxy.services import Services
from swift.wire import conditional
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendError, BackendResponse, wait_any
from swift.wire.message import header_name

PREFERENCES = "X-Backend-Fragment-Preferences"
_ANY = f"{PREFERENCES}: []\r\n".encode()
_EC_LENGTH = EC_LENGTH.lower()
# Answers that all nodes with a good fragment would give: as many of them as fragments are needed decide.
_DECIDED_BY_OBJECT = frozenset((304, 412, 416))
# Headers of requests that others are sent in the place of, as environ keys.
_REPLACED = frozenset(
    (
        "HTTP_RANGE",
        "HTTP_X_BACKEND_ETAG_IS_AT",
        "HTTP_X_BACKEND_FRAGMENT_PREFERENCES",
        "HTTP_X_BACKEND_IGNORE_RANGE_IF_METADATA_PRESENT",
        "HTTP_X_BACKEND_OPEN_EXPIRED",
        *conditional.KEYS,
    )
)
# None of these counts for bytes that continue an answer.
_UNCONDITIONAL: dict[str, str | None] = dict.fromkeys(
    ("X-Backend-Ignore-Range-If-Metadata-Present", *(header_name(key) or "" for key in conditional.KEYS))
)


class _Attempt:
    """One node that was asked."""

    __slots__ = ("call", "node", "started")

    def __init__(self, node: Node, call: BackendCall) -> None:
        self.node = node
        self.call = call
        self.started = clock.monotonic()


class FragmentSearch:
    """One GET or HEAD of an object, on the nodes of its partition. After `find` returned None, `answers` are those that count."""

    __slots__ = (
        "_asked", "_block", "_environ", "_extra", "_failures", "_first_block", "_is_last_resort", "_left", "_newest", "_nodes", "_options", "_place", "_services", "_spares", "_supply", "_taken",
        "_timings", "answers", "asking", "buckets", "needs",
    )  # fmt: skip

    def __init__(
        self,
        services: Services,
        policy: ErasurePolicy,
        place: Place,
        environ: Mapping[str, Any],
        method: str,
        extra: Mapping[str, str | None],
        newest: bool = False,
        use_replication: bool = False,
    ) -> None:
        """`extra`: headers that replace those of the request; `newest`: ask all primaries."""
        options = services.options
        selector = place.selector
        self._services = services
        self._place = place
        self._environ = environ
        self._options = selector.options
        self._timings = selector.timings
        self._newest = newest
        self.needs = Needs(policy.codec.data, policy.codec.parity, len(place.primaries))
        self.asking = Asking(
            method,
            place.part,
            place.tail,
            options.conn_timeout,
            options.node_timeout if newest else options.recoverable_node_timeout,
            use_replication,
        )
        self._extra = {**extra, PREFERENCES: None}
        self._block = self._made_block(self._extra)
        self._first_block = self._block + _ANY
        self._supply: NodeIterator = selector.iterate_fragments(
            place.part, place.primaries, self.needs.total, self.needs.data
        )
        self._nodes: Iterator[Node] = self._supply.walk
        self._spares: list[Node] = []  # nodes that were not waited for, or whose fragment was not needed
        self._left = 2 * len(place.primaries)  # requests that may still be sent
        self._is_last_resort = False
        self._asked = self._taken = 0  # requests that were sent, and that brought a new fragment
        self._failures: dict[int, int] = {}  # of nodes whose fragments broke off or were bad
        self.buckets = Buckets(self.needs)
        self.answers: list[Answer] = []

    def _made_block(self, extra: Mapping[str, str | None]) -> bytes:
        table, path = self._services.headers.read, "/v1" + self._place.tail
        if _REPLACED.isdisjoint(self._environ):
            # nothing of the request's is to be taken out, which is to be looked for line by line
            added = [f"{name}: {value}\r\n" for name, value in extra.items() if value is not None]
            return table.block(self._environ, self._services.agent, path) + as_block(added)
        return table.block(self._environ, self._services.agent, path, extra)

    # -- finding -----------------------------------------------------------------------------------------------------------

    def find(self) -> Bucket | None:
        """The fragments to read from: enough different ones of one acknowledged PUT. Who was asked in vain is let go."""
        count = self.needs.data
        if self._newest:
            count = len(self._place.primaries)
        elif self._options.concurrent_gets:
            count += self._options.concurrent_ec_extra_requests
        best = self._gather(count)
        if best is None:
            self.answers = self._outcome()
            if best_answer(self.answers) is None:
                self._nodes = self._supply.last_resort()
                self._is_last_resort = True
                self._left = 2 * len(self._place.primaries)
                best = self._gather(len(self._place.primaries))
                self.answers = [] if best is not None else self._outcome()
        for source in self.buckets.sources(best):
            self._spares.append(source.node)
            let_go(source.response)
        return best

    @property
    def was_overtaken(self) -> bool:
        """Nothing speaks for all, and more than one PUT was acknowledged: the nodes may have been asked before and after one."""
        return best_answer(self.answers) is None and self.buckets.acknowledged > 1

    def _outcome(self) -> list[Answer]:
        self.buckets.consult()  # whoever was asked last may not have been reached, so nobody has looked
        most = len(self._place.primaries) - 1
        return self.buckets.outcome(min(self._options.rebalance_missing_suppression_count, most))

    def _gather(self, count: int) -> Bucket | None:
        """Ask nodes, `count` of them at first, until there are enough fragments or nobody is left to ask."""
        running = self._ask(count)
        buckets = self.buckets
        try:
            while running:
                ready = self._wait(running)
                for attempt in ready:
                    running.remove(attempt)
                    self._take(attempt)
                if ready and self._taken < self.needs.data and self._taken + len(running) == self._asked:
                    continue  # nobody has disappointed, and those that are missing are on their way
                best = buckets.best
                if best is not None and best.is_complete and not (self._newest and running):
                    return best
                if self._is_decided():
                    return None
                running += self._ask(self._missing(len(running)) if ready else self._patience_ended())
        finally:
            for attempt in running:
                self._spares.append(attempt.node)
                attempt.call.close()
        best = buckets.best
        return best if best is not None and best.is_complete else None

    def _is_decided(self) -> bool:
        return any(self.buckets.count(status) >= self.needs.data for status in _DECIDED_BY_OBJECT)

    def _patience_ended(self) -> int:
        """Nobody has answered for a while: with concurrent_gets one more is asked."""
        return 1 if self._options.concurrent_gets else 0

    def _missing(self, running: int) -> int:
        """How many more requests are to be sent, when so many are under way."""
        self.buckets.consult()
        best = self.buckets.best
        if best is None and self.buckets.count(404):
            # It is not here: mostly it is nowhere, and all others will say the same at the same time.
            return self.needs.replicas - running
        return self.buckets.shortfall - running

    def _wait(self, running: list[_Attempt]) -> list[_Attempt]:
        """Those that have answered; [] when the time came to ask one more. Who is overdue drops out."""
        now = clock.monotonic()
        limit = min([attempt.call.deadline for attempt in running])
        if self._options.concurrent_gets and self._left > 0:
            limit = min(limit, now + self._options.concurrency_timeout)
        conns = [attempt.call.conn for attempt in running if attempt.call.conn is not None]
        answered = wait_any(conns, max(limit - now, 0))
        if not answered:
            now = clock.monotonic()
            for attempt in [attempt for attempt in running if attempt.call.deadline <= now]:
                attempt.call.close()
                self._services.health.failed(attempt.node, self.asking.overdue(), self.asking.doing)
                running.remove(attempt)
                running += self._ask(1)
            return []
        return [attempt for attempt in running if attempt.call.conn in answered]

    # -- asking ------------------------------------------------------------------------------------------------------------

    def _next_node(self) -> Node | None:
        if self._left <= 0:
            return None
        best = self.buckets.best
        if best is not None and best.is_durable and best.shortfall:
            untried = best.untried()
            if untried:
                nodes = best.alternates[untried[int(clock.random() * len(untried))]]
                self._left -= 1
                return nodes.pop(0)
        node = next(self._nodes, None)
        if node is not None:
            self._left -= 1
        return node

    def _call(self, node: Node) -> BackendCall:
        if not self._taken:
            return self.asking.call(node, self._first_block)
        preferences = f"{PREFERENCES}: {self.buckets.preferences()}\r\n"
        return self.asking.call(node, self._block + preferences.encode("latin-1"))

    def _ask(self, count: int) -> list[_Attempt]:
        """Send the request to so many nodes: where there is a connection at once, to the others beside each other."""
        running: list[_Attempt] = []
        to_open: list[_Attempt] = []
        for _ in range(count):
            node = self._next_node()
            if node is None:
                break
            attempt = _Attempt(node, self._call(node))
            try:
                (running if attempt.call.send_idle() else to_open).append(attempt)
            except BackendError as error:
                self._services.health.failed(node, error, self.asking.doing)
                to_open.append(attempt)
        beside_each_other(self._open, to_open)
        running += [attempt for attempt in to_open if attempt.call.conn is not None]
        self._asked += len(running)
        return running

    def _open(self, attempt: _Attempt) -> None:
        """Get the request to the attempt's node, or else to the next one that takes it."""
        while True:
            try:
                attempt.call.send()
                return
            except BackendError as error:
                self._services.health.failed(attempt.node, error, self.asking.doing)
            node = self._next_node()
            if node is None:
                return
            attempt.node = node
            attempt.call = self._call(node)

    # -- judging -----------------------------------------------------------------------------------------------------------

    def _take(self, attempt: _Attempt) -> None:
        node = attempt.node
        try:
            response = attempt.call.response()
        except BackendError as error:
            self._services.health.failed(node, error, self.asking.doing)
            return
        if self._timings is not None:
            self._timings.record(node["ip"], clock.monotonic() - attempt.started)
        if self._is_last_resort and response.status < 500:
            self._services.health.recovered(node)
        if 200 <= response.status < 300:
            self._take_fragment(node, response)
        else:
            self._take_refusal(node, response)

    def _take_fragment(self, node: Node, response: BackendResponse) -> None:
        when = data_timestamp(response)
        index = fragment_index(response, self.needs.total)
        length = response.get(_EC_LENGTH) or ""
        if not when or index is None or not (length.isdecimal() and len(length) < 20):
            self._services.logger.error("%s: no fragment from %s", self.asking.doing, node["ip"])
            let_go(response)
            return
        self.buckets.learn(node, response, when)
        source = FragmentSource(node, response, when, index)
        if not self.buckets.bucket(when).take(source):
            self._spares.append(node)
            let_go(response)
        else:
            self._taken += 1

    def _take_refusal(self, node: Node, response: BackendResponse) -> None:
        status = response.status
        when = response.get("x-backend-timestamp") or ""
        if status >= 400 and status not in _DECIDED_BY_OBJECT:
            self._services.health.answered(node, response, self.asking.doing)
        if (status == 404 or status >= 500) and is_handoff(node) and not when:
            let_go(response)
            return
        self.buckets.refused(read_answer(response, node, self.asking.node_timeout), when)

    # -- going on ----------------------------------------------------------------------------------------------------------

    def replace(
        self, bucket: Bucket, bounds: str, in_use: set[int], failed: Node | None
    ) -> FragmentSource | None:
        """Another node's fragments of the same object, with an index that is not in use; None if there are none left.

        `bounds`: the part of the archive that is wanted. `failed`: who just did; it is asked last, and no more when it fails again.
        """
        if failed is not None:
            self._failures[failed["id"]] = self._failures.get(failed["id"], 0) + 1
        self.buckets.consult()
        self._extra = {**self._extra, **_UNCONDITIONAL, "Range": f"bytes={bounds}"}
        wanted = f'[{{"timestamp": "{bucket.timestamp}", "exclude": {sorted(in_use)}}}]'
        block = self._made_block(self._extra) + f"{PREFERENCES}: {wanted}\r\n".encode("latin-1")
        self.asking.method = "GET"
        for node in self._candidates(bucket, in_use)[: 2 * len(self._place.primaries)]:
            source = self._ask_for(node, block, bucket, in_use)
            if source is not None:
                return source
        return None

    def _candidates(self, bucket: Bucket, in_use: set[int]) -> list[Node]:
        """Nodes that may have what is wanted: those known to have it, those not waited for, all others."""
        known = [nodes for index, nodes in bucket.alternates.items() if index not in in_use]
        holders = {source.node["id"] for index, source in bucket.sources.items() if index in in_use}
        everyone = chain(chain.from_iterable(known), self._spares, self._nodes, self._place.primaries)
        once = list({node["id"]: node for node in everyone}.values())
        self._spares = once
        first: list[Node] = []
        last: list[Node] = []
        for node in once:
            failures = self._failures.get(node["id"], 0)
            if failures < 2:
                (last if failures or node["id"] in holders else first).append(node)
        return first + last

    def _ask_for(self, node: Node, block: bytes, bucket: Bucket, in_use: set[int]) -> FragmentSource | None:
        call = self.asking.call(node, block)
        try:
            response = call.answer()
        except BackendError as error:
            self._services.health.failed(node, error, self.asking.doing)
            return None
        index = fragment_index(response, self.needs.total)
        if response.status not in (200, 206) or index is None or index in in_use:
            if response.status >= 400:
                self._services.health.answered(node, response, self.asking.doing)
            let_go(response)
            return None
        source = FragmentSource(node, response, data_timestamp(response), index)
        if source.timestamp != bucket.timestamp or not bucket.is_same(source):
            let_go(response)
            return None
        return source
