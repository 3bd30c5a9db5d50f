"""Nodes that do not answer are left alone for a while, so that one that hangs doesn't cost its time limit again and again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swift.core import clock
from swift.wire.direct import DirectError

REST_SECONDS = 30.0

Node = Mapping[str, Any]


class Nodes:
    """Which nodes are left alone, and the time limits of requests to the others, in seconds."""

    def __init__(self, conn_timeout: float, node_timeout: float) -> None:
        self.timeouts: dict[str, Any] = {"conn_timeout": conn_timeout, "response_timeout": node_timeout}
        self._resting: dict[tuple[str, int, str], float] = {}

    def is_resting(self, node: Node) -> bool:
        """Returns True if it failed a moment ago."""
        return self._resting.get(_key(node), 0.0) > clock.monotonic()

    def failed(self, node: Node, error: DirectError) -> None:
        """It rests, if it is the node or its disk that does not answer."""
        if error.http_status is None or error.http_status == 507:
            self._resting[_key(node)] = clock.monotonic() + REST_SECONDS


def _key(node: Node) -> tuple[str, int, str]:
    return node["replication_ip"], node["replication_port"], node["device"]
