"""swift-account-reaper: what deleted accounts still hold is deleted. The daemon is swift.account.reaper."""

from __future__ import annotations

import sys

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.account.reaper import AccountReaper
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "account-reaper", AccountReaper)
