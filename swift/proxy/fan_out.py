"""One request to all replicas at once, each replaced by the next node while it fails (spec proxy 7.1).

For writes whose body is in hand, if they have one. Writes with a body that still comes are in `swift.proxy.uplinks`; what is done
with the answers is decided by the callers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from swift.core import clock
from swift.core.concurrency import GreenletExit, Timeout, spawn_n
from swift.proxy.backend import Answers, Asking, beside_each_other, let_go
from swift.proxy.quorum import Answer, have_quorum, is_success, pad
from swift.proxy.routing import Node, NodeIterator, is_handoff
from swift.proxy.rows import LostRows
from swift.proxy.services import Services
from swift.proxy.updates import Share
from swift.telemetry.log import Transaction, set_transaction, transaction
from swift.wire.backend_call import BackendCall
from swift.wire.client import BackendConnection, BackendError, wait_any


class Leg:
    """One of the requests, wherever it ends up: its header block and share of updates are bound to it, not to a node.

    `is_second_chance`: its node was left alone for past errors.
    """

    __slots__ = ("answer", "call", "headers", "is_second_chance", "node", "share")

    def __init__(self, headers: bytes, share: Share) -> None:
        self.headers = headers
        self.share = share
        self.answer: Answer | None = None
        self.node: Node | None = None
        self.call: BackendCall | None = None
        self.is_second_chance = False


class FanOut:
    """`common`: header block of all requests, which describes the body; `shares`: what each of them has besides.

    A request is answered when a node says something below 500. `quorum`: how many of them decide; `lost_rows`: who reports
    writes for which no node is left.
    """

    def __init__(
        self,
        services: Services,
        asking: Asking,
        common: bytes,
        shares: Sequence[Share],
        nodes: NodeIterator,
        quorum: int,
        lost_rows: LostRows | None = None,
    ) -> None:
        self.health = services.health
        self.patience = services.options.post_quorum_timeout
        self.asking = asking
        self.legs = [Leg(common + share.lines, share) for share in shares]
        self.supply = nodes
        self.nodes = nodes.walk
        self.quorum = quorum
        self.lost_rows = lost_rows
        self._answers = Answers()
        self._late: list[Leg] = []

    def run(self) -> list[Answer]:
        """Send everything, collect until a quorum agrees and the others had their grace; answers padded with 503."""
        self._send_all()
        if not self._collect([leg for leg in self.legs if leg.call is not None]):
            self._ask_those_left_alone()
        self._answers.finish(self.patience)
        answers = self._answers.answers
        if len(answers) < len(self.legs) or (self.lost_rows is not None and self.lost_rows.silent):
            self._report_lost([leg for leg in self.legs if leg not in self._late])
        for leg in self._late:
            spawn_n(self._await_late, leg, transaction())
        return pad(answers, len(self.legs))

    def _report_lost(self, legs: Iterable[Leg]) -> None:
        """What no node has taken or done, no node reports to the listing above it: if the write counts, it's done here."""
        if self.lost_rows is None:
            return
        silent = self.lost_rows.silent
        lost = [leg.share for leg in legs if leg.answer is None or leg.answer.status in silent]
        if lost:
            done = sum(is_success(answer.status) for answer in self._answers.answers)
            if done >= self.quorum:
                self.lost_rows.report(lost)

    # -- sending -----------------------------------------------------------------------------------------------------------

    def _send_all(self) -> None:
        """Idle connections take their request at once; those to be opened are opened beside each other."""
        to_open = []
        for leg in self.legs:
            node = self._next_node(leg)
            if node is None:
                continue
            leg.call = self.asking.call(node, leg.headers)
            try:
                if not leg.call.send_idle():
                    to_open.append(leg)
            except BackendError as error:
                self.health.failed(node, error, self.asking.doing)
                self._next_node(leg)
                to_open.append(leg)
        if to_open:
            beside_each_other(self._open, to_open)

    def _next_node(self, leg: Leg) -> Node | None:
        node = next(self.nodes, None)
        if node is None:
            node = self.supply.second_chance()
            leg.is_second_chance = node is not None
        leg.node = node
        return node

    def _open(self, leg: Leg) -> None:
        """Get the leg's request to its node, or else to one of the next nodes; leg.call is None when there is none left."""
        while leg.node is not None:
            leg.call = self.asking.call(leg.node, leg.headers)
            try:
                leg.call.send()
                return
            except BackendError as error:
                self.health.failed(leg.node, error, self.asking.doing)
            self._next_node(leg)
        leg.call = None

    def _replace(self, leg: Leg, until: float | None) -> bool:
        """Ask the next node for the leg; returns True if there is one to wait for.

        `until`: when the client's answer goes out; if the next node is not connected by then, that goes on behind its back.
        """
        leg.call = None
        self._next_node(leg)
        if until is None:
            self._open(leg)
            return leg.call is not None
        with Timeout(max(until - clock.monotonic(), 0), False):
            self._open(leg)
            return leg.call is not None
        if leg.call is not None:
            leg.call.close()
            leg.call = None
        self._late.append(leg)
        return False

    # -- collecting --------------------------------------------------------------------------------------------------------

    def _collect(self, pending: list[Leg]) -> bool:
        """Take the answers of `pending`; those that are not waited for any longer are late. Returns True if there is a quorum."""
        until = None  # when the grace after a quorum ends
        while pending:
            now = clock.monotonic()
            limit = min([leg.call.deadline for leg in pending if leg.call is not None])
            if until is not None:
                limit = min(limit, until)
            ready = wait_any(_connections(pending), max(limit - now, 0))
            if not ready:
                now = clock.monotonic()
                if until is not None and now >= until:
                    self._late += pending
                    return True
                self._drop_overdue(pending, now, until)
                continue
            for leg in [leg for leg in pending if leg.call is not None and leg.call.conn in ready]:
                if not self._take(leg, until):
                    pending.remove(leg)
            if until is None and have_quorum(self._answers.statuses, self.quorum):
                until = clock.monotonic() + self.patience
        return until is not None

    def _take(self, leg: Leg, until: float | None) -> bool:
        """Take what has come for the leg; returns True if it is still to be waited for, as when its next node was asked."""
        assert leg.call is not None and leg.node is not None
        try:
            response = leg.call.arrived()
        except BackendError as error:
            self.health.failed(leg.node, error, self.asking.doing)
            return self._replace(leg, until)
        if response is None:
            return True
        if response.status >= 500:
            self.health.answered(leg.node, response, self.asking.doing)
            let_go(response)
            return self._replace(leg, until)
        if leg.is_second_chance:
            self.health.recovered(leg.node)
        answer = self._answers.made_of(response, leg.node)
        if _says_something(leg.node, answer):
            leg.answer = answer
            self._answers.add(answer)
        return False

    def _drop_overdue(self, pending: list[Leg], now: float, until: float | None) -> None:
        for leg in [leg for leg in pending if leg.call is not None and leg.call.deadline <= now]:
            assert leg.node is not None and leg.call is not None
            self.health.failed(leg.node, self.asking.overdue(), self.asking.doing)
            leg.call.close()
            if not self._replace(leg, until):
                pending.remove(leg)

    def _ask_those_left_alone(self) -> None:
        """There is no quorum, and it would be 503: nodes that failed lately may be back."""
        resting = self.supply.last_resort()
        legs = []
        for leg in self.legs:
            if leg.answer is None:
                leg.node = next(resting, None)
                if leg.node is not None:
                    legs.append(leg)
        if not legs:
            return
        beside_each_other(self._open, legs)
        self._collect([leg for leg in legs if leg.call is not None])
        for leg in legs:
            if leg.answer is not None and leg.answer.node is not None:
                self.health.recovered(leg.answer.node)

    def _await_late(self, leg: Leg, request: Transaction) -> None:
        """The client has its answer; a node that dies now is still replaced, or a copy and a listing's row would be missing."""
        set_transaction(*request)
        try:
            if leg.call is None:
                self._open(leg)
            pending = [leg] if leg.call is not None else []
            while pending:
                limit = leg.call.deadline if leg.call is not None else 0
                if not wait_any(_connections(pending), max(limit - clock.monotonic(), 0)):
                    self._drop_overdue(pending, clock.monotonic(), None)
                elif not self._take(leg, None):
                    break
            self._answers.finish(self.patience)
            self._report_lost([leg])
        except (Exception, Timeout, GreenletExit):
            if leg.call is not None:
                leg.call.close()


def _connections(legs: Iterable[Leg]) -> list[BackendConnection]:
    return [leg.call.conn for leg in legs if leg.call is not None and leg.call.conn is not None]


def _says_something(node: Node, answer: Answer) -> bool:
    """Nothing on a node where the thing never was says nothing about it."""
    return answer.status != 404 or not is_handoff(node) or bool(answer.get("x-backend-timestamp"))
