"""The container database: golden files are read right, writes are whole, states are told apart."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from swift.container import shard_ranges
from swift.container.broker import ContainerBroker, PolicyConflict
from swift.container.sharded import select_shard_ranges
from swift.core.hashing import hash_path, set_hash_config
from swift.db import pending
from swift.db.connection import Connection
from swift.db.errors import DatabaseExists, DatabaseMissing, DatabaseQuarantined
from swift.db.merge import ObjectItem
from test.databases import copy_devices, db_path, load

set_hash_config(b"", b"golden")


@pytest.fixture
def golden(tmp_path):
    return copy_devices(tmp_path)


def make(tmp_path, name="c", policy=0, **options):
    digest = hash_path("AUTH_a", name)
    device = tmp_path / "sda1"
    device.mkdir(exist_ok=True)
    path = f"{device}/containers/1/{digest[-3:]}/{digest}/{digest}.db"
    broker = ContainerBroker(path, account="AUTH_a", container=name, **options)
    broker.create("1700000000.00000", policy)
    return broker


def rows(broker):
    return broker.items_since(-1, 10**6)


def test_golden_plain(golden):
    expected = load("container.json")
    broker = ContainerBroker(db_path(golden, expected["db"]))
    assert broker.info() == expected["get_info"]
    assert {k: list(v) for k, v in broker.metadata().items()} == expected["metadata"]
    assert {str(k): v for k, v in broker.policy_stats().items()} == expected["policy_stats"]
    assert broker.replication_info() == expected["replication_info"]
    assert rows(broker) == expected["rows"]
    assert broker.misplaced_since(0, 100) == expected["misplaced_since_0"]
    assert broker.max_row() == expected["max_row"]
    assert (broker.is_deleted(), broker.empty()) == (expected["is_deleted"], expected["empty"])


def test_golden_pending_file(golden):
    expected = load("container_pending.json")
    broker = ContainerBroker(db_path(golden, expected["db"]))
    assert broker.info() == expected["after_merging"]["get_info"]
    assert rows(broker) == expected["after_merging"]["rows"]
    assert os.path.getsize(broker.pending_path) == 0


def test_golden_sharding(golden):
    expected = load("container_sharding.json")
    broker = ContainerBroker(db_path(golden, expected["db_files"][0]))
    assert [f"devices/{os.path.relpath(f, golden)}" for f in broker.files] == expected["db_files"]
    assert broker.info() == expected["get_info"]
    assert broker.db_state() == expected["db_state"]
    assert broker.own_shard_range() == expected["own_shard_range"]
    assert list(broker.shard_usage()) == [expected["shard_usage"][k] for k in ("object_count", "bytes_used")]
    assert broker.is_root() == expected["is_root"]
    assert broker.sharding_initiated() == expected["sharding_initiated"]
    assert broker.sharding_required() == expected["sharding_required"]
    assert (broker.is_deleted(), broker.empty()) == (expected["is_deleted"], expected["empty"])
    ranges = broker.all_shard_ranges()
    for query in expected["shard_range_queries"]:
        found = select_shard_ranges(ranges, broker.path_name, **query["args"])
        assert found == query["result"], query["args"]
    for query in expected["namespace_queries"]:
        selected = select_shard_ranges(ranges, broker.path_name, **query["args"])
        found = [shard_ranges.to_namespace(item) for item in selected]
        assert found == query["result"], query["args"]


def test_golden_sharded(golden):
    expected = load("container_sharded.json")
    path = db_path(golden, expected["db_files"][0])
    broker = ContainerBroker(path[: path.rindex("_")] + ".db")
    assert broker.info() == expected["get_info"]
    assert broker.db_state() == expected["db_state"]
    assert broker.own_shard_range() == expected["own_shard_range"]
    assert sorted(broker.all_shard_ranges(), key=shard_ranges.sort_key) == expected["all_shard_range_data"]
    assert (broker.is_deleted(), broker.empty()) == (expected["is_deleted"], expected["empty"])


def test_golden_shard(golden):
    expected = load("container_sharded.json")["shard"]
    broker = ContainerBroker(db_path(golden, expected["db"]) if "db" in expected else shard_path(golden))
    assert broker.info() == expected["get_info"]
    assert not broker.is_root()


def shard_path(golden):
    return str(next(golden.glob("sda1/containers/14/*/*/*.db")))


@pytest.mark.parametrize("case", load("merge_shard_ranges.json"), ids=lambda case: case.get("note"))
def test_golden_shard_range_merges(case):
    merged = shard_ranges.merge_shard_range(case["existing"], case["incoming"])
    assert (merged is not None) == case["take_incoming"]
    if merged is not None:
        assert merged == case["merged"]


@pytest.mark.parametrize("stale", [True, False])
def test_what_is_made_of_two_ranges_was_told_to_nobody(stale):
    """A state that is newer here and a count that is newer there: the root knows the one or the other."""
    first = shard_ranges.from_wire(load("merge_shard_ranges.json")[0]["incoming"])
    times = ("0000000030.00000", "0000000020.00000")
    here = {
        **first,
        "state": 40,
        "state_timestamp": times[not stale],
        "meta_timestamp": times[1],
        "reported": 0,
    }
    there = {**first, "state": 60, "state_timestamp": times[stale], "meta_timestamp": times[0], "object_count": 5, "reported": 1}  # fmt: skip
    there["state"] = 60 if stale else 40
    merged = shard_ranges.merge_shard_range({**here, "timestamp": first["timestamp"]}, there)
    assert merged["state"] == 40 and merged["object_count"] == 5
    assert merged["reported"] == int(not stale)


def test_shard_ranges_are_stored_and_replaced(tmp_path):
    broker = make(tmp_path)
    first = shard_ranges.from_wire(load("merge_shard_ranges.json")[0]["incoming"])
    broker.merge_shard_ranges([first])
    broker.merge_shard_ranges([{**first, "meta_timestamp": "0000000020.00000", "object_count": 9}])
    assert [r["object_count"] for r in broker.all_shard_ranges()] == [9]
    assert broker.max_row("shard_range") == 2


def test_bad_shard_ranges_are_refused():
    good = load("merge_shard_ranges.json")[0]["incoming"]
    assert shard_ranges.from_wire(good) == good
    for key in good:
        if key not in ("reported", "tombstones"):
            with pytest.raises(KeyError):
                shard_ranges.from_wire({k: v for k, v in good.items() if k != key})
    for change in (
        {"name": "x"},
        {"name": "/c"},
        {"lower": "z"},
        {"object_count": -1},
        {"state": 11},
        {"state": "?"},
        {"timestamp": "1_1"},
        {"timestamp": "junk"},
        {"lower": 1},
        {"lower": "\udc80"},
        {"object_count": float("inf")},
        {"bytes_used": 10**30},
        {"tombstones": float("inf")},
        {"state": float("inf")},
        {"timestamp": 10**400},
    ):
        with pytest.raises((ValueError, TypeError)):
            shard_ranges.from_wire({**good, **change})


def test_a_tail_gap_is_filled_from_the_own_range():
    own = shard_ranges.own_range_default("a/c", "0000000001.00000")
    assert select_shard_ranges([own], "a/c", fill_gaps=True) == [own]
    assert select_shard_ranges([own], "a/c", marker="x", fill_gaps=True) == [{**own, "lower": "x"}]


def test_create_twice(tmp_path):
    broker = make(tmp_path)
    with pytest.raises(DatabaseExists):
        broker.create("1700000001.00000", 0)
    assert broker.info()["put_timestamp"] == "1700000000.00000"
    assert sorted(os.listdir(broker.directory)) == [".lock", os.path.basename(broker.path)]


def test_rows_through_the_pending_file(tmp_path):
    broker = make(tmp_path)
    broker.put_object("o", "1700000001.00000", 5, "text/plain", "e")
    broker.put_object("日本", "1700000001.00000", 6, "text/plain", "e")
    broker.delete_object("gone", "1700000002.00000")
    assert broker.info()["object_count"] == 2
    assert broker.info()["bytes_used"] == 11
    assert os.path.getsize(broker.pending_path) == 0
    assert [row["name"] for row in broker.get_objects(10)] == ["gone", "o", "日本"]
    assert [row["name"] for row in broker.get_objects(10, include_deleted=True)] == ["gone"]
    assert [row["name"] for row in broker.get_objects(10, marker="gone", include_deleted=False)] == [
        "o",
        "日本",
    ]


def test_a_long_pending_file_is_merged_by_the_writer(tmp_path):
    broker = make(tmp_path)
    for n in range(1, 2000):
        if broker.put_object(f"o{n}", "1700000001.00000", 1, "text/plain", "e" * 100) == 0:
            break
    assert 300 < n < 1999
    assert os.path.getsize(broker.pending_path) == 0
    assert broker.info()["object_count"] == n


def test_a_bad_pending_entry_costs_only_itself(tmp_path):
    broker = make(tmp_path)
    broker.put_object("a", "1700000001.00000", 5, "text/plain", "e")
    with open(broker.pending_path, "ab") as file:
        file.write(b":???:gAI=")
    broker.put_object("bad time", "junk", 5, "text/plain", "e")
    broker.put_object("\udc80", "1700000001.00000", 5, "text/plain", "e")
    broker.put_object("huge", "1700000001.00000", 2**70, "text/plain", "e")
    broker.put_object("b", "1700000001.00000", 5, "text/plain", "e")
    assert [row["name"] for row in rows(broker)] == ["a", "b"]


def test_stale_reads(tmp_path):
    from swift.db.errors import DatabaseBusy
    from swift.engine.locks import locked

    broker = make(tmp_path, lock_timeout=0.02, stale_reads_ok=True)
    broker.put_object("a", "1700000001.00000", 5, "text/plain", "e")
    with locked(broker.directory, 1):
        assert broker.info()["object_count"] == 0
        broker.stale_reads_ok = False
        with pytest.raises(DatabaseBusy):
            broker.info()
    assert broker.info()["object_count"] == 1


def test_delete_and_recreate(tmp_path):
    broker = make(tmp_path)
    broker.update_metadata(
        {
            "X-Container-Meta-A": ("b", "1700000000.00000"),
            "X-Container-Sysmeta-Sharding": ("True", "1700000000.00000"),
        }
    )
    assert not broker.is_deleted() and broker.empty()
    broker.delete_db("1699999999.00000")
    assert not broker.is_deleted()
    assert broker.info()["status"] == "DELETED"
    broker.delete_db("1700000001.00000")
    assert broker.is_deleted()
    assert broker.info()["status_changed_at"] == "1700000001.00000"
    assert {k: v[0] for k, v in broker.metadata().items()} == {
        "X-Container-Meta-A": "",
        "X-Container-Sysmeta-Sharding": "True",
    }
    broker.update_put_timestamp("1700000002.00000")
    assert not broker.is_deleted()


def test_older_metadata_never_replaces_newer(tmp_path):
    broker = make(tmp_path)
    broker.update_metadata({"X-Container-Meta-A": ("new", "1700000002.00000")})
    broker.update_metadata({"X-Container-Meta-A": ("old", "1700000001.00000")})
    broker.update_metadata({"X-Container-Meta-A": ("same time", "1700000002.00000")})
    assert broker.metadata() == {"X-Container-Meta-A": ("new", "1700000002.00000")}


def test_policy_change(tmp_path):
    broker = make(tmp_path)
    broker.merge_items([ObjectItem("o", "1700000001.00000", 5, "t", "e", 0, 1)])
    assert broker.info()["object_count"] == 0
    broker.set_storage_policy_index(1, "1700000005.00000")
    info = broker.info()
    assert (info["object_count"], info["bytes_used"], info["status_changed_at"]) == (1, 5, "1700000005.00000")
    broker.set_storage_policy_index(1, "1700000009.00000")
    assert broker.info()["status_changed_at"] == "1700000005.00000"
    assert broker.policy_stats() == {
        0: {"object_count": 0, "bytes_used": 0},
        1: {"object_count": 1, "bytes_used": 5},
    }


def test_source_of_merged_rows_is_remembered(tmp_path):
    broker = make(tmp_path)
    broker.merge_items([ObjectItem("o", "1700000001.00000", 5, "t", "e", 0)], source="peer", point=7)
    broker.merge_items([ObjectItem("p", "1700000001.00000", 5, "t", "e", 0)], source="peer", point=3)
    assert [(r["remote_id"], r["sync_point"]) for r in broker.sync_table(incoming=True)] == [("peer", 7)]


def test_reclaim(tmp_path):
    broker = make(tmp_path)
    broker.delete_object("old", "1600000001.00000")
    broker.delete_object("old", "1600000001.00000", 1)
    broker.delete_object("young", "1700000001.00000")
    broker.put_object("live", "1600000001.00000", 5, "t", "e")
    broker.update_metadata(
        {
            "X-Container-Meta-Old": ("", "1600000000.00000"),
            "X-Container-Meta-Young": ("", "1700000000.00000"),
            "X-Container-Meta-Live": ("x", "1600000000.00000"),
        }
    )
    assert broker.reclaim(1650000000.0, 1640000000.0) == 1
    assert [row["name"] for row in rows(broker)] == ["young", "live"]
    assert set(broker.metadata()) == {"X-Container-Meta-Young", "X-Container-Meta-Live"}


def test_reclaim_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("swift.db.broker.MERGE_BATCH", 3)
    broker = make(tmp_path)
    for n in range(10):
        broker.delete_object(f"o{n}", f"1{n}00000000.00000")
    assert broker.reclaim(1450000000.0, 0) == 5
    assert [row["name"] for row in rows(broker)] == [f"o{n}" for n in range(5, 10)]


def test_merge_timestamps(tmp_path):
    broker = make(tmp_path)
    broker.merge_timestamps("1600000000.00000", "1700000001.00000", "1700000002.00000")
    info = broker.info()
    assert info["created_at"] == "1600000000.00000"
    assert (info["put_timestamp"], info["delete_timestamp"]) == ("1700000001.00000", "1700000002.00000")
    assert broker.is_deleted()
    assert info["status_changed_at"] > "1700000002"


def test_damage_is_set_aside(tmp_path):
    broker = make(tmp_path)
    broker.put_object("o", "1700000001.00000", 5, "t", "e")
    with open(broker.path, "r+b") as file:
        file.write(b"not a database at all" * 100)
    with pytest.raises(DatabaseQuarantined):
        broker.info()
    assert not os.path.exists(broker.directory)
    quarantined = tmp_path / "sda1" / "quarantined" / "containers"
    assert os.listdir(quarantined) == [os.path.basename(broker.directory)]
    make(tmp_path)
    broker.reload_files()
    with open(broker.path, "r+b") as file:
        file.write(b"again")
    with pytest.raises(DatabaseQuarantined):
        broker.info()
    assert len(os.listdir(quarantined)) == 2


def test_a_missing_stat_row_is_damage(tmp_path):
    broker = make(tmp_path)
    conn = sqlite3.connect(broker.path)
    conn.execute("DELETE FROM container_info")
    conn.commit()
    conn.close()
    with pytest.raises(DatabaseQuarantined):
        broker.info()


def test_a_missing_database(tmp_path):
    broker = make(tmp_path)
    info = broker.info()
    shutil.rmtree(broker.directory)
    with pytest.raises(DatabaseMissing):
        broker.put_object("o", "1", 1, "t", "e")
    broker.reload_files()
    with pytest.raises(DatabaseMissing):
        broker.info()
    assert broker.is_deleted()
    assert not os.path.exists(broker.directory)
    assert info["db_state"] == "unsharded"


def test_a_replaced_file_is_noticed(tmp_path):
    broker, other = make(tmp_path), make(tmp_path, "other")
    assert broker.info()["container"] == "c"
    other.info()
    os.rename(other.path, broker.path)
    assert broker.info()["container"] == "other"


def test_removal_takes_empty_parents(tmp_path):
    broker = make(tmp_path)
    broker.remove()
    assert os.listdir(tmp_path / "sda1" / "containers") == []


def test_remove_objects(tmp_path):
    broker = make(tmp_path)
    for name in "abcde":
        broker.put_object(name, "1700000001.00000", 1, "t", "e")
    broker.remove_objects("a", "d", max_row=4)
    broker.remove_objects("d", "")
    assert [row["name"] for row in rows(broker)] == ["a"]
    assert broker.info()["object_count"] == 1


def test_is_reclaimable(tmp_path):
    broker = make(tmp_path)
    assert not broker.is_reclaimable(1800000000, 1)
    broker.delete_db("1700000001.00000")
    assert broker.is_reclaimable(1800000000, 1)
    assert not broker.is_reclaimable(1700000001, 1)
    broker.put_object("o", "1700000001.00000", 1, "t", "e", 0, 5)
    assert not broker.is_reclaimable(1800000000, 1)


def test_metadata_is_readable_by_anybody(tmp_path):
    broker = make(tmp_path)
    broker.update_metadata({"X-Container-Meta-Ünicöde": ("日本", "1700000001.00000")})
    conn = sqlite3.connect(broker.path)
    text = conn.execute("SELECT metadata FROM container_stat").fetchone()[0]
    assert text.isascii() and json.loads(text) == {"X-Container-Meta-Ünicöde": ["日本", "1700000001.00000"]}


def test_shortening_keeps_what_arrives_meanwhile(tmp_path, monkeypatch):
    broker = make(tmp_path)
    other = ContainerBroker(broker.path)
    for n in range(30):
        broker.put_object(f"o{n:02d}", "1700000001.00000", 1, "t", "e")
    merge = broker.merge_items
    late = iter(["x", "y"])

    def merge_and_write(items, *args):
        merge(items, *args)
        other.put_object(next(late), "1700000001.00000", 1, "t", "e")

    monkeypatch.setattr(broker, "merge_items", merge_and_write)
    monkeypatch.setattr("swift.db.merger.MERGE_AHEAD_BATCH", 20)
    broker.merger.shorten()
    monkeypatch.undo()
    left = [pending.decode(entry)[0] for entry in pending.entries(broker.pending_path)]
    assert left == ["o29", "x", "y"]
    assert broker.info()["object_count"] == 32
    assert not [name for name in os.listdir(broker.directory) if name.endswith(".tmp")]


def test_shortening_a_file_that_somebody_else_has_merged(tmp_path, monkeypatch):
    broker = make(tmp_path)
    other = ContainerBroker(broker.path)
    for n in range(5):
        broker.put_object(f"o{n:02d}", "1700000001.00000", 1, "t", "e")
    merge = broker.merge_items

    def merge_and_lose(items, *args):
        other.commit_pending()
        other.put_object("late", "1700000001.00000", 1, "t", "e")
        merge(items, *args)

    monkeypatch.setattr(broker, "merge_items", merge_and_lose)
    broker.merger.shorten()
    assert [pending.decode(entry)[0] for entry in pending.entries(broker.pending_path)] == ["late"]
    assert other.info()["object_count"] == 6


def test_reconciler_sync_point(tmp_path):
    broker = make(tmp_path)
    assert broker.reconciler_sync() == -1
    broker.update_reconciler_sync(7)
    assert broker.reconciler_sync() == 7


def test_a_put_decides_on_what_it_changes(tmp_path, monkeypatch):
    """Another process makes the container anew, with another policy, at the last moment."""
    broker = make(tmp_path)
    assert broker.delete("1700000002.00000")
    begin, raced = Connection.writing, []

    def begin_late(conn, *args, **options):
        if not raced:
            raced.append(None)
            code = """
