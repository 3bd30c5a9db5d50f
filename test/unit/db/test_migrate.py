"""Databases of old releases: opened, brought up to date, and nothing in them lost."""

import sqlite3

import pytest

from swift.account.broker import AccountBroker
from swift.container import shard_ranges
from swift.container.broker import ContainerBroker
from swift.db import schema
from swift.db.merge import ContainerItem, ObjectItem

OLD_CONTAINER = """
CREATE TABLE outgoing_sync (remote_id TEXT UNIQUE, sync_point INTEGER, updated_at TEXT DEFAULT 0);
CREATE TABLE incoming_sync (remote_id TEXT UNIQUE, sync_point INTEGER);
CREATE TABLE object (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, created_at TEXT, size INTEGER,
    content_type TEXT, etag TEXT, deleted INTEGER DEFAULT 0);
CREATE TABLE container_stat (account TEXT, container TEXT, created_at TEXT, put_timestamp TEXT DEFAULT '0',
    delete_timestamp TEXT DEFAULT '0', object_count INTEGER, bytes_used INTEGER,
    reported_put_timestamp TEXT DEFAULT '0', reported_delete_timestamp TEXT DEFAULT '0',
    reported_object_count INTEGER DEFAULT 0, reported_bytes_used INTEGER DEFAULT 0,
    hash TEXT default '00000000000000000000000000000000', id TEXT, status TEXT DEFAULT '',
    status_changed_at TEXT DEFAULT '0');
CREATE TRIGGER object_insert AFTER INSERT ON object BEGIN
    UPDATE container_stat SET object_count = object_count + (1 - new.deleted), bytes_used = bytes_used + new.size,
    hash = chexor(hash, new.name, new.created_at); END;
CREATE TRIGGER object_delete AFTER DELETE ON object BEGIN
    UPDATE container_stat SET object_count = object_count - (1 - old.deleted), bytes_used = bytes_used - old.size,
    hash = chexor(hash, old.name, old.created_at); END;
INSERT INTO container_stat (account, container, created_at, put_timestamp, object_count, bytes_used, id,
    reported_delete_timestamp) VALUES ('a', 'c', '1300000000.00000', '1300000000.00000', 0, 0, 'x-sda', '1200000000.00000');
INSERT INTO object (name, created_at, size, content_type, etag) VALUES ('o', '1300000001.00000', 7, 't', 'e');
"""

OLD_ACCOUNT = """
CREATE TABLE outgoing_sync (remote_id TEXT UNIQUE, sync_point INTEGER, updated_at TEXT DEFAULT 0);
CREATE TABLE incoming_sync (remote_id TEXT UNIQUE, sync_point INTEGER, updated_at TEXT DEFAULT 0);
CREATE TABLE container (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, put_timestamp TEXT, delete_timestamp TEXT,
    object_count INTEGER, bytes_used INTEGER, deleted INTEGER DEFAULT 0);
CREATE TABLE account_stat (account TEXT, created_at TEXT, put_timestamp TEXT DEFAULT '0',
    delete_timestamp TEXT DEFAULT '0', container_count INTEGER, object_count INTEGER DEFAULT 0,
    bytes_used INTEGER DEFAULT 0, hash TEXT default '00000000000000000000000000000000', id TEXT,
    status TEXT DEFAULT '', status_changed_at TEXT DEFAULT '0');
CREATE TRIGGER container_insert AFTER INSERT ON container BEGIN
    UPDATE account_stat SET container_count = container_count + (1 - new.deleted),
    object_count = object_count + new.object_count, bytes_used = bytes_used + new.bytes_used,
    hash = chexor(hash, new.name, new.put_timestamp || '-' || new.delete_timestamp || '-' || new.object_count || '-' ||
    new.bytes_used); END;
CREATE TRIGGER container_delete AFTER DELETE ON container BEGIN
    UPDATE account_stat SET container_count = container_count - (1 - old.deleted),
    object_count = object_count - old.object_count, bytes_used = bytes_used - old.bytes_used,
    hash = chexor(hash, old.name, old.put_timestamp || '-' || old.delete_timestamp || '-' || old.object_count || '-' ||
    old.bytes_used); END;
INSERT INTO account_stat (account, created_at, put_timestamp, container_count, id) VALUES
    ('a', '1300000000.00000', '1300000000.00000', 0, 'x-sda');
INSERT INTO container (name, put_timestamp, delete_timestamp, object_count, bytes_used) VALUES
    ('c', '1300000001.00000', '0', 3, 30);
"""


