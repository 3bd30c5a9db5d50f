"""The tables, triggers and SQL functions of account and container databases (database.md 4).

Lives here: all DDL, the row hash (`chexor`), the pragmas, and the bytes of a new database.
Never here: queries, locks, pending files. Names, types and effects are an interchange contract with other
implementations; the wording is ours.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from hashlib import md5
from typing import Any

NO_HASH = "0" * 32
UPDATE_REFUSED = "UPDATE not allowed; DELETE and INSERT"


def chexor(old: str, name: str, text: str) -> str:
    """The row hash: `old` XOR md5(name-text), 32 hex digits (1.3). Raises TypeError for a name of None."""
    if name is None:
        raise TypeError("a row has no name")
    digest = md5(f"{name}-{text}".encode(), usedforsecurity=False).hexdigest()
    return f"{int(old, 16) ^ int(digest, 16):032x}"


# ---------------------------------------------------------------- both kinds


def _sync_table(name: str) -> str:
    return f"""
CREATE TABLE {name} (remote_id TEXT UNIQUE, sync_point INTEGER, updated_at TEXT DEFAULT 0);
CREATE TRIGGER {name}_insert AFTER INSERT ON {name} BEGIN
    UPDATE {name} SET updated_at = strftime('%s', 'now') WHERE rowid = new.rowid;
END;
CREATE TRIGGER {name}_update AFTER UPDATE ON {name} BEGIN
    UPDATE {name} SET updated_at = strftime('%s', 'now') WHERE rowid = new.rowid;
END;
"""


SYNC_TABLES = _sync_table("outgoing_sync") + _sync_table("incoming_sync")

# ---------------------------------------------------------------- account


def _account_row_trigger(event: str, row: str, sign: str) -> str:
    return f"""
CREATE TRIGGER container_{event} AFTER {event.upper()} ON container BEGIN
    UPDATE account_stat SET
        container_count = container_count {sign} (1 - {row}.deleted),
        object_count = object_count {sign} {row}.object_count,
        bytes_used = bytes_used {sign} {row}.bytes_used,
        hash = chexor(hash, {row}.name, {row}.put_timestamp || '-' || {row}.delete_timestamp
                      || '-' || {row}.object_count || '-' || {row}.bytes_used);
END;
"""


ACCOUNT_POLICY_STAT = """
CREATE TABLE policy_stat (
    storage_policy_index INTEGER PRIMARY KEY,
    container_count INTEGER DEFAULT 0,
    object_count INTEGER DEFAULT 0,
    bytes_used INTEGER DEFAULT 0
);
"""

ACCOUNT_POLICY_TRIGGERS = """
CREATE TRIGGER container_insert_ps AFTER INSERT ON container BEGIN
    INSERT OR IGNORE INTO policy_stat (storage_policy_index, container_count, object_count, bytes_used)
        VALUES (new.storage_policy_index, 0, 0, 0);
    UPDATE policy_stat SET
        container_count = container_count + (1 - new.deleted),
        object_count = object_count + new.object_count,
        bytes_used = bytes_used + new.bytes_used
    WHERE storage_policy_index = new.storage_policy_index;
END;
CREATE TRIGGER container_delete_ps AFTER DELETE ON container BEGIN
    UPDATE policy_stat SET
        container_count = container_count - (1 - old.deleted),
        object_count = object_count - old.object_count,
        bytes_used = bytes_used - old.bytes_used
    WHERE storage_policy_index = old.storage_policy_index;
END;
"""

ACCOUNT = (
    SYNC_TABLES
    + f"""
CREATE TABLE container (
    ROWID INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT,
    put_timestamp TEXT,
    delete_timestamp TEXT,
    object_count INTEGER,
    bytes_used INTEGER,
    deleted INTEGER DEFAULT 0,
    storage_policy_index INTEGER DEFAULT 0
);
CREATE INDEX ix_container_deleted_name ON container (deleted, name);
CREATE TRIGGER container_update BEFORE UPDATE ON container BEGIN
    SELECT RAISE(FAIL, '{UPDATE_REFUSED}');
