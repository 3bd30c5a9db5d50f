"""The expirer's queue as container servers hold it: listed page by page, its rows taken away, its empty containers removed.

Never here: what rows mean, and the objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from swift.core.concurrency import GreenPile, GreenPool
from swift.core.errors import ConfigError
from swift.obj.expirer.nodes import Node, Nodes
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.telemetry.units import handed_on
from swift.wire import direct
from swift.wire.direct import DirectError
from swift.wire.redirects import FOLLOWED, to_all_that_list

_ROW = {"X-Backend-Use-Replication-Network": "true", **FOLLOWED}
_GONE = (2, 404, 409)  # 409: there is something in it by now


class TaskQueue:
    """`client`: the internal client; `ring`: of containers."""

    def __init__(self, client: Any, ring: Any, nodes: Nodes, account: str) -> None:
        self._client = client
        self._ring = ring
        self._nodes = nodes
        self.account = account

    def totals(self) -> tuple[int, int]:
        """(containers, rows), as the account's servers have heard of them."""
        totals: tuple[int, int] = self._client.get_account_info(self.account)
        return totals

    def containers(self) -> Iterator[dict[str, Any]]:
        """As in a listing, the earliest times first."""
        listed: Iterator[dict[str, Any]] = self._client.iter_containers(self.account)
        return listed

    def rows(self, container: str, end_marker: str, marker: str = "") -> Iterator[dict[str, Any]]:
        """As in a listing: those before `end_marker`, which is the end of what is due, behind `marker`."""
        listed: Iterator[dict[str, Any]] = self._client.iter_objects(
            self.account, container, marker=marker, end_marker=end_marker
        )
        return listed

    def take_away(self, container: str, name: str) -> list[DirectError]:
        """Remove a row on all primaries of the container that lists it, whose shards are followed to; what went wrong. Those that
        rest get to know of it by replication."""

        def take(account: str, listing: str) -> list[DirectError]:
            return self._take_from(account, listing, name)

        return list(to_all_that_list(take, self.account, container))

    def _take_from(self, account: str, container: str, name: str) -> list[DirectError]:
        partition, nodes = self._ring.get_nodes(account, container)

        def one(node: Node) -> DirectError | None:
            if self._nodes.is_resting(node):
                return None
            try:
                direct.delete_container_object(
                    node, partition, account, container, name, headers=_ROW, **self._nodes.timeouts
                )
            except DirectError as err:
                if err.http_status != 301:
                    self._nodes.failed(node, err)
                return None if err.http_status == 404 else err
            return None

        pile = GreenPile(GreenPool(max(1, len(nodes))))
        for node in nodes:
            pile.spawn(handed_on(one), node)
        return [error for error in pile if error is not None]

    def remove_if_empty(self, container: str) -> bool:
        """Returns True if nothing was in it."""
        path = self._client.make_path(self.account, container)
        response = self._client.make_request("GET", path, {}, (2, 404), params={"format": "json", "limit": 1})
        body = b"".join(response.app_iter)
        if response.status_int == 200 and json.loads(body):
            return False
        if response.status_int != 404:
            self._client.delete_container(self.account, container, acceptable_statuses=_GONE)
        return True


def open_ring(swift_dir: str, name: str, logger: Any) -> Ring:
    """Raises ConfigError."""
    try:
        return Ring(swift_dir, name, logger=logger)
    except (OSError, RingError) as err:
        raise ConfigError(f"The {name} ring in {swift_dir} can't be opened: {err}") from None
