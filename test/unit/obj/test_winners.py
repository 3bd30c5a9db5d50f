"""Two writers, or a writer and a deleter, of one object: who wins on disk and in the listing of a real container server."""

import hashlib
import itertools
import json

import pytest
from obj_app import App
from obj_container import Quiet

from swift.container.server import ContainerServer
from swift.core.concurrency import spawn
from swift.engine.sockets import listen
from swift.wire.connection_pool import POOL
from swift.wire.server import Server
from test.databases import call

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
C = "/sdb/1/a/c"


@pytest.fixture
def servers(root, road, tmp_path):
    """An object server and a container server that it tells."""
    app = App(root, batch=road == "batch")
    (tmp_path / "sdb").mkdir()
    conf = {
        "swift_dir": f"{root}/etc",
        "devices": str(tmp_path),
        "mount_check": "false",
        "fallocate_reserve": "0",
    }
    containers = ContainerServer(conf, Quiet())
    sock = listen("127.0.0.1", 0)
    server = Server(sock, containers, {}, Quiet())
    thread = spawn(server.run)
    assert call(containers, "PUT", C, "", {"X-Timestamp": "1700000000.00000"})[0] == 201
    app.told = {
        "X_Container_Partition": "1",
        "X_Container_Host": f"127.0.0.1:{sock.getsockname()[1]}",
        "X_Container_Device": "sdb",
    }
    yield app, containers
    POOL.clear()
    server.stop()
    thread.kill()


def perform(app, verb, timestamp, body=b""):
    return app.request(verb, X_Timestamp=timestamp, body=body, **app.told).status


def listed(containers):
    status, headers, body = call(containers, "GET", C, "format=json")
    assert status == 200
    rows = {row["name"]: row["hash"] for row in json.loads(body)}
    assert headers["X-Container-Object-Count"] == str(len(rows))
    return rows


def md5(data):
    return hashlib.md5(data).hexdigest()


ONE, TWO = ("PUT", T2, b"one"), ("PUT", T3, b"two")
DELETE2, DELETE3 = ("DELETE", T2, b""), ("DELETE", T3, b"")


@pytest.mark.parametrize("first_there", [False, True])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    "earlier, later",
    [(ONE, TWO), (ONE, DELETE3), (DELETE2, TWO), (DELETE2, DELETE3)],
    ids=["put-put", "put-delete", "delete-put", "delete-delete"],
)
def test_the_later_one_wins_in_either_order(servers, earlier, later, swapped, first_there):
    app, containers = servers
    if first_there:
        assert perform(app, "PUT", T1, b"zero") == 201
    for request in (later, earlier) if swapped else (earlier, later):
        perform(app, *request)
    verb, timestamp, body = later
    got = app.get()
    if verb == "PUT":
        assert (got.status, got.body) == (200, body)
        assert app.files() == [f"{timestamp}.data"]
        assert listed(containers) == {"o": md5(body)}
    else:
        assert (got.status, got.headers["x-backend-timestamp"]) == (404, timestamp)
        assert app.files() == [f"{timestamp}.ts"]
        assert listed(containers) == {}
    assert app.pendings() == []


@pytest.mark.parametrize(
    "first, second, statuses",
    [
        (("PUT", T2, b"one"), ("PUT", T2, b"two"), (201, 409)),
        (("PUT", T2, b"one"), ("PUT", T2, b"one"), (201, 201)),
        (("PUT", T2, b"one"), ("DELETE", T2, b""), (201, 409)),
        (("DELETE", T2, b""), ("PUT", T2, b"one"), (404, 409)),
        (("DELETE", T2, b""), ("DELETE", T2, b""), (404, 404)),
    ],
    ids=["put-other", "put-same", "put-delete", "delete-put", "delete-delete"],
)
def test_of_equal_times_the_first_stays(servers, first, second, statuses):
    app, containers = servers
    assert (perform(app, *first), perform(app, *second)) == statuses
    if first[0] == "PUT":
        assert app.get().body == first[2]
        assert listed(containers) == {"o": md5(first[2])}
    else:
        assert app.get().headers["x-backend-timestamp"] == T2
        assert listed(containers) == {}
    assert len(app.files()) == 1


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_rows_may_arrive_in_any_order(servers, order, merged):
    """Reports overtake each other, and late ones come from the updater."""
    _, containers = servers
    rows = [("PUT", T1, "e1"), ("PUT", T2, "e2"), ("DELETE", T1 + "_0000000000000001", ""), ("PUT", T3, "e3")]
    for at in order:
        verb, timestamp, etag = rows[at]
        headers = {"X-Timestamp": timestamp, "X-Size": "1", "X-Content-Type": "t", "X-Etag": etag}
        assert call(containers, verb, f"{C}/o", "", headers)[0] in (201, 204)
        if merged:
            call(containers, "POST", C, "", {"X-Timestamp": timestamp[:16], "X-Container-Meta-A": str(at)})
    assert listed(containers) == {"o": "e3"}


@pytest.mark.parametrize("swapped", [False, True])
def test_metadata_of_a_post_and_a_newer_put(servers, swapped):
    app, containers = servers
    perform(app, "PUT", T1, b"zero")
    post = lambda: app.request(  # noqa: E731
        "POST", X_Timestamp=T2, X_Object_Meta_A="post", Content_Type="from/post", **app.told
    )
    put = lambda: app.request(  # noqa: E731
        "PUT", X_Timestamp=T3, body=b"new", X_Object_Meta_A="put", Content_Type="from/put", **app.told
    )
    for request in (put, post) if swapped else (post, put):
        request()
    got = app.get()
    assert (got.body, got.headers["x-object-meta-a"], got.headers["content-type"]) == (
        b"new",
        "put",
        "from/put",
    )
    rows = json.loads(call(containers, "GET", C, "format=json")[2])
    assert [(row["name"], row["content_type"], row["hash"]) for row in rows] == [
        ("o", "from/put", md5(b"new"))
    ]
