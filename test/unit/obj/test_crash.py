"""The object server killed at each step of a write: acknowledged is whole, unacknowledged is whole or absent."""

import os
import signal

import pytest
from obj_app import App

from swift.engine import fault_points, new_file
from swift.obj import async_pending
from swift.obj.files import batch, suffixes, writer

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
KEEP = 1e12

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
# at these the new file has its name
SEEN_FROM = WRITE_POINTS.index("write:linked")

PENDING_POINTS = ["write_durable:written", "write_durable:synced", "write_durable:renamed", "pending:written"]


@pytest.fixture
def app(root, road):
    app = App(root, batch=road == "batch")
    app.server.devices.get("sda").inline = True  # no threads: these tests fork
    return app


def killed(point, function):
    """Run in a child that dies at the fault point; True if it came to that."""
    pid = os.fork()
    if pid == 0:
        try:
            fault_points.arm(point)
            function()
        finally:
            os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def check_consistent(app):
    """What replication would compare says what is there; nothing of the unfinished write is to be seen."""
    where = app.where()
    if os.path.isdir(where.partition_dir):
        _, hashes = suffixes.get_hashes(where.partition_dir, reclaim_age=KEEP)
        fresh = suffixes.hash_suffix(where.suffix_dir, reclaim_age=KEEP)
        assert hashes.get(where.suffix) == fresh
    assert app.files() == [n for n in app.files() if n.endswith((".data", ".meta", ".ts"))]


@pytest.mark.parametrize("before", [None, "data", "tombstone"])
@pytest.mark.parametrize("size", [10, 3 << 20])
@pytest.mark.parametrize("point", WRITE_POINTS)
def test_put(app, before, size, point):
    if before == "data":
        app.put(T1, b"old", X_Object_Meta_A="old")
    elif before == "tombstone":
        app.request("DELETE", X_Timestamp=T1)
    suffixes.get_hashes(app.where().partition_dir, reclaim_age=KEEP)  # a cached value that would be wrong
    body = b"n" * size
    assert killed(point, lambda: app.put(T2, body, X_Object_Meta_A="new"))
    got = app.get()
    if WRITE_POINTS.index(point) >= SEEN_FROM:
        assert (got.status, got.headers["x-object-meta-a"]) == (200, "new")
        assert got.body == body
    elif before == "data":
        assert (got.status, got.body, got.headers["x-object-meta-a"]) == (200, b"old", "old")
    else:
        assert got.status == 404
    check_consistent(app)
    # and the same again goes through
    assert app.put(T2, body, X_Object_Meta_A="new").status == 201
    assert app.get().body == body
    assert app.put(T3, b"later").status == 201
    assert app.files() == [f"{T3}.data"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_put_into_new_directories(app, count):
    assert killed(f"mkdirs_durable:made:{count}", lambda: app.put(T1))
    assert app.get().status == 404
    assert app.put(T1).status == 201
    assert app.get().body == b"body"


@pytest.mark.parametrize("before", [None, "data", "meta"])
@pytest.mark.parametrize("point", WRITE_POINTS)
def test_delete(app, before, point):
    if before:
        app.put(T1)
    if before == "meta":
        app.request("POST", X_Timestamp=T1[:-1] + "1", X_Object_Meta_A="1")
    suffixes.get_hashes(app.where().partition_dir, reclaim_age=KEEP)
    assert killed(point, lambda: app.request("DELETE", X_Timestamp=T2))
    got = app.get()
    if WRITE_POINTS.index(point) >= SEEN_FROM:
        assert (got.status, got.headers["x-backend-timestamp"]) == (404, T2)
    elif before:
        assert (got.status, got.body) == (200, b"body")
    else:
        assert got.status == 404
    check_consistent(app)
    app.request("DELETE", X_Timestamp=T2)
    assert app.request("DELETE", X_Timestamp=T3).status == 404
    assert app.files() == [f"{T3}.ts"]


@pytest.mark.parametrize("before", ["data", "meta"])
@pytest.mark.parametrize("point", WRITE_POINTS)
def test_post(app, before, point):
    app.put(T1, X_Object_Meta_A="put")
    old = "put"
    if before == "meta":
        app.request("POST", X_Timestamp=T2, X_Object_Meta_A="first")
        old = "first"
    suffixes.get_hashes(app.where().partition_dir, reclaim_age=KEEP)
    assert killed(
        point, lambda: app.request("POST", X_Timestamp=T3, X_Object_Meta_A="new", Content_Type="a/b")
    )
    got = app.get()
    assert (got.status, got.body) == (200, b"body")
    seen = WRITE_POINTS.index(point) >= SEEN_FROM
    assert got.headers["x-object-meta-a"] == ("new" if seen else old)
    assert got.headers["content-type"] == ("a/b" if seen else "text/plain")
    check_consistent(app)


CONTAINER = {"X_Container_Partition": "1", "X_Container_Host": "127.0.0.1:1", "X_Container_Device": "sda"}


@pytest.mark.parametrize("point", PENDING_POINTS)
@pytest.mark.parametrize("verb", ["PUT", "DELETE"])
def test_container_update_that_nobody_took(app, verb, point):
    """When the answer is out, the pending update is on disk; before that, it is whole or absent."""
    if verb == "DELETE":
        app.put(T1)
    assert killed(point, lambda: app.request(verb, X_Timestamp=T2, body=b"x", **CONTAINER))
    written = PENDING_POINTS.index(point) >= PENDING_POINTS.index("write_durable:renamed")
    assert len(app.pendings()) == written
    for path in app.pendings():
        assert async_pending.read_update(path)["op"] == verb
    assert app.get().status == (200 if verb == "PUT" else 404)
    got = app.request(verb, X_Timestamp=T3, body=b"x", **CONTAINER)
    assert got.status == (201 if verb == "PUT" else 404)
    assert len(app.pendings()) == written + 1


@pytest.mark.parametrize("point", WRITE_POINTS[:SEEN_FROM])
def test_named_temporary_files_go_after_the_reclaim_age(app, point):
    """Where the file system has no unnamed files, a crash leaves one in tmp."""
    from swift.obj.tmpfiles import remove_old

    where = app.where()
    new_file.no_tmpfile.add(where.tmp_dir)
    try:
        assert killed(point, lambda: app.put(T1))
    finally:
        new_file.no_tmpfile.clear()
    assert app.get().status == 404
    left = os.listdir(where.tmp_dir)
    assert len(left) == 1
    assert remove_old(app.device, 3600) == 0
    os.utime(f"{where.tmp_dir}/{left[0]}", (0, 0))
    assert remove_old(app.device, 3600) == 1
    assert os.listdir(where.tmp_dir) == []


@pytest.mark.parametrize("point", ["write_durable:written", "write_durable:synced", "consolidate:written"])
def test_suffix_hashes(app, point):
    """Killed while the suffix hashes are written, nothing that was invalidated is forgotten."""
    partition = app.where().partition_dir
    app.put(T1)
    suffixes.get_hashes(partition, reclaim_age=KEEP)
    app.put(T2)
    assert killed(point, lambda: suffixes.get_hashes(partition, reclaim_age=KEEP))
    check_consistent(app)


def in_child(function):
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if function() else 1)
        except BaseException:
            os._exit(2)
    return pid


