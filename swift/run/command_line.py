"""The command line that all servers and daemons share: `swift-X CONFIG [options] [words]`.

What the options do is decided by who starts something with them.

Spec: operations.md section 3; proxy-and-backend 25.1.
"""

from __future__ import annotations

import os
import sys
from optparse import OptionParser
from typing import Any, NoReturn


def make_parser(command: str) -> OptionParser:
    """A parser for `command`; its own options are added first, then the shared ones (`parse`)."""
    return OptionParser(f"{command} CONFIG [options]", prog=command)


def parse(
    parser: OptionParser, argv: list[str], once: bool = False, test_config: bool = False
) -> tuple[str, dict[str, Any]]:
    """(absolute config path, options). Ends the process with 1 for a missing config and 2 for an unknown option.

    `once`, `test_config`: True if there is such an option. Further words that are the name of a switch turn it on; the
    rest is in `extra_args`.
    """
    parser.add_option("-v", "--verbose", default=False, action="store_true", help="log to console")
    if once:
        parser.add_option(
            "-o", "--once", default=False, action="store_true", help="only run one pass of daemon"
        )
    if test_config:
        parser.add_option(
            "-t",
            "--test-config",
            default=False,
            action="store_true",
            help="exit after loading and validating config; do not run the daemon",
        )
    options, words = parser.parse_args(argv)
    if not words:
        _refuse(parser, "Error: missing config path argument")
    path = os.path.abspath(words[0])
    if not os.path.exists(path):
        _refuse(parser, f"Error: unable to locate {path}")
    values: dict[str, Any] = dict(vars(options))
    values["extra_args"] = []
    for word in words[1:]:
        if isinstance(values.get(word), bool):
            values[word] = True
        else:
            values["extra_args"].append(word)
    return path, values


def _refuse(parser: OptionParser, text: str) -> NoReturn:
    parser.print_usage()
    print(text)
    sys.exit(1)
