"""The container server: bad input, what is refused and then changes nothing, what the reference gets wrong."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swift.container import account_update
from swift.container.server import ContainerServer
from swift.core.hashing import hash_path
from swift.db import server as db_server
from test.databases import Logger, call, make_conf

C = "/sda1/1/AUTH_a/c"
ROW = {"X-Timestamp": "1700000001.00000", "X-Size": "5", "X-Content-Type": "text/plain", "X-Etag": "e"}


@pytest.fixture
def conf(tmp_path):
    return make_conf(tmp_path)


@pytest.fixture
def app(conf):
    app = ContainerServer(conf, Logger())
    assert put_container(app)[0] == 201
    return app


def test_the_path_of_a_row_is_taken_apart_once(app, monkeypatch):
    put_container(app)

    def twice(*args):
        raise AssertionError("taken apart once more")

    monkeypatch.setattr(app, "segments", twice)
    assert put_row(app, "o/with/slashes")[0] == 201


@pytest.mark.parametrize(
    "path", ["/./1/a/c/o", "/../1/a/c/o", "//1/a/c/o", "/sda//a/c/o", "/sda/1//c/o", "/sda/x/a/c/o"]
)
def test_paths_that_can_be_no_row(app, path):
    assert call(app, "PUT", path, "", {**ROW, "X-Timestamp": "1700000001.00000"})[0] == 400


def test_only_listings_look_at_their_parameters(app):
    for query in ("marker=%ff", "limit=99999999", "path=%ff", "states=%ff"):
        assert call(app, "HEAD", C, query)[0] == 204
        assert call(app, "GET", C, query)[0] in (400, 412)
    assert call(app, "GET", C, "x=%ff")[0] in (200, 204)


def put_container(app, path=C, timestamp="1700000000.00000", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return call(app, "PUT", path, "", {"X-Timestamp": timestamp, **named})


def put_row(app, name, timestamp="1700000001.00000", **changes):
    headers = {**ROW, "X-Timestamp": timestamp, **{k.replace("_", "-"): v for k, v in changes.items()}}
    return call(app, "PUT", f"{C}/{name}", "", {k: v for k, v in headers.items() if v is not None})


def listing(app, query="", path=C, headers=None):
    status, _, body = call(app, "GET", path, f"format=json&{query}", headers)
    assert status == 200, body
    return [entry.get("name") or entry["subdir"] for entry in json.loads(body)]


def database(conf, container="c"):
    digest = hash_path("AUTH_a", container)
    return f"{conf['devices']}/sda1/containers/1/{digest[-3:]}/{digest}/{digest}.db"


@pytest.mark.parametrize(
    "change, body",
    [
        ({"X_Size": None}, "Missing X-Size header"),
        ({"X_Size": "x"}, "Invalid X-Size header"),
        ({"X_Size": "-1"}, "Invalid X-Size header"),
        ({"X_Size": str(2**63)}, "Invalid X-Size header"),
        ({"X_Content_Type": None}, "Missing X-Content-Type header"),
        ({"X_Etag": None}, "Missing X-Etag header"),
        ({"X_Timestamp": None}, "Missing X-Timestamp header"),
        ({"X_Timestamp": "never"}, "Invalid X-Timestamp header"),
        ({"X_Timestamp": "inf"}, "Invalid X-Timestamp header"),
        ({"X_Meta_Timestamp": "x"}, "Invalid X-Meta-Timestamp header"),
        ({"X_Content_Type_Timestamp": "1_2_3"}, "Invalid X-Content-Type-Timestamp header"),
        ({"X_Backend_Storage_Policy_Index": "9"}, "Invalid X-Backend-Storage-Policy-Index 9"),
        ({"X_Backend_Storage_Policy_Index": "x"}, "Invalid X-Backend-Storage-Policy-Index x"),
        ({"X_Backend_Storage_Policy_Index": ""}, "Invalid X-Backend-Storage-Policy-Index "),
    ],
)
def test_a_bad_row_is_refused_and_changes_nothing(app, change, body):
    status, headers, found = put_row(app, "o", **change)
    assert (status, found, headers["Content-Type"]) == (400, body, "text/plain")
    assert listing(app) == []


@pytest.mark.parametrize(
    "query",
    [
        "prefix=%F4%8F%BF%BF",
        "delimiter=%F4%8F%BF%BF",
        "prefix=%ED%9F%BF",
        "delimiter=%ED%9F%BF&prefix=%ED%9F%BF",
        "prefix=a%F4%8F%BF%BF",
        "marker=%00",
        "end_marker=%00",
        "path=%F4%8F%BF%BF",
        "marker=" + "x" * 6000,
    ],
)
def test_borders_of_the_name_space(app, query):
    put_row(app, "a%F4%8F%BF%BFb")
    for reverse in ("", "&reverse=1"):
        listing(app, query + reverse)


def test_names_behind_the_last_prefix_are_found(app):
    put_row(app, "%F4%8F%BF%BFx")
    assert listing(app, "prefix=%F4%8F%BF%BF") == ["\U0010ffffx"]
    put_row(app, "%ED%9F%BFx")
    assert listing(app, "prefix=%ED%9F%BF") == ["\ud7ffx"]


NASTY = st.sampled_from(
    ["", "x", "0", "-1", "1e400", "9" * 30, "\xff", "a\0b", "é", "1700000000.00000", "true", "AUTH_a/c"]
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "UPDATE", "OPTIONS", "REPLICATE", "X"]),
    st.sampled_from(
        [
            "/",
            "",
            "/sda1",
            "/sda1/1",
            "/sda1/x/a/c",
            "/sda1/1/a",
            "/sda1/1/AUTH_a/c",
            "/sda1/1/AUTH_a/c/o",
            "/sda1/1/AUTH_a//o",
        ]
        + [
            "/../1/a/c",
            "/sda1/../a/c",
            "/no/1/a/c",
            "/sda1/1/%00/c",
            "/sda1/1/a/%ff",
            "/sda1/1/.a/c/o",
            "/sda1/1/AUTH_a/c/%00x",
        ]
    ),
    st.dictionaries(
        st.sampled_from(
            [
                "limit",
                "marker",
                "prefix",
                "delimiter",
                "path",
                "reverse",
                "format",
                "states",
                "includes",
                "end_marker",
            ]
        ),
        st.sampled_from(["", "1", "%ff", "%00", "json", "xml", "listing", "a/", "%F4%8F%BF%BF", "99999999"]),
        max_size=4,
    ),
    st.dictionaries(
        st.sampled_from(
            [
                "X-Timestamp",
                "X-Size",
                "X-Content-Type",
                "X-Etag",
                "X-Backend-Storage-Policy-Index",
                "X-Account-Host",
            ]
            + ["X-Account-Device", "X-Backend-Record-Type", "X-Backend-Storage-Policy-Default", "Accept"]
            + [
                "X-Container-Sync-To",
                "X-Container-Meta-A",
                "X-Backend-Auto-Create",
                "X-Backend-Accept-Redirect",
            ]
            + ["X-Backend-Record-Shard-Format", "X-Backend-Override-Deleted", "X-Account-Partition"]
        ),
        NASTY | st.sampled_from(["shard", "auto", "namespace", "//r/c/a/c", "http://[/", "text/*;q=x"]),
        max_size=6,
    ),
    st.sampled_from(
        ["", "[]", "{", "[1]", '[{"name": 1}]', "[" * 3000, '[{"name": "x", "created_at": []}]', "\0"]
    ),
)
def test_nothing_a_peer_sends_ends_in_a_500(app, method, path, query, headers, body):
    text = "&".join(f"{name}={value}" for name, value in query.items())
    status, _, found = call(app, method, path, text, headers, body)
    assert status < 500 or (status == 507 and path.startswith("/no")), (status, found, app.logger.lines)
    assert "Traceback" not in found


def test_a_peer_may_not_send_endless_documents(app, monkeypatch):
    monkeypatch.setattr("swift.container.server.MAX_ROWS", 2)
    row = {"name": "o", "created_at": "1", "size": 1, "content_type": "t", "etag": "e", "deleted": 0}
    body = json.dumps([row] * 3)
    status, _, found = call(app, "UPDATE", C, "", {"X-Timestamp": "1"}, body)
    assert (status, found) == (400, "more than 2 rows")


@pytest.mark.parametrize(
    "row",
    [
        {"size": "x"},
        {"size": 2**70},
        {"deleted": 7},
        {"created_at": "x"},
        {"created_at": "1+zz"},
        {"created_at": None},
        {"name": ""},
        {"name": "\ud800"},
        {"name": None},
        {"etag": None},
        {"storage_policy_index": -1},
        {"meta_timestamp": "x"},
    ],
)
def test_bad_rows_of_an_update(app, row):
    good = {"name": "o", "created_at": "1", "size": 1, "content_type": "t", "etag": "e", "deleted": 0}
    status, headers, found = call(
        app, "UPDATE", C, "", {"X-Timestamp": "1"}, json.dumps([good, {**good, **row}])
    )
    assert (status, headers["Content-Type"]) == (400, "text/plain")
    assert found and listing(app) == []


def test_rows_that_never_can_be_merged_are_not_taken(app):
    """Whatever gets an answer must be in the listing."""
    status, _, _ = put_row(app, "o", X_Timestamp="1e3")
    assert status == 201
    status, _, _ = put_row(app, "p", X_Timestamp=" 1700000001.5_a ")
    assert status == 201
    assert listing(app) == ["o", "p"]


def test_a_refused_recreation_leaves_the_policy_alone(app):
    """The reference has switched the policy by then."""
    call(app, "DELETE", C, "", {"X-Timestamp": "1700000010.00000"})
    before = call(app, "HEAD", C)
    status, _, _ = put_container(app, timestamp="1700000005.00000", X_Backend_Storage_Policy_Index="2")
    assert status == 409
    assert call(app, "HEAD", C) == before
    status, headers, _ = put_container(app, timestamp="1700000011.00000", X_Backend_Storage_Policy_Index="2")
    assert (status, headers["X-Backend-Storage-Policy-Index"]) == (201, "2")


def test_a_refused_delete_leaves_metadata_alone(app):
    """The reference clears what is older than the refused request."""
    call(app, "POST", C, "", {"X-Timestamp": "1700000001.00000", "X-Container-Meta-A": "b"})
    call(app, "POST", C, "", {"X-Timestamp": "1700000009.00000", "X-Container-Meta-B": "c"})
    assert call(app, "DELETE", C, "", {"X-Timestamp": "1700000005.00000"})[0] == 409
    assert call(app, "HEAD", C)[1]["X-Container-Meta-A"] == "b"
    put_row(app, "o")
    assert call(app, "DELETE", C, "", {"X-Timestamp": "1700000020.00000"})[0] == 409
    assert call(app, "HEAD", C)[1]["X-Container-Meta-A"] == "b"


def test_too_much_metadata_changes_nothing(app):
    many = {f"X-Container-Meta-{n}": "v" for n in range(91)}
    before = call(app, "HEAD", C)
    for headers, text in (
        (many, "Too many metadata items; max 90"),
        ({"X-Container-Meta-A": "v" * 4100}, "Total metadata too large; max 4096"),
        ({"X-Container-Meta-A": "\udcff"}, None),
    ):
        if text is None:
            continue
        for method in ("PUT", "POST"):
            status, _, body = call(app, method, C, "", {"X-Timestamp": "1700000009.00000", **headers})
            assert (status, body) == (400, text)
    assert call(app, "HEAD", C) == before
    status, _, _ = put_container(
        app, "/sda1/1/AUTH_a/new", **{k.replace("-", "_"): v for k, v in many.items()}
    )
    assert status == 400
    assert call(app, "HEAD", "/sda1/1/AUTH_a/new")[0] == 404


def test_a_changed_sync_target_starts_from_the_beginning(app, conf):
    from swift.container.broker import ContainerBroker

    target = {"X-Timestamp": "1700000001.00000", "X-Container-Sync-To": "http://127.0.0.1/v1/a/c"}
    assert call(app, "POST", C, "", target)[0] == 204
    broker = ContainerBroker(database(conf))
    broker.set_x_container_sync_points(5, 6)
    call(app, "POST", C, "", {**target, "X-Timestamp": "1700000002.00000"})
    assert broker.info()["x_container_sync_point1"] == 5
    call(
        app,
        "POST",
        C,
        "",
        {"X-Timestamp": "1700000003.00000", "X-Container-Sync-To": "http://127.0.0.1/v1/a/d"},
    )
    assert broker.info()["x_container_sync_point1"] == -1


class Accounts:
    def __init__(self, monkeypatch, *statuses):
        self.statuses = list(statuses)
        monkeypatch.setattr(account_update.AccountReports, "_put", lambda *args: self.statuses.pop(0))


ACCOUNTS = {
    "X-Account-Host": "127.0.0.1:1,127.0.0.1:2",
    "X-Account-Device": "a,b",
    "X-Account-Partition": "5",
}


def test_a_container_of_no_account_is_not_left_behind(app, monkeypatch):
    """The reference answers 404 and keeps it."""
    Accounts(monkeypatch, 404, 404, 404, 0)
    path = "/sda1/1/AUTH_a/new"
    headers = {"X-Timestamp": "1700000001.00000", **ACCOUNTS}
    assert call(app, "PUT", path, "", headers)[0] == 404
    assert call(app, "HEAD", path)[1]["X-Backend-Put-Timestamp"] == "0000000000.00000"
    assert call(app, "PUT", path, "", headers)[0] == 201, "one account server didn't say 404"


def test_a_container_that_existed_stays(app, monkeypatch):
    Accounts(monkeypatch, 404, 404)
    assert call(app, "PUT", C, "", {"X-Timestamp": "1700000001.00000", **ACCOUNTS})[0] == 404
    assert call(app, "HEAD", C)[0] == 204


def test_a_container_that_was_used_meanwhile_stays(app, monkeypatch):
    path = "/sda1/1/AUTH_a/new"

    def use(*args):
        call(app, "PUT", f"{path}/o", "", ROW)
        return 404

    monkeypatch.setattr(account_update.AccountReports, "_put", use)
    headers = {"X-Timestamp": "1700000001.00000", **ACCOUNTS}
    assert call(app, "PUT", path, "", headers)[0] == 404
    assert listing(app, path=path) == ["o"]


def test_a_missing_device(app, conf):
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        status, _, body = call(app, method, "/sdb1/1/AUTH_a/c", "", ROW)
        assert status == 507
    assert not os.path.exists(f"{conf['devices']}/sdb1")


def test_no_room(conf):
    app = ContainerServer({**conf, "fallocate_reserve": "100%"}, Logger())
    for method, path in (("PUT", C), ("POST", C), ("PUT", C + "/o"), ("UPDATE", C)):
        assert call(app, method, path, "", ROW, "[]")[0] == 507
    assert call(app, "HEAD", C)[0] == 404


def test_a_device_that_is_not_mounted(conf):
    app = ContainerServer({**conf, "mount_check": "true"}, Logger())
    assert put_container(app)[0] == 507
    open(f"{conf['devices']}/sda1/.ismount", "w").close()
    assert put_container(app)[0] == 201


def test_damage_is_answered_once_and_set_aside(app, conf):
    put_row(app, "o")
    path = database(conf)
    with open(path, "r+b") as file:
        file.write(b"\0" * 4096)
    os.utime(path)
    assert call(app, "GET", C)[0] == 500
    assert call(app, "GET", C)[0] == 404
    assert os.listdir(f"{conf['devices']}/sda1/quarantined/containers")


def test_rows_are_merged_behind_the_writers_back(app, conf, monkeypatch):
    from swift.core.concurrency import sleep

    monkeypatch.setattr(db_server.pending, "MERGE_ABOVE", 2000)
    for n in range(40):
        assert put_row(app, f"o{n:02d}")[0] == 201
    for _ in range(200):
        sleep(0.01)
        if os.path.getsize(database(conf) + ".pending") <= 2000:
            break
    assert os.path.getsize(database(conf) + ".pending") <= 2000
    assert len(listing(app)) == 40


def test_back_pressure(app, conf, monkeypatch):
    monkeypatch.setattr(db_server.pending, "MERGE_ABOVE", 10)
    monkeypatch.setattr(db_server, "BACK_PRESSURE", 20)
    for name in "opqr":
        put_row(app, name)
        assert os.path.getsize(database(conf) + ".pending") < 200, "no more than the last record"
    assert listing(app) == ["o", "p", "q", "r"]


def test_writers_wait_for_a_merge_that_cannot_keep_up(app, conf, monkeypatch):
    from swift.core.concurrency import GreenPool, sleep

    monkeypatch.setattr(db_server.pending, "MERGE_ABOVE", 10)
    monkeypatch.setattr(db_server, "BACK_PRESSURE", 500)

    class Pool:
        inline = False
        path = "/"

        def leave(self, function, *args):
            function(*args)

        def run(self, function, *args):
            sleep(0.02)
            return function(*args)

        run_long = run

    monkeypatch.setattr(db_server, "pool_for", lambda path: Pool())
    pool = GreenPool()
    for n in range(30):
        pool.spawn_n(put_row, app, f"o{n:02d}")
    pool.waitall()
    assert os.path.getsize(database(conf) + ".pending") < 30 * 150, "the rows of one trip at the most"
    monkeypatch.undo()
    assert len(listing(app)) == 30


def test_who_waits_for_a_merge_may_go(app, conf, monkeypatch):
    """A request that is killed in the wait for a merge leaves nobody behind."""
    from swift.core.concurrency import Timeout, kill, sleep, spawn

    monkeypatch.setattr(db_server.pending, "MERGE_ABOVE", 10)
    monkeypatch.setattr(db_server, "BACK_PRESSURE", 20)
    gate = []

    class Pool:
        inline = False
        path = "/"

        def leave(self, function, *args):
            function(*args)

        def run(self, function, *args):
            while not gate and "shorten" in function.__name__:
                sleep(0.001)
            return function(*args)

        run_long = run

    monkeypatch.setattr(db_server, "pool_for", lambda path: Pool())
    first = spawn(put_row, app, "a")
    sleep(0.05)
    second = spawn(put_row, app, "b")
    sleep(0.05)
    kill(first)
    gate.append(1)
    with Timeout(60):
        assert second.wait()[0] == 201
    assert put_row(app, "c")[0] == 201


def test_rows_that_survive_power_loss(conf, monkeypatch):
    app = ContainerServer({**conf, "sync_pending_updates": "yes"}, Logger())
    put_container(app)
    synced = []
    monkeypatch.setattr("swift.db.appends.sync_file", lambda path: synced.append(os.path.getsize(path)))
    assert put_row(app, "o")[0] == 201
    assert synced == [os.path.getsize(database(conf) + ".pending")]

    def fail(path):
        raise OSError(5, "I/O error")

    monkeypatch.setattr("swift.db.appends.sync_file", fail)
    assert put_row(app, "p")[0] == 507


def test_a_container_whose_file_is_empty_is_made_anew_by_a_put(app, conf):
    path = database(conf)
    os.truncate(path, 0)
    os.utime(path, (1, 1))
    assert call(app, "PUT", C, "", {"X-Timestamp": "1700000009.00000"})[0] == 201
    assert call(app, "HEAD", C)[0] == 204
    assert len(os.listdir(f"{conf['devices']}/sda1/quarantined/containers")) == 1
    assert len(app.logger.lines) == 2, "a line for what was moved, a line for the request"


def test_a_row_of_a_container_whose_file_is_empty_is_refused_until_it_is_made_anew(app, conf):
    path = database(conf)
    os.truncate(path, 0)
    os.utime(path, (1, 1))
    assert call(app, "POST", C, "", {"X-Timestamp": "1700000009.00000"})[0] == 500
    assert put_row(app, "o")[0] == 404
    assert call(app, "PUT", C, "", {"X-Timestamp": "1700000009.00000"})[0] == 201
    assert put_row(app, "o")[0] == 201


def test_a_device_without_room_takes_no_rows(conf):
    app = ContainerServer({**conf, "fallocate_reserve": "100%"}, Logger())
    assert call(app, "PUT", C, "", {"X-Timestamp": "1700000000.00000"})[0] == 507


def test_a_slow_disk_delays_nobody_on_another(tmp_path, monkeypatch):
    """Every row goes to its disk in that disk's own threads."""
    from swift.core.concurrency import raw_threading, sleep, spawn

    monkeypatch.setattr("swift.engine.threads.is_memory_file_system", lambda path: False)
    conf = make_conf(tmp_path)
    (tmp_path / "node" / "sdb1").mkdir()
    app = ContainerServer(conf, Logger())
    for device in ("sda1", "sdb1"):
        path = C.replace("sda1", device)
        assert call(app, "PUT", path, "", {"X-Timestamp": "1700000000.00000"})[0] == 201
    go_on, append = raw_threading.Event(), db_server.pending.append

    def slow(path, data):
        if "/sda1/" in path:
            go_on.wait(30)
        return append(path, data)

    monkeypatch.setattr(db_server.pending, "append", slow)
    hung = spawn(put_row, app, "o")
    sleep(0.05)
    other = C.replace("sda1", "sdb1")
    assert call(app, "PUT", f"{other}/o", "", {**ROW, "X-Timestamp": "1700000001.00000"})[0] == 201
    assert call(app, "GET", other)[2] == "o\n"
    assert not hung.dead
    go_on.set()
    assert hung.wait()[0] == 201


