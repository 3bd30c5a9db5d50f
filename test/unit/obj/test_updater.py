"""The object-updater against scripted container servers: who is asked, what is left on disk."""

import base64
import errno
import json
import os
import shutil
import types

import pytest
from obj_app import App
from obj_container import ContainerServer
from obj_golden import load

from swift.core.concurrency import Event, Timeout, sleep, spawn
from swift.obj import async_pending
from swift.obj import missing as missing_module
from swift.obj.device import Device
from swift.obj.errors import DeviceUnavailable
from swift.obj.updater import ObjectUpdater
from swift.telemetry.node_metrics import state_families

CASES = load("updater_and_quarantine.json")["updater"]
T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
OK, BAD, NONE = ("201 Created", []), ("500 Internal Error", []), ("404 Not Found", [])


def moved(path, time="1800000000.00000"):
    return (
        "301 Moved Permanently",
        [
            ("Location", f"/{path}/o"),
            ("X-Backend-Location-Is-Quoted", "true"),
            ("X-Backend-Redirect-Timestamp", time),
        ],
    )


class FakeRing:
    def __init__(self, servers):
        self.nodes = [
            {"id": n, "device": f"d{n}", "ip": "127.0.0.1", "port": 1, "replication_ip": "127.0.0.1",
             "replication_port": int(s.host.rpartition(":")[2]), "index": n}
            for n, s in enumerate(servers)
        ]  # fmt: skip

    def get_nodes(self, account, container):
        return 7, self.nodes


@pytest.fixture
def cluster(root):
    """start(answers of server 0, of server 1, ...) → (app, updater, servers)."""
    started = []

    def start(*scripts, **conf):
        app = App(root)
        servers = [ContainerServer(*script) for script in scripts]
        started.extend(servers)
        base = {
            "devices": root,
            "swift_dir": f"{root}/etc",
            "mount_check": "false",
            "recon_cache_path": root,
            "objects_per_second": "0",
        }
        updater = ObjectUpdater({**base, **conf}, app.log, FakeRing(servers))
        return app, updater, servers

    yield start
    for server in started:
        server.close()


def keep(app, name="/a/c/o", timestamp=T1, **changes):
    account, container, obj = name[1:].split("/", 2)
    update = {
        "op": "PUT",
        "account": account,
        "container": container,
        "obj": obj,
        "headers": {"X-Size": "1", "X-Timestamp": timestamp},
        "db_state": None,
        **changes,
    }
    return async_pending.write_update(app.device, 0, app.where(name).name_hash, timestamp, update)


def asked(servers):
    return [[path for _, path, _ in server.requests] for server in servers]


def test_delivered_everywhere_the_file_goes(cluster):
    app, updater, servers = cluster([OK], [OK], [OK])
    path = keep(app)
    updater.run_once()
    assert asked(servers) == [["/d0/7/a/c/o"], ["/d1/7/a/c/o"], ["/d2/7/a/c/o"]]
    method, _, headers = servers[0].requests[0]
    headers.pop("Host")
    assert method == "PUT"
    assert headers == {
        "X-Size": "1",
        "X-Timestamp": T1,
        "User-Agent": f"object-updater {os.getpid()}",
        "X-Backend-Storage-Policy-Index": "0",
        "X-Backend-Accept-Redirect": "true",
        "X-Backend-Accept-Quoted-Location": "true",
    }
    assert not os.path.exists(path) and not os.path.exists(os.path.dirname(path))


def test_what_an_object_server_keeps_is_delivered(cluster):
    app, updater, servers = cluster([OK])
    host = {"X_Container_Partition": "1", "X_Container_Host": "127.0.0.1:1", "X_Container_Device": "x"}
    app.request("PUT", "/sda/7/a/c/\u00c3\u00bc", b"x", X_Timestamp=T1, **host)
    app.request("DELETE", "/sda/7/a/c/gone", X_Timestamp=T1, **host)
    updater.run_once()
    assert sorted((m, p) for m, p, _ in servers[0].requests) == [
        ("DELETE", "/d0/7/a/c/gone"),
        ("PUT", "/d0/7/a/c/\u00c3\u00bc"),
    ]
    assert app.pendings() == []


