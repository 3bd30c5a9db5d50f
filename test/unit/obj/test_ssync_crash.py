"""SIGKILL in the middle of replication: what was taken is whole or absent, what was given back is in one of both places."""

import os
import signal

import pytest
from ssync_pair import Served, push

from swift.core.concurrency import fork
from swift.engine import fault_points
from swift.obj.files import suffixes
from swift.wire.errors import ClientDisconnected

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:Using fork")

T1, T2 = "1700000001.00000", "1700000002.00000"
WRITE_POINTS = [
    "write:opened",
    "write:written",
    "write:attributes",
    "write:synced",
    "invalidate:appended",
    "write:linked",
    "write:durable",
    "write:cleaned",
]
SEEN_FROM = WRITE_POINTS.index("write:linked")
START = b":MISSING_CHECK: START\r\n:MISSING_CHECK: END\r\n:UPDATES: START\r\n"


@pytest.fixture
def served(root):
    served = Served(f"{root}/a")
    served.app.server.devices.get("sda").inline = True  # no threads: these tests fork
    yield served
    served.stop()


def killed(point, function):
    """Run in a child that dies at the fault point; True if it came to that."""
    pid = fork()
    if pid == 0:
        try:
            fault_points.arm(point)
            function()
        finally:
            os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def session(app, *requests):
    """SSYNC, called as an application: what it answers."""
    body = START + b"".join(requests) + b":UPDATES: END\r\n"
    return app.request("SSYNC", "/sda/7", body).body


def put_request(body, time=T2):
    head = f"PUT /a/c/o\r\nContent-Length: {len(body)}\r\nContent-Type: a/b\r\nX-Timestamp: {time}\r\n\r\n"
    return head.encode() + body


def check_consistent(app):
    where = app.where()
    if os.path.isdir(where.partition_dir):
        _, hashes = suffixes.get_hashes(where.partition_dir, reclaim_age=1e12)
        assert hashes.get(where.suffix) == suffixes.hash_suffix(where.suffix_dir, reclaim_age=1e12)
    assert app.files() == [name for name in app.files() if name.endswith((".data", ".meta", ".ts"))]


@pytest.mark.parametrize("size", [10, 200_000])
@pytest.mark.parametrize("before", [None, "data", "tombstone"])
@pytest.mark.parametrize("point", WRITE_POINTS)
def test_a_receiver_killed_amid_a_put(served, point, before, size):
    app = served.app
    if before == "data":
        app.put(T1, b"old")
    elif before == "tombstone":
        app.request("DELETE", X_Timestamp=T1)
    if before:
        suffixes.get_hashes(app.where().partition_dir, reclaim_age=1e12)  # a value that would be wrong
    body = b"n" * size
    assert killed(point, lambda: session(app, put_request(body)))
    got = app.get()
    if WRITE_POINTS.index(point) >= SEEN_FROM:
        assert (got.status, got.body) == (200, body)
    elif before == "data":
        assert (got.status, got.body) == (200, b"old")
    else:
        assert got.status == 404
    check_consistent(app)
    assert b":ERROR:" not in session(app, put_request(body))  # the next session finds no lock
    assert app.get().body == body


@pytest.mark.parametrize("point", WRITE_POINTS)
def test_a_receiver_killed_amid_a_delete(served, point):
    app = served.app
    app.put(T1, b"old")
    request = f"DELETE /a/c/o\r\nX-Timestamp: {T2}\r\n\r\n".encode()
    if not killed(point, lambda: session(app, request)):
        assert point == "write:written"  # a tombstone has nothing to write
    assert (
        app.get().status == (404 if WRITE_POINTS.index(point) >= SEEN_FROM else 200)
        or point == "write:written"
    )
    check_consistent(app)
    session(app, request)
    assert app.get().status == 404


@pytest.mark.parametrize("cut", [1, 30, 80, 120, 50_000])
def test_a_sender_that_dies_leaves_whole_objects_only(served, cut):
    """The body ends in the middle, as when the sender is killed."""
    app = served.app
    data = START + put_request(b"first", T1) + put_request(b"n" * 100_000)[:cut]
    with pytest.raises(ClientDisconnected):
        app.request("SSYNC", "/sda/7", data, ClientDisconnected("gone"))
    assert app.get().body == b"first"
    check_consistent(app)


@pytest.mark.parametrize("point", ["purge:unlinked", "drop:emptied"])
def test_a_handoff_killed_while_it_removes(root, point):
    source, target = Served(f"{root}/a"), Served(f"{root}/b")
    try:
        app = source.app
        app.server.devices.get("sda").inline = True
        app.put(T1, b"whole")
        app.request("POST", X_Timestamp=T2, X_Object_Meta_A="1")
        store = source.store()
        offers = push(source, target.node).in_sync

        def give_back():
            for name_hash, times in offers.items():
                store.purge(store.locate("7", name_hash, None), times)
            store.drop_partition("7")

        assert killed(point, give_back)
        got = target.app.get()
        assert (got.body, got.headers["x-object-meta-a"]) == (b"whole", "1")
        # whatever is left takes nothing from what the others have, and goes the next time
        push(source, target.node)
        assert target.app.get().body == b"whole"
        for name_hash, times in list(store.hashes("7")):
            store.purge(store.locate("7", name_hash, None), times)
        assert list(store.hashes("7")) == []
        app.put(T2, b"written after that")
        assert app.get().body == b"written after that"
    finally:
        source.stop()
        target.stop()