@pytest.mark.parametrize("round_", range(8))
@pytest.mark.parametrize(
    "one, other",
    [
        (("PUT", T2, b"one"), ("PUT", T3, b"two")),
        (("PUT", T2, b"one"), ("PUT", T2, b"two")),
        (("PUT", T2, b"one"), ("DELETE", T3, b"")),
        (("PUT", T3, b"one"), ("DELETE", T2, b"")),
        (("PUT", T2, b"one"), ("DELETE", T2, b"")),
        (("DELETE", T2, b""), ("DELETE", T3, b"")),
    ],
    ids=["put-put", "put-put-same", "put-delete", "delete-put", "put-delete-same", "delete-delete"],
)
def test_two_writers(app, one, other, round_):
    """Two processes at once: the winner is the one that the timestamps name, whichever came first."""
    if round_ & 1:
        app.put(T1)
    answers = []
    for verb, timestamp, body in (one, other):
        read, write = os.pipe()

        def run(verb=verb, timestamp=timestamp, body=body, write=write):
            got = app.request(verb, X_Timestamp=timestamp, body=body)
            os.write(write, str(got.status).encode())
            return True

        pid = in_child(run)
        os.close(write)
        answers.append((pid, read))
    statuses = []
    for pid, read in answers:
        assert os.waitpid(pid, 0)[1] == 0
        statuses.append(int(os.read(read, 10)))
        os.close(read)
    got = app.get()
    (_, t1, body1), (verb2, t2, body2) = one, other
    if t1 == t2:
        if verb2 == "DELETE":
            # the tombstone wins if it was written at all; a DELETE that came second was told 409
            if statuses[1] == 409:
                assert (got.status, got.body) == (200, b"one")
            else:
                assert (got.status, got.headers["x-backend-timestamp"]) == (404, t2)
        else:
            assert sorted(statuses) == [201, 409]
            assert got.body == (body1 if statuses[0] == 201 else body2)
    else:
        verb, timestamp, body = one if t1 > t2 else other
        if verb == "PUT":
            assert (got.status, got.body) == (200, body)
        else:
            assert (got.status, got.headers["x-backend-timestamp"]) == (404, timestamp)
    check_consistent(app)
    assert len(app.files()) == 1


@pytest.mark.parametrize("there_before", [False, True])
@pytest.mark.parametrize("point", ["write:opened", "write:synced", "write:durable"])
@pytest.mark.parametrize("other", [("PUT", b"two"), ("DELETE", b"")])
def test_a_newer_write_in_the_middle_of_an_older_one(app, monkeypatch, there_before, point, other):
    """Whichever comes to its end last takes away what no longer counts."""
    if there_before:
        app.put(T1)
    reached = []

    def come_between(name):
        if name == point and not reached:
            reached.append(name)
            app.request(other[0], X_Timestamp=T3, body=other[1])

    for module in (batch, writer):
        monkeypatch.setattr(module, "fault_point", come_between)
    app.request("PUT", X_Timestamp=T2, body=b"one")
    assert reached
    assert app.files() == [f"{T3}{'.ts' if other[0] == 'DELETE' else '.data'}"]
    check_consistent(app)