def test_only_those_that_failed_are_asked_again(cluster):
    app, updater, servers = cluster([OK], [BAD, OK], [OK])
    path = keep(app)
    updater.run_once()
    assert async_pending.read_update(path)["successes"] == [0, 2]
    updater.run_once()
    assert [len(s.requests) for s in servers] == [1, 2, 1]
    assert not os.path.exists(path)


@pytest.mark.parametrize("what", ["the file", "the disk"])
def test_what_is_gone_meanwhile_stays_gone(cluster, monkeypatch, what):
    """Delivered by somebody else, or the disk was emptied: no file comes of it, and no traceback."""
    app, updater, _ = cluster([OK], [BAD], [OK])
    path = keep(app)
    deliver = updater.delivery.deliver

    def deliver_and_lose(*args):
        found = deliver(*args)
        os.unlink(path)
        if what == "the disk":
            shutil.rmtree(f"{app.device}/async_pending")
            shutil.rmtree(f"{app.device}/tmp", ignore_errors=True)
        return found

    monkeypatch.setattr(updater.delivery, "deliver", deliver_and_lose)
    updater.run_once()
    assert not os.path.exists(path)
    assert not [line for line in map(str, app.log.lines) if "ERROR" in line]


def test_nothing_is_rewritten_when_nothing_changed(cluster):
    app, updater, _ = cluster([BAD])
    path = keep(app)
    before = os.stat(path).st_ino
    updater.run_once()
    assert os.stat(path).st_ino == before


def test_dead_server(cluster):
    app, updater, servers = cluster([OK], [OK])
    updater.delivery.ring.nodes[1]["replication_port"] = 1
    path = keep(app)
    updater.run_once()
    assert async_pending.read_update(path)["successes"] == [0]


def test_newest_update_of_an_object_is_enough(cluster):
    app, updater, servers = cluster([OK])
    keep(app, timestamp=T1)
    keep(app, timestamp=T3)
    keep(app, timestamp=T2)
    updater.run_once()
    assert [h["X-Timestamp"] for _, _, h in servers[0].requests] == [T3]
    assert app.pendings() == []


def test_redirect_is_followed_at_once(cluster):
    app, updater, servers = cluster([moved(".shards_a/s%201"), OK], [OK])
    keep(app)
    updater.run_once()
    assert asked(servers) == [
        ["/d0/7/a/c/o", "/d0/7/.shards_a/s 1/o"],
        ["/d1/7/a/c/o", "/d1/7/.shards_a/s 1/o"],
    ]
    assert app.pendings() == []


def test_newest_redirect_counts(cluster):
    app, updater, servers = cluster([moved("a/old", T1), OK], [moved("a/new", T2), OK])
    keep(app)
    updater.run_once()
    assert asked(servers)[0] == ["/d0/7/a/c/o", "/d0/7/a/new/o"]


def test_redirect_is_kept_when_the_retry_fails(cluster):
    """The reference forgets it, and asks the wrong container for ever."""
    app, updater, servers = cluster([moved(".shards_a/s"), BAD])
    path = keep(app)
    updater.run_once()
    kept = async_pending.read_update(path)
    assert (kept["container_path"], kept["redirect_history"]) == (".shards_a/s", [".shards_a/s"])
    assert "successes" not in kept


def test_servers_that_point_at_each_other_lead_back_to_the_root(cluster):
    app, updater, servers = cluster([moved("a/s"), BAD])
    path = keep(app, container_path="a/s", redirect_history=["a/s"])
    updater.run_once()
    assert asked(servers) == [["/d0/7/a/s/o", "/d0/7/a/c/o"]]
    kept = async_pending.read_update(path)
    assert (kept["container_path"], kept["redirect_history"]) == (None, [])


def test_a_shard_that_nobody_has_any_more_leads_back_to_the_root(cluster):
    """Shards end: what was to be told to one is told to the object's container, which knows what became of it."""
    app, updater, servers = cluster([NONE, OK], [NONE, OK])
    path = keep(app, container_path=".shards_a/s", redirect_history=[".shards_a/s"])
    updater.run_once()
    kept = async_pending.read_update(path)
    assert (kept["container_path"], kept["redirect_history"]) == (None, [])
    updater.run_once()
    assert asked(servers) == [[f"/d{n}/7/.shards_a/s/o", f"/d{n}/7/a/c/o"] for n in range(2)]
    assert app.pendings() == []


