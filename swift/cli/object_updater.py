"""swift-object-updater: delivers container updates that object servers had to keep. The daemon is swift.obj.updater."""

from __future__ import annotations

import sys

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.obj.updater import ObjectUpdater
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "object-updater", ObjectUpdater)
