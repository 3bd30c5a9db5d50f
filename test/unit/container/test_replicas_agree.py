"""Whatever happens to which replica, in whatever order they talk: in the end all are the same, and the newest of everything is there."""

import os
import pathlib
import shutil
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from swift.core import swift_dir
from swift.core.concurrency import use_fast_hub
from swift.db.connection import CONNECTIONS
from test.replicas import Nodes

use_fast_hub()

MEMORY = "/dev/shm"

C = ("AUTH_a", "c")
NAMES = ["a", "b", "c", "d"]
node = st.integers(0, 2)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), node, st.sampled_from(NAMES)),
        st.tuples(st.just("delete"), node, st.sampled_from(NAMES)),
        st.tuples(st.just("post"), node, st.sampled_from(["X", "Y"])),
        st.tuples(st.just("container"), node, st.sampled_from(["PUT", "DELETE"])),
        st.tuples(st.just("replicate"), node, st.just("")),
        st.tuples(st.just("lose"), node, st.just("")),
    ),
    min_size=3,
    max_size=14,
)


def state(nodes, number):
    broker = nodes.broker(number, *C)
    info = broker.replication_info()
    rows = {(r["name"], r["created_at"], r["size"], r["deleted"]) for r in broker.get_objects(1000)}
    kept = {
        key: info[key]
        for key in ("created_at", "put_timestamp", "delete_timestamp", "hash", "count", "bytes_used")
    }
    return kept, rows, broker.metadata()


def agreed(nodes, order):
    """What each has in the end: once all are the same, and two more passes of each have changed nothing; or after twelve."""
    before = []
    for _ in range(12):
        nodes.replicate(*order)
        states = [state(nodes, number) for number in range(3)]
        before.append(states)
        if before[-3:] == [[states[0]] * 3] * 3:
            break
    return states


@given(EVENTS, st.permutations([0, 1, 2]))
@settings(max_examples=40, deadline=None)
def test_replicas_agree_in_the_end(events, order):
    home = pathlib.Path(
        tempfile.mkdtemp(dir=MEMORY if os.path.isdir(MEMORY) else None)
    )  # hundreds of commits
    before = swift_dir._current
    swift_dir._current = None
    nodes = Nodes(home, per_diff="2", max_diffs="2")
    try:
        for number in range(3):
            nodes.request(number, "PUT", "AUTH_a/c", "1700000000.00000", X_Backend_Storage_Policy_Index=0)
        told = {}
        for second, (event, number, what) in enumerate(events, 1):
            timestamp = f"17000{second:05d}.00000"
            if event == "put":
                if nodes.put_object(number, f"AUTH_a/c/{what}", timestamp, second) == 201:
                    told[what] = (timestamp, second, 0)
            elif event == "delete":
                if nodes.request(number, "DELETE", f"AUTH_a/c/{what}", timestamp) == 204:
                    told[what] = (timestamp, 0, 1)
            elif event == "post":
                nodes.request(
                    number, "POST", "AUTH_a/c", timestamp, **{f"X_Container_Meta_{what}": str(second)}
                )
            elif event == "container":
                nodes.request(number, what, "AUTH_a/c", timestamp, X_Backend_Storage_Policy_Index=0)
            elif event == "replicate":
                nodes.replicate(number)
            else:
                for _ in range(8):  # what only it knows is to be found elsewhere
                    nodes.replicate(number)
                directory = nodes.path(number, *C).parent
                CONNECTIONS.forget(str(directory))
                shutil.rmtree(directory, ignore_errors=True)
        states = agreed(nodes, order)
        assert states[1] == states[0] and states[2] == states[0]
        assert states[0][1] == {(name, *values) for name, values in told.items()}
    finally:
        nodes.stop()
        swift_dir._current = before
        shutil.rmtree(home)