import sys
from swift.container.broker import ContainerBroker
from swift.db.errors import DatabaseBusy
broker = ContainerBroker(sys.argv[1], lock_timeout=0.2)
try:
    broker.put("1700000003.00000", 0, 0, {})
    broker.put_object("o", "1700000003.50000", 1, "t", "e", 0, 0)
    print("acknowledged")
except DatabaseBusy:
    print("busy")
"""
            done = subprocess.run([sys.executable, "-c", code, broker.path], capture_output=True, text=True)
            raced[0] = done.stdout.strip()
        return begin(conn, *args, **options)

    monkeypatch.setattr(Connection, "writing", begin_late)
    try:
        broker.put("1700000004.00000", 1, 1, {})
    except PolicyConflict:
        pass
    monkeypatch.undo()
    info = broker.info()
    assert raced[0] in ("acknowledged", "busy")
    if raced[0] == "acknowledged":
        assert (info["storage_policy_index"], info["object_count"]) == (0, 1)
    else:
        assert (info["storage_policy_index"], info["object_count"]) == (1, 0)


def test_a_delete_sees_a_row_of_the_last_moment(tmp_path, monkeypatch):
    broker = make(tmp_path)
    begin, raced = Connection.writing, []

    def begin_late(conn, *args, **options):
        if not raced:
            raced.append(None)
            code = """
