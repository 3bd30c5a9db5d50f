"""Many object rows put into a container's database at once: totals and hash are added up once for all of them.

Lives here: what stands in for the triggers of table `object` (database.md 10). Never here: which rows these are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

try:
    from _md5 import md5  # for some bytes at a time it takes half as long as hashlib's
except ImportError:  # built without it
    from hashlib import md5

from swift.db.connection import Connection


@contextmanager
def added_up(conn: Connection) -> Iterator[None]:
    """Rows may be inserted in the block, in the transaction that is open; no other statement about objects belongs there."""
    before = conn.execute("SELECT coalesce(max(ROWID), 0) FROM main.object").fetchone()[0]
    before = max(before, _sequence(conn))
    with _without_triggers(conn):
        yield
    _add_up(conn, before)


def _sequence(conn: Connection) -> int:
    found = conn.execute("SELECT seq FROM main.sqlite_sequence WHERE name = 'object'").fetchone()
    return int(found[0]) if found else 0


@contextmanager
def _without_triggers(conn: Connection) -> Iterator[None]:
    """Nobody else sees the table without its triggers: they come and go within one transaction."""
    stored = conn.execute(
        "SELECT name, sql FROM main.sqlite_master WHERE type = 'trigger' AND tbl_name = 'object'"
    ).fetchall()
    for name, _ in stored:
        quoted = name.replace('"', '""')
        conn.execute(f'DROP TRIGGER main."{quoted}"')
    yield
    for _, sql in stored:
        conn.execute(sql)


def _add_up(conn: Connection, before: int) -> None:
    """What the triggers do for each row, for all rows with ids above `before`."""
    for policy, count, size in conn.execute(
        "SELECT storage_policy_index, sum(1 - deleted), sum(size) FROM main.object WHERE ROWID > ? GROUP BY 1",
        (before,),
    ).fetchall():
        conn.execute(
            "INSERT OR IGNORE INTO main.policy_stat (storage_policy_index, object_count, bytes_used) VALUES (?, 0, 0)",
            (policy,),
        )
        conn.execute(
            "UPDATE main.policy_stat SET object_count = object_count + ?, bytes_used = bytes_used + ?"
            " WHERE storage_policy_index = ?",
            (count, size, policy),
        )
    # as bytes: else each would be decoded to be encoded again
    query = "SELECT CAST(name || '-' || created_at AS BLOB) FROM main.object WHERE ROWID > ?"
    change = 0
    for (text,) in conn.execute(query, (before,)):
        change ^= int.from_bytes(md5(text, usedforsecurity=False).digest(), "big")
    if not change:
        return
    old = conn.execute("SELECT hash FROM main.container_info").fetchone()[0]
    conn.execute("UPDATE main.container_info SET hash = ?", (f"{int(old, 16) ^ change:032x}",))
