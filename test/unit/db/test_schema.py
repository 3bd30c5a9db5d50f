"""New databases: the same names and effects as the golden ones."""

import json
import sqlite3

import pytest

from swift.db import schema
from test.databases import copy_devices, db_path, load


def names_and_kinds(conn):
    return {
        (row[0], row[1], row[2]) for row in conn.execute("SELECT type, name, tbl_name FROM sqlite_master")
    }


def columns(conn, table):
    return [tuple(row[1:5]) for row in conn.execute(f"PRAGMA table_info({table})")]


@pytest.mark.parametrize(
    "golden, ddl", [("account.json", schema.ACCOUNT), ("container.json", schema.CONTAINER)]
)
def test_same_schema_as_the_golden_database(tmp_path, golden, ddl):
    theirs = sqlite3.connect(db_path(copy_devices(tmp_path), load(golden)["db"]))
    ours = sqlite3.connect(":memory:")
    ours.create_function("chexor", 3, schema.chexor)
    ours.executescript(ddl)
    assert names_and_kinds(ours) == names_and_kinds(theirs)
    for kind, name, _ in names_and_kinds(ours):
        if kind in ("table", "view") and name != "sqlite_sequence":
            mine, other = columns(ours, name), columns(theirs, name)
            if name == "container_stat":
                mine, other = sorted(mine), sorted(other)
            assert mine == other, name


@pytest.mark.parametrize("vector", load("misc.json")["chexor"])
def test_row_hash(vector):
    assert schema.chexor(vector["old"], vector["name"], vector["timestamp"]) == vector["new"]


def test_row_hash_of_account_rows_and_of_no_name():
    vector = load("misc.json")["chexor_account_row"]
    assert schema.chexor(schema.NO_HASH, vector["name"], vector["text"]) == vector["new"]
    with pytest.raises(TypeError):
        schema.chexor(schema.NO_HASH, None, "x")


def fresh(ddl):
    conn = sqlite3.connect(":memory:")
    conn.create_function("chexor", 3, schema.chexor)
    conn.executescript(ddl)
    return conn


def test_container_triggers_count_and_hash():
    conn = fresh(schema.CONTAINER)
    conn.execute("INSERT INTO container_info (account, container, storage_policy_index) VALUES ('a', 'c', 0)")
    insert = (
        "INSERT INTO object (name, created_at, size, deleted, storage_policy_index) VALUES (?, ?, ?, ?, ?)"
    )
    conn.execute(insert, ("o", "1", 10, 0, 0))
    conn.execute(insert, ("p", "2", "20", 0, 1))
    conn.execute(insert, ("q", "3", 0, 1, 1))
    assert conn.execute("SELECT * FROM policy_stat").fetchall() == [(0, 1, 10), (1, 1, 20)]
    assert conn.execute("SELECT object_count, bytes_used FROM container_stat").fetchone() == (1, 10)
    conn.execute("DELETE FROM object")
    assert conn.execute("SELECT * FROM policy_stat").fetchall() == [(0, 0, 0), (1, 0, 0)]
    assert conn.execute("SELECT hash FROM container_stat").fetchone() == (schema.NO_HASH,)


@pytest.mark.parametrize("table", ["object", "shard_range"])
def test_rows_are_never_updated(table):
    conn = fresh(schema.CONTAINER)
    conn.execute("INSERT INTO container_info (account) VALUES ('a')")
    size = ", size" if table == "object" else ""
    conn.execute(f"INSERT INTO {table} (name{size}) VALUES ('o'{', 1' if size else ''})")
    with pytest.raises(sqlite3.DatabaseError, match="UPDATE not allowed; DELETE and INSERT"):
        conn.execute(f"UPDATE {table} SET name = 'x'")


def test_peers_update_through_the_view():
    conn = fresh(schema.CONTAINER)
    conn.execute("INSERT INTO container_info (account, container) VALUES ('a', 'c')")
    values = {
        row[1]: f"v-{row[1]}" if row[2] == "TEXT" else 7
        for row in conn.execute("PRAGMA table_info(container_info)").fetchall()
    }
    conn.execute(f"UPDATE container_stat SET {', '.join(f'{key} = :{key}' for key in values)}", values)
    row = conn.execute(f"SELECT {', '.join(values)} FROM container_info").fetchone()
    assert json.dumps(row) == json.dumps(list(values.values()))


def test_sync_tables_keep_the_time():
    conn = fresh(schema.ACCOUNT)
    conn.execute("INSERT INTO incoming_sync (remote_id, sync_point) VALUES ('x', 1)")
    first = conn.execute("SELECT updated_at FROM incoming_sync").fetchone()[0]
    assert int(first) > 1_700_000_000
    with pytest.raises(sqlite3.IntegrityError):
        conn.execute("INSERT INTO incoming_sync (remote_id, sync_point) VALUES ('x', 2)")


@pytest.mark.parametrize("order", ["ASC", "DESC"])
def test_a_page_of_a_listing_is_read_from_the_index_alone(order):
    conn = fresh(schema.CONTAINER)
    plan = conn.execute(
        "EXPLAIN QUERY PLAN SELECT name, created_at, size, content_type, etag FROM object WHERE deleted = 0"
        f" AND storage_policy_index = ? AND name >= ? ORDER BY name {order} LIMIT ?",
        (0, "m", 1000),
    ).fetchall()
    assert [row[3].partition(" INDEX ")[0] for row in plan] == ["SEARCH object USING COVERING"]