import sys
from swift.container.broker import ContainerBroker
from swift.db.errors import DatabaseBusy
try:
    ContainerBroker(sys.argv[1], lock_timeout=0.2).put_object("o", "1700000001.50000", 1, "t", "e", 0, 0)
    print("acknowledged")
except DatabaseBusy:
    print("busy")
"""
            done = subprocess.run([sys.executable, "-c", code, broker.path], capture_output=True, text=True)
            raced[0] = done.stdout.strip()
        return begin(conn, *args, **options)

    monkeypatch.setattr(Connection, "writing", begin_late)
    deleted = broker.delete("1700000002.00000")
    monkeypatch.undo()
    assert (raced[0], deleted) in (("busy", True), ("acknowledged", None))


def test_sync_points(tmp_path):
    broker = make(tmp_path)
    assert broker.sync_point("peer", incoming=True) == -1
    broker.merge_syncs([{"remote_id": "peer", "sync_point": 5}, {"remote_id": "other", "sync_point": "7"}])
    broker.merge_syncs([{"remote_id": "peer", "sync_point": 3}])
    broker.merge_syncs([{"remote_id": "peer", "sync_point": 9}], incoming=False)
    assert broker.sync_point("peer", incoming=True) == 5
    assert broker.sync_point("peer", incoming=False) == 9
    assert broker.sync_point("other", incoming=True) == 7
    for bad in ([{}], [{"remote_id": 5, "sync_point": 1}], [{"remote_id": "p", "sync_point": None}], ["x"]):
        with pytest.raises(ValueError):
            broker.merge_syncs(bad)


def test_a_received_copy_becomes_a_replica_of_its_own(tmp_path):
    broker = make(tmp_path)
    for n in range(3):
        broker.put_object(f"o{n}", "1700000001.00000", 1, "t", "e")
    broker.commit_pending()
    broker.reported("1700000001.00000", "0", 3, 3)
    theirs = broker.info()["id"]
    broker.new_identity(theirs)
    info = broker.info()
    assert info["id"] != theirs and info["id"].endswith("-sda1")
    assert broker.sync_point(theirs, incoming=True) == 3
    assert (info["reported_put_timestamp"], info["reported_object_count"]) == ("0", 0)
    broker.new_identity("x", "an-id")
    assert broker.info()["id"] == "an-id"


def test_rows_are_removed_in_batches(tmp_path, monkeypatch):
    broker = make(tmp_path)
    for n in range(25):
        broker.put_object(f"o{n:02d}", "1700000001.00000", 2, "t", "e")
    broker.commit_pending()
    begun = []
    begin = Connection.writing
    monkeypatch.setattr(Connection, "writing", lambda conn, *args: begun.append(1) or begin(conn, *args))
    assert broker.remove_objects("o04", "o20", broker.max_row() - 10, batch=4) == 10
    assert len(begun) == 3
    monkeypatch.undo()
    assert [row["name"] for row in rows(broker)][4:8] == ["o04", "o15", "o16", "o17"]
    assert broker.info()["object_count"] == 15 and broker.info()["bytes_used"] == 30
    assert broker.remove_objects("", "") == 15
    assert broker.empty()


def test_a_post_does_not_bring_back_what_was_deleted_at_the_last_moment(tmp_path, monkeypatch):
    broker = make(tmp_path)
    begin, raced = Connection.writing, []

    def begin_late(conn, *args, **options):
        if not raced:
            raced.append(None)
            raced[0] = ContainerBroker(broker.path).delete("1700000001.00000")
        return begin(conn, *args, **options)

    monkeypatch.setattr(Connection, "writing", begin_late)
    with pytest.raises(DatabaseMissing):
        broker.touch(
            "1700000002.00000", {"X-Container-Meta-A": ("b", "1700000002.00000")}, None, broker.check_alive
        )
    assert raced == [True]
    assert broker.is_deleted()
    assert "X-Container-Meta-A" not in broker.metadata()