def test_listing_of_another_policy(app):
    put_row(app, "zero")
    put_row(app, "one", X_Backend_Storage_Policy_Index="1")
    assert listing(app) == ["zero"]
    assert listing(app, headers={"X-Backend-Storage-Policy-Index": "1"}) == ["one"]
    assert call(app, "HEAD", C)[1]["X-Container-Object-Count"] == "1"


def test_reserved_names(app):
    path = "/sda1/1/AUTH_a/%00r%00c"
    assert put_container(app, path)[0] == 201
    assert call(app, "PUT", f"{path}/%00o", "", ROW)[0] == 201
    assert call(app, "PUT", f"{path}/o", "", ROW)[0] == 400
    assert listing(app, path=path) == []
    assert listing(app, path=path, headers={"X-Backend-Allow-Reserved-Names": "true"}) == ["\0o"]


def test_headers_go_out_as_wire_bytes(app):
    call(app, "POST", C, "", {"X-Timestamp": "1700000001.00000", "X-Container-Meta-A": "日本"})
    assert call(app, "HEAD", C)[1]["X-Container-Meta-A"] == "日本"


def test_not_utf8_in_headers(app):
    environ_value = b"\xff".decode("latin-1")

    class Raw(str):
        def encode(self, *args):
            return self

        def decode(self, *args):
            return environ_value

    status, _, body = call(
        app, "POST", C, "", {"X-Timestamp": "1700000001.00000", "X-Container-Meta-A": Raw("x")}
    )
    assert (status, body) == (400, "Metadata must be valid UTF-8")


