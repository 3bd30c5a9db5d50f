"""The command line that all servers and daemons share: `swift-X CONFIG [options] [words]`.

What the options do is decided by who starts something with them.

Spec: operations.md section 3; proxy-and-backend 25.1.
"""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from typing import Any


def make_parser(command: str, once: bool = False, test_config: bool = False) -> ArgumentParser:
    """A parser with the shared options; commands add their own before `parse`."""
    parser = ArgumentParser(prog=command, usage="%(prog)s CONFIG [options]")
    parser.add_argument("words", nargs="*", metavar="CONFIG", help=SUPPRESS)
    parser.add_argument("-v", "--verbose", action="store_true", help="log to console")
    if once:
        parser.add_argument("-o", "--once", action="store_true", help="only run one pass of daemon")
    if test_config:
        parser.add_argument(
            "-t", "--test-config", action="store_true", help="exit after loading and validating config"
        )
    return parser


def parse(parser: ArgumentParser, argv: list[str]) -> tuple[str, dict[str, Any]]:
    """(absolute config path, options). Ends the process with 1 for a missing config and 2 for an unknown option.

    Further words that are the name of a switch turn it on; the rest is in `extra_args`.
    """
    options: Namespace = parser.parse_intermixed_args(argv)
    words = options.words
    if not words:
        _refuse(parser, "Error: missing config path argument")
    path = os.path.abspath(words[0])
    if not os.path.exists(path):
        _refuse(parser, f"Error: unable to locate {path}")
    values = vars(options)
    del values["words"]
    values["extra_args"] = []
    for word in words[1:]:
        if isinstance(values.get(word), bool):
            values[word] = True
        else:
            values["extra_args"].append(word)
    return path, values


def _refuse(parser: ArgumentParser, text: str) -> None:
    parser.print_usage()
    print(text)
    sys.exit(1)
