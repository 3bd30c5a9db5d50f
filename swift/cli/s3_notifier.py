"""swift-s3-notifier: events of buckets go to their targets. The daemon is swift.s3.notifications.daemon."""

from __future__ import annotations

import sys

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.run.daemon import run_daemon_command
    from swift.s3.notifications.daemon import Notifier

    return run_daemon_command(sys.argv[1:], "s3-notifier", Notifier)
