"""Shard ranges as they are changed by a sharder: each function returns a changed copy. Pure but for the time, which is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swift.core import clock
from swift.core.timestamp import normalize_timestamp

from ..shard_ranges import SHARDING, SHRINKING, ShardRange

_STATISTICS = ("object_count", "bytes_used", "tombstones")


def now() -> str:
    """The time as ranges have it."""
    return normalize_timestamp(clock.time())


def in_state(item: ShardRange, state: int, **more: Any) -> ShardRange:
    """Further on its way: the time at which its state was last forced stays."""
    return {**item, "state": state, "reported": item["reported"] if item["state"] == state else 0, **more}


def forced(item: ShardRange, state: int, when: str) -> ShardRange:
    """In a state that counts against whatever others think of it; a range that begins to shard or shrink gets its epoch."""
    changed = in_state(item, state, state_timestamp=when)
    if state in (SHARDING, SHRINKING):
        changed["epoch"] = when
    return changed


def with_statistics(item: ShardRange, numbers: Mapping[str, int], when: str) -> ShardRange:
    """With numbers as of `when`."""
    changed = {**item, **{key: numbers[key] for key in _STATISTICS if key in numbers}, "meta_timestamp": when}
    if any(changed[key] != item[key] for key in _STATISTICS):
        changed["reported"] = 0
    return changed


def deleted(item: ShardRange, when: str) -> ShardRange:
    """Gone, as of `when`, with all its other times."""
    return {
        **item,
        "deleted": 1,
        "timestamp": when,
        "meta_timestamp": when,
        "state_timestamp": when,
        "reported": 0,
    }


def row_count(item: ShardRange) -> int:
    """Rows in its database, tombstones too."""
    return int(item["object_count"]) + max(int(item["tombstones"]), 0)


def includes(item: ShardRange, other: ShardRange) -> bool:
    """Returns True if all of `other` lies in `item`."""
    return item["lower"] <= other["lower"] and (
        not item["upper"] or (bool(other["upper"]) and other["upper"] <= item["upper"])
    )


def overlap(one: ShardRange, other: ShardRange) -> bool:
    """Returns True if a name may lie in both."""
    return (not one["upper"] or other["lower"] < one["upper"]) and (
        not other["upper"] or one["lower"] < other["upper"]
    )
