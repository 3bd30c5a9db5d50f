"""swift-manage-shard-ranges: the shard ranges of one replica of a container database, looked at and changed (operations.md 16).

What lives here: the sub-commands that find, show, replace and enable. Others get changes by replication. compact, repair and
analyze are in `shard_ranges_repair`, the command line in `shard_ranges_args`, text in and out in `shard_ranges_told`.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import unquote

from swift.cli import shard_ranges_args, shard_ranges_repair
from swift.cli.shard_ranges_args import EXIT_ERROR, EXIT_INVALID, EXIT_QUIT, EXIT_SUCCESS, Refused
from swift.cli.shard_ranges_told import (
    answer,
    as_json,
    is_wanted,
    note,
    ranges_of,
    read_file,
    with_state_name,
)
from swift.container import shard_ranges
from swift.container.broker import ContainerBroker
from swift.container.shard_ranges import ACTIVE, FOUND, SHARDING, STATES, ShardRange, sort_key
from swift.container.sharded import SHARDING as DB_SHARDING
from swift.container.sharded import UNSHARDED
from swift.container.sharding import change, context, family, repair, scan
from swift.core import clock
from swift.core.config import truthy
from swift.db.errors import DatabaseError, DatabaseMissing

_MARK = "X-Container-Sysmeta-Sharding"
_QUESTION = "Do you want to show the existing ranges [s], delete the existing ranges [yes] or quit without deleting [q]? "


class _Quit(Exception):
    """A person has had enough."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = shard_ranges_args.parser(_COMMANDS)
    args = parser.parse_args(argv)
    if args.func is None:
        parser.print_help()
        sys.stdout.flush()
        note("\nA sub-command is required.")
        return EXIT_INVALID
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        shard_ranges_args.fill(args)
        if args.subcommand == "analyze":
            return shard_ranges_repair.analyze(args)
        broker = _open(args)
        note(f"Loaded db broker for {broker.path_name}")
        return int(args.func(broker, args))
    except Refused as refused:
        sys.stdout.flush()
        note(str(refused))
        return refused.status
    except _Quit:
        return EXIT_QUIT
    except (DatabaseError, sqlite3.Error, OSError, OverflowError) as error:
        sys.stdout.flush()
        note(f"Error: {error}")
        return EXIT_ERROR
    finally:
        sys.stdout.flush()


def _open(args: Any) -> ContainerBroker:
    directory, name = os.path.split(os.path.abspath(args.path_to_file))
    path = os.path.join(directory, name.split("_", 1)[0].removesuffix(".db") + ".db")
    timeout = float(max(getattr(args, "replace_timeout", 0), getattr(args, "enable_timeout", 0), 5))
    broker = ContainerBroker(path, timeout=timeout, lock_timeout=timeout, skip_commits=args.skip_commits)
    missing = f"DB connection error ({os.path.abspath(args.path_to_file)}, 0):\nDB doesn't exist"
    try:
        if not name.endswith(".db") or not broker.exists():
            raise DatabaseMissing(missing)
        broker.info()
    except (DatabaseError, sqlite3.Error, OSError, ValueError) as error:
        raise Refused(f"Error opening container DB {args.path_to_file}: {error}", EXIT_ERROR) from None
    return broker


def _own(broker: ContainerBroker) -> ShardRange | None:
    """The container's own range; None, and a warning, for a shard that has none."""
    own = broker.own_shard_range(default=broker.is_root())
    if own is None:
        print("WARNING: shard container missing own shard range.")
        print("Aborting.")
    return own


def _others(broker: ContainerBroker) -> list[ShardRange]:
    return sorted(broker.other_shard_ranges(), key=sort_key)


# -- find, show, info ------------------------------------------------------------------------------------------------------


def _find(broker: ContainerBroker, args: Any) -> list[dict[str, Any]]:
    return scan.find_shard_ranges(broker, args.rows_per_shard, args.minimum_shard_size)


def find(broker: ContainerBroker, args: Any) -> int:
    """Where the container would be cut."""
    started = clock.time()
    found = _find(broker, args)
    print(as_json(found))
    sys.stdout.flush()
    total = sum(item["object_count"] for item in found)
    note(f"Found {len(found)} ranges in {clock.time() - started:g}s (total object count {total})")
    return EXIT_SUCCESS


def _show(ranges: Sequence[ShardRange], brief: bool) -> None:
    if not ranges:
        note("No shard data found.")
        return
    note("Existing shard ranges:")
    if brief:
        print(as_json([[item["lower"], item["upper"]] for item in ranges]))
    else:
        print(as_json([with_state_name(item) for item in ranges]))


