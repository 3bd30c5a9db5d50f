"""The connections of an upload under a condition: stored only if most of the nodes that should have the object have let it (doc/durability.md).

Two writers who have seen the same never both find most of the primaries free: each server lets one of them at a time, and none of those that
come after one that has succeeded. Nothing gets its name before that is clear, so that who loses leaves nothing. Handoffs, which may not
know what there is, get copies, and have no voice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from swift.core.object_headers import IF_CURRENT, UNRESERVED
from swift.proxy.backend import Asking
from swift.proxy.exchange import Exchange
from swift.proxy.quorum import Answer, have_quorum, is_success, pad
from swift.proxy.routing import NodeIterator, Place, is_handoff
from swift.proxy.services import Services
from swift.proxy.updates import Share
from swift.proxy.uplinks import COMMIT, FOOTERS, Uplink, Uplinks
from swift.wire.message import environ_key

_KEYS = ("HTTP_IF_NONE_MATCH", environ_key(IF_CURRENT))
_REFUSALS = (409, 412)


def is_conditional(environ: Mapping[str, Any]) -> bool:
    """Returns True for a PUT that is to be stored only in the place of what its sender has seen."""
    return (_KEYS[0] in environ or _KEYS[1] in environ) and UNRESERVED not in environ


def is_conditional_removal(environ: Mapping[str, Any]) -> bool:
    """Returns True for a DELETE that is to remove only what its sender has seen; If-None-Match means nothing to it."""
    return _KEYS[1] in environ


def majority(place: Place) -> int:
    """How many of the primaries must let a write under a condition."""
    return len(place.primaries) // 2 + 1


def done_by(answers: Sequence[Answer], also: int = 0) -> int:
    """How many primaries have done it. `also`: a status that counts as done."""
    return sum(
        (is_success(answer.status) or answer.status == also)
        and answer.node is not None
        and not is_handoff(answer.node)
        for answer in answers
    )


class PrimariesFirst(NodeIterator):
    """Primaries, those that failed lately only where it would not be enough without them; then handoffs."""

    __slots__ = ()

    def __init__(self, place: Place) -> None:
        limiter, ring = place.selector.limiter, place.selector.ring
        first = [node for node in place.primaries if not limiter.is_limited(node)]
        if len(first) < majority(place):
            first = list(place.primaries)
        others = (node for node in ring.get_more_nodes(place.part) if not limiter.is_limited(node))
        self._limiter = limiter
        self._resting = []
        self.walk = chain(first, islice(others, len(place.primaries)))


class ReservedUplinks(Uplinks):
    """As `Uplinks`; `reserve` comes between the body and `commit`."""

    def __init__(
        self,
        services: Services,
        exchange: Exchange,
        asking: Asking,
        common: bytes,
        shares: Sequence[Share],
        place: Place,
    ) -> None:
        self.majority = majority(place)
        self._told: list[Uplink] = []  # to store it
        quorum = max(place.quorum, self.majority)
        super().__init__(
            services, exchange, asking, common, shares, PrimariesFirst(place), quorum, (FOOTERS, COMMIT)
        )

    def connect(self) -> list[Answer] | None:
        early = super().connect()
        if early is None and self._is_refused():
            self.abandon()
            return pad([link.answer for link in self.links if link.answer is not None], len(self.links))
        if early is None and not self._is_enough():
            self.abandon()
            raise self.unavailable()
        return early

    def _is_enough(self, without: Sequence[Uplink] = ()) -> bool:
        going_on = [link for link in self.live() if link not in without]
        primaries = sum(link.node is not None and not is_handoff(link.node) for link in going_on)
        return primaries >= self.majority and len(going_on) >= self.quorum

    def reserve(self, end: Callable[[Uplink], None]) -> list[Answer] | None:
        """Send each server the end of the document (`end(link)`), upon which it reserves the object. None: enough have; else the answers
        (padded with 503) of what comes to nothing. Raises HTTPServiceUnavailable.

        The first of the ring's nodes is asked before the others: of several writers at once it lets one, and the others hear of that here.
        """
        waiting = sorted(self.live(), key=_rank)
        while waiting:
            first = waiting.pop(0)
            end(first)
            self._await([first])
            if first.wants_data or first.answer is not None:
                break
        if not self._is_refused():
            for link in waiting:
                end(link)
            self._await(waiting)
        answers = [link.answer for link in self.links if link.answer is not None]
        statuses = [answer.status for answer in answers]
        if self._is_refused() or (not self._is_enough() and have_quorum(statuses, self.quorum)):
            self.abandon()
            return pad(answers, len(self.links))
        if not self._is_enough():
            raise self.unavailable()
        return None

    def commit(self) -> None:
        self._told = [link for link in self.links if link.wants_data or link.is_late]
        super().commit()

    def collect(self, lost: Callable[[list[Share]], None]) -> list[Answer]:
        """As of `Uplinks`. Raises HTTPServiceUnavailable where all that answer have refused, and who does not may store it yet."""
        answers = super().collect(lost)
        refused = [answer.node for answer in answers if answer.node is not None and answer.status < 500]
        is_stored = any(is_success(answer.status) for answer in answers)
        if not is_stored and any(not any(link.node is node for node in refused) for link in self._told):
            raise self.unavailable()
        return answers

    def _is_refused(self) -> bool:
        return any(link.answer is not None and link.answer.status in _REFUSALS for link in self.links)

    def _await(self, links: Sequence[Uplink]) -> None:
        self._wait_for([link for link in links if link.wants_data], self._is_enough, self._is_refused)


def _rank(link: Uplink) -> tuple[bool, int]:
    node = link.node or {}
    return is_handoff(node), node.get("index", 0)
