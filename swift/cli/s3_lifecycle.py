"""swift-s3-lifecycle: what is due by the lifecycle rules of buckets goes. The daemon is swift.s3.lifecycle.daemon."""

from __future__ import annotations

import sys

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.run.daemon import run_daemon_command
    from swift.s3.lifecycle.daemon import Lifecycle

    return run_daemon_command(sys.argv[1:], "s3-lifecycle", Lifecycle)
