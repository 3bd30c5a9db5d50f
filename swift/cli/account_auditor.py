"""swift-account-auditor: looks for damaged account databases. The daemon is swift.account.auditor."""

from __future__ import annotations

import sys

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.account.auditor import AccountAuditor
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "account-auditor", AccountAuditor)
