"""Any rows, and any order of sharding, merging and replicating on three replicas: what is listed is what there is."""

import os
import pathlib
import shutil
import tempfile

from hypothesis import example, given, settings
from hypothesis import strategies as st

from swift.core import swift_dir
from swift.db.connection import CONNECTIONS
from test.shards import ROOT, Shards

MEMORY = "/dev/shm"
SMALL = {
    "shard_container_threshold": "8",
    "rows_per_shard": "4",
    "minimum_shard_size": "2",
    "shrink_threshold": "2",
    "expansion_limit": "6",
    "cleave_batch_size": "1",
    "cleave_row_batch_size": "3",
}
node = st.integers(0, 2)
name = st.text("aé\u20ac~", min_size=1, max_size=3)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sets(node, min_size=1), st.sets(name, min_size=1, max_size=9)),
        st.tuples(st.just("delete"), st.sets(node, min_size=1), st.sets(name, min_size=1, max_size=9)),
        st.tuples(st.just("shard"), node, st.none()),
        st.tuples(st.just("shard"), node, st.none()),
        st.tuples(st.just("replicate"), node, st.none()),
        st.tuples(st.just("switch"), st.sampled_from(["True", "False"]), st.none()),
    ),
    min_size=6,
    max_size=20,
)


ROWS_AFTER_THE_VISIT = [
    ("put", {0}, {"a", "é"}),
    ("replicate", 0, None),
    ("delete", {0}, {"~~~", "€"}),
    ("put", {0}, {"é~€", "€é", "a", "€a~", "~", "€"}),
    ("shard", 2, None),
    ("put", {2}, {"€~€", "€aa", "€€~", "€a~", "a", "é", "~", "€€"}),
    ("replicate", 2, None),
]  # shards take them when their sharders have been there

BACK_BEFORE_ALL_WERE_THERE = [
    ("put", {0, 1}, {"aé€", "éaa", "€~~", "~€€", "~éé", "é", "€", "~é", "~~~"}),
    ("put", {0, 1}, {"a~é", "a", "€"}),
    ("shard", 0, None),
    ("shard", 2, None),
    ("shard", 2, None),
    ("shard", 0, None),
    ("replicate", 2, None),
    ("switch", "False", None),
    ("delete", {0, 2}, {"~~"}),
    ("replicate", 2, None),
    ("shard", 2, None),
    ("shard", 2, None),
    ("replicate", 0, None),
    ("replicate", 1, None),
    ("shard", 2, None),
    ("shard", 2, None),
    ("put", {0, 1}, {"~~€", "aaa", "a€é", "a", "é~~", "é", "a~", "€", "é€a"}),
    ("delete", {0}, {"~", "aaé", "a~€", "a", "€éé", "é", "a~", "é~é", "éa"}),
    ("shard", 2, None),
    ("put", {0}, {"~", "a", "€", "aa"}),
]  # one replica was still moving its rows when the others were done, and all shards merged

GONE_BEFORE_THE_LOOK = [
    ("shard", 1, None),
    ("put", {0, 1}, {"~~", "é", "~"}),
    ("replicate", 1, None),
    ("switch", "True", None),
    ("shard", 0, None),
    ("shard", 2, None),
    ("switch", "False", None),
    ("put", {0, 1, 2}, {"a€~", "~", "€é", "é~a"}),
    ("shard", 2, None),
    ("delete", {0, 1}, {"é~", "aé"}),
    ("put", {0, 1}, {"~"}),
    ("delete", {0, 1, 2}, {"aéa", "aé", "€", "é~€", "€€~", "ééé", "~", "é", "€~€"}),
    ("put", {0, 1}, {"~~~", "é", "€aa", "€"}),
    ("shard", 0, None),
    ("shard", 0, None),
    ("switch", "True", None),
    ("put", {0, 1, 2}, {"~~", "é", "~"}),
    ("put", {1, 2}, {"€"}),
    ("delete", {0, 1, 2}, {"€a", "a€", "~~~", "é~€", "€", "~", "a", "é", "~~é"}),
    ("delete", {2}, {"é~€", "é", "a€"}),
]  # a shard was to be split, and had too few rows for that when it was looked at: it went on being about to, and a replica of the root waited


@given(EVENTS)
@example(ROWS_AFTER_THE_VISIT)
@example(BACK_BEFORE_ALL_WERE_THERE)
@example(GONE_BEFORE_THE_LOOK)
@settings(max_examples=10, deadline=None)
def test_what_is_listed_is_what_there_is(events):
    home = pathlib.Path(tempfile.mkdtemp(dir=MEMORY if os.path.isdir(MEMORY) else None))
    before, swift_dir._current = swift_dir._current, None
    nodes = Shards(home, SMALL)
    try:
        nodes.make()
        told = {}
        start = [f"a{letter}" for letter in "bcdefghijklm"]
        nodes.update(start, 1)
        told.update(dict.fromkeys(start, 0))
        for second, (event, where, what) in enumerate(events, 2):
            if event in ("put", "delete"):
                deleted = int(event == "delete")
                nodes.update(what, second, deleted, where)
                told.update(dict.fromkeys(what, deleted))
            elif event == "shard":
                nodes.shard(where)
            elif event == "replicate":
                nodes.replicate(where)
            else:
                for number in range(3):
                    stamp = f"17900{second:05d}.00000"
                    nodes.request(number, "POST", "AUTH_a/c", stamp, X_Container_Sysmeta_Sharding=where)
        wanted = sorted(name for name, deleted in told.items() if not deleted)
        for _ in range(25):
            nodes.shard()
            nodes.replicate()
            if is_at_rest(nodes):
                break
        assert is_at_rest(nodes)
        assert nodes.listing() == wanted
        assert counted(nodes) == [len(wanted)] * 3
    finally:
        nodes.stop()
        CONNECTIONS.forget(str(home))
        shutil.rmtree(home, ignore_errors=True)
        swift_dir._current = before


def is_at_rest(nodes):
    """No container is on its way, no root, nor shard that is over, holds rows, and every shard has counted what it has."""
    for names, brokers in nodes.containers().items():
        for broker in brokers:
            own = broker.own_shard_range()
            state = broker.db_state()
            if state == "sharding" or own["state"] in (50, 60):
                return False
            if (state == "sharded" or own["deleted"]) and broker.get_objects(1):
                return False
            if names != ROOT and not own["deleted"] and own["object_count"] != broker.info()["object_count"]:
                return False  # rows have come since it was visited
            others = broker.other_shard_ranges()
            if names == ROOT and any(item["state"] not in (40,) for item in others):
                return False
    return True


def counted(nodes):
    return [broker.info()["object_count"] for broker in nodes.containers()[ROOT]]
