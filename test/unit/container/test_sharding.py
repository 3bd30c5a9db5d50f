"""Containers become shards, and shards one again, on three nodes in this process: no row is lost, doubled or left behind."""

import shutil

import pytest

from swift.container.shard_ranges import ACTIVE, CLEAVED, CREATED, SHARDED, SHARDING, SHRINKING
from swift.container.sharding import change
from swift.core import swift_dir
from swift.core.concurrency import Timeout, sleep, spawn
from swift.core.hashing import hash_path
from swift.db.replication.spots import spot
from swift.run import rests
from test.shards import ROOT, Shards, names, rows_of, until_done


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    monkeypatch.setattr(swift_dir, "_current", None)
    made = Shards(tmp_path)
    yield made
    made.stop()


def test_a_container_is_sharded(nodes):
    nodes.make()
    nodes.update(names(45))
    nodes.shard()
    assert nodes.listing() == names(45)
    until_done(nodes)
    assert nodes.listing() == names(45)
    found = nodes.containers()
    roots = found.pop(ROOT)
    assert len(found) == 5
    for broker in roots:
        assert broker.db_state() == "sharded"
        assert broker.own_shard_range()["state"] == SHARDED
        assert {item["state"] for item in broker.other_shard_ranges()} == {ACTIVE}
        assert broker.info()["object_count"] == 45
        assert rows_of(broker, "", "") == []
    for brokers in found.values():
        assert len(brokers) == 3
        assert len({broker.info()["hash"] for broker in brokers}) == 1
        assert brokers[0].own_shard_range()["object_count"] == brokers[0].info()["object_count"]


def test_a_second_pass_over_shards_changes_nothing(nodes):
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    nodes.shard()
    before = {names: [b.all_shard_ranges() for b in found] for names, found in nodes.containers().items()}
    nodes.shard()
    after = {names: [b.all_shard_ranges() for b in found] for names, found in nodes.containers().items()}
    assert before == after


def test_a_sharder_that_runs_for_ever_rests_and_one_with_once_does_not(nodes, monkeypatch):
    """Moving and sending are what it rests from."""
    rested = []
    monkeypatch.setattr(rests, "sleep", rested.append)
    monkeypatch.setattr(rests, "LEAST", 0)
    nodes.make()
    nodes.update(names(45))
    nodes.shard()
    assert not rested
    forever = nodes.sharder(sorted(nodes.running)[0], interval=0.01)
    running = spawn(forever.run_forever)
    with Timeout(60):
        while not rested:
            sleep(0.01)
    running.kill()
    assert all(0 < seconds <= rests.MOST for seconds in rested)
    assert forever.terms.rests is forever.rests


def last_shard(nodes):
    ranges = nodes.broker(nodes.part_nodes(*ROOT)[1][0], *ROOT).other_shard_ranges()
    return tuple(next(item["name"] for item in ranges if not item["upper"]).split("/"))


def counts(nodes, names=ROOT):
    return [broker.info()["object_count"] for broker in nodes.containers()[names]]


@pytest.mark.parametrize("without", range(3))
def test_a_replica_that_lacks_rows_does_not_take_them_out_of_the_count(nodes, without):
    nodes.make()
    nodes.update(names(24))
    until_done(nodes)
    shard = last_shard(nodes)
    nodes.update(["p1", "p2", "p3"], 2, at=shard, nodes={0, 1, 2} - {without})
    nodes.shard()
    nodes.shard()
    assert counts(nodes) == [27] * 3
    assert len(set(counts(nodes, shard))) == 1


def test_a_copy_on_a_handoff_has_no_say_in_the_count(tmp_path, monkeypatch):
    monkeypatch.setattr(swift_dir, "_current", None)
    nodes = Shards(tmp_path, count=4)
    try:
        nodes.make()
        nodes.update(names(24))
        until_done(nodes)
        shard = last_shard(nodes)
        holders = nodes.part_nodes(*shard)[1]
        (handoff,) = {0, 1, 2, 3} - set(holders)
        stale = nodes.path(
            handoff, *shard
        ).parent  # there may be one that was made while the container was cut
        shutil.copytree(nodes.path(holders[0], *shard).parent, stale, dirs_exist_ok=True)
        nodes.update(["p1", "p2", "p3"], 2, at=shard)
        nodes.shard(*holders)
        nodes.shard(handoff)
        assert counts(nodes) == [27] * 3
    finally:
        nodes.stop()


