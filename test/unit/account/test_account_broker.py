"""The account database: golden files are read right, reports are merged as the vectors say."""

import sqlite3

import pytest

from swift.account.broker import AccountBroker, StatusDeleted
from swift.core.hashing import hash_path, set_hash_config
from swift.db.connection import Connection
from swift.db.errors import DatabaseBusy
from swift.db.merge import ContainerItem
from test.databases import copy_devices, db_path, load, with_our_row_ids

set_hash_config(b"", b"golden")


@pytest.fixture
def golden(tmp_path):
    return copy_devices(tmp_path)


def make(tmp_path, name="AUTH_a"):
    digest = hash_path(name)
    device = tmp_path / "sda1"
    device.mkdir(exist_ok=True)
    broker = AccountBroker(f"{device}/accounts/1/{digest[-3:]}/{digest}/{digest}.db", account=name)
    broker.create("1700000000.00000")
    return broker


def test_golden(golden):
    expected = load("account.json")
    broker = AccountBroker(db_path(golden, expected["db"]))
    assert broker.info() == expected["get_info"]
    assert {k: list(v) for k, v in broker.metadata().items()} == expected["metadata"]
    assert {str(k): v for k, v in broker.policy_stats().items()} == expected["policy_stats"]
    assert broker.replication_info() == expected["replication_info"]
    assert broker.items_since(-1, 1000) == expected["rows"]
    assert broker.items_since(3, 2) == expected["items_since_3_limit_2"]
    assert broker.max_row() == expected["max_row"]
    assert broker.is_deleted() == expected["is_deleted"]
    assert broker.is_status_deleted() == expected["is_status_deleted"]
    assert broker.empty() == expected["empty"]


def test_golden_deleted(golden):
    expected = load("account_deleted.json")
    broker = AccountBroker(db_path(golden, expected["db"]))
    assert broker.info() == expected["get_info"]
    assert (broker.is_deleted(), broker.is_status_deleted(), broker.empty()) == (True, True, False)


@pytest.mark.parametrize("case", load("merge_containers.json"), ids=lambda case: case["note"])
def test_golden_merges(tmp_path, case):
    broker = make(tmp_path)
    for batch in case["batches"]:
        broker.merge_items(
            [
                ContainerItem(
                    data["name"],
                    data["put_timestamp"],
                    data["delete_timestamp"],
                    data["object_count"],
                    data["bytes_used"],
                    data["deleted"],
                    data["storage_policy_index"],
                )
                for data in batch
            ]
        )
    info = broker.info()
    assert {key: info[key] for key in case["info"]} == case["info"]
    assert {str(k): v for k, v in broker.policy_stats().items()} == case["policy_stats"]
    assert broker.items_since(-1, 100) == with_our_row_ids(case)


def test_reports_through_the_pending_file(tmp_path):
    broker = make(tmp_path)
    broker.put_container("c", "1700000001.00000", "0", "3", "30", "1")
    broker.put_container("d", "1700000001.00000", "1700000002.00000", "0", "0")
    broker.put_container("e", "1700000001.00000", "0", "x", "0")
    broker.put_container("f", "1700000001.00000", "0", str(2**64), "0")
    info = broker.info()
    assert (info["container_count"], info["object_count"], info["bytes_used"]) == (1, 3, 30)
    assert [(r["name"], r["deleted"]) for r in broker.items_since(-1, 10)] == [("c", 0), ("d", 1)]


def test_a_report_that_is_merged_again_brings_nothing_back(tmp_path):
    """After a power cut the pending file may begin where it did before it was merged, and lack its end."""
    broker = make(tmp_path)
    broker.put_container("c", "1700000001.00000", "0", 5, 50)
    with open(broker.pending_path, "rb") as file:
        old = file.read()
    broker.put_container("c", "1700000001.00000", "1700000002.00000", 0, 0)
    assert broker.info()["container_count"] == 0
    with open(broker.pending_path, "wb") as file:
        file.write(old)
    assert broker.info()["container_count"] == 0
    broker.put_container("c", "1700000003.00000", "1700000002.00000", 1, 10)
    assert broker.info()["container_count"] == 1