END;
CREATE TABLE account_stat (
    account TEXT,
    created_at TEXT,
    put_timestamp TEXT DEFAULT '0',
    delete_timestamp TEXT DEFAULT '0',
    container_count INTEGER,
    object_count INTEGER DEFAULT 0,
    bytes_used INTEGER DEFAULT 0,
    hash TEXT DEFAULT '{NO_HASH}',
    id TEXT,
    status TEXT DEFAULT '',
    status_changed_at TEXT DEFAULT '0',
    metadata TEXT DEFAULT ''
);
"""
    + _account_row_trigger("insert", "new", "+")
    + _account_row_trigger("delete", "old", "-")
    + ACCOUNT_POLICY_STAT
    + ACCOUNT_POLICY_TRIGGERS
)

# ---------------------------------------------------------------- container

# The insert trigger may not use UPSERT: peers may run on an SQLite from before 3.24.
OBJECT_TRIGGERS = """
CREATE TRIGGER object_insert_policy_stat AFTER INSERT ON object BEGIN
    INSERT OR IGNORE INTO policy_stat (storage_policy_index, object_count, bytes_used)
        VALUES (new.storage_policy_index, 0, 0);
    UPDATE policy_stat SET
        object_count = object_count + (1 - new.deleted),
        bytes_used = bytes_used + new.size
    WHERE storage_policy_index = new.storage_policy_index;
    UPDATE container_info SET hash = chexor(hash, new.name, new.created_at);
END;
CREATE TRIGGER object_delete_policy_stat AFTER DELETE ON object BEGIN
    UPDATE policy_stat SET
        object_count = object_count - (1 - old.deleted),
        bytes_used = bytes_used - old.size
    WHERE storage_policy_index = old.storage_policy_index;
    UPDATE container_info SET hash = chexor(hash, old.name, old.created_at);
END;
"""

CONTAINER_POLICY_STAT = """
CREATE TABLE policy_stat (
    storage_policy_index INTEGER PRIMARY KEY,
    object_count INTEGER DEFAULT 0,
    bytes_used INTEGER DEFAULT 0
);
"""

_CONTAINER_INFO_COLUMNS = (
    ("account", "TEXT"),
    ("container", "TEXT"),
    ("created_at", "TEXT"),
    ("put_timestamp", "TEXT DEFAULT '0'"),
    ("delete_timestamp", "TEXT DEFAULT '0'"),
    ("reported_put_timestamp", "TEXT DEFAULT '0'"),
    ("reported_delete_timestamp", "TEXT DEFAULT '0'"),
    ("reported_object_count", "INTEGER DEFAULT 0"),
    ("reported_bytes_used", "INTEGER DEFAULT 0"),
    ("hash", f"TEXT DEFAULT '{NO_HASH}'"),
    ("id", "TEXT"),
    ("status", "TEXT DEFAULT ''"),
    ("status_changed_at", "TEXT DEFAULT '0'"),
    ("metadata", "TEXT DEFAULT ''"),
    ("x_container_sync_point1", "INTEGER DEFAULT -1"),
    ("x_container_sync_point2", "INTEGER DEFAULT -1"),
    ("storage_policy_index", "INTEGER DEFAULT 0"),
    ("reconciler_sync_point", "INTEGER DEFAULT -1"),
)

CONTAINER_INFO = "CREATE TABLE container_info (\n    {}\n);\n".format(
    ",\n    ".join(f"{name} {kind}" for name, kind in _CONTAINER_INFO_COLUMNS)
)

# Peers of all versions read and update through this view: it is part of the contract though we read the tables.
CONTAINER_STAT_VIEW = """
CREATE VIEW container_stat AS
    SELECT {columns},
        coalesce(ps.object_count, 0) AS object_count,
        coalesce(ps.bytes_used, 0) AS bytes_used
    FROM container_info ci LEFT JOIN policy_stat ps ON ci.storage_policy_index = ps.storage_policy_index;
