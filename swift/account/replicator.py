"""The account-replicator (database.md 14)."""

from __future__ import annotations

from swift.db.replication.replicator import DatabaseReplicator
from swift.telemetry import recon_cache

from .broker import AccountBroker


class AccountReplicator(DatabaseReplicator):
    """The daemon; see DatabaseReplicator for its options."""

    kind = "account"
    broker_class = AccountBroker
    recon_name = recon_cache.ACCOUNT
    default_port = 6202
