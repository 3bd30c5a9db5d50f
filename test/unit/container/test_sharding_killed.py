"""A sharder is killed at each of its steps: the next pass goes on, and at no time is a row lost, doubled or not listed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from swift.container.shard_ranges import ACTIVE
from swift.container.sharding import deciding
from swift.core import swift_dir
from swift.core.concurrency import sleep
from test.shards import OPTIONS, ROOT, Shards, names, rows_of, until_done

CHILD = textwrap.dedent(
    """
    import json, sys
    from swift.core.concurrency import patch
    patch()
    from swift.container.sharding import deciding
    from swift.container.sharding.sharder import ContainerSharder
    from swift.core import swift_dir
    from swift.ring.lookup import Ring
    from test.replicas import QuietLogger
    if len(sys.argv) > 2:
        deciding.REPAIR_AGE = float(sys.argv[2])
    for conf in json.loads(sys.argv[1]):
        swift_dir.use(conf["swift_dir"])
        ContainerSharder(conf, QuietLogger(), Ring(conf["swift_dir"], "container")).run_once()
    """
)
SPLITTING = [
    "shard:begin:built",
    "shard:begin:renamed",
    "shard:found:stored",
    "shard:created:sent",
    "shard:created:sent:3",
    "shard:cleave:opened",
    "shard:move:batch",
    "shard:move:batch:2",
    "shard:cleave:moved",
    "db:exchange:done:2",
    "shard:cleave:replicated",
    "shard:cleave:stored",
    "shard:finish:stored",
    "shard:end:ready",
    "shard:end:unlinked",
]
LATE = ["shard:strays:moved", "shard:strays:replicated", "shard:strays:removed"]
MERGING = [
    "shard:shrink:stored",
    "shard:begin:renamed",
    "shard:cleave:moved",
    "shard:cleave:replicated",
    "shard:cleave:stored",
    "shard:finish:stored",
    "shard:end:unlinked",
]


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    monkeypatch.setattr(swift_dir, "_current", None)
    made = Shards(tmp_path)
    yield made
    made.stop()


def pass_killed_at(nodes, point, *words, only=None, **conf):
    """One pass in a process that dies at the point; returns False if it did not come there. `words`: the age for mending."""
    confs = [{**nodes.conf(node), **OPTIONS, **conf} for node in only or sorted(nodes.running)]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(confs), *words],
        env={**os.environ, "SWIFT_FAULT_POINT": point},
        stderr=subprocess.PIPE,
    )
    while child.poll() is None:
        sleep(0.02)
    error = child.stderr.read()
    child.stderr.close()
    assert child.returncode in (0, -signal.SIGKILL), error
    return child.returncode != 0


def killed_at_each(nodes, points, wanted):
    for point in points:
        # it may take some passes until there is something to do there
        assert any(pass_killed_at(nodes, point) for _ in range(5)), point
        assert nodes.listing() == wanted, point


def test_while_a_container_is_split(nodes):
    nodes.make()
    nodes.update(names(45))
    killed_at_each(nodes, SPLITTING, names(45))
    until_done(nodes)
    assert nodes.listing() == names(45)
    wanted = names(45)
    for number, point in enumerate(LATE, 2):
        late = [f"o0007-{number}", f"o0031-{number}"]
        nodes.update(late, number)
        wanted = sorted([*wanted, *late])
        assert pass_killed_at(nodes, point), point
    nodes.shard()
    assert nodes.listing() == wanted
    assert all(broker.get_objects(9) == [] for broker in nodes.containers()[ROOT])


def test_while_a_container_thinks_better_of_it(nodes):
    """Most rows have gone before it was looked for cuts: it is not split, by nobody, until it has grown again."""
    nodes.make()
    nodes.update(names(45))
    assert pass_killed_at(nodes, "shard:begin:built")
    nodes.update(names(43), 2, deleted=1)
    left = names(45)[43:]
    assert any(pass_killed_at(nodes, "shard:back:decided") for _ in range(3))
    for _ in range(4):
        nodes.shard()
        nodes.replicate()
        assert nodes.listing() == left
    for broker in nodes.containers()[ROOT]:
        assert (broker.db_state(), broker.own_shard_range()["state"]) == ("unsharded", ACTIVE)
    nodes.update(names(45), 3)
    until_done(nodes)
    assert nodes.listing() == names(45)


def test_while_shards_are_merged(nodes):
    nodes.make()
    nodes.update(names(25))
    until_done(nodes)
    for node in nodes.part_nodes(*ROOT)[1]:
        nodes.request(node, "POST", "AUTH_a/c", "1790000000.00000", X_Container_Sysmeta_Sharding="False")
    killed_at_each(nodes, MERGING, names(25))
    for _ in range(8):
        nodes.shard()
        assert nodes.listing() == names(25)
    assert {broker.db_state() for broker in nodes.containers()[ROOT]} == {"collapsed"}


def test_while_a_late_replica_takes_its_rows_back(nodes):
    """It was about to move them when all shards had been merged again."""
    nodes.make()
    nodes.update(names(25))
    first, late, _ = nodes.part_nodes(*ROOT)[1]
    others = sorted({*nodes.running} - {late})
    nodes.shard(first)
    assert any(pass_killed_at(nodes, "shard:begin:renamed", only=[late]) for _ in range(5))
    for _ in range(6):
        nodes.shard(*others)
    for node in nodes.part_nodes(*ROOT)[1]:
        nodes.request(node, "POST", "AUTH_a/c", "1790000000.00000", X_Container_Sysmeta_Sharding="False")
    for _ in range(8):
        nodes.shard(*others)
    broker = nodes.broker(late, *ROOT)
    assert broker.db_state() == "sharding" and nodes.listing() == names(25)
    assert any(pass_killed_at(nodes, "shard:back:moved", only=[late]) for _ in range(3))
    assert nodes.listing() == names(25)
    nodes.shard(late)
    broker = nodes.broker(late, *ROOT)
    assert broker.db_state() != "sharding" and rows_of(broker, "", "") == nodes.listing() == names(25)


def passes(nodes, count, **conf):
    for _ in range(count):
        for node in sorted(nodes.running):
            nodes.sharder(node, **conf).run_once()


def test_while_a_gap_is_mended(nodes, monkeypatch):
    monkeypatch.setattr(deciding, "REPAIR_AGE", -1)
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    nodes.lose_a_range()
    for point in ("shard:mend:heir_stored", "shard:audit:own_stored"):
        assert any(pass_killed_at(nodes, point, "-1") for _ in range(4)), point
    passes(nodes, 6)
    assert nodes.listing() == names(45)
    assert {item["state"] for broker in nodes.containers()[ROOT] for item in broker.other_shard_ranges()} == {
        ACTIVE
    }


@pytest.mark.parametrize(
    "points",
    [
        ("shard:mend:donor_stored", "shard:ahead:moved"),
        ("shard:mend:donor_told", "shard:audit:acceptors_stored"),
    ],
)
def test_while_an_overlap_is_mended(nodes, monkeypatch, points):
    monkeypatch.setattr(deciding, "REPAIR_AGE", -1)
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    nodes.shard()
    extra = nodes.overlap(["o0003x", "o0012x"])
    for point in points:
        assert any(pass_killed_at(nodes, point, "-1") for _ in range(6)), point
    passes(nodes, 8)
    assert nodes.listing() == sorted([*names(45), "o0003x", "o0012x"])
    for broker in nodes.containers()[ROOT]:
        assert {(item["state"], item["name"] == extra) for item in broker.other_shard_ranges()} == {
            (ACTIVE, False)
        }


def test_while_an_orphan_goes(nodes):
    nodes.make()
    nodes.update(names(45))
    until_done(nodes)
    shard = next(name for name in nodes.containers() if name[1].endswith("-0"))
    broker = nodes.containers()[shard][0]
    nodes.update([row["name"] for row in broker.get_objects(100)], 5, deleted=1, at=shard)
    for broker in nodes.containers()[ROOT]:
        shutil.rmtree(broker.directory)
    assert any(pass_killed_at(nodes, "shard:audit:orphan_stored", reclaim_age="0") for _ in range(3))
    passes(nodes, 2, reclaim_age="0")
    assert all(broker.is_deleted() for broker in nodes.containers()[shard])
    others = [found for name, found in nodes.containers().items() if name != shard]
    assert sum(len(found[0].get_objects(100)) for found in others) == 45 - 10
