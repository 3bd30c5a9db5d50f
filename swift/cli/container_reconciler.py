"""swift-container-reconciler: objects go to their container's storage policy. The daemon is swift.container.reconciler."""

from __future__ import annotations

import sys

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.container.reconciler import ContainerReconciler
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "container-reconciler", ContainerReconciler)
