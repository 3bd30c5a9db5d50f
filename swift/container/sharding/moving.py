"""Rows on their way from one database file into another, inside of SQLite (database.md 20.7). All of it blocks.

What a transaction moves is bounded. Rows whose name is new in the target go over as they are, in one statement (`added_up`). Where both
have a row, and not the same, they are merged as everywhere (8.2).
A move may be broken off and begun anew: a row that is there already is no news.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

from swift.db.connection import Connection
from swift.db.errors import DatabaseReplaced
from swift.db.merge import ObjectItem
from swift.engine.fault_points import fault_point

from ..added_up import added_up
from ..broker import ContainerBroker

_COLUMNS = "name, created_at, size, content_type, etag, deleted, storage_policy_index"
_OTHER = (
    "SELECT s.ROWID, t.created_at FROM source.object s LEFT JOIN main.object t ON t.deleted IN (0, 1) AND t.name = s.name"
    " AND t.storage_policy_index = s.storage_policy_index WHERE {} AND t.created_at IS NOT s.created_at"
)
LIVE_BEFORE_DEAD = (0, 1)


class Rows(NamedTuple):
    """Rows of the file `source` with lower < name <= upper ('' = unbounded) and above < row id <= up_to."""

    source: str
    lower: str
    upper: str
    above: int
    up_to: int


Run = Callable[..., Any]


def move(rows: Rows, target: ContainerBroker, batch: int, run: Run) -> int:
    """Merge all these rows into `target`, at most `batch` of them in a transaction; returns how many were looked at.

    `run(function, *args)`: each transaction is a call of its own, so that others get their turn. Raises DatabaseReplaced if the target
    became another file on the way: then nobody knows which of the rows are in it.
    """
    identity = target.current_file()[1]
    total = 0
    for dead in LIVE_BEFORE_DEAD:
        lower = rows.lower
        while True:
            count, reached = run(_move_batch, rows._replace(lower=lower), dead, target, batch)
            total += count
            fault_point("shard:move:batch")
            if reached is None:
                break
            lower = reached
    if run(target.current_file)[1] != identity:
        raise DatabaseReplaced(f"{target.path} was replaced while rows were moved into it")
    return total


def _move_batch(rows: Rows, dead: int, target: ContainerBroker, batch: int) -> tuple[int, str | None]:
    """(rows in this batch, the last one's name or None if there are no more)."""
    with _attached(target, rows.source) as conn:
        window = conn.execute(
            f"SELECT name FROM source.object s WHERE {_where(rows)} ORDER BY s.name LIMIT 1 OFFSET ?",
            (*_args(rows, dead), batch - 1),
        ).fetchone()
        part = rows if window is None else rows._replace(upper=window[0])
        if (
            window is None
            and not conn.execute(
                f"SELECT 1 FROM source.object s WHERE {_where(part)} LIMIT 1", _args(part, dead)
            ).fetchone()
        ):
            return 0, None
        with conn.writing():
            count = _merge_window(conn, part, dead, target)
    return count, None if window is None else window[0]


def _where(rows: Rows) -> str:
    below = " AND s.name <= ?" if rows.upper else ""
    above = " AND +s.ROWID > ?" if rows.above >= 0 else ""
    # the plus: names are looked for by their index, whatever the planner thinks of row ids
    return f"s.deleted = ? AND s.name > ?{below}{above} AND +s.ROWID <= ?"


def _args(rows: Rows, dead: int) -> list[Any]:
    upper = [rows.upper] if rows.upper else []
    above = [rows.above] if rows.above >= 0 else []
    return [dead, rows.lower, *upper, *above, rows.up_to]


def _merge_window(conn: Connection, rows: Rows, dead: int, target: ContainerBroker) -> int:
    """Merge the rows of a window; returns how many of them the target did not have so."""
    where, args = _where(rows), _args(rows, dead)
    if _is_free(conn, rows):
        return _take_new(conn, where, args)
    other = conn.execute(_OTHER.format(where), args).fetchall()
    new = [(row_id,) for row_id, created_at in other if created_at is None]
    both = [row_id for row_id, created_at in other if created_at is not None]
    if new:
        _take_new(conn, "s.ROWID = ?", new)
    if both:
        query = f"SELECT {_COLUMNS} FROM source.object WHERE ROWID = ?"
        target._store(conn, [ObjectItem(*conn.execute(query, (row_id,)).fetchone()) for row_id in both])
    return len(other)


def _is_free(conn: Connection, rows: Rows) -> bool:
    """Returns True if the target has none of the names between a window's bounds."""
    below, bounds = (" AND name <= ?", (rows.lower, rows.upper)) if rows.upper else ("", (rows.lower,))
    query = f"SELECT 1 FROM main.object WHERE deleted = ? AND name > ?{below} LIMIT 1"
    return all(conn.execute(query, (dead, *bounds)).fetchone() is None for dead in LIVE_BEFORE_DEAD)


def _take_new(conn: Connection, where: str, args: list[Any]) -> int:
    """Take over rows whose name and policy are new here, all in one statement or, where `args` has tuples, one by one; returns how many."""
    insert = f"INSERT INTO main.object ({_COLUMNS}) SELECT {_COLUMNS} FROM source.object s WHERE {where}"
    with added_up(conn):
        one_by_one = isinstance(args[0], tuple)
        count = (conn.executemany if one_by_one else conn.execute)(insert, args).rowcount
    return max(count, 0)


@contextmanager
def _attached(target: ContainerBroker, source: str) -> Iterator[Connection]:
    """A connection to the target that also sees the file `source`, which it only reads."""
    with target.connection() as conn:
        conn.execute("ATTACH ? AS source", (f"file:{quote(source)}?mode=ro",))
        try:
            yield conn
        finally:
            conn.execute("DETACH source")