def show(broker: ContainerBroker, args: Any) -> int:
    """The shard ranges."""
    own = broker.path_name
    ranges = [
        item
        for item in sorted(broker.all_shard_ranges(), key=sort_key)
        if item["name"] != own and (args.include_deleted or not item["deleted"])
    ]
    if args.includes:
        name = unquote(args.includes) if args.quoted else args.includes
        one = shard_ranges.Finder(ranges).including(name)
        ranges = [one] if one is not None else []
    _show(ranges, args.brief)
    return EXIT_SUCCESS


def info(broker: ContainerBroker, args: Any) -> int:
    """What the database says of itself."""
    metadata = broker.metadata()
    marked = truthy(metadata.get(_MARK, ("", ""))[0])
    print(f"Sharding enabled = {marked or bool(broker.other_shard_ranges())}")
    own = broker.own_shard_range(default=False)
    print(f"Own shard range: {as_json(with_state_name(own)) if own is not None else None}")
    state, figures = broker.db_state(), broker.info()
    print(f"db_state = {state}")
    print(f"object_count = {figures['object_count']}")
    print(f"bytes_used = {figures['bytes_used']}")
    if state == DB_SHARDING:
        retiring = _retiring(broker)
        print(f"Retiring db id: {retiring['id']}")
        print(f"Cleaving context: {as_json(asdict(context.load(broker, retiring)))}")
    print("Metadata:")
    for key, (value, _) in metadata.items():
        print(f"  {key} = {value}")
    return EXIT_SUCCESS


def _retiring(broker: ContainerBroker) -> dict[str, Any]:
    with broker.connection(broker.component_files()[0]) as conn:
        return broker.read_replication_info(conn)


# -- delete, replace, merge ------------------------------------------------------------------------------------------------


def _delete(broker: ContainerBroker, args: Any) -> None:
    """Mark all ranges deleted, once a person agrees. Raises _Quit."""
    ranges = _others(broker)
    if not ranges:
        print("No shard ranges found to delete.")
        return
    while not args.force:
        _warn(broker, ranges)
        try:
            said = answer(_QUESTION)
        except (EOFError, KeyboardInterrupt):
            raise _Quit from None
        if said == "yes":
            break
        if said == "q":
            raise _Quit
        if said == "s":
            sys.stdout.flush()
            _show(ranges, False)
        else:
            print("Please make a valid choice.\n")
    when = change.now()
    broker.merge_shard_ranges([{**item, "deleted": 1, "timestamp": when} for item in ranges])
    print(f"Deleted {len(ranges)} existing shard ranges.")


def _warn(broker: ContainerBroker, ranges: Sequence[ShardRange]) -> None:
    print(f"This will delete existing {len(ranges)} shard ranges.")
    state = broker.db_state()
    if state == UNSHARDED:
        return
    started = sum(item["state"] != FOUND for item in ranges)
    print(
        "WARNING: Be very cautious about deleting existing shard ranges. Deleting all ranges in this db does not guarantee"
        " deletion of all ranges on all replicas of the db."
    )
    print(f"  - this db is in state {state}")
    print(f"  - {started} existing shard ranges have started sharding")


def delete(broker: ContainerBroker, args: Any) -> int:
    """All shard ranges are marked deleted."""
    _delete(broker, args)
    return EXIT_SUCCESS


def _faults(ranges: Sequence[Mapping[str, Any]], own: ShardRange) -> list[str]:
    """Why these bounds don't make up the whole of `own`."""
    if not ranges:
        return ["No shard ranges."]
    faults = []
    if ranges[0]["lower"] != own["lower"]:
        faults.append(f"{own['lower']} != {ranges[0]['lower']}")
    for before, item in zip(ranges, ranges[1:], strict=False):
        if before["upper"] != item["lower"]:
            faults.append(f"{before['upper']} != {item['lower']}")
    if ranges[-1]["upper"] != own["upper"]:
        faults.append(f"{own['upper']} != {ranges[-1]['upper']}")
    return faults


def _are_valid(ranges: Sequence[Mapping[str, Any]], own: ShardRange) -> bool:
    faults = _faults(ranges, own)
    if faults:
        print(f"WARNING: invalid shard ranges: {faults}.")
        print("Aborting.")
    return not faults