def build(tmp_path, script):
    directory = tmp_path / "sda" / "containers" / "1" / "abc" / ("0" * 29 + "abc")
    directory.mkdir(parents=True)
    path = str(directory / (directory.name + ".db"))
    conn = sqlite3.connect(path)
    conn.create_function("chexor", 3, schema.chexor)
    conn.executescript(script)
    conn.close()
    return path


def schema_of(path):
    conn = sqlite3.connect(path)
    return set(conn.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'ix_%'"))


def current(ddl):
    conn = sqlite3.connect(":memory:")
    conn.executescript(ddl)
    return set(conn.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'ix_%'"))


def test_a_container_from_before_policies(tmp_path):
    broker = ContainerBroker(build(tmp_path, OLD_CONTAINER))
    info = broker.info()
    assert (info["object_count"], info["bytes_used"], info["storage_policy_index"]) == (1, 7, 0)
    assert (info["put_timestamp"], info["id"], info["x_container_sync_point1"]) == (
        "1300000000.00000",
        "x-sda",
        -1,
    )
    assert info["reported_delete_timestamp"] == "1200000000.00000"
    assert info["hash"] == schema.chexor(schema.NO_HASH, "o", "1300000001.00000")
    broker.merge_items([ObjectItem("p", "1300000002.00000", 5, "t", "e", 0, 1)])
    broker.merge_items([ObjectItem("o", "1300000002.00000", 0, "t", "e", 1)])
    assert broker.info()["object_count"] == 0
    assert broker.policy_stats()[1] == {"object_count": 1, "bytes_used": 5}
    broker.update_metadata({"X-Container-Meta-A": ("b", "1300000003.00000")})
    assert current(schema.CONTAINER) - {("index", "x")} >= schema_of(broker.path) - {
        ("trigger", "outgoing_sync_insert"),
    }
    assert broker.sync_table(incoming=True) == []


@pytest.mark.parametrize("missing", ["table", "columns"])
def test_a_container_from_before_today_s_shard_ranges(tmp_path, missing):
    script = schema.CONTAINER + "INSERT INTO container_info (account, container) VALUES ('a', 'c');"
    if missing == "table":
        script += "DROP TABLE shard_range;"
    else:
        script += (
            "ALTER TABLE shard_range DROP COLUMN tombstones; ALTER TABLE shard_range DROP COLUMN reported;"
        )
        script += (
            "INSERT INTO shard_range (name, timestamp, lower, upper, meta_timestamp, state, state_timestamp)"
        )
        script += " VALUES ('a/s', '1', '', 'm', '1', 40, '1');"
    broker = ContainerBroker(build(tmp_path, script))
    found = broker.all_shard_ranges()
    assert [(item["reported"], item["tombstones"]) for item in found] == (
        [] if missing == "table" else [(0, -1)]
    )
    broker.merge_shard_ranges([shard_ranges.own_range_default("a/c", "0000000002.00000")])
    assert broker.own_shard_range()["timestamp"] == "0000000002.00000"


def test_an_account_from_before_policies(tmp_path):
    broker = AccountBroker(build(tmp_path, OLD_ACCOUNT))
    assert broker.info()["container_count"] == 1
    assert broker.policy_stats() == {0: {"container_count": 1, "object_count": 3, "bytes_used": 30}}
    broker.merge_items([ContainerItem("d", "1300000002.00000", "0", 1, 10, 0, 1)])
    broker.merge_items([ContainerItem("c", "1300000002.00000", "0", 4, 40, 0, 1)])
    assert broker.policy_stats() == {
        0: {"container_count": 0, "object_count": 0, "bytes_used": 0},
        1: {"container_count": 2, "object_count": 5, "bytes_used": 50},
    }
    broker.update_metadata({"X-Account-Meta-A": ("b", "1300000003.00000")})


def test_an_account_without_counts_a_policy(tmp_path):
    script = OLD_ACCOUNT + (
        "ALTER TABLE container ADD COLUMN storage_policy_index INTEGER DEFAULT 0;"
        "CREATE TABLE policy_stat (storage_policy_index INTEGER PRIMARY KEY, object_count INTEGER, bytes_used INTEGER);"
        "INSERT INTO policy_stat VALUES (0, 3, 30);"
    )
    broker = AccountBroker(build(tmp_path, script))
    assert broker.policy_stats() == {0: {"container_count": 1, "object_count": 3, "bytes_used": 30}}


def test_today_s_databases_are_left_alone(tmp_path):
    path = build(
        tmp_path, schema.CONTAINER + "INSERT INTO container_info (account, container) VALUES ('a', 'c');"
    )
    before = open(path, "rb").read()
    ContainerBroker(path).info()
    assert open(path, "rb").read() == before
