"""swift-object-replicator: brings all copies of objects to where they belong. The daemon is swift.obj.replication.replicator."""

from __future__ import annotations

import sys
from optparse import OptionParser

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.obj.replication.replicator import ObjectReplicator
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "object-replicator", ObjectReplicator, _add_options)


def _add_options(parser: OptionParser) -> None:
    parser.add_option(
        "-d",
        "--devices",
        help="with once: replicate only these devices, comma-separated",
    )
    parser.add_option(
        "-p",
        "--partitions",
        help="with once: replicate only these partitions, comma-separated",
    )
    parser.add_option(
        "-i",
        "--policies",
        help="with once: replicate only these policies, by their index, comma-separated",
    )
