"""The range for a name: the first in order that includes it, found without looking at all."""

from hypothesis import given
from hypothesis import strategies as st

from swift.container.broker import ContainerBroker
from swift.container.server import ContainerServer
from swift.container.shard_ranges import FOUND, SHARDED, UPDATING, Finder, from_wire, sort_key
from swift.core.hashing import hash_path
from swift.db import marks
from test.databases import Logger, call, make_conf

NAMES = st.sampled_from(["", "a", "b", "c", "d", "e"])


def shard(number, lower, upper, state="active", deleted=0):
    return from_wire(
        {
            "name": f".shards_a/c-{number}",
            "timestamp": "1700000001.00000",
            "lower": lower,
            "upper": upper,
            "object_count": 0,
            "bytes_used": 0,
            "meta_timestamp": "1700000001.00000",
            "deleted": deleted,
            "state": state,
            "state_timestamp": "1700000001.00000",
            "epoch": None,
        }
    )


RANGES = st.lists(
    st.tuples(NAMES, NAMES, st.sampled_from(["created", "cleaved", "active"])).filter(
        lambda bounds: not (bounds[0] and bounds[1]) or bounds[0] < bounds[1]
    ),
    max_size=8,
).map(lambda found: [shard(n, *bounds) for n, bounds in enumerate(found)])


@given(RANGES, st.sampled_from(["a", "a\0", "b", "bb", "c", "d0", "e", "f"]))
def test_the_first_range_that_includes_a_name(ranges, name):
    """With gaps and overlaps, as they come and go while shards split and shrink."""
    expected = [
        item
        for item in sorted(ranges, key=sort_key)
        if item["lower"] < name and (not item["upper"] or name <= item["upper"])
    ]
    assert Finder(ranges).including(name) == (expected[0] if expected else None)


ROW = {
    "X-Timestamp": "1700000002.00000",
    "X-Size": "1",
    "X-Content-Type": "t",
    "X-Etag": "e",
    "X-Backend-Accept-Redirect": "true",
    "X-Backend-Accept-Quoted-Location": "true",
}
PATH = "/sda1/1/a/c"


def test_rows_are_sent_on_to_the_shards_of_now(tmp_path, monkeypatch):
    conf = make_conf(tmp_path)
    app = ContainerServer(conf, Logger())
    assert call(app, "PUT", PATH, headers=ROW)[0] == 201
    digest = hash_path("a", "c")
    broker = ContainerBroker(f"{conf['devices']}/sda1/containers/1/{digest[-3:]}/{digest}/{digest}.db")
    assert call(app, "PUT", f"{PATH}/m", headers=ROW)[0] == 201
    broker.merge_shard_ranges([shard(0, "", "m"), shard(1, "m", "", "created"), shard(2, "x", "", "found")])
    status, headers, _ = call(app, "PUT", f"{PATH}/m", headers=ROW)
    assert (status, headers["Location"]) == (301, "/.shards_a/c-0/m")
    assert call(app, "DELETE", f"{PATH}/n", headers=ROW)[1]["Location"] == "/.shards_a/c-1/n"
    query = "format=json&states=updating&includes="
    shards = {"X-Backend-Record-Type": "shard"}
    assert '"name": ".shards_a/c-1"' in call(app, "GET", PATH, query + "n", headers=shards)[2]
    assert '"name": ".shards_a/c-0"' in call(app, "GET", PATH, query + "m", headers=shards)[2]
    later = shard(3, "m", "")
    later["timestamp"] = later["state_timestamp"] = "1700000003.00000"
    gone = {**shard(1, "m", "", "created"), "deleted": 1, "timestamp": "1700000003.00000"}
    broker.merge_shard_ranges([gone, later])
    assert call(app, "PUT", f"{PATH}/n", headers=ROW)[1]["Location"] == "/.shards_a/c-3/n"
    # once the files are at rest, nothing is read for that
    monkeypatch.setattr(marks, "TICK_NS", -(10**15))
    assert call(app, "HEAD", PATH)[0] == 204
    monkeypatch.setattr(type(app.snapshots._reader(broker.path)), "read", None)
    assert call(app, "PUT", f"{PATH}/n", headers=ROW)[1]["Location"] == "/.shards_a/c-3/n"
    assert {FOUND, SHARDED}.isdisjoint(UPDATING)
