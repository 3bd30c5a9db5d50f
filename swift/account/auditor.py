"""The account-auditor: the totals of an account must be the sums of its policies' (database.md 15)."""

from __future__ import annotations

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

    def check(self, broker: Broker) -> None:
        assert isinstance(broker, AccountBroker)
        info, sums = broker.audited_totals()
        for key, total in sums.items():
            if total != info[key]:
                raise AuditFailure(f"{key} is {info[key]}, but {total} when summed over the policies")
