"""swift-account-replicator: the replicas of each account become the same. The daemon is swift.account.replicator."""

from __future__ import annotations

import sys

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.account.replicator import AccountReplicator
    from swift.db.replication.replicator import add_options
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "account-replicator", AccountReplicator, add_options)
