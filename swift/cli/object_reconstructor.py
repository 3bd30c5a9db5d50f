"""swift-object-reconstructor: rebuilds lost fragments of objects, and brings fragments to where they belong. The daemon is swift.obj.reconstruction.reconstructor."""

from __future__ import annotations

import sys
from optparse import OptionParser

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.obj.reconstruction.reconstructor import ObjectReconstructor
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "object-reconstructor", ObjectReconstructor, _add_options)


def _add_options(parser: OptionParser) -> None:
    parser.add_option(
        "-d",
        "--devices",
        help="with once: look only at these devices, comma-separated",
    )
    parser.add_option(
        "-p",
        "--partitions",
        help="with once: look only at these partitions, comma-separated",
    )
