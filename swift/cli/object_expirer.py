"""swift-object-expirer: deletes objects whose time has come. The daemon is swift.obj.expirer.expirer."""

from __future__ import annotations

import sys
from optparse import OptionParser

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.obj.expirer.expirer import ObjectExpirer
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "object-expirer", ObjectExpirer, _add_options)


def _add_options(parser: OptionParser) -> None:
    parser.add_option(
        "--processes", type="int", metavar="N", help="so many processes share the work (else as configured)"
    )
    parser.add_option(
        "--process", type="int", metavar="N", help="this is number N of them, from 0 (else as configured)"
    )
