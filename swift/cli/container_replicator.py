"""swift-container-replicator: the replicas of each container become the same. The daemon is swift.container.replicator."""

from __future__ import annotations

import sys

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.container.replicator import ContainerReplicator
    from swift.db.replication.replicator import add_options
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "container-replicator", ContainerReplicator, add_options)
