"""swift-account-audit: are all copies of an account, its containers and its objects there, and the same? (operations.md 15)

Lives here: the command, its words and its output. What is asked and compared is in `swift.cli.compared_copies`.
"""

from __future__ import annotations

import getopt
import os
import sys
from collections.abc import Iterator

from swift.core import concurrency
from swift.core.config import DEFAULT_SWIFT_DIR
from swift.core.errors import SwiftError

USAGE = """
Usage!

{command} [options] [url 1] [url 2] ...
    -c [concurrency]      Set the concurrency, default 50
    -r [ring dir]         Ring locations, default /etc/swift
    -e [filename]         File for writing a list of inconsistent urls
    -d                    Also download files and verify md5

You can also feed a list of urls to the script through stdin.

Examples!

    {command} AUTH_88ad0b83-b2c5-4fa1-b2d6-60c597202076
    {command} AUTH_88ad0b83-b2c5-4fa1-b2d6-60c597202076/container/object
    {command} -e errors.txt AUTH_88ad0b83-b2c5-4fa1-b2d6-60c597202076/container
    {command} < errors.txt
    {command} -c 25 -d < errors.txt
"""
_COUNTS = (
    ("Accounts checked", ("Missing Replicas", "Exceptions", "Container mismatch", "Object mismatch")),
    ("Containers checked", ("Missing Replicas", "Exceptions", "Count mismatch")),
    ("Objects checked", ("Missing Replicas", "Exceptions", "MD5 Mismatch")),
)


def main(argv: list[str] | None = None) -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    words = sys.argv[1:] if argv is None else argv
    try:
        options, paths = getopt.gnu_getopt(words, "c:r:e:dh", ["help"])
        chosen = dict(options)
        if {"-h", "--help"} & chosen.keys():
            print(USAGE.format(command=os.path.basename(sys.argv[0])))
            return 0
        at_once = int(chosen.get("-c", 50))
        if at_once < 1:
            raise ValueError("the concurrency must be at least 1")
    except (getopt.GetoptError, ValueError) as err:
        return _refuse(str(err))
    lines = sys.stdin if not sys.stdin.isatty() else ()
    if not paths and sys.stdin.isatty():
        return _refuse("nothing to audit")

    from swift.cli.compared_copies import Copies

    error_file = None
    try:
        copies = Copies(chosen.get("-r", DEFAULT_SWIFT_DIR), at_once, "-d" in chosen)
        if "-e" in chosen:
            error_file = open(chosen["-e"], "a", encoding="utf-8", errors="surrogateescape")
        for path in _paths(paths, lines):
            for name in copies.audit(path):
                if error_file is not None:
                    error_file.write(f"{name}\n")
    except (SwiftError, OSError) as err:
        print(f"swift-account-audit: {err}", file=sys.stderr)
        return 1
    finally:
        if error_file is not None:
            error_file.close()
    _print_counts(copies.counts)
    return 0


def _paths(words: list[str], lines: object) -> Iterator[str]:
    """What was asked for, by words and on standard input."""
    yield from words
    for line in lines:  # type: ignore[attr-defined]
        if line.strip():
            yield line.rstrip("\r\n")


def _refuse(text: str) -> int:
    print(text)
    print(USAGE.format(command=os.path.basename(sys.argv[0])))
    return 2


def _print_counts(counts: dict[tuple[str, str], int]) -> None:
    for checked, kinds in _COUNTS:
        print(f"\n{checked:>18}: {counts.get((checked, checked), 0)}")
        for kind in kinds:
            if counts.get((checked, kind)):
                print(f"{kind:>18}: {counts[checked, kind]}")
    print()
