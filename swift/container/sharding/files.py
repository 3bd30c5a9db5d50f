"""A container's files when sharding begins and ends (database.md 11.5). All of it blocks.

The directory's lock, and a transaction on the old file, keep everybody else out while a file comes or goes: who waited for either goes on
with the files that there are then (ShardedDatabase.change). So the retiring file gets no row, and no metadata, behind our back.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from swift.core import clock
from swift.core.timestamp import Timestamp
from swift.db import schema
from swift.db.connection import CONNECTIONS, Connection, open_connection
from swift.engine.durable import fsync_dir
from swift.engine.fault_points import fault_point

from .. import shard_ranges
from ..broker import ContainerBroker
from ..sharded import SHARDING, UNSHARDED, file_epoch
from .context import CleavingContext

_COPIED = (
    "account",
    "container",
    "created_at",
    "put_timestamp",
    "delete_timestamp",
    "status",
    "status_changed_at",
    "metadata",
    "storage_policy_index",
)


def begin(broker: ContainerBroker) -> bool:
    """Put a fresh file beside the container's, which retires (`set_sharding_state`); returns True if that was done.

    Only for a container that is unsharded and whose own range has an epoch. Raises DatabaseError, sqlite3.Error, OSError.
    """
    with broker.lock():
        broker.merger.merge_locked()
        broker.reload_files()
        own = broker.own_shard_range(default=False)
        if broker.db_state() != UNSHARDED or own is None or own["epoch"] is None:
            return False
        retiring = broker.file
        fresh = f"{broker.path[:-3]}_{Timestamp(own['epoch']).normal}.db"
        tmp = f"{broker.directory}/fresh{clock.uuid4()}.db.tmp"
        conn = open_connection(retiring, broker.timeout)
        try:
            conn.prepare()
            conn.execute("BEGIN IMMEDIATE")
            conn.check_place()
            _build(tmp, broker, conn)
            fault_point("shard:begin:built")
            os.rename(tmp, fresh)
            fault_point("shard:begin:renamed")
            fsync_dir(broker.directory)
        finally:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            conn.close()
            if os.path.exists(tmp):
                os.unlink(tmp)
        broker.reload_files()
    return True


def _build(path: str, broker: ContainerBroker, conn: Connection) -> None:
    """The fresh file, durably."""
    row = broker._stat_row(conn, ", ".join(_COPIED), broker.stat_table)
    row["id"] = broker.new_id()
    image = schema.image(broker.ddl, broker.stat_table, row, row["storage_policy_index"])
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(image)
    made = sqlite3.connect(path, isolation_level=None)
    try:
        made.create_function("chexor", 3, schema.chexor)
        made.execute("PRAGMA synchronous = OFF")
        made.execute("PRAGMA journal_mode = MEMORY")
        made.execute("BEGIN")
        _insert(made, "shard_range", shard_ranges.FIELDS, map(_values, broker.read_shard_ranges(conn)))
        for table in ("incoming_sync", "outgoing_sync"):
            columns = ("remote_id", "sync_point", "updated_at")
            rows = conn.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
            _insert(made, table, columns, rows)
        highest = broker.read_max_row(conn, broker.row_table)
        if highest >= 0:
            made.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (broker.row_table, highest))
        made.execute("COMMIT")
    finally:
        made.close()
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _values(item: shard_ranges.ShardRange) -> tuple[Any, ...]:
    return tuple(item[key] for key in shard_ranges.FIELDS)


def _insert(conn: sqlite3.Connection, table: str, columns: Any, rows: Any) -> None:
    marks = ", ".join("?" * len(columns))
    conn.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)


def end(broker: ContainerBroker, context: CleavingContext) -> bool:
    """Remove the retiring file (`set_sharded_state`), if it holds no row but those that were moved; returns True if it is gone."""
    with broker.lock():
        broker.reload_files()
        if broker.db_state() != SHARDING:
            return False
        retiring = broker.files[-2]
        conn = open_connection(retiring, broker.timeout)
        try:
            conn.prepare()
            with conn.alone():
                row = broker._stat_row(conn, "id")
                if (
                    row["id"] != context.ref
                    or broker.read_max_row(conn, broker.row_table) != context.cleave_to_row
                ):
                    return False
                fault_point("shard:end:ready")
                os.unlink(retiring)
                fault_point("shard:end:unlinked")
                fsync_dir(broker.directory)
        finally:
            conn.close()
            CONNECTIONS.forget(broker.directory)
        broker.reload_files()
    return True


def retiring_state(broker: ContainerBroker) -> dict[str, Any]:
    """`id`, `max_row` and `file` of the retiring file, and its `syncs`, [(remote id, point)] of rows that have come into it."""
    path = broker.component_files()[0]
    with broker.connection(path) as conn:
        return {
            "id": broker._stat_row(conn, "id")["id"],
            "max_row": broker.read_max_row(conn, broker.row_table),
            "file": path,
            "syncs": conn.execute("SELECT remote_id, sync_point FROM incoming_sync").fetchall(),
        }


def epoch_of(broker: ContainerBroker) -> str | None:
    """The epoch in the name of the container's newest file."""
    return file_epoch(broker.file)
