"""Shard ranges between replicas: they meet, an epoch is not lost, and rows are safe until somebody begins to shard."""

import pathlib

import pytest

from swift.container import shard_ranges
from swift.core.concurrency import use_fast_hub
from swift.telemetry import recon_cache
from test.replicas import Nodes

use_fast_hub()

T = [f"17000000{n:02d}.00000" for n in range(100)]
C = ("AUTH_a", "c")


@pytest.fixture
def nodes(tmp_path):
    nodes = Nodes(tmp_path, per_diff="10")
    for node in range(3):
        nodes.request(node, "PUT", "AUTH_a/c", T[0], X_Backend_Storage_Policy_Index=0)
    yield nodes
    nodes.stop()


def shard(name, lower="", upper="", state=shard_ranges.ACTIVE, epoch=None, at=T[1]):
    values = (name, at, lower, upper, 0, 0, at, 0, state, at, epoch, 0, -1)
    return dict(zip(shard_ranges.FIELDS, values, strict=True))


def ranges(nodes, node):
    return {item["name"]: item for item in nodes.broker(node, *C).all_shard_ranges()}


def test_ranges_meet(nodes):
    nodes.broker(0, *C).merge_shard_ranges([shard(".s/one", "", "m")])
    nodes.broker(1, *C).merge_shard_ranges([shard(".s/two", "m", "")])
    nodes.replicate(0, 1)
    for node in range(3):
        assert set(ranges(nodes, node)) == {".s/one", ".s/two"}


def test_an_own_range_without_epoch_does_not_replace_ours(nodes):
    own = shard("AUTH_a/c", state=shard_ranges.SHARDED, epoch=T[2])
    nodes.broker(0, *C).merge_shard_ranges([own])
    nodes.broker(1, *C).merge_shard_ranges([shard("AUTH_a/c", at=T[9])])
    nodes.replicate()
    assert ranges(nodes, 0)["AUTH_a/c"]["epoch"] == T[2]
    assert any("w/o epoch" in line for line in nodes.logger.lines)


def test_nor_does_a_whole_file_bring_one(nodes):
    """The reference looks at ranges that are sent, not at those in a file."""
    for n in range(40):
        nodes.put_object(0, f"AUTH_a/c/o{n}", T[n])
    nodes.broker(0, *C).merge_shard_ranges([shard("AUTH_a/c", at=T[9])])
    own = shard("AUTH_a/c", state=shard_ranges.SHARDED, epoch=T[2])
    nodes.broker(1, *C).merge_shard_ranges([own])
    nodes.replicate(0)
    assert len(nodes.broker(1, *C).get_objects(100)) == 40
    assert any("remote_merge" in line and "remote_merge:0" not in line for line in nodes.logger.lines)
    assert ranges(nodes, 1)["AUTH_a/c"]["epoch"] == T[2]


def test_rows_are_replicated_until_a_replica_begins_to_shard(nodes):
    """In the reference what only one replica has is lost with it, from the moment in which sharding is asked for."""
    asked = [
        shard("AUTH_a/c", state=shard_ranges.SHARDING, epoch=T[2]),
        shard(".s/one", state=shard_ranges.FOUND),
    ]
    for n in range(30):
        nodes.put_object(0, f"AUTH_a/c/o{n}", T[n])
    for node in range(3):
        nodes.broker(node, *C).merge_shard_ranges(asked)
    nodes.replicate(0)
    for node in (1, 2):
        assert len(nodes.broker(node, *C).get_objects(100)) == 30
    # once another has begun, each moves its own
    begun = nodes.path(1, *C)
    begun.rename(begun.with_name(f"{begun.stem}_{T[2]}.db"))
    nodes.put_object(0, "AUTH_a/c/late", T[50])
    nodes.replicate(0)
    assert len(nodes.broker(1, *C).get_objects(100)) == 30
    figures = recon_cache.read(str(nodes.home / "container.recon"))["replication_stats"]
    assert figures["deferred"] == 1 and figures["failure"] == 0


def test_a_handoff_that_has_rows_to_shard_stays(tmp_path):
    nodes = Nodes(tmp_path, count=4)
    try:
        _, primaries = nodes.part_nodes(*C)
        away = next(node for node in nodes.apps if node not in primaries)
        for node in (*primaries, away):
            nodes.request(node, "PUT", "AUTH_a/c", T[0], X_Backend_Storage_Policy_Index=0)
        asked = [
            shard("AUTH_a/c", state=shard_ranges.SHARDING, epoch=T[2]),
            shard(".s/one", state=shard_ranges.FOUND),
        ]
        nodes.broker(away, *C).merge_shard_ranges(asked)
        nodes.replicate(away)
        assert nodes.path(away, *C).exists()
        assert all(set(ranges(nodes, node)) == {"AUTH_a/c", ".s/one"} for node in primaries)
    finally:
        nodes.stop()


def test_a_received_replica_begins_where_all_rows_are_synchronised(nodes):
    nodes.put_object(0, "AUTH_a/c/o", T[1])
    nodes.broker(0, *C).set_x_container_sync_points(3, 9)
    directory = nodes.path(1, *C).parent
    nodes.broker(1, *C).remove()
    assert not directory.exists()
    nodes.replicate(0)
    info = nodes.broker(1, *C).info()
    assert (info["x_container_sync_point1"], info["x_container_sync_point2"]) == (3, 3)


def test_links_to_containers_that_are_synchronised(nodes, monkeypatch):
    headers = {"X_Container_Sync_To": "http://127.0.0.1/v1/a/c", "X_Container_Sync_Key": "secret"}
    assert nodes.request(0, "POST", "AUTH_a/c", T[5], **headers) == 204

    def link(node):
        path = nodes.path(node, *C)
        return pathlib.Path(str(path).replace("/containers/", "/sync_containers/"))

    assert link(0).is_symlink() and link(0).resolve() == nodes.path(0, *C).resolve()
    assert not link(1).exists()
    nodes.replicate(0)
    nodes.replicate(1)
    assert link(1).resolve() == nodes.path(1, *C).resolve()
    assert nodes.request(0, "POST", "AUTH_a/c", T[6], X_Container_Sync_To="") == 204
    assert not link(0).is_symlink() and not link(0).parents[2].exists()
    nodes.replicate(0)
    nodes.replicate(1)
    assert not link(1).is_symlink()
    assert nodes.request(2, "PUT", "AUTH_a/c", T[7], **headers) == 202
    assert link(2).is_symlink()
    assert nodes.request(2, "DELETE", "AUTH_a/c", T[8]) == 204
    assert not link(2).is_symlink()
