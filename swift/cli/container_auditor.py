"""swift-container-auditor: looks for damaged container databases. The daemon is swift.container.auditor."""

from __future__ import annotations

import sys

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.container.auditor import ContainerAuditor
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "container-auditor", ContainerAuditor)