def test_accept(app):
    assert call(app, "GET", C, "", {"Accept": "application/*"})[1]["Content-Type"].startswith(
        "application/json"
    )
    assert call(app, "GET", C, "", {"Accept": "text/xml"})[1]["Content-Type"].startswith("text/xml")
    assert call(app, "GET", C, "", {"Accept": "a;"})[0] == 400
    assert call(app, "HEAD", C, "", {"Accept": "image/png"})[0] == 406


def test_two_writers_of_one_name(app):
    """The later time wins whatever the order; of equal times, what came first."""
    put_row(app, "o", "1700000005.00000", X_Size="5")
    put_row(app, "o", "1700000003.00000", X_Size="3")
    put_row(app, "o", "1700000005.00000", X_Size="7")
    status, headers, body = call(app, "GET", C, "format=json")
    assert json.loads(body)[0]["bytes"] == 5
    assert headers["X-Container-Bytes-Used"] == "5"
    call(app, "DELETE", f"{C}/o", "", {"X-Timestamp": "1700000005.00000"})
    assert listing(app) == ["o"]
    call(app, "DELETE", f"{C}/o", "", {"X-Timestamp": "1700000006.00000"})
    assert listing(app) == []
    put_row(app, "o", "1700000006.00000")
    assert listing(app) == []


