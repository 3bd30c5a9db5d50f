"""Where containers are cut, which shards become one, and what is wrong with a set of ranges."""

import json

import pytest

from swift.container.broker import ContainerBroker
from swift.container.shard_ranges import ACTIVE, CREATED, FIELDS, FOUND, SHARDED, SHARDING, SHRINKING
from swift.container.sharding import family, leading, repair, scan, shrinking
from swift.container.sharding.options import ShardingOptions
from swift.core.errors import ConfigError
from test.databases import copy_devices, db_path, load


def made(name, lower, upper, state=ACTIVE, count=10, timestamp="1700000000.00000", tombstones=0, deleted=0):
    values = (
        f".shards_a/{name}",
        timestamp,
        lower,
        upper,
        count,
        0,
        timestamp,
        deleted,
        state,
        timestamp,
        None,
        0,
        tombstones,
    )
    return dict(zip(FIELDS, values, strict=True))


OWN = {**made("c", "", "", SHARDED), "name": "a/c"}


def bounds(ranges):
    return [(item["lower"], item["upper"]) for item in ranges]


def test_gaps():
    whole = [made("1", "", "b"), made("2", "b", "d"), made("3", "d", "")]
    assert repair.find_gaps(whole, OWN) == []
    assert repair.find_gaps(whole[:2], OWN) == [("d", "")]
    assert repair.find_gaps(whole[:2], OWN, with_tail=False) == []
    assert repair.find_gaps([whole[0], whole[2]], OWN) == [("b", "d")]
    assert repair.find_gaps(whole[1:], OWN) == [("", "b")]
    assert repair.find_gaps([made("1", "", "c")], {**OWN, "lower": "b", "upper": "c"}) == []
    assert repair.find_gaps([made("1", "", "c"), made("2", "a", "b")], {**OWN, "upper": "d"}) == [("c", "d")]


def test_overlaps():
    one, two, three = made("1", "", "b"), made("2", "a", "d"), made("3", "d", "")
    assert repair.find_overlaps([three, two, one]) == [(one, [two])]
    assert repair.find_overlaps([one, three]) == []
    assert repair.find_overlaps_by_state([one, {**two, "state": CREATED}], "0") == []


def test_a_parent_and_its_young_children_do_not_overlap():
    parent = {**made("x", "", ""), "name": family.shard_path("a", "c", "c", "1700000000.00000", 0)}
    child = {**made("x", "", "m"), "name": family.shard_path("a", "c", parent["name"].split("/")[1], "1700000001.00000", 0), "timestamp": "1700000001.00000"}  # fmt: skip
    assert family.is_child_of(child["name"], parent["name"])
    assert not family.is_child_of(parent["name"], child["name"])
    assert repair.find_overlaps_by_state([parent, child], "1700000000.50000") == []
    assert len(repair.find_overlaps_by_state([parent, child], "1700000002.00000")) == 1
    assert family.ancestors(child, [parent, child, OWN]) == [parent, OWN]
    assert family.ancestors(child, [OWN]) == [OWN]


def test_the_best_path_is_whole_then_far_in_use_then_full():
    one = [made("1", "", "m", count=1), made("2", "m", "", count=1)]
    two = [made("3", "", "k", count=5), made("4", "k", "", state=CREATED, count=5)]
    broken = [made("5", "", "c", count=100)]
    best = repair.find_paths(one + two + broken, OWN)
    assert best[0] == one
    assert best[1] == two
    assert not repair.is_whole(best[2], OWN)
    assert repair.superfluous(one, one + broken) == [(broken[0], [one[0]])]


def test_of_many_cuts_each_is_looked_at_once(monkeypatch):
    parsed = []
    monkeypatch.setattr(leading.family, "parse", lambda name: parsed.append(name))
    edges = ["", *(f"o{number:05d}" for number in range(1, 300)), ""]
    ranges = [
        made(f"c-{n}", lower, upper, FOUND)
        for n, (lower, upper) in enumerate(zip(edges, edges[1:], strict=False))
    ]
    assert leading.settle_found(ranges, "1700000009.00000") == []
    assert len(parsed) <= len(ranges)


