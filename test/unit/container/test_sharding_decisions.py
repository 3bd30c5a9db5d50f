"""Who decides where a container is cut, also when disks are away; and what is mended without anybody."""

import json
import pathlib
import shutil

import pytest

from swift.container.shard_ranges import ACTIVE, CREATED, FOUND, SHARDING
from swift.container.sharding import change, deciding, files, leading
from swift.core import swift_dir
from swift.core.concurrency import sleep
from test.shards import ROOT, Shards, names, until_done


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    monkeypatch.setattr(swift_dir, "_current", None)
    made = Shards(tmp_path, conn_timeout="0.3", request_tries="1")
    yield made
    made.stop()


def take_away(nodes, node):
    """Its disk is gone, its server answers."""
    (nodes.home / str(node) / f"sd{node}").rename(nodes.home / f"away{node}")
    sleep(1.1)  # for so long servers believe that a disk is there


def bring_back(nodes, node):
    (nodes.home / f"away{node}").rename(nodes.home / str(node) / f"sd{node}")


def ranges_of(broker):
    return sorted((r["name"], r["lower"], r["upper"]) for r in broker.other_shard_ranges())


def shard_present(nodes, *present, **conf):
    for node in present:
        nodes.sharder(node, **conf).run_once()


def test_only_the_first_replica_decides_while_its_disk_is_there(nodes):
    nodes.make()
    nodes.update(names(45))
    first, second, third = nodes.part_nodes(*ROOT)[1]
    shard_present(nodes, second, third)
    assert all(not broker.all_shard_ranges() for broker in nodes.containers()[ROOT])
    shard_present(nodes, first)
    assert len(nodes.broker(first, *ROOT).other_shard_ranges()) == 5


def test_another_replica_decides_while_the_first_is_away_and_nothing_is_cut_twice(nodes):
    nodes.make()
    nodes.update(names(45))
    first, second, third = nodes.part_nodes(*ROOT)[1]
    take_away(nodes, first)
    for _ in range(4):
        shard_present(nodes, second, third)
    cut = ranges_of(nodes.broker(second, *ROOT))
    assert len(cut) == 5
    bring_back(nodes, first)
    nodes.logger.lines.clear()
    until_done(nodes)
    assert {tuple(ranges_of(broker)) for broker in nodes.containers()[ROOT]} == {tuple(cut)}
    assert nodes.listing() == names(45)


def test_a_replica_that_is_alone_decides_nothing(nodes):
    nodes.make()
    nodes.update(names(45))
    first, second, third = nodes.part_nodes(*ROOT)[1]
    take_away(nodes, second)
    take_away(nodes, third)
    shard_present(nodes, first)
    shard_present(nodes, first)
    assert nodes.broker(first, *ROOT).other_shard_ranges() == []
    assert nodes.broker(first, *ROOT).db_state() == "unsharded"


def test_of_two_sets_of_cuts_one_stays(nodes):
    old = [
        deciding._found(f".shards_AUTH_a/c-{'0' * 32}-1700000001.00000-{n}", "1700000001.00000", cut)
        for n, cut in enumerate(CUTS)
    ]
    new = [
        deciding._found(f".shards_AUTH_a/c-{'0' * 32}-1700000002.00000-{n}", "1700000002.00000", cut)
        for n, cut in enumerate(OTHER_CUTS)
    ]
    gone = leading.settle_found(old + new, "1700000003.00000")
    assert [item["name"] for item in gone] == [item["name"] for item in new]
    assert all(item["deleted"] for item in gone)
    in_use = [{**item, "state": CREATED} for item in new]
    gone = leading.settle_found(old + in_use, "1700000003.00000")
    assert [item["name"] for item in gone] == [item["name"] for item in old]
    assert leading.settle_found(old, "1700000003.00000") == []
    assert old[0]["state"] == FOUND


CUTS = [
    {"lower": "", "upper": "m", "object_count": 1},
    {"lower": "m", "upper": "", "object_count": 1},
]
OTHER_CUTS = [
    {"lower": "", "upper": "k", "object_count": 1},
    {"lower": "k", "upper": "", "object_count": 1},
]


def test_containers_that_nobody_has_enabled(nodes):
    for node in nodes.part_nodes(*ROOT)[1]:
        nodes.request(node, "PUT", "AUTH_a/c", "1700000000.00000", X_Backend_Storage_Policy_Index=0)
    nodes.update(names(45))
    nodes.shard()
    assert all(broker.db_state() == "unsharded" for broker in nodes.containers()[ROOT])
    until_done(nodes, auto_shard_all="true")
    assert all(broker.db_state() == "sharded" for broker in nodes.containers()[ROOT])
    assert nodes.listing() == names(45)


def test_containers_that_are_synchronised_stay_whole_unless_somebody_asks_for_it(nodes):
    headers = {"X_Container_Sync_To": "http://127.0.0.1/v1/AUTH_b/c", "X_Container_Sync_Key": "key"}
    for node in nodes.part_nodes(*ROOT)[1]:
        nodes.request(
            node, "PUT", "AUTH_a/c", "1700000000.00000", X_Backend_Storage_Policy_Index=0, **headers
        )
    nodes.update(names(45))
    nodes.shard(auto_shard_all="true")
    nodes.shard(auto_shard_all="true")
    assert all(broker.all_shard_ranges() == [] for broker in nodes.containers()[ROOT])
    for node in nodes.part_nodes(*ROOT)[1]:
        nodes.request(node, "POST", "AUTH_a/c", "1700000009.00000", X_Container_Sync_To="")
    until_done(nodes, auto_shard_all="true")
    assert all(broker.db_state() == "sharded" for broker in nodes.containers()[ROOT])