def test_rows_that_come_late_to_the_root_go_to_their_shards(nodes):
    nodes.make()
    nodes.update(names(45))
    nodes.shard()
    nodes.update(["a", "o0005x", "z"], 2)
    nodes.update(["o0004"], 3, deleted=1)
    until_done(nodes)
    wanted = sorted({*names(45), "a", "o0005x", "z"} - {"o0004"})
    assert nodes.listing() == wanted
    nodes.update(["o0005y"], 4, nodes=nodes.part_nodes(*ROOT)[1][1:2])
    nodes.update(["o0006"], 4, deleted=1, nodes=nodes.part_nodes(*ROOT)[1][2:])
    nodes.shard()
    assert nodes.listing() == sorted({*wanted, "o0005y"} - {"o0006"})
    nodes.shard()
    for broker in nodes.containers()[ROOT]:
        assert broker.info()["object_count"] == len(nodes.listing())
        assert broker.get_objects(100) == []


def test_rows_that_only_one_replica_has_are_in_the_shards_in_the_end(nodes):
    nodes.make()
    nodes.update(names(45))
    for number, node in enumerate(nodes.part_nodes(*ROOT)[1]):
        nodes.update([f"p{number}"], nodes=[node])
    until_done(nodes)
    assert nodes.listing() == [*names(45), "p0", "p1", "p2"]


def test_a_replica_out_of_place_stays_while_it_has_rows_for_shards(nodes):
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    node = nodes.part_nodes(*ROOT)[1][0]
    right = nodes.path(node, *ROOT).parent
    part = nodes.ring.get_part(*ROOT)
    wrong = right.parents[2] / str((part + 1) % 16) / right.parent.name / right.name
    shutil.copytree(right, wrong)
    stray = nodes.broker_class(str(wrong / f"{wrong.name}.db"), logger=nodes.logger)
    stray.merge_items([stray.item_from_record(("o0004x", "1700000009.00000", 7, "t/x", "e", 0))])
    nodes.replicate(node)
    nodes.replicate(node)  # by now it knows what the others know
    assert stray.exists()
    nodes.shard(node)
    assert "o0004x" in nodes.listing()
    nodes.replicate(node)
    nodes.replicate(node)
    assert not stray.exists()


def test_rows_stay_where_they_are_until_most_replicas_of_a_shard_have_them(nodes):
    """Also where nobody has told the root that the shard is being split, so that its replicas exchange no rows."""
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    first = next(name for name in nodes.containers() if name[1].endswith("-0"))
    nodes.update([f"o0003-{number:02d}" for number in range(30)], 2, at=first)
    for node in sorted(nodes.running) * 4:
        nodes.shard(node, cleave_batch_size="1")
        if all(broker.db_state() == "sharding" for broker in nodes.containers()[first]):
            break
    assert all(broker.db_state() == "sharding" for broker in nodes.containers()[first])
    late, node = "o0003-29x", nodes.part_nodes(*ROOT)[1][1]
    nodes.update([late], 3, nodes=[node])
    root = nodes.broker(node, *ROOT)
    before = [
        {**item, "state": ACTIVE} if item["state"] == SHARDING else item
        for item in root.all_shard_ranges()
        if item["state"] not in (CREATED, CLEAVED)
    ]
    with root.connection() as conn, conn.writing():
        conn.execute("DELETE FROM shard_range")
    root.merge_shard_ranges(before)
    nodes.sharder(node, cleave_batch_size="1").run_once()
    assert has(root, late) or any(
        sum(has(broker, late) for broker in found) > 1 for found in nodes.containers().values()
    )
    until_done(nodes)
    assert late in nodes.listing()


