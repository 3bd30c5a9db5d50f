"""swift-object-auditor: looks for damaged objects. The daemon is swift.obj.auditing.auditor."""

from __future__ import annotations

import sys
from optparse import OptionParser

from swift.core import concurrency


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.obj.auditing.auditor import ObjectAuditor
    from swift.run.daemon import run_daemon_command

    return run_daemon_command(sys.argv[1:], "object-auditor", ObjectAuditor, _add_options)


def _add_options(parser: OptionParser) -> None:
    parser.add_option(
        "-z",
        "--zero_byte_fps",
        type="float",
        metavar="N",
        help="only look at metadata and sizes (the ZBF pass), of N files a second",
    )
    parser.add_option("-d", "--devices", help="audit only these devices, comma-separated")
