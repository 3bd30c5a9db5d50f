"""What the parts of a proxy need of each other, as one record: options, nodes and their health, log, metrics, name.

Made once by the application; here at the bottom, so that no part needs to know another part's type for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from swift.proxy.backend_headers import HeaderTables
from swift.proxy.node_health import NodeHealth
from swift.proxy.options import Options
from swift.proxy.routing import NodeSelector
from swift.telemetry.served import DoneCallback, Served
from swift.wire.errors import ClientTimeout


class Services:
    """`application`: the WSGI application itself, for requests that a part makes of it.

    `accounts`, `containers` and, by the index of the policy, `objects`: in which order their nodes are asked; each has its ring.
    """

    __slots__ = (
        "accounts", "agent_name", "application", "containers", "headers", "health", "logger", "metrics", "objects", "options",
    )  # fmt: skip

    def __init__(
        self,
        application: Any,
        options: Options,
        logger: Any,
        metrics: Any,
        health: NodeHealth,
        accounts: NodeSelector,
        containers: NodeSelector,
        objects: Mapping[int, NodeSelector],
    ) -> None:
        self.application = application
        self.options = options
        self.logger = logger
        self.metrics = metrics
        self.health = health
        self.accounts = accounts
        self.containers = containers
        self.objects = objects
        self.headers = HeaderTables(options.allowed_headers)
        self.agent_name: str | None = None

    @property
    def agent(self) -> str:
        """The User-Agent for storage servers; an internal client has its own."""
        agent = self.agent_name
        if agent is None:
            # Not known at the start: workers are forked later.
            agent = self.agent_name = f"proxy-server {os.getpid()}"
        return agent

    def log_unavailable(self, kind: str, method: str, statuses: Sequence[int]) -> None:
        """A line for an answer of 503 that the backends' statuses led to."""
        self.logger.error("%s %s returning 503 for %s", kind.title(), method, list(statuses) or "no answers")

    def client_timeout_counter(self, kind: str) -> DoneCallback:
        """A completion callback that counts clients which did not take their answer in time."""

        def count(served: Served) -> None:
            if isinstance(served.error, ClientTimeout):
                self.metrics.increment(f"{kind}.client_timeouts")

        return count
