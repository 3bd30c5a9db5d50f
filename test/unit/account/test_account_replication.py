"""Accounts on several nodes: numbers of containers that come late, or in a whole file, don't take the place of newer ones."""

import pytest

from swift.core.concurrency import use_fast_hub
from swift.db.merge import ContainerItem, ContainerRow, without_old_numbers
from test.replicas import Nodes

use_fast_hub()

T = [f"17000000{n:02d}.00000" for n in range(100)]


@pytest.fixture
def nodes(tmp_path):
    nodes = Nodes(tmp_path, "account", per_diff="10")
    for node in range(3):
        assert nodes.request(node, "PUT", "AUTH_a", T[0]) == 201
    yield nodes
    nodes.stop()


def report(nodes, node, container, put, count, delete="0"):
    headers = {
        "X_Put_Timestamp": put,
        "X_Delete_Timestamp": delete,
        "X_Object_Count": count,
        "X_Bytes_Used": count,
        "X_Backend_Storage_Policy_Index": 0,
    }
    part = nodes.ring.get_part("AUTH_a")
    assert nodes.call(node, "PUT", f"/sd{node}/{part}/AUTH_a/{container}", put, **headers) in (201, 204)


def counts(nodes, node):
    return {row["name"]: row["object_count"] for row in nodes.broker(node, "AUTH_a").items_since(-1, 1000)}


def test_reports_reach_all_and_totals_match(nodes):
    for node in range(3):
        report(nodes, node, f"c{node}", T[1], node + 1)
    report(nodes, 0, "gone", T[1], 0)
    report(nodes, 1, "gone", T[1], 0, T[2])
    nodes.replicate()
    nodes.replicate()
    for node in range(3):
        assert counts(nodes, node) == {"c0": 1, "c1": 2, "c2": 3, "gone": 0}
        info = nodes.broker(node, "AUTH_a").info()
        assert (info["container_count"], info["object_count"], info["bytes_used"]) == (3, 6, 6)


def test_a_report_from_before_a_put_does_not_bring_its_numbers_back(nodes):
    """The reference takes whatever comes last."""
    report(nodes, 0, "c", T[1], 5)
    report(nodes, 1, "c", T[2], 9)
    report(nodes, 2, "c", T[2], 9)
    nodes.replicate(0)
    assert [counts(nodes, node) for node in (1, 2)] == [{"c": 9}] * 2
    nodes.replicate(1, 2)
    assert counts(nodes, 0) == {"c": 9}


def test_a_file_of_a_peer_keeps_its_newer_numbers(nodes):
    """Of our rows only those go into it that the peer has not seen: the others it knows better by now."""
    for number in range(5):
        for node in range(3):
            report(nodes, node, f"c{number}", T[1], 1)
    nodes.replicate()
    for number in range(30):
        report(nodes, 0, f"d{number}", T[2], 1)
    report(nodes, 0, "c1", T[1], 77)
    report(nodes, 1, "c2", T[1], 88)
    nodes.replicate(0)
    assert any("remote_merge:2" in line for line in nodes.logger.lines)
    found = counts(nodes, 1)
    assert (found["c1"], found["c2"], len(found)) == (77, 88, 35)


def test_a_deleted_account_is_deleted_everywhere(nodes):
    assert nodes.request(0, "DELETE", "AUTH_a", T[5]) == 204
    nodes.replicate(0)
    for node in range(3):
        assert nodes.broker(node, "AUTH_a").is_status_deleted()
    nodes.replicate(0, reclaim_age="604800")
    assert not nodes.path(0, "AUTH_a").exists() and nodes.path(1, "AUTH_a").exists()


ROW = ContainerRow(1, "c", T[5], T[3], 7, 70, 0, 1)


@pytest.mark.parametrize(
    "put, delete, counts",
    [
        (T[5], T[3], True),
        (T[4], T[3], False),
        (T[5], T[2], False),
        (T[4], T[2], False),
        (T[6], T[2], True),
        (T[4], T[4], True),
        (None, None, True),
    ],
)
def test_only_a_report_that_is_older_for_sure_has_its_numbers_left_out(put, delete, counts):
    item = ContainerItem("c", put, delete, 1, 10, 0, 0)
    found = without_old_numbers(ROW, item)
    assert (found.object_count, found.bytes_used, found.storage_policy_index) == (
        (1, 10, 0) if counts else (7, 70, 1)
    )
    assert without_old_numbers(None, item) == item
