"""What all parts of one pass share: whom to ask, how to push, where to count."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from swift.core import clock
from swift.obj.replication.jobs import Holding
from swift.obj.replication.peers import Node, Peers
from swift.obj.replication.push import Offer
from swift.obj.replication.report import Report
from swift.obj.replication.standing import Standing
from swift.telemetry.metrics import Metrics


class Method(Protocol):
    """See `push`."""

    name: str

    def push(self, holding: Holding, node: Node, partition: str, suffixes: list[str]) -> None: ...

    def in_sync(
        self, holding: Holding, node: Node, partition: str, offers: list[Offer], check_only: bool
    ) -> Any: ...


class Work:
    """One pass."""

    def __init__(
        self, peers: Peers, standing: Standing, metrics: Metrics, logger: Any, report: Report
    ) -> None:
        self.peers = peers
        self.standing = standing
        self.metrics = metrics
        self.logger = logger
        self.report = report
        self.progressed = clock.monotonic()

    def progress(self) -> None:
        """Something was done: the pass does not hang."""
        self.progressed = clock.monotonic()

    def hashed(self, suffixes: int, hashed: int, damaged: Iterable[str]) -> None:
        """Suffixes of a partition were looked at and so many hashed anew."""
        self.report.add("suffix_count", suffixes)
        self.report.add("suffix_hash", hashed)
        if hashed:
            self.metrics.update_stats("suffix.hashes", hashed)
        for text in damaged:
            self.logger.warning("%s", text)


class PushWork(Work):
    """One pass of the replicator. `handoff_delete`: so many primaries are enough before a handoff's copy goes; 0: all of them."""

    def __init__(
        self,
        peers: Peers,
        method: Method,
        handoff_delete: int,
        standing: Standing,
        metrics: Metrics,
        logger: Any,
    ) -> None:
        super().__init__(peers, standing, metrics, logger, Report())
        self.method = method
        self.handoff_delete = handoff_delete
