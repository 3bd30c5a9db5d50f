"""swift-oldies: lists our processes that have been running for long.

What lives here: the command and the table that it shares with swift-orphans.
Spec: operations.md section 7.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from optparse import OptionParser

from swift.cli.processes import Process, all_processes

DEFAULT_HOURS = 720
LINE_LENGTH = 80


def format_table(processes: Iterable[Process], width: int | None = LINE_LENGTH) -> list[str]:
    """Lines of `Hours PID Command`, oldest first; [] for no processes."""
    rows = [
        (str(int(p.age // 3600)), str(p.pid), p.short_command)
        for p in sorted(processes, key=lambda p: -p.age)
    ]
    if not rows:
        return []
    hours = max(len("Hours"), *(len(row[0]) for row in rows))
    pids = max(len("PID"), *(len(row[1]) for row in rows))
    lines = [f"{'Hours':>{hours}} {'PID':>{pids}} Command"]
    lines += [f"{row[0]:>{hours}} {row[1]:>{pids}} {row[2]}" for row in rows]
    return [line[:width] for line in lines]


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = OptionParser("%prog [options]\n\nLists old Swift processes.", prog="swift-oldies")
    parser.add_option(
        "-a", "--age", dest="hours", type="int", default=DEFAULT_HOURS, metavar="HOURS",
        help="look for processes at least HOURS old; default: 720 (30 days)",
    )  # fmt: skip
    parser.add_option(
        "-p", "--pids", action="store_true", default=False,
        help="only print the pids found; for example, to pipe to xargs kill",
    )  # fmt: skip
    options, _ = parser.parse_args(argv)
    found = [
        process
        for process in all_processes()
        if process.swift_command not in (None, "swift-oldies") and process.age >= options.hours * 3600
    ]
    if options.pids:
        for process in found:
            print(process.pid)
    else:
        for line in format_table(found):
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
