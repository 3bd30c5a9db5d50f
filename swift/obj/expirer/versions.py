"""What all nodes together know of an object, so that nothing newer than what expires is deleted with it.

A DELETE with X-If-Delete-At is decided by each object server for itself. One that has missed a POST with a later X-Delete-At, or a newer
object that went to handoffs, would write a tombstone as of the time of expiry, which is newer than both, and which replication
would carry to all others. So all of them are asked first, and what time it is by their clocks. Deleting is the daemon's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.concurrency import GreenPile, GreenPool
from swift.core.policy import policies
from swift.core.timestamp import Timestamp
from swift.obj.expirer.nodes import Node, Nodes
from swift.telemetry.units import handed_on
from swift.wire import direct
from swift.wire.conditional import parse_http_date
from swift.wire.direct import DirectError

KEEP_SECONDS = 30.0  # that a container's policy is believed
MAX_KEPT = 100_000
_HEADERS = {"X-Backend-Use-Replication-Network": "true", "X-Backend-Open-Expired": "true"}
_INDEX = "x-backend-storage-policy-index"


class Unknown(Exception):
    """It is not sure that nobody has something newer: too few nodes have answered, or it is too early for most of them."""


class Version(NamedTuple):
    """The newest state of an object. `delete_at`: when it expires, None if never or if it is deleted."""

    timestamp: Timestamp
    is_deleted: bool
    delete_at: int | None


class _Answer(NamedTuple):
    """Of one node. `date`: when by its clock, None if it does not say."""

    version: Version
    date: datetime | None


class NewestVersions:
    """`client`: the internal client; `ring_of(policy index)`: may raise ConfigError."""

    def __init__(self, client: Any, ring_of: Callable[[int], Any], nodes: Nodes) -> None:
        self._client = client
        self._ring_of = ring_of
        self._nodes = nodes
        self._policies: dict[tuple[str, str], tuple[float, int | None]] = {}

    def of(self, account: str, container: str, obj: str, due: float) -> Version | None:
        """The newest version that any node has; None if there is none, or no such container. `due`: when it is to expire.

        Raises Unknown, and what the internal client raises.
        """
        index = self._policy_of(account, container)
        policy = policies().get_by_index(index) if index is not None else None
        if policy is None:
            return None
        ring = self._ring_of(int(policy))
        partition, primaries = ring.get_nodes(account, container, obj)
        nodes = [*primaries, *islice(ring.get_more_nodes(partition), len(primaries))]
        headers = {**_HEADERS, "X-Backend-Storage-Policy-Index": str(index)}

        def ask(node: Node) -> _Answer | None:
            return self._ask(node, partition, (account, container, obj), headers)

        pile = GreenPile(GreenPool(len(nodes)))
        for node in nodes:
            pile.spawn(handed_on(ask), node)
        answers = [answer for answer in pile if answer is not None]
        # what was acknowledged is on so many of these nodes that one of those that have answered has it
        smallest = min(policy.quorum(len(primaries)), policy.delete_quorum(len(primaries)))
        if len(answers) < len(nodes) - smallest + 1:
            raise Unknown(f"{len(answers)} of {len(nodes)} nodes have answered")
        # whoever's clock runs ahead must not take from clients what they were promised
        dates = [answer.date.timestamp() for answer in answers if answer.date is not None]
        if sum(date < due for date in dates) * 2 > len(dates):
            raise Unknown("by most nodes' clocks it is too early")
        newest = max(
            (answer.version for answer in answers), key=lambda known: (known.timestamp, known.is_deleted)
        )
        return newest if newest.timestamp else None

    def _ask(
        self, node: Node, partition: int, names: tuple[str, str, str], headers: Mapping[str, str]
    ) -> _Answer | None:
        """What a node knows: zero and deleted if nothing; None if it does not answer."""
        if self._nodes.is_resting(node):
            return None
        try:
            found = direct.head_object(node, partition, *names, headers=headers, **self._nodes.timeouts)
        except DirectError as err:
            if err.http_status == 404:
                found = err.http_headers
                when = Timestamp(found.get("X-Backend-Timestamp") or 0)
                return _Answer(Version(when, True, None), _date_of(found))
            self._nodes.failed(node, err)
            return None
        delete_at = found.get("X-Delete-At")
        when = Timestamp(found.get("X-Backend-Timestamp") or found.get("X-Timestamp") or 0)
        return _Answer(Version(when, False, int(delete_at) if delete_at else None), _date_of(found))

    def _policy_of(self, account: str, container: str) -> int | None:
        known = self._policies.get((account, container))
        if known is not None and known[0] > clock.monotonic():
            return known[1]
        found = self._client.get_container_metadata(account, container, acceptable_statuses=(2, 404)).get(
            _INDEX
        )
        index = int(found) if found is not None else None
        if len(self._policies) >= MAX_KEPT:
            self._policies.clear()
        self._policies[account, container] = clock.monotonic() + KEEP_SECONDS, index
        return index


def _date_of(headers: Mapping[str, Any]) -> datetime | None:
    return parse_http_date(str(headers.get("Date") or ""))
