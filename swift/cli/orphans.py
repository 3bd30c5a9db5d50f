"""swift-orphans: lists, and signals if asked to, our processes that no pid file knows of.

Spec: operations.md section 7.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from optparse import OptionParser

from swift.cli.managed import DEFAULT_RUN_DIR
from swift.cli.oldies import LINE_LENGTH, format_table
from swift.cli.processes import Process, all_processes, send_signal

DEFAULT_HOURS = 24

USAGE = """%prog [options]

Lists and optionally kills orphaned Swift processes. This is done by scanning
/var/run/swift for .pid files and listing any processes that look like Swift
processes but aren't associated with the pids in those .pid files. Any Swift
processes running with the 'once' parameter are ignored, as those are usually
for full-speed audit scans and such.

Example (sends SIGTERM to all orphaned Swift processes older than two hours):
%prog -a 2 -k TERM"""


def known_pids(run_dir: str) -> set[int]:
    """The pids in all pid files below a directory."""
    found = set()
    for directory, _, names in os.walk(run_dir):
        for name in names:
            if name.endswith((".pid", ".pid.d")):
                try:
                    with open(os.path.join(directory, name)) as file:
                        found.add(int(file.read(64)))
                except (OSError, ValueError):
                    continue
    return found


def find_orphans(processes: Iterable[Process], known: set[int], hours: float) -> list[Process]:
    """Swift processes of that age that are neither known nor children of known ones nor doing one pass."""
    return [
        process
        for process in processes
        if process.swift_command not in (None, "swift-orphans", "swift-init")
        and process.pid not in known
        and process.parent not in known
        and "once" not in process.argv
        and process.age >= hours * 3600
    ]


def signal_number(text: str) -> int | None:
    """The number of `15`, `TERM` or `SIGTERM`; None for anything else."""
    if text.isascii() and text.isdigit():
        return int(text) if 0 < int(text) < signal.NSIG else None
    name = text.upper()
    found = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", None)
    return int(found) if isinstance(found, signal.Signals) else None


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = OptionParser(USAGE, prog="swift-orphans")
    parser.add_option(
        "-a", "--age", dest="hours", type="int", default=DEFAULT_HOURS, metavar="HOURS",
        help="look for processes at least HOURS old; default: 24",
    )  # fmt: skip
    parser.add_option(
        "-k", "--kill", dest="signal", metavar="SIGNAL",
        help="send SIGNAL to matched processes; default: just list process information",
    )  # fmt: skip
    parser.add_option(
        "-w", "--wide", action="store_true", default=False, help="don't clip the listing at 80 characters"
    )
    parser.add_option(
        "-r", "--run-dir", type="str", dest="run_dir", default=DEFAULT_RUN_DIR,
        help=f"alternative directory to store running pid files default: {DEFAULT_RUN_DIR}",
    )  # fmt: skip
    options, _ = parser.parse_args(argv)
    orphans = find_orphans(all_processes(), known_pids(options.run_dir), options.hours)
    for line in format_table(orphans, None if options.wide else LINE_LENGTH):
        print(line)
    if not orphans or not options.signal:
        return 0
    number = signal_number(options.signal)
    if number is None:
        print(f"Could not translate {options.signal!r} to a signal number.")
        return 1
    print(f"Sending processes {options.signal} ({number}) signal...", end="", flush=True)
    status = 0
    for process in orphans:
        try:
            send_signal(process, number)
        except PermissionError:
            print(f"No permission to signal PID {process.pid}...", end="")
            status = 1
    print("Done.")
    return status


if __name__ == "__main__":
    sys.exit(main())
