"""swift-container-sharder: large containers are split into shards. The daemon is swift.container.sharding.sharder."""

from __future__ import annotations

import sys

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.container.sharding.sharder import ContainerSharder, add_options
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "container-sharder", ContainerSharder, add_options)
