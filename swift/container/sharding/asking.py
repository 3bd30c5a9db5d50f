"""What a sharder says to container servers: ranges are sent to, and fetched from, all replicas of a container (database.md 20.2, 20.3).

Answers of several replicas are merged as replication would merge them, so that what one of them lacks does not count.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from swift.core.concurrency import spawn
from swift.core.timestamp import Timestamp
from swift.ring.lookup import Ring
from swift.telemetry.units import handed_on
from swift.wire import direct
from swift.wire.direct import DirectError

from .. import shard_ranges
from ..broker import is_deleted
from ..policy_choice import newest_choice
from ..shard_ranges import ShardRange

Node = Mapping[str, Any]
SHARD = {"X-Backend-Record-Type": "shard"}
ANSWER_SECONDS = 30.0


class Fetched(NamedTuple):
    """`ranges`: of all who answered; `answered`: how many have the container; `missing`: how many say that there is none.

    `policy`: index of the container's storage policy, None if nobody knows of a living one.
    """

    ranges: list[ShardRange]
    answered: int
    missing: int
    policy: int | None


class Asking:
    """`conn_timeout`: seconds for a connection; `tries`: how often a replica is asked."""

    def __init__(self, ring: Ring, conn_timeout: float, tries: int, logger: Any) -> None:
        self.ring = ring
        self.conn_timeout = conn_timeout
        self.tries = tries
        self.logger = logger

    def _headers(self, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return {
            "User-Agent": f"container-sharder {os.getpid()}",
            "X-Backend-Use-Replication-Network": "true",
            **SHARD,
            **(more or {}),
        }

    @property
    def _timeouts(self) -> dict[str, Any]:
        return {"conn_timeout": self.conn_timeout, "response_timeout": ANSWER_SECONDS}

    def send(self, path: str, ranges: Iterable[ShardRange], headers: Mapping[str, Any] | None = None) -> bool:
        """Ranges for the container `account/container`; returns True if half of its replicas, or more, have taken them."""
        account, _, container = path.partition("/")
        body = json.dumps([{**item, "reported": 0} for item in ranges]).encode()
        partition = self.ring.get_part(account, container)
        nodes = self.ring.get_part_nodes(partition)

        def put(node: Node) -> bool:
            try:
                direct.put_container(
                    node, partition, account, container, self._headers(headers), body, **self._timeouts
                )
                return True
            except DirectError as err:
                self.logger.warning("Failed to put shard ranges to %s: %s", path, err)
                return False

        taken = sum(_each(put, nodes))
        if taken < (len(nodes) + 1) // 2:
            self.logger.warning("Failed to send shard ranges to %s: %d of %d", path, taken, len(nodes))
            return False
        return True

    def fetch(
        self,
        path: str,
        states: str,
        marker: str = "",
        end_marker: str = "",
        headers: Mapping[str, Any] | None = None,
    ) -> Fetched:
        """Shard ranges of the container `account/container` in these states, of all of its replicas that answer."""
        account, _, container = path.partition("/")
        partition = self.ring.get_part(account, container)
        params = {"states": states, "marker": marker, "end_marker": end_marker}

        def get(node: Node) -> tuple[int, list[ShardRange], dict[str, Any] | None]:
            for attempt in range(self.tries):
                try:
                    told, found = direct.get_container(
                        node,
                        partition,
                        account,
                        container,
                        headers=self._headers(headers),
                        extra_params={key: value for key, value in params.items() if value},
                        **self._timeouts,
                    )
                    return 200, [shard_ranges.from_wire(item) for item in found], _policy_info(told)
                except DirectError as err:
                    if err.http_status is not None and err.http_status < 500:
                        return err.http_status, [], None
                    if attempt == self.tries - 1:
                        self.logger.warning("Failed to get shard ranges of %s: %s", path, err)
                except (ValueError, KeyError, TypeError) as err:
                    self.logger.error("ERROR bad shard ranges of %s from %s: %s", path, node["device"], err)
                    break
            return 0, [], None

        merged: dict[str, ShardRange] = {}
        answered = missing = 0
        infos = []
        for status, found, info in _each(get, self.ring.get_part_nodes(partition)):
            if info is not None:
                infos.append(info)
            answered += status == 200
            missing += status == 404
            for item in shard_ranges.merge_shard_ranges(merged, found)[1]:
                merged[item["name"]] = item
        best = newest_choice(infos)
        policy = None if best is None or is_deleted(best) else best["storage_policy_index"]
        return Fetched(sorted(merged.values(), key=shard_ranges.sort_key), answered, missing, policy)

    def is_away(self, node: Node, path: str) -> bool:
        """Returns True if a node's device, or its server, does not answer."""
        account, _, container = path.partition("/")
        partition = self.ring.get_part(account, container)
        try:
            direct.head_container(
                node,
                partition,
                account,
                container,
                {"X-Backend-Use-Replication-Network": "true"},
                **self._timeouts,
            )
        except DirectError as err:
            return err.http_status is None or err.http_status == 507
        return False


def _policy_info(headers: Mapping[str, Any]) -> dict[str, Any]:
    """What decides about a container's policy, of what a server says of its replica. Raises KeyError, ValueError."""
    info: dict[str, Any] = {
        key: Timestamp(headers[f"X-Backend-{key.replace('_', '-')}"]).internal
        for key in ("put_timestamp", "delete_timestamp", "status_changed_at")
    }
    info["object_count"] = int(headers["X-Container-Object-Count"])
    info["storage_policy_index"] = int(headers["X-Backend-Storage-Policy-Index"])
    return info


def _each(function: Any, nodes: Iterable[Node]) -> list[Any]:
    """function(node) of all nodes at once."""
    return [thread.wait() for thread in [spawn(handed_on(function), node) for node in nodes]]
