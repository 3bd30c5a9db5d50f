"""The account-auditor: the totals of an account must be the sums of its policies' (database.md 15)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swift.db.auditor import AuditFailure, DatabaseAuditor
from swift.db.broker import Broker
from swift.telemetry import recon_cache

from .broker import AccountBroker


class AccountAuditor(DatabaseAuditor):
    """The daemon; see DatabaseAuditor for its options."""

    kind = "account"
    data_directory = "accounts"
    recon_name = recon_cache.ACCOUNT

    def broker(self, path: str) -> Broker:
        return AccountBroker(path, logger=self.logger)

    def check(self, broker: Broker, info: Mapping[str, Any]) -> None:
        assert isinstance(broker, AccountBroker)
        stats = broker.policy_stats().values()
        for key in ("container_count", "object_count", "bytes_used"):
            total = sum(stat[key] for stat in stats)
            if total != info[key]:
                raise AuditFailure(f"{key} is {info[key]}, but {total} when summed over the policies")
