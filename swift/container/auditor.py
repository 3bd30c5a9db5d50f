"""The container-auditor (database.md 15)."""

from __future__ import annotations

from swift.db.auditor import DatabaseAuditor
from swift.db.broker import Broker
from swift.telemetry import recon_cache

from .broker import ContainerBroker


class ContainerAuditor(DatabaseAuditor):
    """The daemon; see DatabaseAuditor for its options."""

    kind = "container"
    data_directory = "containers"
    recon_name = recon_cache.CONTAINER

    def broker(self, path: str) -> Broker:
        return ContainerBroker(path, logger=self.logger)