def test_changes_of_a_container_are_on_disk_when_they_are_acknowledged(app, conf, monkeypatch):
    """SQLite commits by removing its journal: the directory must be synced for that to last."""
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1]
    )
    rows = json.dumps(
        [{"name": "o", "created_at": "1700000009.00000", "size": 1, "content_type": "t", "etag": "e"}]
    )
    for method, headers, body in (
        ("PUT", {"X-Timestamp": "1700000001.00000", "X-Container-Meta-A": "b"}, ""),
        ("PUT", {"X-Timestamp": "1700000002.00000"}, ""),
        ("POST", {"X-Timestamp": "1700000003.00000", "X-Container-Meta-A": "c"}, ""),
        ("DELETE", {"X-Timestamp": "1700000004.00000"}, ""),
        ("PUT", {"X-Timestamp": "1700000005.00000"}, ""),
        ("UPDATE", {"X-Timestamp": "1700000006.00000"}, rows),
    ):
        synced.clear()
        status, _, _ = call(app, method, C, "", headers, body)
        assert 200 <= status < 300, (method, status)
        directory = os.path.dirname(database(conf))
        assert synced and synced[-1] == directory, method


@pytest.mark.parametrize("partition", ["9" * 300, "99999999999"])
def test_partitions_that_no_ring_has(app, partition):
    for method, path in (
        ("PUT", "a/c"),
        ("GET", "a/c"),
        ("PUT", "a/c/o"),
        ("DELETE", "a/c/o"),
        ("HEAD", "a/c"),
    ):
        headers = {"X-Timestamp": "1700000001.00000", "X-Size": "1", "X-Content-Type": "t", "X-Etag": "e"}
        assert call(app, method, f"/sda1/{partition}/{path}", "", headers)[0] == 400


def test_a_row_that_comes_behind_a_deletion_is_listed(app):
    """The upload that it tells of was acknowledged by who did not know of the deletion yet."""
    assert call(app, "DELETE", C, "", {"X-Timestamp": "1700000010.00000"})[0] == 204
    assert call(app, "HEAD", C)[0] == 404
    put_row(app, "late", "1700000011.00000")
    status, headers, body = call(app, "GET", C)
    assert (status, headers["X-Container-Object-Count"], body) == (200, "1", "late\n")
