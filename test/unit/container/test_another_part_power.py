"""Rings of accounts and containers with another number of partitions: replicators and sharders bring each database to its new place.

Nobody is served from the old place, so an operator has this done while servers answer nodes only (doc/operators-guide.md).
"""

import pytest

from swift.core import swift_dir
from swift.ring.builder import RingBuilder
from swift.ring.lookup import Ring
from test.replicas import Nodes
from test.shards import ROOT, Shards, names, until_done


@pytest.fixture(autouse=True)
def no_directory(monkeypatch):
    monkeypatch.setattr(swift_dir, "_current", None)


@pytest.fixture
def nodes(tmp_path):
    made = Shards(tmp_path)
    yield made
    made.stop()


def with_more_partitions(nodes):
    """A ring made anew, with the same devices and eight times as many partitions."""
    builder = RingBuilder(7, 3, 1)
    for device in nodes.ring.devs:
        builder.add_dev({key: device[key] for key in device if key not in ("id", "parts", "parts_wanted")})
    builder.rebalance()
    builder.get_ring().save(str(nodes.home / f"{nodes.kind}.ring.gz"))
    nodes.ring = Ring(str(nodes.home), nodes.kind)


def places(nodes):
    """{partitions in which a database lies that is not theirs}."""
    wrong = set()
    for path in nodes.home.glob(f"*/sd*/{nodes.broker_class.data_directory}/*/*/*/*.db"):
        info = nodes.broker_class(str(path.with_name(f"{path.parent.name}.db")), logger=nodes.logger).info()
        if int(path.parts[-4]) != nodes.ring.get_part(
            *(info[k] for k in ("account", "container") if k in info)
        ):
            wrong.add(path)
    return wrong


def move(nodes):
    for _ in range(15):
        nodes.replicate()
        nodes.logger.lines[:] = [line for line in nodes.logger.lines if "will replicate out" not in line]
        nodes.shard()
        if not places(nodes):
            return
    raise AssertionError(places(nodes))


@pytest.mark.parametrize("passes", range(6))
def test_containers_move_however_far_their_sharding_is(nodes, passes):
    nodes.make()
    nodes.update(names(45))
    for _ in range(passes):
        nodes.shard(cleave_batch_size="1")
    nodes.update(["a", "o0007x", "z"], 2, nodes=[0, 1])  # late ones
    with_more_partitions(nodes)
    assert places(nodes)
    nodes.logger.lines.clear()
    move(nodes)
    until_done(nodes)
    nodes.replicate()
    nodes.shard()
    wanted = sorted([*names(45), "a", "o0007x", "z"])
    assert nodes.listing() == wanted
    assert [broker.info()["object_count"] for broker in nodes.containers()[ROOT]] == [48] * 3
    assert {len(brokers) for brokers in nodes.containers().values()} == {3}


def test_accounts_move(tmp_path):
    nodes = Nodes(tmp_path, "account")
    try:
        for node in range(3):
            headers = {"X-Put-Timestamp": "1700000001.00000", "X-Delete-Timestamp": "0", "X-Bytes-Used": "7"}
            path = f"/sd{node}/{nodes.ring.get_part('AUTH_a')}/AUTH_a"
            assert nodes.call(node, "PUT", path, "1700000000.00000") == 201
            assert (
                nodes.call(node, "PUT", f"{path}/c", "1700000001.00000", **headers, X_Object_Count=1) == 201
            )
        with_more_partitions(nodes)
        assert places(nodes)
        nodes.replicate()
        nodes.replicate()
        assert not places(nodes)
        infos = [nodes.broker(node, "AUTH_a").info() for node in range(3)]
        assert [(info["container_count"], info["object_count"], info["bytes_used"]) for info in infos] == [
            (1, 1, 7)
        ] * 3
    finally:
        nodes.stop()
