"""swift-object-updater: delivers container updates that object servers had to keep. The daemon is swift.obj.updater."""

from __future__ import annotations

import sys
from optparse import OptionParser

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.obj.updater import ObjectUpdater
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "object-updater", ObjectUpdater, _add_options)


def _add_options(parser: OptionParser) -> None:
    parser.add_option(
        "--report-again",
        type="int",
        metavar="SECONDS",
        help="with --once: report all objects written in the last SECONDS to their containers again, "
        "as after a power cut of the container servers alone",
    )
