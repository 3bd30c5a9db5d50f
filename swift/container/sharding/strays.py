"""Rows that lie in another container of a family than they should: from before it was split, or late (database.md 20.4).

A row is removed here only when a quorum of the replicas of the container that it belongs to have it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from swift.db.connection import Connection
from swift.engine.fault_points import fault_point

from ..shard_ranges import UPDATING, Finder, ShardRange
from ..sharded import SHARDED, SHARDING
from . import context, files, moving
from .visit import Visit

Bounds = tuple[str, str]


class _Source(NamedTuple):
    """A file of the container that rows are taken from. `id`: of its database; `max_row`: up to which row id."""

    file: str
    id: str
    max_row: int


def move(visit: Visit) -> bool:
    """Move what the container's current file holds and should not; returns False if something had to stay."""
    bounds = _bounds(visit)
    return _move(visit, bounds, None) if bounds else True


def move_outside(visit: Visit, retiring: str) -> bool:
    """Move what the retiring file holds of names that are not the container's."""
    bounds = _outside(visit.own())
    return _move(visit, bounds, retiring) if bounds else True


def _bounds(visit: Visit) -> list[Bounds]:
    """The parts of the namespace, as (lower, upper], of which the current file should hold nothing."""
    own, state = visit.own(), visit.state()
    if state == SHARDED:
        return [("", "")]
    if state == SHARDING:
        retiring = visit.run(files.retiring_state, visit.broker)
        record = visit.run(context.load, visit.broker, retiring)
        reached = own["upper"] if record.cleaving_done else record.cursor
        if record.cleaving_done and not reached:
            return [("", "")]
        if reached:
            return [("", reached), *([(own["upper"], "")] if own["upper"] else [])]
    if own["deleted"] and state != SHARDING:
        return [("", "")]  # it has nothing of its own any more
    return _outside(own)


def _outside(own: ShardRange) -> list[Bounds]:
    return [
        *([("", own["lower"])] if own["lower"] else []),
        *([(own["upper"], "")] if own["upper"] else []),
    ]


def _move(visit: Visit, bounds: list[Bounds], file: str | None) -> bool:
    source: _Source = visit.run(_source, visit, file)
    if not any(visit.run(_next_name, visit, source, lower, upper) is not None for lower, upper in bounds):
        return True
    figures = visit.figures
    figures.count("misplaced", "attempted")
    finder = Finder(_destinations(visit, bounds))
    unplaced = False
    failed = False
    for lower, upper in bounds:
        while (name := visit.run(_next_name, visit, source, lower, upper)) is not None:
            item = finder.including(name)
            if item is None:
                unplaced = True
                lower = _behind(finder, name)
                figures.count("misplaced", "unplaced", visit.run(_count, visit, source, name, lower or upper))
                if not lower:
                    break
                continue
            end = item["upper"] if not upper or (item["upper"] and item["upper"] < upper) else upper
            moved = _move_to(visit, source, item, max(lower, item["lower"]), end)
            failed = failed or not moved
            if not end:
                break
            lower = end
    if unplaced:
        visit.logger.warning("%s has rows that belong to no shard that is known", visit.path)
        visit.error = "rows belong to no shard that is known"
    return figures.outcome("misplaced", not (unplaced or failed))


def _behind(finder: Finder, name: str) -> str:
    """The lower bound of the next range behind a name, '' if there is none."""
    return min((item["lower"] for item in finder.ordered if item["lower"] >= name), default="")


def _destinations(visit: Visit, bounds: list[Bounds]) -> list[ShardRange]:
    """Ranges that take rows; a container's own are asked of the root."""
    if visit.is_root:
        found = visit.others()
    else:
        # what lies in none of its own children may be anywhere
        marker, end = (
            min(lower for lower, _ in bounds),
            "" if any(not u for _, u in bounds) else max(u for _, u in bounds),
        )
        found = visit.asking.fetch(visit.root, "updating", marker, end).ranges
        known = {item["name"] for item in found}
        found += [item for item in visit.others() if item["name"] not in known]
    return [
        item
        for item in found
        if item["state"] in UPDATING and not item["deleted"] and item["name"] != visit.path
    ]


def _move_to(visit: Visit, source: _Source, item: ShardRange, lower: str, upper: str) -> bool:
    """Move rows with lower < name <= upper to the container of a range."""
    spot = visit.local.spot(*item["name"].split("/", 1))
    run = visit.run_at(spot)
    policy = visit.run(lambda: visit.broker.storage_policy_index)
    shard, created = run(visit.local.open, spot, item, visit.root, policy)
    visit.figures.count("misplaced", "db_created" if created else "db_exists")
    rows = moving.Rows(source.file, lower, upper, -1, source.max_row)
    moved = moving.move(rows, shard, visit.options.row_batch, run)
    visit.figures.count("misplaced", "found", moved)
    run(shard.change, lambda conn: None, True)
    fault_point("shard:strays:moved")
    if not visit.replicate_shard(spot, visit.sharder.old_quorum):
        return False
    fault_point("shard:strays:replicated")
    if visit.run(_source, visit, source.file).id != source.id:
        return False  # it is another database by now
    visit.run(_remove, visit, source, lower, upper)
    fault_point("shard:strays:removed")
    visit.figures.count("misplaced", "placed", moved)
    return True


# -- what blocks


def _source(visit: Visit, file: str | None) -> _Source:
    broker = visit.broker
    broker.commit_pending()
    broker.reload_files()
    path = file or broker.file
    with broker.connection(path) as conn:
        return _Source(path, broker._stat_row(conn, "id")["id"], broker.read_max_row(conn, broker.row_table))


def _conditions(lower: str, upper: str) -> tuple[str, list[Any]]:
    below, args = (" AND name <= ?", [lower, upper]) if upper else ("", [lower])
    return f"deleted IN (0, 1) AND name > ?{below} AND +ROWID <= ?", args


def _next_name(visit: Visit, source: _Source, lower: str, upper: str) -> str | None:
    where, args = _conditions(lower, upper)
    names = []
    with visit.broker.connection(source.file) as conn:
        for dead in (0, 1):  # one look-up in the index each
            query = f"SELECT name FROM object WHERE {where.replace('deleted IN (0, 1)', 'deleted = ?')} ORDER BY name LIMIT 1"
            row = conn.execute(query, (dead, *args, source.max_row)).fetchone()
            if row is not None:
                names.append(row[0])
    return min(names, default=None)


def _count(visit: Visit, source: _Source, first: str, upper: str) -> int:
    where, args = _conditions(first, upper)
    with visit.broker.connection(source.file) as conn:
        query = f"SELECT count(*) FROM object WHERE {where.replace('name > ?', 'name >= ?')}"
        return int(conn.execute(query, (*args, source.max_row)).fetchone()[0])


def _remove(visit: Visit, source: _Source, lower: str, upper: str) -> None:
    """Remove rows that have been moved, from the very file that they were taken from."""
    where, args = _conditions(lower, upper)
    query = f"DELETE FROM object WHERE ROWID IN (SELECT ROWID FROM object WHERE {where} LIMIT ?)"

    def some(conn: Connection) -> int:
        if visit.broker._stat_row(conn, "id")["id"] != source.id:
            return 0
        return conn.execute(query, (*args, source.max_row, visit.options.row_batch)).rowcount

    while True:
        with visit.broker.connection(source.file) as conn, conn.writing():
            if some(conn) < visit.options.row_batch:
                return