def test_deletion_is_final(tmp_path):
    broker = make(tmp_path)
    assert not broker.is_deleted()
    broker.delete_db("1700000001.00000")
    broker.update_put_timestamp("1700000002.00000")
    assert broker.is_deleted() and broker.is_status_deleted()
    assert not broker.is_reclaimable(1800000000, 1)


def test_is_reclaimable(tmp_path):
    broker = make(tmp_path)
    broker.delete_db("1700000001.00000")
    assert broker.is_reclaimable(1700000010, 5)
    assert not broker.is_reclaimable(1700000010, 10)
    broker.put_container("c", "1700000001.00000", "0", 1, 1)
    assert not broker.is_reclaimable(1700000010, 5)


def test_reclaim(tmp_path):
    broker = make(tmp_path)
    broker.put_container("old", "1500000000.00000", "1600000000.00000", 0, 0)
    broker.put_container("young", "1500000000.00000", "1700000000.00000", 0, 0)
    broker.put_container("live", "1500000000.00000", "0", 1, 1)
    assert broker.reclaim(1650000000.0, 0) == 1
    assert {row["name"] for row in broker.items_since(-1, 10)} == {"young", "live"}


def test_triggers_of_golden_files_take_our_rows(golden):
    broker = AccountBroker(db_path(golden, load("account.json")["db"]))
    before = broker.info()
    broker.put_container("new", "1700000100.00000", "0", 2, 20, 1)
    after = broker.info()
    assert after["container_count"] == before["container_count"] + 1
    assert after["hash"] != before["hash"]
    conn = sqlite3.connect(broker.path)
    assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_report_that_says_nothing_new_changes_nothing(tmp_path):
    """Or each of the daily reports of each container goes to all replicas again."""
    broker = make(tmp_path)
    for _ in range(3):
        broker.put_container("c", "1700000001.00000", "0", 5, 6, 0)
        broker.put_container("d", "1700000001.00000", "0", 1, 1, 0)
        broker.commit_pending()
    assert [(row["ROWID"], row["name"]) for row in broker.items_since(-1, 10)] == [(1, "c"), (2, "d")]
    assert broker.max_row() == 2
    broker.put_container("c", "1700000001.00000", "0", 6, 6, 0)
    broker.commit_pending()
    assert [row["name"] for row in broker.items_since(2, 10)] == ["c"]


def test_the_audited_numbers_are_of_one_moment(tmp_path, monkeypatch):
    broker = make(tmp_path)
    other = AccountBroker(broker.path)
    broker.put_container("c", "1700000001.00000", "0", 5, 6, 0)
    broker.commit_pending()
    read = broker._stat_row

    def read_and_change(*args):
        found = read(*args)
        other.timeout = 0.01
        try:
            other.put_container("d", "1700000001.00000", "0", 7, 8, 1)
            other.commit_pending()
        except DatabaseBusy:
            pass  # it waits for us
        return found

    monkeypatch.setattr(broker, "_stat_row", read_and_change)
    info, sums = broker.audited_totals()
    assert {key: info[key] for key in sums} == sums
    info, sums = other.audited_totals()
    assert sums == {"container_count": 2, "object_count": 12, "bytes_used": 14}


@pytest.mark.parametrize("check", ["check_alive", "check_status"])
def test_nothing_is_stored_in_what_was_deleted_at_the_last_moment(tmp_path, monkeypatch, check):
    broker = make(tmp_path)
    begin, raced = Connection.writing, []

    def begin_late(conn, *args, **options):
        if not raced:
            raced.append(1)
            AccountBroker(broker.path).delete_db("1700000001.00000")
        return begin(conn, *args, **options)

    monkeypatch.setattr(Connection, "writing", begin_late)
    with pytest.raises(StatusDeleted):
        broker.touch(
            "1700000002.00000", {"X-Account-Meta-A": ("b", "1700000002.00000")}, None, getattr(broker, check)
        )
    assert broker.info()["put_timestamp"] == "1700000000.00000"
    assert "X-Account-Meta-A" not in broker.metadata()