def without_shards(server, environ, start_response):
    server.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], {}))
    is_gone = "/.shards_" in environ["PATH_INFO"]
    start_response("404 Not Found" if is_gone else "201 Created", [("Content-Length", "0")])
    return [b""]


def test_all_updates_for_a_shard_that_is_gone_lead_back_at_once(cluster, monkeypatch):
    """One of them finds out; the others need not wait until its servers are asked again, one by one."""
    monkeypatch.setattr(ContainerServer, "__call__", without_shards)
    app, updater, servers = cluster([OK], [OK], concurrency="1")
    for n in range(5):
        keep(app, f"/a/c/{n}", container_path=".shards_a/s", redirect_history=[".shards_a/s"])
    updater.run_once()
    updater.run_once()
    assert app.pendings() == []
    assert [sum(".shards_" in path for path in paths) for paths in asked(servers)] == [1, 1]


def test_who_rests_does_not_keep_an_update_at_a_shard_that_is_gone(cluster, monkeypatch):
    monkeypatch.setattr(ContainerServer, "__call__", without_shards)
    app, updater, _ = cluster([OK], [OK])
    updater.missing.found(updater.delivery.ring.nodes[0], ".shards_a", "s", T1)
    keep(app, container_path=".shards_a/s")
    updater.run_once()
    updater.run_once()
    assert app.pendings() == []


def test_a_shard_that_one_server_may_have_is_not_given_up(cluster):
    app, updater, servers = cluster([BAD], [NONE])
    path = keep(app, container_path=".shards_a/s")
    for _ in range(2):
        updater.run_once()
        assert async_pending.read_update(path)["container_path"] == ".shards_a/s"
    assert [len(server.requests) for server in servers] == [2, 1]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Location", "nonsense"), ("X-Backend-Redirect-Timestamp", T1)],
        [("Location", "/a/c/o")],
        [("Location", "/a/c/o"), ("X-Backend-Redirect-Timestamp", "x")],
    ],
)
def test_bad_redirects_are_failures(cluster, headers):
    app, updater, servers = cluster([("301 Moved Permanently", headers)])
    path = keep(app)
    updater.run_once()
    assert len(servers[0].requests) == 1 and os.path.exists(path)


@pytest.mark.parametrize("case", CASES, ids=[c["case"] for c in CASES])
def test_golden(cluster, case):
    """The same requests as the reference, in the same order, and the same file afterwards (but for its lost redirect)."""
    scripts = {
        "partial": [[OK], [BAD], [OK]],
        "resume": [[OK], [moved(".shards_AUTH_test/c-shard"), BAD], [OK]],
        "redirect-loop": [[OK], [moved(".shards_AUTH_test/c-shard"), BAD], [BAD]],
        "done": [[OK], [OK], [OK]],
    }[case["case"]]
    app, updater, servers = cluster(*scripts)
    directory = f"{app.device}/async_pending/fff"
    os.makedirs(directory)
    path = f"{directory}/4d3f950d42b5a4cf099a404509f7dfff-1700000000.00001"
    with open(path, "wb") as f:
        f.write(base64.b64decode(case["before_b64"]))
    updater.run_once()
    expected = [[] for _ in servers]
    for request in case["requests"]:
        expected[request["node_id"]].append(f"/d{request['node_id']}/7{request['path']}")
    assert asked(servers) == expected
    if case["after_decoded"] is None:
        assert not os.path.exists(path)
        return
    kept = async_pending.read_update(path)
    if case["case"] == "redirect-loop":
        assert (kept["container_path"], kept["redirect_history"]) == (None, [])
    else:
        assert kept == case["after_decoded"]


@pytest.mark.parametrize("content", [b"", b"junk", b"cos\nsystem\n(S'x'\ntR."])
def test_unreadable_files_are_quarantined(cluster, content):
    app, updater, servers = cluster([OK])
    path = keep(app)
    with open(path, "wb") as f:
        f.write(content)
    updater.run_once()
    assert servers[0].requests == []
    assert os.listdir(f"{app.device}/quarantined/objects") == [os.path.basename(path)]
    assert app.pendings() == []


