"""swift-container-updater: tells accounts what their containers hold. The daemon is swift.container.updater."""

from __future__ import annotations

import sys

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.container.updater import ContainerUpdater
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "container-updater", ContainerUpdater)
