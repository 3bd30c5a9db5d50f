"""What answers and failures of nodes mean for the error limiter, and what the log says of them."""

from __future__ import annotations

import math
from typing import Any

from swift.core import clock
from swift.core.concurrency import Timeout
from swift.proxy.error_limit import ErrorLimiter, Node
from swift.telemetry import families
from swift.telemetry.metric_table import TABLE
from swift.wire.client import BackendResponse, BackendTimeout, ConnectError

_LONGEST_WAIT = 60  # seconds: what a node says of itself is believed up to that


class NodeHealth:
    """Keeps count of how nodes did. `doing` completes "trying to ...": the verb and the path."""

    __slots__ = ("_busy_until", "limiter", "logger")

    def __init__(self, limiter: ErrorLimiter, logger: Any) -> None:
        self.limiter = limiter
        self.logger = logger
        self._busy_until = 0.0

    def answered(self, node: Node, response: BackendResponse, doing: str) -> None:
        """The node answered: 507 and other statuses from 500 on count against it, unless it just has too much to do."""
        status = response.status
        if status >= 500:
            _note(node, str(status))
        if status == 507:
            self.limiter.limit_now(node)
            self.logger.error(
                "Node error limited: %s:%s/%s (%s: 507)", node["ip"], node["port"], node["device"], doing
            )
        elif status >= 500 and status != 529:  # that one has a limit, and keeps to it
            wait = response.get("retry-after") if status == 503 else None
            if wait is None:
                self._count(node)
            else:
                self._is_busy(wait)
            self.logger.error(
                "ERROR %d trying to %s from %s:%s/%s", status, doing, node["ip"], node["port"], node["device"]
            )

    def retry_after(self) -> int | None:
        """Seconds after which nodes that have said that they are busy want to be asked again; None if none has."""
        left = self._busy_until - clock.monotonic()
        return math.ceil(left) if left > 0 else None

    def _is_busy(self, seconds: str) -> None:
        # a date, or nonsense: a moment
        wait = int(seconds) if seconds.isascii() and seconds.isdigit() and len(seconds) < 6 else 1
        until = clock.monotonic() + min(max(wait, 1), _LONGEST_WAIT)
        self._busy_until = max(self._busy_until, until)

    def failed(self, node: Node, error: BaseException, doing: str) -> None:
        """The node could not be reached, broke off, or took too long."""
        is_refusing = isinstance(error.__cause__, ConnectionRefusedError)
        _note(node, _kind_of(error))
        is_known = is_refusing and self.limiter.is_known_to_refuse(node)
        limited = self.limiter.increment(node, is_refusing)
        if is_known:
            return  # it was tried for a copy that would be missing, maybe with each request: once is enough for the log
        if limited:
            self._log_limited(node)
        self.logger.error(
            "ERROR with %s:%s/%s trying to %s: %s", node["ip"], node["port"], node["device"], doing, error
        )

    def recovered(self, node: Node) -> None:
        """A node that was left alone for past errors answers: it is a node like others again."""
        self.limiter.forget(node)

    def _count(self, node: Node) -> None:
        if self.limiter.increment(node):
            self._log_limited(node)

    def _log_limited(self, node: Node) -> None:
        self.logger.error("Node error limited: %s:%s/%s", node["ip"], node["port"], node["device"])


def _note(node: Node, error: str) -> None:
    address = f"{node['ip']}:{node['port']}"
    TABLE.add((families.BACKEND_ERRORS, TABLE.process, address, node["device"], error), 1)


def _kind_of(error: BaseException) -> str:
    if isinstance(error, ConnectError):
        return "connect"
    return "timeout" if isinstance(error, (BackendTimeout, TimeoutError, Timeout)) else "broken"