def _made(broker: ContainerBroker, found: Sequence[Mapping[str, Any]], prefix: str) -> list[ShardRange]:
    """New ranges of what find has found. Raises Refused."""
    when = change.now()
    account, _, container = broker.path_name.partition("/")
    root_account, root_container = account, container
    if not broker.is_root():
        metadata = broker.metadata()
        quoted = metadata.get("X-Container-Sysmeta-Shard-Quoted-Root", ("", ""))[0]
        path = unquote(quoted) if quoted else metadata.get("X-Container-Sysmeta-Shard-Root", ("", ""))[0]
        root_account, _, root_container = path.partition("/")
    data = [
        {
            "name": f"{prefix}{root_account}/{root_container}-{family.hash_of(container)}-{when}-{item.get('index', at)}",
            "timestamp": when,
            "lower": item["lower"],
            "upper": item["upper"],
            "object_count": item.get("object_count", 0),
            "bytes_used": 0,
            "meta_timestamp": when,
            "deleted": 0,
            "state": FOUND,
            "state_timestamp": when,
            "epoch": None,
        }
        for at, item in enumerate(found)
    ]
    return ranges_of(data)


def _replace(broker: ContainerBroker, args: Any, found: Sequence[Mapping[str, Any]], own: ShardRange) -> int:
    if not _are_valid(found, own):
        return EXIT_ERROR
    made = _made(broker, found, args.shards_account_prefix)
    _delete(broker, args)
    broker.merge_shard_ranges(made)
    print(f"Injected {len(made)} shard ranges.")
    print("Run container-replicator to replicate them to other nodes.")
    if args.enable:
        return enable(broker, args)
    print("Use the enable sub-command to enable sharding.")
    return EXIT_SUCCESS


def replace(broker: ContainerBroker, args: Any) -> int:
    """Those of a file take the place of all shard ranges."""
    found = read_file(args.input)
    own = _own(broker)
    return EXIT_INVALID if own is None else _replace(broker, args, found, own)


def find_and_replace(broker: ContainerBroker, args: Any) -> int:
    """find, then replace."""
    own = _own(broker)
    return EXIT_INVALID if own is None else _replace(broker, args, _find(broker, args), own)


def merge(broker: ContainerBroker, args: Any) -> int:
    """Ranges of a file are merged as they stand there."""
    incoming = ranges_of(read_file(args.input))
    own = _own(broker)
    if own is None:
        return EXIT_INVALID
    known = {item["name"]: item for item in broker.all_shard_ranges()}
    _, changed = shard_ranges.merge_shard_ranges(known, incoming)
    known.update({item["name"]: item for item in changed})
    ranges = [item for item in known.values() if not item["deleted"] and item["name"] != broker.path_name]
    if repair.find_overlaps(ranges):
        print("WARNING: this change will result in shard ranges overlaps!")
    if repair.find_gaps(ranges, own):
        print("WARNING: this change will result in shard ranges gaps!")
    if not is_wanted(args):
        return EXIT_QUIT
    broker.merge_shard_ranges(incoming)
    print(f"Injected {len(incoming)} shard ranges.")
    print("Run container-replicator to replicate them to other nodes.")
    return EXIT_SUCCESS


# -- enable ----------------------------------------------------------------------------------------------------------------


def enable(broker: ContainerBroker, args: Any) -> int:
    """The container is to be sharded."""
    own = _own(broker)
    if own is None:
        return EXIT_INVALID
    if not _are_valid(_others(broker), own):
        return EXIT_ERROR
    if own["state"] == SHARDING and own["epoch"] is not None:
        print(f"Container already in state {STATES[SHARDING]!r} with epoch {own['epoch']}.")
        print("No action required.")
    elif own["state"] == SHARDING:
        print(f"Container already in state {STATES[SHARDING]!r} but missing epoch.")
        changed = _to_shard(broker, own)
        print(f"Container in state {STATES[SHARDING]!r} given epoch {changed['epoch']}.")
    elif own["state"] == ACTIVE:
        changed = _to_shard(broker, own)
        print(f"Container moved to state {STATES[SHARDING]!r} with epoch {changed['epoch']}.")
    else:
        print(f"WARNING: container in state {STATES[own['state']]} (should be active or sharding).")
        print("Aborting.")
        return EXIT_ERROR
    print("Run container-sharder on all nodes to shard the container.")
    return EXIT_SUCCESS


def _to_shard(broker: ContainerBroker, own: ShardRange) -> ShardRange:
    figures = broker.info()
    numbers = {"object_count": figures["object_count"], "bytes_used": figures["bytes_used"]}
    changed = change.with_statistics(change.forced(own, SHARDING, change.now()), numbers, change.now())
    broker.merge_shard_ranges([changed])
    broker.update_metadata({_MARK: ("True", change.now())})
    return changed


_COMMANDS: dict[str, Callable[..., int]] = {
    "find": find,
    "delete": delete,
    "show": show,
    "info": info,
    "merge": merge,
    "replace": replace,
    "find_and_replace": find_and_replace,
    "enable": enable,
    "compact": shard_ranges_repair.compact,
    "repair": shard_ranges_repair.repair_ranges,
    "analyze": shard_ranges_repair.analyze,
}
