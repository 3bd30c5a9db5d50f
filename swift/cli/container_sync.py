"""swift-container-sync: rows of synchronised containers go to other clusters. The daemon is swift.container.sync."""

from __future__ import annotations

import sys

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.container.sync import ContainerSync
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "container-sync", ContainerSync)
