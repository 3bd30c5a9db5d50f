"""What container servers are told about objects, and what is kept on disk when they don't answer."""

import base64
import os

import pytest
from obj_app import App
from obj_container import ContainerServer
from obj_golden import load

from swift.core.concurrency import sleep
from swift.core.object_headers import queue_container
from swift.obj import async_pending

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
CASES = load("async_pending.json")


@pytest.fixture
def app(root):
    return App(root, container_update_timeout="0.5", node_timeout="5")


@pytest.fixture
def container():
    started = []

    def start(*answers, **kwargs):
        started.append(ContainerServer(*answers, **kwargs))
        return started[-1]

    yield start
    for server in started:
        server.close()


def to(*servers):
    return {
        "X_Container_Partition": "14",
        "X_Container_Host": ",".join(s if isinstance(s, str) else s.host for s in servers),
        "X_Container_Device": ", ".join(f"d{n}" for n in range(len(servers))),
        "X_Trans_Id": "tx1",
    }


@pytest.mark.parametrize("case", CASES, ids=[c["path"] for c in CASES])
def test_golden_is_read(tmp_path, case):
    path = tmp_path / "pending"
    path.write_bytes(base64.b64decode(case["content_b64"]))
    assert async_pending.read_update(str(path)) == case["decoded"]


@pytest.mark.parametrize("case", CASES, ids=[c["path"] for c in CASES])
def test_what_we_write_has_the_place_and_content_of_the_reference_s(root, case):
    _, directory, _, name = case["path"].split("/")
    policy = int(directory.partition("-")[2] or 0)
    name_hash, _, timestamp = name.partition("-")
    path = async_pending.write_update(root, policy, name_hash, timestamp, case["decoded"])
    assert path == f"{root}/{case['path'].split('/', 1)[1]}"
    assert async_pending.read_update(path) == case["decoded"]
    assert os.listdir(f"{root}/{'tmp' if not policy else f'tmp-{policy}'}") == []


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", b"(dp0\n.", b"cos\nsystem\n(S'true'\ntR.", b"\x80\x02]q\x00.", b"x" * (2 << 20)],
)
def test_bad_pending_files_are_refused(tmp_path, content):
    path = tmp_path / "pending"
    path.write_bytes(content)
    with pytest.raises(async_pending.BadUpdate):
        async_pending.read_update(str(path))


def test_put_post_delete_tell_the_container(app, container):
    server = container()
    app.put(T1, b"hello", **to(server))
    app.request("POST", X_Timestamp=T2, Content_Type="image/png", **to(server))
    app.request("DELETE", X_Timestamp=T3, **to(server))
    assert [(m, p) for m, p, _ in server.requests] == [("PUT", "/d0/14/a/c/o")] * 2 + [
        ("DELETE", "/d0/14/a/c/o")
    ]
    common = {
        "X-Trans-Id": "tx1",
        "X-Backend-Storage-Policy-Index": "0",
        "User-Agent": f"object-server {os.getpid()}",
        "Host": server.host,
    }
    data = {"X-Size": "5", "X-Etag": "5d41402abc4b2a76b9719d911017c592", "X-Timestamp": T1}
    assert [h for _, _, h in server.requests] == [
        {**common, **data, "X-Content-Type": "text/plain", "Referer": "PUT http://localhost/sda/7/a/c/o"},
        {
            **common,
            **data,
            "X-Content-Type": "image/png",
            "X-Content-Type-Timestamp": T2,
            "X-Meta-Timestamp": T2,
            "Referer": "POST http://localhost/sda/7/a/c/o",
        },
        {**common, "X-Timestamp": T3, "Referer": "DELETE http://localhost/sda/7/a/c/o"},
    ]
    assert app.pendings() == []


def test_nothing_is_told_without_a_partition_or_with_unequal_lists(app, container):
    server = container()
    app.put(T1, **{**to(server), "X_Container_Partition": ""})
    app.put(T2, **{**to(server), "X_Container_Device": "d0,d1"})
    assert server.requests == [] and app.pendings() == []
    assert any("different numbers of hosts and devices" in line for line in app.log.lines)


def test_refused_changes_are_not_told(app, container):
    server = container()
    app.put(T2)
    assert app.put(T1, **to(server)).status == 409
    assert app.put(T3, Etag="0" * 32, **to(server)).status == 422
    assert app.request("DELETE", X_Timestamp=T1, **to(server)).status == 409
    assert app.request("POST", X_Timestamp=T1, **to(server)).status == 409
    assert server.requests == [] and app.pendings() == []