def test_a_container_is_not_deleted_while_its_last_shard_comes_back(nodes):
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    for node in nodes.part_nodes(*ROOT)[1]:
        broker = nodes.broker(node, *ROOT)
        when = change.now()
        shards = [change.forced(item, SHRINKING, when) for item in broker.other_shard_ranges()]
        broker.merge_shard_ranges([change.forced(broker.own_shard_range(), ACTIVE, when), *shards])
        assert nodes.request(node, "DELETE", "AUTH_a/c", "1799999999.00000") == 409
        assert broker.metadata()["X-Container-Sysmeta-Sharding"][0] == "True"


def test_who_is_asked_to_bring_rows_says_so_if_they_stay_here(nodes):
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    _, (first, second, _) = nodes.part_nodes(*ROOT)
    where = spot(
        str(nodes.home / str(first)),
        "containers",
        f"sd{first}",
        str(nodes.ring.get_part(*ROOT)),
        hash_path(*ROOT),
    )
    assert nodes.apps[first].bring(where, [second])["done"] == {str(second): True}
    nodes.update(["o0004x"], 3, nodes=[first])
    assert nodes.apps[first].bring(where, [second])["done"] == {str(second): False}


def test_shards_have_the_policy_of_their_root(nodes):
    """Also of one that was deleted and made again: it counts what it holds, and is not deleted with it."""
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    for shard in [name for name in nodes.containers() if name != ROOT]:
        nodes.update([row["name"] for row in nodes.containers()[shard][0].get_objects(100)], 5, 1, at=shard)
    nodes.shard()
    nodes.shard()
    for node in nodes.part_nodes(*ROOT)[1]:
        assert nodes.request(node, "DELETE", "AUTH_a/c", "1700000100.00000") == 204
        headers = {"X_Backend_Storage_Policy_Index": 1}
        assert nodes.request(node, "PUT", "AUTH_a/c", "1700000200.00000", **headers) == 201
    nodes.update(names(9), 300, policy=1)
    nodes.shard()
    nodes.shard()
    for broker in nodes.containers()[ROOT]:
        assert broker.info()["object_count"] == 9
    for node in nodes.part_nodes(*ROOT)[1]:
        assert nodes.request(node, "DELETE", "AUTH_a/c", "1700000400.00000") == 409


def has(broker, name):
    for file in broker.component_files():
        with broker.connection(file) as conn:
            if conn.execute("SELECT 1 FROM object WHERE name = ?", (name,)).fetchone():
                return True
    return False


def test_a_shard_that_has_grown_is_split(nodes):
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    first = next(name for name in nodes.containers() if name[1].endswith("-0"))
    grown = [f"o0003-{number:02d}" for number in range(30)]
    nodes.update(grown, 2, at=first)
    for _ in range(8):
        nodes.shard()
        assert nodes.listing() == sorted(names(45) + grown)
    for broker in nodes.containers()[ROOT]:
        ranges = broker.other_shard_ranges()
        assert {item["state"] for item in ranges} == {ACTIVE}
        assert len(ranges) == 8
        assert broker.info()["object_count"] == 75


def test_shards_that_have_become_small_are_merged(nodes):
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    shards = sorted((name for name in nodes.containers() if name != ROOT), key=lambda n: n[1])
    nodes.update(names(9), 2, deleted=1, at=shards[0])
    left = names(36, 9)
    for _ in range(8):
        nodes.shard(reclaim_age="1")
        assert nodes.listing() == left
    for broker in nodes.containers()[ROOT]:
        assert len(broker.other_shard_ranges()) == 4
        assert broker.info()["object_count"] == 36


def test_a_container_whose_sharding_is_switched_off_becomes_one_again(nodes):
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    for node in nodes.part_nodes(*ROOT)[1]:
        nodes.request(node, "POST", "AUTH_a/c", "1790000000.00000", X_Container_Sysmeta_Sharding="False")
    for _ in range(12):
        nodes.shard()
        assert nodes.listing() == names(45)
    for broker in nodes.containers()[ROOT]:
        assert broker.db_state() == "collapsed"
        assert rows_of(broker, "", "") == names(45)
        assert broker.info()["object_count"] == 45