def decided(nodes):
    """A root that is to be sharded, and has few rows by then."""
    nodes.make()
    nodes.update(names(8))
    for broker in nodes.containers()[ROOT]:
        broker.merge_shard_ranges([change.forced(broker.own_shard_range(), SHARDING, change.now())])


def test_a_container_that_has_too_few_rows_by_then_stays_whole_until_it_has_more(nodes):
    decided(nodes)
    nodes.shard()
    nodes.shard()
    assert all(broker.db_state() == "unsharded" for broker in nodes.containers()[ROOT])
    nodes.update(names(45))
    until_done(nodes)
    assert all(len(broker.other_shard_ranges()) == 5 for broker in nodes.containers()[ROOT])
    assert nodes.listing() == names(45)


def test_a_container_that_has_too_few_rows_but_two_files_becomes_one_shard(nodes):
    decided(nodes)
    for broker in nodes.containers()[ROOT]:
        assert files.begin(broker)
    nodes.update(names(10))
    until_done(nodes)
    assert all(len(broker.other_shard_ranges()) == 1 for broker in nodes.containers()[ROOT])
    assert nodes.listing() == names(10)


def test_a_replica_that_is_alone_mends_nothing(nodes, monkeypatch):
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    first, second, third = nodes.part_nodes(*ROOT)[1]
    broker = nodes.broker(first, *ROOT)
    lost = broker.other_shard_ranges()[1]
    broker.merge_shard_ranges([{**lost, "deleted": 1, "timestamp": "1999000000.00000"}])
    before = broker.all_shard_ranges()
    take_away(nodes, second)
    take_away(nodes, third)
    monkeypatch.setattr(deciding, "REPAIR_AGE", -1)
    shard_present(nodes, first)
    assert broker.all_shard_ranges() == before


def mended(nodes, monkeypatch, passes=8):
    monkeypatch.setattr(deciding, "REPAIR_AGE", -1)
    for _ in range(passes):
        for node in sorted(nodes.running):
            nodes.sharder(node).run_once()
    for broker in nodes.containers()[ROOT]:
        assert {item["state"] for item in broker.other_shard_ranges()} == {ACTIVE}


def test_a_gap_goes_to_a_neighbour(nodes, monkeypatch):
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    nodes.lose_a_range()
    mended(nodes, monkeypatch)
    assert nodes.listing() == names(45)


def test_of_shards_that_overlap_the_best_sequence_stays(nodes, monkeypatch):
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    nodes.shard()
    extra = nodes.overlap(["o0003x", "o0012x"])
    mended(nodes, monkeypatch)
    assert nodes.listing() == sorted([*names(45), "o0003x", "o0012x"])
    assert all(
        extra not in {r["name"] for r in broker.other_shard_ranges()} for broker in nodes.containers()[ROOT]
    )


def test_shards_of_a_root_that_is_long_deleted_go(nodes):
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    for shard in [name for name in nodes.containers() if name != ROOT]:
        broker = nodes.containers()[shard][0]
        nodes.update([row["name"] for row in broker.get_objects(100)], 5, deleted=1, at=shard)
    nodes.shard()
    nodes.shard()
    for node in nodes.part_nodes(*ROOT)[1]:
        assert nodes.request(node, "DELETE", "AUTH_a/c", "1700000100.00000") == 204
    for _ in range(10):
        nodes.shard(reclaim_age="1")
    for broker in nodes.containers()[ROOT]:
        assert broker.other_shard_ranges() == []
        assert broker.is_deleted()


def test_an_empty_shard_without_a_root_is_deleted(nodes):
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    shard = next(name for name in nodes.containers() if name[1].endswith("-0"))
    broker = nodes.containers()[shard][0]
    nodes.update([row["name"] for row in broker.get_objects(100)], 5, deleted=1, at=shard)
    for broker in nodes.containers()[ROOT]:
        shutil.rmtree(broker.directory)
    for node in sorted(nodes.running):
        nodes.sharder(node).run_once()
    assert not any(broker.is_deleted() for broker in nodes.containers()[shard])
    for _ in range(2):
        for node in sorted(nodes.running):
            nodes.sharder(node, reclaim_age="0").run_once()
    assert all(broker.is_deleted() for broker in nodes.containers()[shard])


def test_a_shard_with_rows_and_without_a_root_is_named_and_stays(nodes):
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    shard = next(name for name in nodes.containers() if name[1].endswith("-0"))
    for broker in nodes.containers()[ROOT]:
        shutil.rmtree(broker.directory)
    told, levels = set(), {}
    for node in sorted(nodes.running):
        sharder = nodes.sharder(node, reclaim_age="0")
        sharder.metrics.gauge = levels.__setitem__
        for _ in range(2):
            sharder.run_once()
        recon = json.loads(pathlib.Path(sharder.recon_file).read_text())["sharding_stats"]["sharding"]
        orphans = recon["orphaned_shards"]
        assert orphans["found"] == len(orphans["all"]) == levels["orphaned_shards"]
        told |= {(entry["path"], entry["root"], entry["object_count"]) for entry in orphans["all"]}
    brokers = nodes.containers()[shard]
    assert ("/".join(shard), "AUTH_a/c", brokers[0].info()["object_count"]) in told
    assert all(not broker.is_deleted() and broker.get_objects(1) for broker in brokers)
    lines = [
        line for line in nodes.logger.lines if "objects that nobody lists" in line and "/".join(shard) in line
    ]
    assert len(lines) == len(brokers), lines