def kept(app):
    (path,) = app.pendings()
    return async_pending.read_update(path)


@pytest.mark.parametrize(
    "answer", ["404 Not Found", "500 Internal Error", "507 Insufficient Storage", "503 Service Unavailable"]
)
def test_refusal_is_kept_for_later(app, container, answer):
    server = container((answer, []))
    assert app.put(T1, b"x", X_Container_Root_Db_State="unsharded", **to(server)).status == 201
    (path,) = app.pendings()
    where = app.where()
    assert path == f"{app.device}/async_pending/{where.suffix}/{where.name_hash}-{T1}"
    assert kept(app) == {
        "op": "PUT",
        "account": "a",
        "container": "c",
        "obj": "o",
        "db_state": "unsharded",
        "headers": {
            "X-Size": "1",
            "X-Content-Type": "text/plain",
            "X-Timestamp": T1,
            "X-Etag": "9dd4e461268c8034f5c8564e155c67a6",
            "X-Trans-Id": "tx1",
            "Referer": "PUT http://localhost/sda/7/a/c/o",
            "X-Backend-Storage-Policy-Index": "0",
            "User-Agent": f"object-server {os.getpid()}",
        },
    }


def test_nobody_there(app):
    assert app.put(T1, **to("127.0.0.1:1")).status == 201
    assert kept(app)["op"] == "PUT"
    app.request("DELETE", X_Timestamp=T2, **to("127.0.0.1:1"))
    assert len(app.pendings()) == 2


@pytest.mark.parametrize("host", ["", "nonsense", "127.0.0.1:x", "127.0.0.1:99999"])
def test_bad_host(app, host):
    got = app.put(T1, **{**to("x"), "X_Container_Host": host})
    assert got.status == 201
    assert app.get().status == 200


def test_one_of_several_fails(app, container):
    servers = [container(), container(("500 Internal Error", [])), container()]
    app.put(T1, **to(*servers))
    assert [len(s.requests) for s in servers] == [1, 1, 1]
    assert [p for s in servers for _, p, _ in s.requests] == ["/d0/14/a/c/o", "/d1/14/a/c/o", "/d2/14/a/c/o"]
    assert kept(app)["op"] == "PUT"


def test_slow_answer_is_kept_until_it_comes(app, container):
    server = container(delay=1)
    assert app.put(T1, **to(server)).status == 201
    assert kept(app)["op"] == "PUT"
    for _ in range(60):
        sleep(0.05)
        if not app.pendings():
            break
    assert app.pendings() == []


def test_slow_refusal_stays(app, container):
    server = container(("500 Internal Error", []), delay=0.7)
    app.put(T1, **to(server))
    sleep(1)
    assert kept(app)["op"] == "PUT"


def test_pending_files_of_other_policies(app):
    app.put(T1, X_Backend_Storage_Policy_Index="1", **to("127.0.0.1:1"))
    (path,) = app.pendings()
    assert "/async_pending-1/" in path
    assert kept(app)["headers"]["X-Backend-Storage-Policy-Index"] == "1"


def test_shard_paths(app, container):
    server = container(("500 Internal Error", []))
    app.put(T1, X_Backend_Quoted_Container_Path=".shards_a/c%2Dx-1", **to(server))
    assert server.requests[0][1] == "/d0/14/.shards_a/c-x-1/o"
    assert (kept(app)["container_path"], kept(app)["container"]) == (".shards_a/c-x-1", "c")
    app.put(T2, X_Backend_Container_Path="only-one", **to(server))
    assert server.requests[1][1] == "/d0/14/a/c/o"


def test_redirect_is_kept(app, container):
    headers = [("Location", "/.shards_a/c%20s/o"), ("X-Backend-Location-Is-Quoted", "true")]
    server = container(("301 Moved Permanently", headers))
    app.put(T1, **to(server))
    assert kept(app)["container_path"] == ".shards_a/c s"


def test_overrides(app, container):
    server = container()
    app.put(
        T1,
        X_Backend_Container_Update_Override_Etag="legacy",
        X_Backend_Container_Update_Override_Size="7",
        X_Object_Sysmeta_Container_Update_Override_Etag="wins",
        **to(server),
    )
    _, _, headers = server.requests[0]
    assert (headers["X-Etag"], headers["X-Size"]) == ("wins", "7")
    # what was stored counts for a POST as well
    app.request("POST", X_Timestamp=T2, **to(server))
    assert server.requests[1][2]["X-Etag"] == "wins"


