"""How swift-manage-shard-ranges shows ranges, asks people and reads files of ranges.

What lives here: text in and out. What never does: databases.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from swift.cli.shard_ranges_args import Refused
from swift.container import shard_ranges
from swift.container.shard_ranges import ShardRange

_ROWS_FILE = 256 * 1024 * 1024  # bytes


def note(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr)


def as_json(value: Any) -> str:
    """Data for people and for programs."""
    return json.dumps(value, sort_keys=True, indent=2)


def with_state_name(item: ShardRange) -> dict[str, Any]:
    """A range as it is shown."""
    return {**item, "state": shard_ranges.STATES.get(item["state"], str(item["state"]))}


def print_range(item: ShardRange, indent: int = 2) -> None:
    """In three lines."""
    space = " " * indent
    state = shard_ranges.STATES.get(item["state"], "unknown")
    print(f"{space}{item['name']!r}")
    print(
        f"{space}  objects: {item['object_count']:9d}, tombstones: {item['tombstones']:9d}, lower: {item['lower']!r}"
    )
    print(f"{space}    state: {state:>9}, deleted: {item['deleted']:d}{'':13}upper: {item['upper']!r}")


def bound(text: str, unbounded: str) -> str:
    """A bound of a gap."""
    return repr(text) if text else unbounded


def answer(question: str) -> str:
    """What a person types; raises EOFError if nobody does."""
    return input(question)


def is_wanted(args: Any) -> bool:
    """Returns True if changes are to be applied: by option, or because a person says so."""
    if args.dry_run:
        wanted = False
    elif args.yes:
        wanted = True
    else:
        try:
            wanted = answer("Do you want to apply these changes to the container DB? [yes/N]") == "yes"
        except (EOFError, KeyboardInterrupt):
            wanted = False
    if not wanted:
        print("No changes applied")
    return wanted


def read_file(path: str) -> list[dict[str, Any]]:
    """A list of ranges, at least with bounds, from a file. Raises Refused."""
    try:
        with open(path, "rb") as file:
            text = file.read(_ROWS_FILE + 1)
    except OSError as error:
        raise Refused(f"Failed to open file {path}: {error}") from None
    try:
        if len(text) > _ROWS_FILE:
            raise ValueError(f"more than {_ROWS_FILE} bytes")
        data = json.loads(text)
        if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
            raise ValueError("Shard data must be a list of dicts")
        for item in data:
            for key in ("lower", "upper", "index" if "name" not in item else "name"):
                item[key]
    except (ValueError, KeyError, RecursionError) as error:
        raise Refused(f"Failed to load valid shard range data: {error!r}") from None
    return data


def ranges_of(data: Iterable[Mapping[str, Any]]) -> list[ShardRange]:
    """Ranges in wire form. Raises Refused."""
    try:
        return [shard_ranges.from_wire(item) for item in data]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"Failed to load valid shard range data: {error!r}") from None