def test_names_that_make_no_sense_are_left_alone(cluster):
    app, updater, servers = cluster([OK])
    directory = f"{app.device}/async_pending/abc"
    os.makedirs(directory)
    os.makedirs(f"{app.device}/async_pending-9/abc")
    for name in ("x", "a-b", "0" * 32 + "-1-2"):
        open(f"{directory}/{name}", "w").close()
    open(f"{app.device}/async_pending/file", "w").close()
    updater.run_once()
    assert len(os.listdir(directory)) == 3 and servers[0].requests == []
    assert any("async_pending-9 does not map to a valid policy" in line for line in app.log.lines)


def test_one_broken_update_stops_nobody(cluster):
    app, updater, servers = cluster([OK])
    keep(app, "/a/c/broken", headers={"X-Size": "a\nb"})
    keep(app, "/a/c/wrong", container_path="no-container")
    keep(app, "/a/c/good")
    updater.run_once()
    assert asked(servers) == [["/d0/7/a/c/good"]]
    assert len(app.pendings()) == 2


def test_containers_that_get_too_many_wait(cluster):
    app, updater, servers = cluster([OK], interval="0.5", max_objects_per_container_per_second="20")
    for n in range(6):
        keep(app, f"/a/c/o{n}")
    updater.run_once()
    assert app.pendings() == []
    assert any("5 deferrals, 5 drains" in line for line in app.log.lines)


def test_no_more_are_deferred_than_allowed(cluster):
    app, updater, servers = cluster(
        [OK], interval="0.2", max_objects_per_container_per_second="1", max_deferred_updates="2"
    )
    for n in range(6):
        keep(app, f"/a/c/o{n}")
    updater.run_once()
    assert len(servers[0].requests) == 1 and len(app.pendings()) == 5
    assert any("5 skips, 5 deferrals, 0 drains" in line for line in app.log.lines)


def test_recon_and_summary(cluster):
    app, updater, _ = cluster([BAD])
    keep(app, "/a/c/o", T2)
    keep(app, "/a/d/o", T1)
    updater.run_once()
    with open(f"{app.root}/object.recon") as f:
        recon = json.load(f)
    stats = recon["object_updater_stats"]
    assert stats["failures_account_container_count"] == 2
    assert stats["failures_oldest_timestamp"] == float(T1)
    assert [
        e["container"] for e in stats["failures_oldest_timestamp_account_containers"]["oldest_entries"]
    ] == ["d", "c"]
    assert set(recon["object_updater_per_device"]) == {"sda", "etc"}
    summary = (
        "seconds:, 0 successes, 2 failures, 0 quarantines, 0 unlinks, 0 outdated_unlinks, 0 errors, 0 redirects, "
        "0 skips, 0 deferrals, 0 drains (pid: "
    )
    assert any(summary in line for line in app.log.lines)


def test_unmounted_devices_are_skipped(cluster):
    app, updater, servers = cluster([OK], mount_check="true")
    keep(app)
    updater.run_once()
    assert servers[0].requests == [] and len(app.pendings()) == 1


def test_old_temporary_files_are_removed(cluster):
    app, updater, _ = cluster([OK])
    os.makedirs(f"{app.device}/tmp-1")
    for name, time in (("old", 0), ("new", None)):
        open(f"{app.device}/tmp-1/{name}", "w").close()
        if time is not None:
            os.utime(f"{app.device}/tmp-1/{name}", (time, time))
    updater.run_once()
    assert os.listdir(f"{app.device}/tmp-1") == ["new"]


@pytest.mark.parametrize(
    "code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.ESTALE, errno.EINTR]
)
def test_an_update_that_cannot_be_read_now_is_delivered_by_the_next_sweep(cluster, monkeypatch, code):
    app, updater, servers = cluster([OK])
    path = keep(app)
    with monkeypatch.context() as patch:

        def fail(name):
            raise OSError(code, os.strerror(code))

        patch.setattr(async_pending, "_read", fail)
        updater.run_once()
    assert app.pendings() == [path] and not os.path.exists(f"{app.device}/quarantined")
    updater.run_once()
    assert app.pendings() == [] and len(servers[0].requests) == 1


