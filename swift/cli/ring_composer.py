"""swift-ring-composer: one ring made of the rings of several builders (spec ring 11.4).

What lives here: the command line, its words and exit codes. The rules of composing are in ``swift.ring.composite``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from swift.ring.builder import builder_lock
from swift.ring.composite import CompositeRingBuilder
from swift.ring.errors import RingError

EXIT_SUCCESS, EXIT_ERROR = 0, 2
NOTICE = """
NOTE: This tool is for experimental use and may be
      removed in future versions of Swift.
"""


class _Failure(Exception):
    """A step failed: what it was, and why."""

    def __init__(self, doing: str, error: Exception) -> None:
        super().__init__(f"An error occurred while {doing}.\nOriginal exception message:\n{error}")


def _show(options: argparse.Namespace) -> None:
    print(json.dumps(_load(options.composite_builder_file).to_dict(), indent=4, sort_keys=True))


def _load(path: str) -> CompositeRingBuilder:
    try:
        return CompositeRingBuilder.load(path)
    except (OSError, RingError, ValueError) as error:
        raise _Failure("loading the composite builder file", error)


def _compose(options: argparse.Namespace) -> None:
    path = options.composite_builder_file
    with builder_lock(path):
        composite = _load(path) if os.path.exists(path) else CompositeRingBuilder()
        try:
            ring = composite.compose(options.builder_files or None, force=options.force)
        except (OSError, RingError, ValueError) as error:
            raise _Failure("composing the ring", error)
        try:
            ring.save(options.output)
        except (OSError, ValueError) as error:
            raise _Failure("writing the composite ring file", error)
        try:
            composite.save(path)
        except (OSError, ValueError) as error:
            raise _Failure("writing the composite builder file", error)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Make one ring of the rings of several builders.")
    parser.add_argument(
        "composite_builder_file", metavar="composite_builder_file", help="file that remembers the components"
    )
    commands = parser.add_subparsers(dest="command", metavar="show|compose", required=True)
    show = commands.add_parser("show", help="show what the composite builder file holds")
    show.set_defaults(run=_show)
    compose = commands.add_parser("compose", help="compose a ring and write it")
    compose.add_argument(
        "builder_files",
        metavar="builder_file",
        nargs="*",
        help="component builders, in the order of their replicas; left out: those of the last time",
    )
    compose.add_argument("--output", metavar="output_file", required=True, help="the ring file to write")
    compose.add_argument(
        "-f",
        "--force",
        action="store_true",
        help="compose although the components did not change as they should",
    )
    compose.set_defaults(run=_compose)
    return parser


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv if argv is None else argv
    print(NOTICE, file=sys.stderr)
    try:
        options = _parser(os.path.basename(argv[0])).parse_args(argv[1:])
        options.run(options)
    except (_Failure, RingError) as error:
        print(error, file=sys.stderr)
        return EXIT_ERROR
    return EXIT_SUCCESS
