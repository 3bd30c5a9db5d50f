"""A replica that comes late, when those it would give its rows to have gone on: they find their way to where the names are now."""

import pytest

from swift.container.shard_ranges import ACTIVE, CREATED, SHARDED, SHARDING
from swift.container.sharding import change, deciding, family
from swift.core import swift_dir
from test.shards import ROOT, Shards, names, until_done


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    monkeypatch.setattr(swift_dir, "_current", None)
    made = Shards(tmp_path, {"cleave_batch_size": "1"})
    yield made
    made.stop()


def last_shard(nodes):
    """The range behind all others."""
    return next(item for item in nodes.containers()[ROOT][0].other_shard_ranges() if item["upper"] == "")


def child(parent, lower, upper, number, state):
    """A shard that is cut out of another one now."""
    when = change.now()
    name = family.shard_path("AUTH_a", "c", parent["name"].split("/")[1], when, number)
    return {
        **deciding._found(name, when, {"lower": lower, "upper": upper, "object_count": 0}),
        "state": state,
    }


def make_databases(nodes, *items):
    headers = {
        "X-Backend-Storage-Policy-Index": "0",
        "X-Container-Sysmeta-Shard-Quoted-Root": "AUTH_a/c",
        "X-Container-Sysmeta-Sharding": "True",
        "X-Backend-Auto-Create": "True",
    }
    for item in items:
        assert nodes.sharder(0).asking.send(item["name"], [item], headers)


def test_rows_of_a_late_replica_go_where_the_names_are_now(nodes):
    nodes.make()
    nodes.update(names(20))
    until_done(nodes)
    shard = last_shard(nodes)
    replicas = nodes.containers()[tuple(shard["name"].split("/"))]
    first, second = child(shard, shard["lower"], "o0014", 0, CREATED), child(shard, "o0014", "", 1, CREATED)
    make_databases(nodes, first, second)
    sharding = change.forced(shard, SHARDING, change.now())
    for broker in replicas:
        broker.merge_shard_ranges([sharding, first, second])
    nodes.shard(2)  # moves the rows of the first child, and no others yet
    late = nodes.broker(2, *shard["name"].split("/"))
    assert late.db_state() == "sharding"

    # until it goes on the others are done, and the second child has given its names to another shard
    heir = child(second, "o0014", "", 0, ACTIVE)
    make_databases(nodes, heir)
    gone = [change.deleted(change.in_state(item, SHARDED), change.now()) for item in (sharding, second)]
    for broker in nodes.containers()[ROOT]:
        broker.merge_shard_ranges([change.in_state(first, ACTIVE), heir, *gone])
    until_done(nodes)
    nodes.replicate()
    assert nodes.listing() == names(20)
    found = nodes.containers()[tuple(heir["name"].split("/"))]
    assert [broker.info()["object_count"] for broker in found] == [5, 5, 5]