def lines_about(app, text):
    return [line for line in app.log.lines if text in line]


def test_a_server_without_the_database_is_asked_ever_more_rarely_and_named_once(cluster, monkeypatch):
    """100 updates of a container that one server lacks: 100 requests to it in each sweep, and no word of why."""
    app, updater, servers = cluster([OK], [NONE])
    now = [1000.0]
    monkeypatch.setattr(missing_module, "clock", types.SimpleNamespace(monotonic=lambda: now[0]))
    updater.concurrency = 1
    for n in range(20):
        keep(app, f"/a/c/o{n}")
    keep(app, "/a/other/o")
    counts = []
    for _ in range(200):  # two hours
        updater.run_once()
        counts.append(len(servers[1].requests))
        now[0] += 36
    assert len(servers[0].requests) == 21, "those that have it are told all at once"
    assert counts[0] == 2, "one question for each container"
    assert counts[99] <= 14 and counts[-1] - counts[99] <= 4
    told = lines_about(app, "has no database of a/c (404)")
    assert len(told) == 1 and f"127.0.0.1:{servers[1].host.rpartition(':')[2]}/d1" in told[0]
    assert len(app.pendings()) == 21
    servers[1].answers[:] = [OK]
    now[0] += 3600
    updater.run_once()
    assert app.pendings() == [] and len(updater.missing) == 0
    assert lines_about(app, "has a database of a/c now")


def test_what_is_known_of_missing_databases_is_bounded(cluster):
    app, updater, servers = cluster([NONE])
    rests = updater.missing
    for n in range(30_000):
        rests.found({"id": 1, "ip": "1", "port": 1, "device": "d"}, "a", f"c{n}", "1")
    assert len(rests) == 10_000 and len(lines_about(app, "has no database")) == 100
    rests.begin_sweep()
    assert lines_about(app, "lack 29900 more databases")


def test_missing_databases_need_not_be_remembered(cluster):
    app, updater, servers = cluster([NONE], missing_container_retry="0")
    for n in range(3):
        keep(app, f"/a/c/o{n}")
    updater.run_once()
    updater.run_once()
    assert len(servers[0].requests) == 6


def test_recon_and_metrics_know_how_many_updates_wait(cluster):
    app, updater, _ = cluster([OK], [BAD])
    for n in range(7):
        keep(app, f"/a/c/o{n}")
    keep(app, "/a/c/o1", T2)
    os.makedirs(f"{app.device}/async_pending-1/abc")
    updater.run_once()
    with open(f"{app.root}/object.recon") as f:
        recon = json.load(f)
    assert recon["async_pending"] == 7 == len(app.pendings())
    assert recon["async_pending_last"] == pytest.approx(recon["object_updater_last"], abs=60)
    families = state_families("object-server", {"devices": app.root, "recon_cache_path": app.root})
    assert [f.samples[0].value for f in families() if f.name == "swift_async_pending"] == [7]


@pytest.mark.parametrize("when", ["before", "amid"])
def test_a_hung_device_is_left_for_another_sweep_and_holds_up_no_other(cluster, monkeypatch, when):
    app, updater, servers = cluster([OK], updater_workers="1")
    other = f"{app.root}/zzz"
    os.mkdir(other)
    keep(app)
    update = async_pending.read_update(app.pendings()[0])
    async_pending.write_update(other, 0, "0" * 29 + "abc", T1, {**update, "obj": "other"})
    stuck = updater.devices.get("sda")
    free = Event()
    run = Device.run

    def hang(device, function, *args):
        if device is stuck and (when == "before" or function is async_pending.read_update):
            if when == "before":
                free.wait()
            raise DeviceUnavailable(device.name)
        return run(device, function, *args)

    monkeypatch.setattr(Device, "run", hang)
    sweep = spawn(updater.sweep)
    with Timeout(60):
        while not servers[0].requests:
            sleep(0.01)
    assert asked(servers) == [["/d0/7/a/c/other"]]
    free.send(None)
    sweep.wait()
    assert len(app.pendings()) == 1
    monkeypatch.setattr(Device, "run", run)
    updater.sweep()
    assert app.pendings() == []
    assert not lines_about(app, "Traceback")
