"""The command line of swift-manage-shard-ranges and the options that its configuration file may give (operations.md 16).

What lives here: names, defaults and checks. What never does: what a sub-command does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from swift.core.config import percent, positive_int, read_ini
from swift.core.errors import ConfigError

EXIT_SUCCESS, EXIT_ERROR, EXIT_INVALID, EXIT_QUIT = 0, 1, 2, 3
SECTION = "container-sharder"
_THRESHOLD = 1_000_000
_NOT_GIVEN = object()


class Refused(Exception):
    """The command ends here with a line on stderr. `status`: the exit status."""

    def __init__(self, line: str, status: int = EXIT_INVALID) -> None:
        super().__init__(line)
        self.status = status


def _above(least: int, sign: str) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be {sign} 0")
        return value

    number.__name__ = "int"
    return number


_POSITIVE, _COUNT = _above(1, ">"), _above(0, ">=")


def parser(commands: Mapping[str, Callable[..., int]]) -> argparse.ArgumentParser:
    """`commands`: what to run, by sub-command."""
    made = argparse.ArgumentParser(
        prog="swift-manage-shard-ranges",
        description="Look at and change the shard ranges of a container database.",
    )
    made.add_argument(
        "path_to_file", help="a container database, or for analyze a file of shard ranges as JSON"
    )
    made.add_argument(
        "--config",
        dest="conf_file",
        metavar="CONF_FILE",
        help="a file with a section [container-sharder]: rows_per_shard, minimum_shard_size, max_shrinking, max_expanding, "
        "shrink_threshold and expansion_limit are taken from there unless given here",
    )
    made.add_argument("--verbose", "-v", action="count", default=0, help="tell more")
    made.add_argument("--force-commits", action="store_true", default=False, help=argparse.SUPPRESS)
    made.add_argument(
        "--skip-commits",
        action="store_true",
        default=False,
        help="leave rows that wait in the pending file where they are",
    )
    made.set_defaults(func=None)
    subs = made.add_subparsers(dest="subcommand", title="Sub-commands", help="what to do")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        sub = subs.add_parser(name, help=text)
        sub.set_defaults(func=commands[name])
        return sub

    _find_options(add("find", "where the container would be cut"))
    sub = add("delete", "mark all shard ranges deleted")
    _force_option(sub)
    sub = add("show", "print the shard ranges")
    sub.add_argument("--include_deleted", "-d", action="store_true", default=False, help="deleted ones, too")
    sub.add_argument("--brief", "-b", action="store_true", default=False, help="only their bounds")
    sub.add_argument("--includes", help="only the one that has this name")
    sub.add_argument("-Q", "--quoted", action="store_true", default=False, help="the name is percent-quoted")
    add("info", "what the database says of itself")
    sub = add("merge", "merge shard ranges from a file, as they stand there")
    sub.add_argument("input", metavar="input_file", help="JSON list of shard ranges")
    _replace_options(sub, with_force=False)
    _yes_options(sub)
    sub = add("replace", "put those of a file in the place of all shard ranges")
    sub.add_argument("input", metavar="input_file", help="JSON list as find prints it")
    _replace_options(sub)
    sub = add("find_and_replace", "find, then replace")
    _find_options(sub)
    _replace_options(sub)
    _enable_option(sub)
    sub = add("enable", "have the container sharded")
    _enable_option(sub)
    _replace_options(sub)
    sub = add("compact", "merge small shards of a root container into their neighbours")
    _yes_options(sub)
    for name, text in (
        ("--shrink-threshold", "shards with fewer rows are merged"),
        ("--expansion-limit", "rows that a shard may have after it"),
        ("--max-shrinking", "shards that one takes over at a time"),
        ("--max-expanding", "shards that take over others at a time"),
    ):
        sub.add_argument(name, nargs="?", type=_POSITIVE, default=_NOT_GIVEN, help=text)
    sub = add("repair", "remove overlaps of shard ranges, or fill gaps")
    _yes_options(sub)
    _age_option(sub, 14400)
    sub.add_argument("--gaps", action="store_true", default=False, help="fill gaps")
    sub.add_argument(
        "--max-expanding", nargs="?", type=_POSITIVE, default=_NOT_GIVEN, help="shards that take over gaps"
    )
    _age_option(add("analyze", "what repair would do about shard ranges in a file"), 0)
    return made


def _find_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "rows_per_shard", nargs="?", type=int, default=_NOT_GIVEN, help="rows of a new shard (500000)"
    )
    sub.add_argument(
        "--minimum-shard-size", type=_POSITIVE, default=_NOT_GIVEN, help="rows of the last shard, at least"
    )


def _replace_options(sub: argparse.ArgumentParser, with_force: bool = True) -> None:
    if not with_force:
        sub.add_argument("--replace-timeout", type=int, default=600, help="seconds to wait for the database")
    sub.add_argument(
        "--shards_account_prefix",
        metavar="shards_account_prefix",
        default=".shards_",
        help="beginning of the name of the account that gets the shards",
    )
    if with_force:
        sub.add_argument("--replace-timeout", type=int, default=600, help="seconds to wait for the database")
        _force_option(sub)
        sub.add_argument("--enable", action="store_true", default=False, help="have it sharded then")


def _force_option(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--force", "-f", action="store_true", default=False, help="delete without asking")


def _enable_option(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--enable-timeout", type=int, default=300, help="seconds to wait for the database")


def _yes_options(sub: argparse.ArgumentParser) -> None:
    group = sub.add_mutually_exclusive_group()
    group.add_argument("--yes", "-y", action="store_true", default=False, help="change without asking")
    group.add_argument("--dry-run", "-n", action="store_true", default=False, help="change nothing")


def _age_option(sub: argparse.ArgumentParser, default: int) -> None:
    sub.add_argument(
        "--min-shard-age",
        nargs="?",
        type=_COUNT,
        default=default,
        help=f"seconds that a shard range must be old to be changed ({default})",
    )


# -- configuration ---------------------------------------------------------------------------------------------------------


def fill(args: argparse.Namespace) -> None:
    """Options that the command line does not give, from the configuration file or the defaults. Raises Refused."""
    conf = _section(args.conf_file) if args.conf_file else {}
    try:
        chosen = _chosen(args, conf)
    except (ValueError, TypeError) as error:
        raise Refused(f"Error loading config: {error}") from None
    for name, value in chosen.items():
        if hasattr(args, name):
            setattr(args, name, value)
    if hasattr(args, "rows_per_shard") and args.minimum_shard_size > args.rows_per_shard:
        raise Refused(
            f"Invalid config: minimum_shard_size ({args.minimum_shard_size}) must be <= rows_per_shard ({args.rows_per_shard})"
        )


def _section(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8"):
            pass
    except OSError:
        raise Refused(
            f"Error opening config file {path}: Unable to read config from {path}", EXIT_ERROR
        ) from None
    try:
        sections = read_ini(path)
    except ConfigError as error:
        raise Refused(f"Error opening config file {path}: {error}", EXIT_ERROR) from None
    if SECTION not in sections:
        raise Refused(f"Error loading config: Unable to find {SECTION} config section in {path}")
    return sections[SECTION]


def _chosen(args: argparse.Namespace, conf: Mapping[str, str]) -> dict[str, int]:
    def value(name: str, default: int, convert: Callable[[Any], int]) -> int:
        given = getattr(args, name, _NOT_GIVEN)
        if given is _NOT_GIVEN:
            given = conf.get(name, default)
        elif given is None:
            raise TypeError(f"{name} needs a number")
        try:
            return convert(given)
        except ValueError as error:
            raise ValueError(f"Error setting {name}: {error}") from None

    threshold = value("shard_container_threshold", _THRESHOLD, positive_int)
    rows = value("rows_per_shard", max(threshold // 2, 1), positive_int)
    shrink = percent(conf.get("shard_shrink_point", "10"))
    merge = percent(conf.get("shard_shrink_merge_point", "75"))
    return {
        "rows_per_shard": rows,
        "minimum_shard_size": value("minimum_shard_size", max(rows // 5, 1), positive_int),
        "shrink_threshold": value("shrink_threshold", int(threshold * shrink), int),
        "expansion_limit": value("expansion_limit", int(threshold * merge), int),
        "max_shrinking": value("max_shrinking", 1, int),
        "max_expanding": value("max_expanding", -1, int),
    }
