"""swift-status: the state of the whole cluster on one screen, and what to do next. From the rings alone: no root, no ssh.

What lives here: the command line, asking. What never does: what answers mean and what is wrong (`survey`), lines (`cluster_screen`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from optparse import OptionParser
from typing import TYPE_CHECKING, Any, NoReturn

from swift.core import clock, concurrency

if TYPE_CHECKING:
    from swift.cli.recon_hosts import Rings
    from swift.survey.answers import Answer

EXIT_WELL, EXIT_WRONG, EXIT_DANGER, EXIT_USAGE = 0, 1, 2, 3
AT_ONCE = 300
_USAGE = """%prog [options]

Shows on one screen how a cluster is: which servers answer, whether versions,
rings, swift.conf and clocks agree, how full disks are, when the last passes of
replication, reconstruction and audit ended, what waits, what lies in
quarantine; and what to do next, with the command to paste.

It reads the rings and swift.conf of this machine and asks all storage servers
at /recon/... over HTTP; nothing is changed. Servers that don't answer cost
no more time than --within. For monitoring with limits of your own:
swift-recon --check.

Exit status: 0 nothing to do, 1 something is wrong, 2 data is in danger, 3 bad
use."""


class _Parser(OptionParser):
    def error(self, msg: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.get_prog_name()}: error: {msg}\n")


def _parser() -> OptionParser:
    parser = _Parser(usage=_USAGE, prog="swift-status")
    parser.add_option(
        "-d", "--swift-dir", default="/etc/swift", help="where swift.conf and the rings are (%default)"
    )
    parser.add_option(
        "-t", "--timeout", type="float", default=3.0, help="seconds to wait for a server (%default)"
    )
    parser.add_option("--within", type="float", default=30.0, help="seconds for all of it (%default)")
    parser.add_option("--json", action="store_true", default=False, help="everything as one document")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    concurrency.patch()
    parser = _parser()
    options, words = parser.parse_args(None if argv is None else list(argv))
    if words:
        parser.error(f"what is {words[0]}? See --help.")
    if not 0 < options.timeout < 1e6 or not 0 < options.within < 1e6:
        parser.error("--timeout and --within must be above 0")
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    from swift.cli import cluster_screen
    from swift.core.errors import SwiftError
    from swift.ring.errors import RingError
    from swift.survey import findings

    try:
        state = seen(options.swift_dir, options.timeout, options.within)
    except (SwiftError, RingError, OSError, ValueError) as error:
        print(f"swift-status: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_USAGE
    found = findings.findings(state, options.swift_dir)
    levels = {one.level for one in found}
    status = (
        EXIT_DANGER if findings.DANGER in levels else EXIT_WRONG if findings.WRONG in levels else EXIT_WELL
    )
    if options.json:
        print(
            json.dumps(
                {**state, "findings": [one._asdict() for one in found], "status": status},
                indent=2,
                sort_keys=True,
            )
        )
    else:
        for line in cluster_screen.lines(state, found, options.swift_dir, sys.stdout.isatty()):
            print(_printable(line))
    return status


def seen(swift_directory: str, timeout: float, within: float) -> dict[str, Any]:
    """The document of `survey.state`. Raises SwiftError, RingError, OSError."""
    from swift.cli.recon_hosts import Rings
    from swift.core import swift_dir
    from swift.core.policy import policies
    from swift.survey.answers import md5_of
    from swift.survey.rings import ClusterRings
    from swift.survey.state import QUESTIONS, state
    from swift.telemetry.log import get_logger

    swift_dir.use(swift_directory)
    rings = Rings(swift_directory)
    names = ["account", "container", *(policy.ring_name for policy in policies())]
    here = {f"{name}.ring.gz": md5_of(os.path.join(swift_directory, f"{name}.ring.gz")) for name in names}
    here["swift.conf"] = md5_of(os.path.join(swift_directory, "swift.conf"))
    told = _ask(rings, QUESTIONS, timeout, within)
    told_by_rings = ClusterRings(swift_directory, get_logger({}, "swift-status")).told()["rings"]
    return state(told, here, clock.time(), told_by_rings)


def _ask(
    rings: Rings, questions: dict[str, Sequence[str]], timeout: float, within: float
) -> dict[str, list[Answer]]:
    """The answers by kind of server; all kinds are asked at once."""
    from swift.cli.recon_hosts import ask

    kind_of = {}
    asked = []
    for kind, wanted in questions.items():
        for host in rings.hosts(kind):
            kind_of[host] = kind
            asked.append((host, wanted))
    told: dict[str, list[Answer]] = {kind: [] for kind in questions}
    for answer in ask(asked, timeout, AT_ONCE, within):
        told[kind_of[answer.host]].append(answer)
    return told


def _printable(line: str) -> str:
    return "".join(
        [letter if letter.isprintable() or letter == "\x1b" else ascii(letter)[1:-1] for letter in line]
    )


if __name__ == "__main__":
    sys.exit(main())
