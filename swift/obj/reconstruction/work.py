"""What all parts of one pass of the reconstructor share, and where a device stands among those that have an object's fragments."""

from __future__ import annotations

from typing import Any

from swift.core.policy import ErasurePolicy
from swift.obj.reconstruction.options import ReconstructorOptions
from swift.obj.reconstruction.report import RebuildReport
from swift.obj.replication.jobs import Holding
from swift.obj.replication.peers import Node
from swift.obj.replication.standing import Standing
from swift.obj.replication.work import Work
from swift.telemetry.metrics import Metrics


class RebuildWork(Work):
    """One pass."""

    report: RebuildReport

    def __init__(
        self, options: ReconstructorOptions, standing: Standing, metrics: Metrics, logger: Any
    ) -> None:
        super().__init__(options.peers, standing, metrics, logger, RebuildReport())
        self.options = options
        self.sessions = options.sessions


def policy_of(holding: Holding) -> ErasurePolicy:
    """Its policy, which is one of fragments."""
    policy = holding.policy
    assert isinstance(policy, ErasurePolicy)
    return policy


def own_position(holding: Holding, nodes: tuple[Node, ...]) -> int | None:
    """Which of the primaries of a partition this device is; None for a guest."""
    for node in nodes:
        if node["id"] == holding.device["id"]:
            return int(node["index"])
    return None


def partners(nodes: tuple[Node, ...], position: int) -> list[Node]:
    """Whom the primary at this position looks after: its neighbours, and the one that is farthest from it."""
    count = len(nodes)
    found: dict[Any, Node] = {}
    for at in (position - 1, position + 1, position + count // 2):
        node = nodes[at % count]
        if node["id"] != nodes[position]["id"]:
            found.setdefault(node["id"], node)
    return list(found.values())