CREATE TRIGGER container_stat_update INSTEAD OF UPDATE ON container_stat BEGIN
    UPDATE container_info SET
        {assignments};
END;
""".format(
    columns=", ".join(f"ci.{name} AS {name}" for name, _ in _CONTAINER_INFO_COLUMNS),
    assignments=",\n        ".join(f"{name} = NEW.{name}" for name, _ in _CONTAINER_INFO_COLUMNS),
)

SHARD_RANGE = f"""
CREATE TABLE shard_range (
    ROWID INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT,
    timestamp TEXT,
    lower TEXT,
    upper TEXT,
    object_count INTEGER DEFAULT 0,
    bytes_used INTEGER DEFAULT 0,
    meta_timestamp TEXT,
    deleted INTEGER DEFAULT 0,
    state INTEGER,
    state_timestamp TEXT,
    epoch TEXT,
    reported INTEGER DEFAULT 0,
    tombstones INTEGER DEFAULT -1
);
CREATE TRIGGER shard_range_update BEFORE UPDATE ON shard_range BEGIN
    SELECT RAISE(FAIL, '{UPDATE_REFUSED}');
END;
"""

CONTAINER = (
    SYNC_TABLES
    + f"""
CREATE TABLE object (
    ROWID INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT,
    created_at TEXT,
    size INTEGER,
    content_type TEXT,
    etag TEXT,
    deleted INTEGER DEFAULT 0,
    storage_policy_index INTEGER DEFAULT 0
);
CREATE INDEX ix_object_deleted_name
    ON object (deleted, name, storage_policy_index, created_at, size, content_type, etag);
CREATE TRIGGER object_update BEFORE UPDATE ON object BEGIN
    SELECT RAISE(FAIL, '{UPDATE_REFUSED}');
END;
"""
    + OBJECT_TRIGGERS
    + CONTAINER_POLICY_STAT
    + CONTAINER_INFO
    + CONTAINER_STAT_VIEW
    + SHARD_RANGE
)

# ---------------------------------------------------------------- building

_templates: dict[str, bytes] = {}


def _template(ddl: str) -> bytes:
    """The bytes of an empty database with this schema: parsing forty statements costs ten times as much as a copy."""
    image = _templates.get(ddl)
    if image is None:
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "template.db")
            conn = sqlite3.connect(path)
            conn.create_function("chexor", 3, chexor)
            conn.executescript(f"PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; BEGIN; {ddl} COMMIT;")
            conn.close()
            with open(path, "rb") as file:
                image = file.read()
        _templates[ddl] = image
    return image


def image(ddl: str, table: str, row: dict[str, object], policy_index: int | None = None) -> bytes:
    """The bytes of a new database file: schema, its one row in `table`. `policy_index`: also a zero row in policy_stat.

    Raises OSError, sqlite3.Error.
    """
    conn: Any
    if not hasattr(sqlite3.Connection, "serialize"):  # before Python 3.11
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "new.db")
            with open(path, "wb") as file:
                file.write(_template(ddl))
            conn = sqlite3.connect(path, isolation_level=None)
            _fill(conn, table, row, policy_index)
            conn.close()
            with open(path, "rb") as file:
                return file.read()
    conn = sqlite3.connect(":memory:", isolation_level=None)
    try:
        conn.deserialize(_template(ddl))
        _fill(conn, table, row, policy_index)
        return bytes(conn.serialize())
    finally:
        conn.close()


def _fill(conn: sqlite3.Connection, table: str, row: dict[str, object], policy_index: int | None) -> None:
    conn.execute("PRAGMA journal_mode = MEMORY")
    conn.execute("BEGIN")
    marks = ", ".join("?" * len(row))
    conn.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
    if policy_index is not None:
        conn.execute("INSERT INTO policy_stat (storage_policy_index) VALUES (?)", (policy_index,))
    conn.execute("COMMIT")