def test_who_inherits_a_gap():
    one, three = made("1", "", "b"), made("3", "d", "")
    assert repair.heir_of_gap(("b", "d"), [one, three]) == {**three, "lower": "b"}
    assert repair.heir_of_gap(("b", "d"), [one, {**three, "state": CREATED}]) == {**one, "upper": "d"}
    assert repair.heir_of_gap(("d", ""), [{**one, "upper": "d"}])["upper"] == ""
    assert repair.heir_of_gap(("b", "d"), []) is None


def test_compaction():
    small = [made("1", "", "b"), made("2", "b", "d"), made("3", "d", "")]
    one = shrinking.find_compactible(small, OWN, 15, 30)
    assert [(bounds(m.donors), m.acceptor["name"]) for m in one] == [([("", "b")], ".shards_a/2")]
    every = shrinking.find_compactible(small, OWN, 15, 31, max_shrinking=-1)
    assert [(len(m.donors), m.acceptor["name"]) for m in every] == [(3, "a/c")]
    assert shrinking.find_compactible(small, OWN, 5, 30) == []
    assert shrinking.find_compactible([small[0], small[2]], OWN, 15, 30) == []
    with_big = [small[0], {**small[1], "object_count": 19}, small[2]]
    assert [m.acceptor["name"] for m in shrinking.find_compactible(with_big, OWN, 15, 30)] == [".shards_a/2"]
    assert [m.acceptor["name"] for m in shrinking.find_compactible(with_big, OWN, 15, 28)] == []


def test_a_merger_under_way_is_not_found_again_unless_asked_for():
    ranges = [made("1", "", "b", SHRINKING), made("2", "", "")]
    going = shrinking.find_compactible([ranges[0], made("2", "b", "")], OWN, 15, 30)
    assert going == []
    assert shrinking.find_compactible([ranges[0], made("2", "b", "")], OWN, 15, 30, include_shrinking=True)


def test_setting_a_merger_going():
    found = shrinking.find_compactible([made("1", "", "b"), made("2", "b", "d")], OWN, 15, 30)[0]
    going = shrinking.set_going(found, "1700000009.00000")
    assert (going.acceptor["lower"], going.acceptor["upper"], going.acceptor["timestamp"]) == (
        "",
        "d",
        "1700000009.00000",
    )
    assert (going.donors[0]["state"], going.donors[0]["epoch"]) == (SHRINKING, "1700000009.00000")
    assert shrinking.as_donors_know_it(going, "1700000010.00000")["object_count"] == 20


def test_cuts_are_those_of_the_reference(tmp_path):
    broker = ContainerBroker(db_path(copy_devices(tmp_path), load("container.json")["db"]))
    expected = next(e for e in load("manage_shard_ranges.json") if e["label"] == "find")
    assert scan.find_shard_ranges(broker, 10, 5) == json.loads(expected["stdout"])
    assert scan.find_shard_ranges(broker, 100, 20) == []
    first = scan.find_shard_ranges(broker, 10, 5, limit=2)
    assert len(first) == 2
    existing = [
        {**made(str(i), f["lower"], f["upper"], FOUND), "object_count": 10} for i, f in enumerate(first)
    ]
    assert scan.find_shard_ranges(broker, 10, 5, existing) == json.loads(expected["stdout"])[2:]
    used = [{**item, "state": CREATED} for item in existing]
    assert bounds(scan.find_shard_ranges(broker, 10, 5, used)) == [("photo", "posted"), ("posted", "")]


@pytest.mark.parametrize(
    "conf",
    [
        {"rows_per_shard": "1000000"},
        {"minimum_shard_size": "600000"},
        {"shrink_threshold": "200000"},
        {"expansion_limit": "1000000"},
    ],
)
def test_options_that_contradict_each_other_are_refused(conf):
    with pytest.raises(ConfigError):
        ShardingOptions.from_conf(conf)


def test_default_options():
    found = ShardingOptions.from_conf({"shard_container_threshold": "1000"})
    assert (
        found.rows_per_shard,
        found.minimum_shard_size,
        found.shrink_threshold,
        found.expansion_limit,
    ) == (500, 100, 100, 750)
    assert SHARDING  # the states are the reference's
