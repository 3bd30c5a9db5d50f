"""compact, repair and analyze of swift-manage-shard-ranges: what they tell and change (database.md 22.1).

Which ranges are wrong, and which take over others, is known by ``swift.container.sharding``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swift.cli.shard_ranges_args import EXIT_ERROR, EXIT_QUIT, EXIT_SUCCESS
from swift.cli.shard_ranges_told import bound, is_wanted, print_range, ranges_of, read_file
from swift.container.broker import ContainerBroker
from swift.container.shard_ranges import (
    ACTIVE,
    CLEAVED,
    SHARDING,
    SHRINKING,
    STATES,
    ShardRange,
    own_range_default,
    sort_key,
)
from swift.container.sharded import SHARDED
from swift.container.sharding import change, family, repair, shrinking
from swift.core import clock
from swift.core.timestamp import normalize_timestamp

_REPLICATE = "Run container-replicator to replicate the changes to other nodes."


def _others(broker: ContainerBroker) -> list[ShardRange]:
    return sorted(broker.other_shard_ranges(), key=sort_key)


def _is_no_root(broker: ContainerBroker, done: str) -> bool:
    if broker.is_root():
        return False
    print(f"WARNING: Shard containers cannot be {done}.")
    print("This command should be used on a root container.")
    return True


# -- compact ---------------------------------------------------------------------------------------------------------------


def compact(broker: ContainerBroker, args: Any) -> int:
    """Small shards of a root are set going into their neighbours."""
    if _is_no_root(broker, "compacted"):
        return EXIT_ERROR
    if broker.db_state() != SHARDED:
        print("WARNING: Container is not yet sharded so cannot be compacted.")
        return EXIT_ERROR
    ranges = _others(broker)
    if repair.find_overlaps(item for item in ranges if item["state"] != SHRINKING):
        print("WARNING: Container has overlapping shard ranges so cannot be compacted.")
        return EXIT_ERROR
    own = broker.own_shard_range()
    assert own is not None
    mergers = shrinking.find_compactible(
        ranges, own, args.shrink_threshold, args.expansion_limit, args.max_shrinking, args.max_expanding
    )
    if not mergers:
        print("No shards identified for compaction.")
        return EXIT_SUCCESS
    for merger in mergers:
        rows = sum(map(change.row_count, merger.donors))
        print(f"Donor shard range(s) with total of {rows} rows:")
        for donor in merger.donors:
            print_range(donor)
        print("can be compacted into acceptor shard range:")
        print_range(merger.acceptor)
    print(f"Total of {len(mergers)} shard sequences identified for compaction.")
    print(
        "Once applied to the broker these changes will result in shard range compaction the next time the sharder runs."
    )
    if not is_wanted(args):
        return EXIT_QUIT
    when = change.now()
    changed: list[ShardRange] = []
    for merger in mergers:
        going = shrinking.set_going(merger, when)
        changed += [*going.donors, going.acceptor]
    broker.merge_shard_ranges(changed)
    print(f"Updated {len(mergers)} shard sequences for compaction.")
    print(_REPLICATE)
    print("Run container-sharder on all nodes to compact shards.")
    return EXIT_SUCCESS


# -- repair of overlaps ----------------------------------------------------------------------------------------------------


class _Plan:
    """What is to be done about overlaps: the donors, and the path that takes over what they have."""

    def __init__(self, donors: list[ShardRange], path: list[ShardRange]) -> None:
        self.donors = donors
        self.path = path


def _plan(ranges: Sequence[ShardRange], own: ShardRange, args: Any) -> _Plan | int:
    """The plan, said aloud; or the exit status if there is nothing to do or nothing can be done."""
    for state in (SHARDING, SHRINKING):
        if any(item["state"] == state for item in ranges):
            print(f"WARNING: Found shard ranges in {STATES[state]} state")
            print("No repairs performed.")
            return EXIT_ERROR
    paths = repair.find_paths(ranges, own)
    if not paths or not repair.is_whole(paths[0], own):
        print("Found no complete sequence of shard ranges.")
        print("Repairs necessary to fill gaps.")
        print("Gap filling not supported by this tool. No repairs performed.")
        return EXIT_ERROR
    path = paths[0]
    if _is_in_use_beyond(ranges, path):
        print(
            "WARNING: Found active or cleaved shard ranges beyond those of the best sequence that are in use"
        )
        print("No repairs performed.")
        return EXIT_ERROR
    donors = _donors(ranges, path, args)
    if not donors:
        print(f"Found one complete sequence of {len(path)} shard ranges and no overlapping shard ranges.")
        print("No repairs necessary.")
        return EXIT_SUCCESS
    moved = sum(item["object_count"] for item in donors)
    print("Repairs necessary to remove overlapping shard ranges.")
    print(
        f"Chosen a complete sequence of {len(path)} shard ranges with current total of"
        f" {sum(item['object_count'] for item in path)} object records to accept object records from"
        f" {len(donors)} overlapping donor shard ranges."
    )
    if args.verbose:
        for title, items in (("Donors:", donors), ("Acceptors:", path)):
            print(title)
            for item in items:
                print_range(item)
    print("Once applied to the broker these changes will result in:")
    print(f"    {len(donors)} shard ranges being removed.")
    print(f"    {moved} object records being moved to the chosen shard ranges.")
    return _Plan(donors, path)


def _is_in_use_beyond(ranges: Sequence[ShardRange], path: Sequence[ShardRange]) -> bool:
    """Returns True if other ranges than the path's are in use where the path's are not yet."""
    reached = ""
    for item in path:
        if item["state"] not in (CLEAVED, ACTIVE):
            break
        if not item["upper"]:
            return False
        reached = item["upper"]
    return any(
        item["state"] in (CLEAVED, ACTIVE) and (not item["upper"] or item["upper"] > reached)
        for item in ranges
    )


def _donors(ranges: Sequence[ShardRange], path: Sequence[ShardRange], args: Any) -> list[ShardRange]:
    names = {item["name"] for item in path}
    left = [item for item in ranges if item["name"] not in names]
    heirs = {item["name"]: [other for other in path if change.overlap(item, other)] for item in left}
    strangers = [
        item for item in left if not any(family.are_related(item, heir) for heir in heirs[item["name"]])
    ]
    if len(strangers) < len(left):
        print(f"{len(left) - len(strangers)} donor shards ignored due to parent-child relationship checks")
    youngest = normalize_timestamp(max(clock.time() - (args.min_shard_age or 0), 0))
    if not args.min_shard_age:
        return strangers
    old = [item for item in strangers if item["timestamp"] <= youngest]
    if len(old) < len(strangers):
        print(f"{len(strangers) - len(old)} overlapping donor shards ignored due to minimum age limit")
    ripe = [item for item in old if all(heir["timestamp"] <= youngest for heir in heirs[item["name"]])]
    if len(ripe) < len(old):
        print(f"{len(old) - len(ripe)} donor shards ignored due to existence of overlapping young acceptors")
    return ripe


def repair_ranges(broker: ContainerBroker, args: Any) -> int:
    """Overlaps go, or gaps are filled."""
    if _is_no_root(broker, "repaired"):
        return EXIT_ERROR
    if args.gaps:
        return _fill_gaps(broker, args)
    ranges = _others(broker)
    if not ranges:
        print("No shards found, nothing to do.")
        return EXIT_SUCCESS
    own = broker.own_shard_range()
    assert own is not None
    plan = _plan(ranges, own, args)
    if isinstance(plan, int):
        return plan
    if not is_wanted(args):
        return EXIT_QUIT
    when = change.now()
    broker.merge_shard_ranges([change.forced(item, SHRINKING, when) for item in plan.donors])
    print(f"Updated {len(plan.donors)} donor shard ranges.")
    print(_REPLICATE)
    print("Run container-sharder on all nodes to repair shards.")
    return EXIT_SUCCESS


def analyze(args: Any) -> int:
    """What repair would do about the ranges in a file."""
    ranges = sorted(ranges_of(read_file(args.path_to_file)), key=sort_key)
    own = own_range_default("a/c", change.now())
    plan = _plan([item for item in ranges if not item["deleted"]], own, args)
    return plan if isinstance(plan, int) else EXIT_SUCCESS


# -- repair of gaps --------------------------------------------------------------------------------------------------------


def _fill_gaps(broker: ContainerBroker, args: Any) -> int:
    own = broker.own_shard_range()
    assert own is not None
    ranges = _others(broker)
    sound = [item for item in ranges if item["state"] != SHRINKING]
    gaps = repair.find_gaps(sound, own)
    if not gaps:
        print(f"Found one complete sequence of {len(ranges)} shard ranges with no gaps.")
        print("No repairs necessary.")
        return EXIT_SUCCESS
    print(f"Found {len(gaps)} gaps:")
    expanded: dict[str, ShardRange] = {}
    for gap in gaps:
        _expand(gap, ranges, expanded, args.max_expanding)
    print()
    print("Repairs necessary to fill gaps.")
    print("The following expanded shard range(s) will be applied to the DB:")
    changed = sorted(expanded.values(), key=sort_key)
    for item in changed:
        print_range(item, 4)
    print()
    print("It is recommended that no other concurrent changes are made to the ")
    print("shard ranges while fixing gaps. If necessary, abort this change ")
    print("and stop any auto-sharding processes before repeating this command.")
    print()
    if not is_wanted(args):
        return EXIT_QUIT
    when = change.now()
    broker.merge_shard_ranges([{**item, "timestamp": when, "reported": 0} for item in changed])
    print(_REPLICATE)
    print("Run container-sharder on all nodes to fill gaps.")
    return EXIT_SUCCESS


def _expand(
    gap: tuple[str, str], ranges: Sequence[ShardRange], expanded: dict[str, ShardRange], most: int
) -> None:
    """Tell of a gap, and have a neighbour take it unless `most` do so already (-1: any number)."""
    lower, upper = gap
    print(f"  gap: {bound(lower, 'MinBound')} - {bound(upper, 'MaxBound')}")
    print("    apparent gap contents:")
    for item in ranges:
        if item["lower"] >= lower and (not upper or item["upper"] and item["upper"] <= upper):
            print_range(item, 6)
    heir = repair.heir_of_gap(gap, ranges)
    if heir is None:
        print("WARNING: cannot fix gap: non-ACTIVE neighbors")
        return
    name = heir["name"]
    print("    gap can be fixed by expanding neighbor range:")
    before = next(item for item in ranges if item["name"] == name)
    print_range(before, 6)
    if name not in expanded and 0 <= most <= len(expanded):
        return
    wider = expanded.get(name, before)
    if heir["lower"] != before["lower"]:
        wider = {**wider, "lower": heir["lower"]}
    else:
        wider = {**wider, "upper": heir["upper"]}
    expanded[name] = wider
