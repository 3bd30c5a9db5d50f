"""What the info commands share: one file as argument, the settings of a swift directory, a ring if there is one."""

from __future__ import annotations

import optparse
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from swift.cli.output import complain
from swift.core.config import DEFAULT_SWIFT_DIR
from swift.core.errors import ConfigError
from swift.core.hashing import load_hash_config, set_hash_config
from swift.core.policy import PolicyCollection, load_policies
from swift.ring.errors import RingError
from swift.ring.lookup import Ring

EXIT_SUCCESS, EXIT_ERROR = 0, 1
_HASH = re.compile("[0-9a-f]{32}")


class InfoError(Exception):
    """The report ends here, with this line."""


def info_parser(prog: str, file: str) -> optparse.OptionParser:
    """The options that all info commands have; ``file``: how help names their argument."""
    parser = optparse.OptionParser(f"%prog [options] {file}", prog=prog)
    parser.add_option(
        "-d", "--swift-dir", default=DEFAULT_SWIFT_DIR, help="where swift.conf and the rings are"
    )
    parser.add_option(
        "--drop-prefixes", action="store_true", default=False, help="show keys without their section's prefix"
    )
    return parser


def run_report(
    parser: optparse.OptionParser, args: list[str], report: Callable[[str, Any], int | None]
) -> int:
    """Exit status: help and 0 without exactly one file; 1 with a line on stdout for what goes wrong."""
    options, paths = parser.parse_args(args)
    if len(paths) != 1:
        parser.print_help()
        return EXIT_SUCCESS
    # names may hold anything; a report must not die of a terminal that can't show it
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        status = report(paths[0], options) or EXIT_SUCCESS
        sys.stdout.flush()
        return status
    except (InfoError, ConfigError, OSError, ValueError) as error:
        complain(error)
        return EXIT_ERROR


def use_swift_dir(swift_dir: str) -> PolicyCollection:
    """Take hash settings and policies from there. Without hash settings go on with empty ones, and say so."""
    try:
        load_hash_config(swift_dir)
    except (ConfigError, OSError) as error:
        print(f"WARNING: hashes are computed without prefix and suffix: {error}", file=sys.stderr)
        set_hash_config("", "")
    return load_policies(swift_dir)


def check_place(path: str, name_hash: str) -> bool:
    """Returns False, with a line on stderr, if the file lies in another item's directory: the settings are not its cluster's.

    `path`: of a file below `.../<suffix>/<hash>/`; a file that lies elsewhere says nothing. `name_hash`: by our settings.
    """
    directory = os.path.basename(os.path.dirname(os.path.abspath(path)))
    if not _HASH.fullmatch(directory) or directory == name_hash:
        return True
    print(
        f"WARNING: the file lies in {directory}, but its name hashes to {name_hash} with these settings: "
        "hash and locations are another cluster's (-d says where swift.conf is)",
        file=sys.stderr,
    )
    return False


def open_ring(path: str) -> Ring | None:
    """The ring, or None with a line on stderr: a report about a file is of use without it."""
    try:
        return Ring(path)
    except (OSError, RingError, ConfigError) as error:
        print(f"No ring locations: {error}", file=sys.stderr)
        return None
