"""The reconciler's queue as container servers hold it: entries added and taken away, and which policy a container has (database.md 18).

Lives here: requests to all primaries of a container, and when enough of them have answered. Never here: moving objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import GreenPile, GreenPool
from swift.core.timestamp import Timestamp
from swift.telemetry.units import handed_on
from swift.wire import direct
from swift.wire.direct import DirectError
from swift.wire.redirects import FOLLOWED, to_all_that_list

from . import misplaced
from .policy_choice import newest_choice

KEEP_SECONDS = 30.0  # that a container's policy is believed
MAX_KEPT = 100_000
_ZERO = "0000000000.00000"
_NETWORK = {"X-Backend-Use-Replication-Network": "true"}
_ROW = {**_NETWORK, **FOLLOWED}


def _on_all(nodes: Any, function: Callable[[Any], Any]) -> list[Any]:
    """What the function returns for each node, all at once; what it raises as a DirectError instead."""

    def one(node: Any) -> Any:
        try:
            return function(node)
        except DirectError as err:
            return err

    pile = GreenPile(GreenPool(max(1, len(nodes))))
    for node in nodes:
        pile.spawn(handed_on(one), node)
    return list(pile)


def add_entry(
    ring: Any,
    policy_index: int,
    account: str,
    container: str,
    obj: str,
    timestamp: Timestamp,
    operation: str = "PUT",
    force: bool = False,
) -> str | None:
    """Put an object into the queue; returns the queue's container, None if no majority of its servers took the entry.

    `force`: the entry is recorded as of now, which beats any other.
    """
    queue = misplaced.queue_container(timestamp.internal)
    name = misplaced.entry_name(policy_index, account, container, obj)
    headers = {
        "X-Size": "0",
        "X-Etag": timestamp.internal,
        "X-Timestamp": Timestamp(clock.time()).internal if force else timestamp.internal,
        "X-Content-Type": misplaced.PUT_TYPE if operation == "PUT" else misplaced.DELETE_TYPE,
        **_ROW,
    }

    def put(holder: str, listing: str) -> list[Any]:
        partition, nodes = ring.get_nodes(holder, listing)
        return _on_all(
            nodes,
            lambda node: direct.put_container_object(node, partition, holder, listing, name, headers=headers),
        )

    results = to_all_that_list(put, misplaced.ACCOUNT, queue)
    taken = sum(1 for result in results if not isinstance(result, DirectError))
    return queue if taken >= len(results) // 2 + 1 else None


def take_entry_away(ring: Any, queue: str, name: str, timestamp: Timestamp) -> list[DirectError]:
    """Remove an entry on all servers of the queue's container; those that failed."""
    headers = {"X-Timestamp": timestamp.internal, **_ROW}

    def delete(holder: str, listing: str) -> list[Any]:
        partition, nodes = ring.get_nodes(holder, listing)
        return _on_all(
            nodes,
            lambda node: direct.delete_container_object(
                node, partition, holder, listing, name, headers=headers
            ),
        )

    results = to_all_that_list(delete, misplaced.ACCOUNT, queue)
    return [result for result in results if isinstance(result, DirectError) and result.http_status != 404]


class ContainerPolicies:
    """The storage policies of containers, as a majority of their servers has it; remembered for a while."""

    def __init__(self, ring: Any) -> None:
        self.ring = ring
        self._kept: dict[tuple[str, str], tuple[float, int]] = {}

    def get(self, account: str, container: str) -> int | None:
        """The policy's index; None if too few servers can tell."""
        known = self._kept.get((account, container))
        if known is not None and known[0] > clock.monotonic():
            return known[1]
        index = self._ask(account, container)
        if index is not None:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[account, container] = clock.monotonic() + KEEP_SECONDS, index
        return index

    def forget(self, account: str, container: str) -> None:
        """It may have changed."""
        self._kept.pop((account, container), None)

    def _ask(self, account: str, container: str) -> int | None:
        partition, nodes = self.ring.get_nodes(account, container)

        def head(node: Any) -> Mapping[str, Any]:
            try:
                return direct.head_container(node, partition, account, container, headers=_NETWORK)
            except DirectError as err:
                if err.http_status == 404:
                    return err.http_headers
                raise

        answers = [found for found in _on_all(nodes, head) if not isinstance(found, DirectError)]
        if len(answers) < len(nodes) // 2 + 1:
            return None
        infos = [
            {
                "put_timestamp": found.get("X-Backend-Put-Timestamp") or _ZERO,
                "delete_timestamp": found.get("X-Backend-Delete-Timestamp") or _ZERO,
                "status_changed_at": found.get("X-Backend-Status-Changed-At") or _ZERO,
                "object_count": int(found.get("X-Container-Object-Count") or 0),
                "storage_policy_index": int(found["X-Backend-Storage-Policy-Index"]),
            }
            for found in answers
            if found.get("X-Backend-Storage-Policy-Index") is not None
        ]
        best = newest_choice(infos)
        return None if best is None else int(best["storage_policy_index"])
