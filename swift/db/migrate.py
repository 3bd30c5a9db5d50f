"""Databases of old releases, brought up to today's schema when they are first opened (database.md 25).

Each step is a transaction of its own that leaves a database that old and new releases can use. Databases without the
`…_deleted_name` index stay as they are: queries are only slower there.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from . import schema
from .connection import Connection
from .damage import ContentDamaged, check_not_empty

if TYPE_CHECKING:
    from sqlite_utils import Database

# of any release
_LEAST_TABLES: dict[str, tuple[frozenset[str], ...]] = {
    "account": (frozenset(("container", "account_stat")),),
    "container": (frozenset(("object", "container_info")), frozenset(("object", "container_stat"))),
}
_OBJECT_TRIGGERS_BEFORE_POLICIES = ("object_insert", "object_delete")


def migrate(conn: Connection, kind: str) -> bool:
    """Bring an account's or container's database up to date; returns True if there was anything to do.

    Raises as made_tables.
    """
    made = made_tables(conn, kind)
    if _is_current(made, kind):
        return False
    from sqlite_utils import Database  # a heavy import for a rare event

    database = Database(conn, execute_plugins=False)
    if kind == "account":
        _migrate_account(conn, database)
    else:
        _migrate_container(conn, database)
    return True


def made_tables(conn: Connection, kind: str) -> dict[str, Any]:
    """{table: the statement that made it}. Raises ContentDamaged for a file without the tables that any release makes, sqlite3.Error."""
    check_not_empty(conn)
    made = dict(conn.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
    if not any(tables <= made.keys() for tables in _LEAST_TABLES[kind]):
        raise ContentDamaged("there are none of the tables that make a database")
    return made


def _is_current(made: dict[str, Any], kind: str) -> bool:
    """Returns True if every table has all of its columns, judged by the statements that made them."""
    for table in ("incoming_sync", "outgoing_sync"):
        if "updated_at" not in (made.get(table) or "updated_at"):
            return False
    if kind == "account":
        return (
            "storage_policy_index" in made.get("container", "")
            and "container_count" in made.get("policy_stat", "")
            and "metadata" in made.get("account_stat", "")
        )
    shard_range = made.get("shard_range", "")
    return "container_info" in made and "tombstones" in shard_range and "reported" in shard_range


def _add_column(conn: Connection, database: Database, table: str, column: str, definition: str) -> None:
    if column not in database[table].columns_dict:
        conn.execute(f"ALTER TABLE {table} ADD COLUMN {column} {definition}")


def _run(conn: Connection, script: str) -> None:
    """The statements of a script, within the open transaction (executescript would commit it)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            conn.execute(statement)
            statement = ""


def _migrate_sync_tables(conn: Connection, database: Database) -> None:
    for table in ("incoming_sync", "outgoing_sync"):
        if database[table].exists() and "updated_at" not in database[table].columns_dict:
            conn.execute(f"ALTER TABLE {table} ADD COLUMN updated_at TEXT DEFAULT 0")
            for event in ("insert", "update"):
                conn.execute(f"DROP TRIGGER IF EXISTS {table}_{event}")
                conn.execute(
                    f"CREATE TRIGGER {table}_{event} AFTER {event.upper()} ON {table} BEGIN"
                    f" UPDATE {table} SET updated_at = strftime('%s', 'now') WHERE rowid = new.rowid; END"
                )


# ---------------------------------------------------------------- account


def _migrate_account(conn: Connection, database: Database) -> None:
    with conn.writing():
        _migrate_sync_tables(conn, database)
        _add_column(conn, database, "account_stat", "metadata", "TEXT DEFAULT ''")
        _add_column(conn, database, "container", "storage_policy_index", "INTEGER DEFAULT 0")
        if not database["policy_stat"].exists():
            _run(conn, schema.ACCOUNT_POLICY_STAT)
            conn.execute(
                "INSERT INTO policy_stat (storage_policy_index, container_count, object_count, bytes_used)"
                " SELECT 0, container_count, object_count, bytes_used FROM account_stat WHERE container_count > 0"
            )
        elif "container_count" not in database["policy_stat"].columns_dict:
            conn.execute("ALTER TABLE policy_stat ADD COLUMN container_count INTEGER DEFAULT 0")
            conn.execute(
                "UPDATE policy_stat SET container_count = (SELECT count(*) FROM container WHERE deleted = 0"
                " AND container.storage_policy_index = policy_stat.storage_policy_index)"
            )
        for event in ("insert", "delete"):
            conn.execute(f"DROP TRIGGER IF EXISTS container_{event}_ps")
        _run(conn, schema.ACCOUNT_POLICY_TRIGGERS)


# ---------------------------------------------------------------- container


def _migrate_container(conn: Connection, database: Database) -> None:
    with conn.writing():
        _migrate_sync_tables(conn, database)
        if not database["container_info"].exists():
            _add_policies(conn, database)
        if not database["shard_range"].exists():
            _run(conn, schema.SHARD_RANGE)
        else:
            _add_column(conn, database, "shard_range", "reported", "INTEGER DEFAULT 0")
            _add_column(conn, database, "shard_range", "tombstones", "INTEGER DEFAULT -1")


def _add_policies(conn: Connection, database: Database) -> None:
    """From the release in which container_stat was a table and all objects were of policy 0."""
    for column, definition in (
        ("metadata", "TEXT DEFAULT ''"),
        ("x_container_sync_point1", "INTEGER DEFAULT -1"),
        ("x_container_sync_point2", "INTEGER DEFAULT -1"),
    ):
        _add_column(conn, database, "container_stat", column, definition)
    _add_column(conn, database, "object", "storage_policy_index", "INTEGER DEFAULT 0")
    _run(conn, schema.CONTAINER_POLICY_STAT)
    conn.execute(
        "INSERT INTO policy_stat (storage_policy_index, object_count, bytes_used)"
        " SELECT 0, object_count, bytes_used FROM container_stat"
    )
    _run(conn, schema.CONTAINER_INFO)
    shared = sorted(
        set(database["container_stat"].columns_dict) & set(database["container_info"].columns_dict)
    )
    columns = ", ".join(shared)
    conn.execute(f"INSERT INTO container_info ({columns}) SELECT {columns} FROM container_stat")
    for trigger in _OBJECT_TRIGGERS_BEFORE_POLICIES:
        conn.execute(f"DROP TRIGGER IF EXISTS {trigger}")
    conn.execute("DROP TABLE container_stat")
    _run(conn, schema.CONTAINER_STAT_VIEW)
    _run(conn, schema.OBJECT_TRIGGERS)
