"""Account listings through snapshots: the golden ones, and pending reports laid over."""

import json

import pytest

from swift.account.broker import AccountBroker
from swift.account.listing import JSON, container_listing
from swift.account.snapshot import AccountReader
from swift.core.hashing import hash_path, set_hash_config
from swift.db.listing import Listing
from swift.db.snapshots import Snapshots
from test.databases import copy_devices, db_path, load

set_hash_config(b"", b"golden")


def listed(broker, **args):
    def shown(source):
        return json.loads(container_listing(source, Listing(**args), JSON, lambda index: f"p{index}"))

    return Snapshots(lambda path: AccountReader(broker)).answer(broker.path, shown)


@pytest.mark.parametrize("case", range(len(load("account.json")["listings"])))
def test_golden_listings(tmp_path, case):
    golden = load("account.json")
    case = golden["listings"][case]
    broker = AccountBroker(db_path(copy_devices(tmp_path), golden["db"]))
    found = listed(broker, **case["args"])
    shown = [
        [e["subdir"], 0, 0, -1, 1]
        if "subdir" in e
        else [e["name"], e["count"], e["bytes"], e["storage_policy"], 0]
        for e in found
    ]
    assert shown == [
        [row[0], row[1], row[2], row[4] if row[5] else f"p{row[4]}", row[5]] for row in case["result"]
    ]


def test_pending_reports(tmp_path):
    digest = hash_path("AUTH_a")
    (tmp_path / "sda1").mkdir()
    broker = AccountBroker(f"{tmp_path}/sda1/accounts/1/{digest[-3:]}/{digest}/{digest}.db", account="AUTH_a")
    broker.create("1700000000.00000")
    broker.put_container("c", "1700000001.00000", "0", 3, 30, 1)
    broker.put_container("d", "1700000001.00000", "0", 1, 10, 0)
    assert [(e["name"], e["count"], e["storage_policy"]) for e in listed(broker)] == [
        ("c", 3, "p1"),
        ("d", 1, "p0"),
    ]
    broker.commit_pending()
    broker.put_container("c", "1700000001.00000", "0", 4, 40, 0)
    broker.put_container("d", "1700000001.00000", "1700000002.00000", 0, 0, 0)
    assert [(e["name"], e["count"], e["storage_policy"]) for e in listed(broker)] == [("c", 4, "p0")]
    snapshot = Snapshots(lambda path: AccountReader(broker)).current(broker.path)
    info = snapshot.info
    assert (info["container_count"], info["object_count"], info["bytes_used"]) == (1, 4, 40)
    pending_totals = snapshot.totals
    broker.commit_pending()
    stats = broker.policy_stats()
    assert pending_totals == {k: tuple(v.values()) for k, v in stats.items()}
    merged = broker.info()
    assert {k: info[k] for k in ("container_count", "object_count", "bytes_used")} == {
        k: merged[k] for k in ("container_count", "object_count", "bytes_used")
    }
