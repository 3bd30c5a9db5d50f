"""Where a container is to be cut (database.md 20.5). Reads one database, changes nothing. Blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..broker import ContainerBroker
from ..shard_ranges import FOUND, ShardRange, sort_key


def find_shard_ranges(
    database: ContainerBroker,
    size: int,
    minimum: int,
    existing: Sequence[ShardRange] = (),
    limit: int = -1,
) -> list[dict[str, Any]]:
    """Cuts of `size` live rows each, the last one of at least `minimum` more: [{index, lower, upper, object_count}], in order.

    It goes on behind the `existing` ranges of the container, with up to `limit` cuts (-1: all). [] if there is nothing to be cut. Memory is
    bounded by what is returned. While the database is being sharded, the retiring file is read.
    """
    own = database.own_shard_range()
    assert own is not None
    ordered = sorted(existing, key=sort_key)
    lower, index = own["lower"], len(ordered)
    if ordered:
        lower = ordered[-1]["upper"]
        if not lower or (own["upper"] and lower >= own["upper"]):
            return []
    total = database.info()["object_count"]
    if not _is_enough(total, size, minimum):
        return []
    found: list[dict[str, Any]] = []
    with database.connection(database.component_files()[0]) as conn:
        if all(item["state"] == FOUND for item in ordered):
            progress = sum(item["object_count"] for item in ordered)
        else:
            progress = total - _count_behind(conn, lower, own["upper"])
        while limit < 0 or len(found) < limit:
            upper, count = None, size
            if progress + size + minimum <= total:
                upper = _row_at(conn, lower, size)
            is_last = upper is None or bool(own["upper"] and upper >= own["upper"])
            if is_last:
                upper, count = own["upper"], max(total - progress, 0)
            found.append({"index": index + len(found), "lower": lower, "upper": upper, "object_count": count})
            if is_last:
                break
            assert upper is not None
            progress += count
            lower = upper
    return found


def is_large_enough(database: ContainerBroker, size: int, minimum: int) -> bool:
    """Returns True if find_shard_ranges would find cuts of a container that has none yet."""
    return _is_enough(database.info()["object_count"], size, minimum)


def _is_enough(total: int, size: int, minimum: int) -> bool:
    return size + minimum <= total


def _row_at(conn: Any, lower: str, number: int) -> str | None:
    """The name of the live row that is the `number`th behind `lower`."""
    row = conn.execute(
        "SELECT name FROM object WHERE deleted = 0 AND name > ? ORDER BY name LIMIT 1 OFFSET ?",
        (lower, number - 1),
    ).fetchone()
    return row[0] if row else None


def _count_behind(conn: Any, lower: str, upper: str) -> int:
    below, args = ("AND name <= ?", [lower, upper]) if upper else ("", [lower])
    query = f"SELECT count(*) FROM object WHERE deleted = 0 AND name > ? {below}"
    return int(conn.execute(query, args).fetchone()[0])


def is_complete(ranges: Sequence[ShardRange], own: ShardRange) -> bool:
    """Returns True if the last of these ranges reaches the end of `own`."""
    if not ranges:
        return False
    upper = max(ranges, key=sort_key)["upper"]
    return not upper or bool(own["upper"] and upper >= own["upper"])