def test_names_that_are_not_ascii(app, container):
    server = container(("201 Created", []), ("500 Internal Error", []))
    for timestamp in (T1, T2):
        app.request("PUT", "/sda/7/a/c/\u00c3\u00bc x", b"", X_Timestamp=timestamp, **to(server))
    assert server.requests[0][1] == "/d0/14/a/c/\u00c3\u00bc x"
    assert kept(app)["obj"] == "\u00fc x"


def test_swift_bytes_stay_when_a_post_changes_the_content_type(app, container):
    server = container()
    app.put(T1, Content_Type="text/plain;swift_bytes=99")
    app.request("POST", X_Timestamp=T2, Content_Type="image/png", **to(server))
    app.request("POST", X_Timestamp=T3, **to(server))
    assert [h["X-Content-Type"] for _, _, h in server.requests] == ["image/png;swift_bytes=99"] * 2


def test_answer_waits_for_the_pending_file(app, monkeypatch):
    """If it can't be stored, the write must not be acknowledged."""

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("swift.obj.async_pending.write_durable", fail)
    assert app.put(T1, **to("127.0.0.1:1")).status == 507
    assert app.get().status == 200


# ---------------------------------------------------------------- the expirer's queue

AT, LATER = "9999999990", "9999999991"


def expirer(server):
    return {
        "X_Delete_At_Host": server if isinstance(server, str) else server.host,
        "X_Delete_At_Device": "d9",
        "X_Delete_At_Partition": "3",
    }


def test_expiry_is_queued(app, container):
    queue, listing = container(), container()
    app.put(T1, b"12345", X_Delete_At=AT, X_Delete_At_Container="9999900000", **expirer(queue), **to(listing))
    method, path, headers = queue.requests[0]
    assert (method, path) == ("PUT", f"/d9/3/.expiring_objects/9999900000/{AT}-a/c/o")
    assert {k: v for k, v in headers.items() if k.startswith("X-")} == {
        "X-Backend-Storage-Policy-Index": "0",
        "X-Timestamp": T1,
        "X-Trans-Id": "tx1",
        "X-Size": "0",
        "X-Etag": "d41d8cd98f00b204e9800998ecf8427e",
        "X-Content-Type": "text/plain;swift_expirer_bytes=5",
        "X-Content-Type-Timestamp": T1,
    }
    assert len(listing.requests) == 1
    # a POST with a new time queues that, and has the old one removed later
    app.request("POST", X_Timestamp=T2, X_Delete_At=LATER, **expirer(queue))
    assert queue.requests[1][1].endswith(f"/{LATER}-a/c/o")
    assert queue.requests[1][2]["X-Content-Type-Timestamp"] == T1
    removal = kept(app)
    assert (removal["op"], removal["account"], removal["obj"]) == (
        "DELETE",
        ".expiring_objects",
        f"{AT}-a/c/o",
    )
    assert removal["headers"]["X-Timestamp"] == T2
    os.unlink(app.pendings()[0])
    app.request("DELETE", X_Timestamp=T3)
    assert kept(app)["obj"] == f"{LATER}-a/c/o"


def test_container_of_the_queue_is_the_reference_s(root):
    App(root)  # sets the hash settings
    for name, at, expected in (
        ("AUTH_test/c/o", 1700000100, "1699919955"),
        ("AUTH_test/c/expiring", 1700000100, "1699919932"),
        ("a/c/o", 5, "0000000000"),
    ):
        assert queue_container(86400, at, *name.split("/")) == expected


def test_queue_without_a_host_is_left_to_others_and_with_an_unusable_one_kept(app):
    app.put(T1, X_Delete_At=AT)
    assert app.pendings() == []
    app.put(T2, X_Delete_At=AT, X_Delete_At_Host="")
    queued = kept(app)
    assert (queued["op"], queued["account"], queued["db_state"]) == ("PUT", ".expiring_objects", None)


def test_unchanged_expiry_is_queued_again_but_not_removed(app, container):
    queue = container()
    app.put(T1, X_Delete_At=AT, **expirer(queue))
    app.put(T2, X_Delete_At=AT, **expirer(queue))
    assert len(queue.requests) == 2 and app.pendings() == []


@pytest.mark.parametrize(
    "header", [{"X_Backend_Replication": "true"}, {"X_Backend_Clean_Expiring_Object_Queue": "f"}]
)
def test_removal_from_the_queue_can_be_left_to_others(app, header):
    app.put(T1, X_Delete_At=AT)
    app.put(T2, **header)
    assert app.pendings() == []


def test_background_services_queue_nothing(app, container):
    queue = container()
    app.put(T1, X_Delete_At=AT, X_Backend_Replication="true", **expirer(queue))
    assert queue.requests == []
