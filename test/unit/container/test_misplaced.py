"""Rows of another policy than their container's reach the reconciler's queue, in its layout."""

import pytest

from swift.container import misplaced
from swift.container.misplaced import parse_entry, queue_container, queue_entry
from swift.core.concurrency import use_fast_hub
from test.databases import load
from test.replicas import Nodes

use_fast_hub()

T = [f"17000000{n:02d}.00000" for n in range(100)]
C = ("AUTH_a", "c")
GOLDEN = load("misc.json")


@pytest.mark.parametrize("case", GOLDEN["reconciler_container"], ids=lambda case: case["created_at"])
def test_containers_of_the_queue(case):
    assert queue_container(case["created_at"]) == case["container"]


@pytest.mark.parametrize("case", GOLDEN["reconciler_queue_entry"], ids=lambda case: case["row"]["name"])
def test_entries(case):
    entry = queue_entry(case["row"], "AUTH_a", "c")
    assert {key: getattr(entry, key) for key in case["entry"]} == case["entry"]
    assert entry.storage_policy_index == 0


@pytest.mark.parametrize("case", GOLDEN["reconciler_parse"], ids=lambda case: case["listing_entry"]["name"])
def test_entries_read_back(case):
    found, wanted = parse_entry(case["listing_entry"]), case["parsed"]
    assert (found.account, found.container, found.obj) == (
        wanted["account"],
        wanted["container"],
        wanted["obj"],
    )
    assert (found.path, found.operation) == (wanted["path"], wanted["q_op"])
    assert found.policy_index == wanted["q_policy_index"]
    assert (found.timestamp.internal, found.recorded.internal) == (wanted["q_ts"], wanted["q_record"])


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x:/a/c/o"},
        {"name": "1/a/c/o"},
        {"name": "1:/a/c"},
        {"name": "²:/a/c/o"},
        {"name": None},
        {"hash": "x"},
        {"hash": None},
        {"content_type": "text/plain"},
        {"last_modified": "yesterday"},
    ],
)
def test_what_is_no_entry_is_refused(change):
    listed = GOLDEN["reconciler_parse"][0]["listing_entry"]
    with pytest.raises(ValueError):
        parse_entry({**listed, **change})


@pytest.fixture
def nodes(tmp_path):
    nodes = Nodes(tmp_path, count=4, per_diff="2")
    yield nodes
    nodes.stop()


def queued(nodes):
    """{(queue container, entry): nodes that have it}."""
    found = {}
    for name in {queue_container(t) for t in T}:
        for node in nodes.apps:
            names = (misplaced.ACCOUNT, name)
            if nodes.path(node, *names).exists():
                for row in nodes.broker(node, *names).get_objects(100):
                    found.setdefault((row["name"], row["content_type"], row["etag"]), []).append(node)
    return found


def test_rows_of_a_policy_that_lost_are_queued_where_the_queue_belongs(nodes):
    _, primaries = nodes.part_nodes(*C)
    for node, (timestamp, policy) in zip(primaries, [(T[5], 0), (T[4], 1), (T[6], 2)], strict=True):
        nodes.request(node, "PUT", "AUTH_a/c", timestamp, X_Backend_Storage_Policy_Index=policy)
        for number in range(3):
            nodes.put_object(node, f"AUTH_a/c/o{policy}-{number}", T[10], policy=policy)
        nodes.request(node, "DELETE", f"AUTH_a/c/gone{policy}", T[11], X_Backend_Storage_Policy_Index=policy)
    for _ in range(3):
        nodes.replicate()
    (name,) = {queue_container(T[10]), queue_container(T[11])}
    _, homes = nodes.part_nodes(misplaced.ACCOUNT, name)
    wanted = {(f"{p}:/AUTH_a/c/o{p}-{n}", misplaced.PUT_TYPE, T[10]) for p in (0, 2) for n in range(3)}
    wanted |= {(f"{p}:/AUTH_a/c/gone{p}", misplaced.DELETE_TYPE, T[11]) for p in (0, 2)}
    found = queued(nodes)
    assert set(found) == wanted
    assert {tuple(nodes_of) for nodes_of in found.values()} == {tuple(sorted(homes))}
    for node in primaries:
        broker = nodes.broker(node, *C)
        assert broker.reconciler_sync() == broker.max_row()
        assert broker.info()["storage_policy_index"] == 1


def test_rows_that_were_looked_at_before_the_policy_changed_are_looked_at_again(nodes):
    _, primaries = nodes.part_nodes(*C)
    first = primaries[0]
    nodes.request(first, "PUT", "AUTH_a/c", T[5], X_Backend_Storage_Policy_Index=0)
    nodes.put_object(first, "AUTH_a/c/o", T[10], policy=0)
    nodes.replicate(first)
    assert nodes.broker(first, *C).reconciler_sync() == 1 and not queued(nodes)
    for node in primaries:
        nodes.broker(node, *C).set_storage_policy_index(1)
    nodes.replicate(first)
    assert set(queued(nodes)) == {("0:/AUTH_a/c/o", misplaced.PUT_TYPE, T[10])}


def test_rows_of_a_shard_are_queued_under_its_root(nodes):
    root = {"X_Container_Sysmeta_Shard_Quoted_Root": "AUTH%5Fa/big%20one"}
    for node in nodes.part_nodes(*C)[1]:
        nodes.request(node, "PUT", "AUTH_a/c", T[1], X_Backend_Storage_Policy_Index=0, **root)
    node = nodes.part_nodes(*C)[1][0]
    nodes.put_object(node, "AUTH_a/c/o", T[10], policy=1)
    nodes.replicate(node)
    assert {name for name, _, _ in queued(nodes)} == {"1:/AUTH_a/big one/o"}
