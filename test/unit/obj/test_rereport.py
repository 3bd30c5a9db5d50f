"""Objects that no listing was told of, or whose listings forgot them, are reported again: killed servers and power cuts, really killed."""

import os
import signal
import time

import pytest
from obj_app import App
from obj_container import ContainerServer
from test_updater import FakeRing

from swift.engine import fault_points
from swift.obj import boots, in_hand, rereport
from swift.obj.updater import ObjectUpdater

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

T1, T2, T3, T4 = (f"170000000{n}.00000" for n in (1, 2, 3, 4))
ROW = {"X_Container_Partition": "1", "X_Container_Host": "127.0.0.1:1", "X_Container_Device": "x"}


@pytest.fixture
def cluster(root, monkeypatch):
    """(app, updater, one container server that takes all)."""
    monkeypatch.setattr(rereport, "GRACE", 0)
    app = App(root, writer_process="false")
    app.server.devices.get("sda").inline = True  # no threads: these tests fork
    server = ContainerServer()
    conf = {
        "devices": root,
        "swift_dir": f"{root}/etc",
        "mount_check": "false",
        "recon_cache_path": root,
        "objects_per_second": "0",
    }
    updater = ObjectUpdater(conf, app.log, FakeRing([server]))
    updater.devices.get("sda").inline = True
    yield app, updater, server
    server.close()


def killed(point, function):
    """Run in a child that is killed at the fault point."""
    pid = os.fork()
    if pid == 0:
        try:
            fault_points.arm(point)
            function()
        finally:
            os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def put(app, name, timestamp, body, **headers):
    return app.request("PUT", f"/sda/7{name}", body, X_Timestamp=timestamp, **headers)


def told(server):
    """What the container server was told since the last time: (verb, path, headers that matter)."""
    wanted = (
        "X-Timestamp",
        "X-Size",
        "X-Etag",
        "X-Content-Type",
        "X-Content-Type-Timestamp",
        "X-Meta-Timestamp",
    )
    rows = [(m, p, {k: h[k] for k in wanted if k in h}) for m, p, h in server.requests]
    server.requests.clear()
    return rows


def test_a_server_killed_between_object_and_row_has_its_row_reported(cluster):
    app, updater, server = cluster
    assert killed("write:durable", lambda: app.put(T1, b"hello", **ROW))
    assert app.get().body == b"hello" and app.pendings() == []
    updater.rereports.run_once()
    assert told(server) == [
        (
            "PUT",
            "/d0/7/a/c/o",
            {
                "X-Timestamp": T1,
                "X-Size": "5",
                "X-Etag": "5d41402abc4b2a76b9719d911017c592",
                "X-Content-Type": "text/plain",
            },
        )
    ]
    updater.rereports.run_once()
    assert told(server) == [] and in_hand_files(app) == 0


def in_hand_files(app):
    directory = in_hand.notes_directory(app.root)
    return len(os.listdir(directory)) if os.path.isdir(directory) else 0


def test_a_large_upload_a_post_and_a_delete_too(cluster):
    app, updater, server = cluster
    assert killed("write:durable", lambda: app.put(T1, b"x" * (3 << 20), **ROW))
    updater.rereports.run_once()
    assert [h["X-Size"] for _, _, h in told(server)] == [str(3 << 20)]
    post = lambda: app.request("POST", X_Timestamp=T2, Content_Type="image/png", **ROW)  # noqa: E731
    assert killed("write:durable", post)
    updater.rereports.run_once()
    ((method, _, headers),) = told(server)
    assert (method, headers["X-Timestamp"], headers["X-Meta-Timestamp"]) == ("PUT", T1, T2)
    assert (headers["X-Content-Type"], headers["X-Content-Type-Timestamp"]) == ("image/png", T2)
    assert killed("write:durable", lambda: app.request("DELETE", X_Timestamp=T3, **ROW))
    updater.rereports.run_once()
    assert told(server) == [("DELETE", "/d0/7/a/c/o", {"X-Timestamp": T3})]


def test_what_expires_is_queued_again(cluster):
    app, updater, server = cluster
    at = str(int(time.time()) + 1000)
    now = f"{time.time():.5f}"
    assert killed("write:durable", lambda: app.put(now, b"hello", X_Delete_At=at, **ROW))
    updater.rereports.run_once()
    rows = told(server)
    assert [path.rsplit("/", 3)[1:] for _, path, _ in rows] == [["a", "c", "o"], [f"{at}-a", "c", "o"]]
    assert rows[1][1].startswith("/d0/7/.expiring_objects/")
    assert rows[1][2]["X-Content-Type"] == "text/plain;swift_expirer_bytes=5"


def test_what_was_reported_or_kept_is_not_reported_again(cluster):
    app, updater, server = cluster
    app.put(T1, b"hello", **{**ROW, "X_Container_Host": server.host})
    put(app, "/a/c/kept", T1, b"hello", **ROW)
    server.requests.clear()
    pid = os.fork()
    if pid == 0:
        app.put(T2, b"more", **ROW)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    updater.rereports.run_once()
    assert told(server) == []
    assert len(app.pendings()) == 2


def test_rows_that_cannot_be_delivered_are_kept(cluster):
    app, updater, server = cluster
    server.answers[:] = [("503 Service Unavailable", [])]
    assert killed("write:durable", lambda: app.put(T1, b"hello", **ROW))
    updater.rereports.run_once()
    assert len(app.pendings()) == 1 and in_hand_files(app) == 0
    server.answers[:] = [("201 Created", [])]
    server.requests.clear()
    updater.sweep()
    assert [h["X-Timestamp"] for _, _, h in told(server)] == [T1] and app.pendings() == []


def test_a_row_that_could_not_even_be_kept_is_reported_when_the_server_has_ended(cluster, monkeypatch):
    """The object is there, the client got an error, and its disk took no pending file."""
    app, updater, server = cluster

    def fail(*args):
        raise OSError(28, "full")

    pid = os.fork()
    if pid == 0:
        try:
            monkeypatch.setattr("swift.obj.updates.write_update", fail)
            status = app.put(T1, b"hello", **ROW).status
            status += app.put(T1, b"other", **ROW).status  # 409, and nothing in doubt
        finally:
            os._exit(0 if status == 507 + 409 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    updater.rereports.run_once()
    assert [h["X-Size"] for _, _, h in told(server)] == ["5"]


def test_notes_about_a_device_that_is_away_wait_for_it(cluster):
    app, updater, server = cluster
    assert killed("write:durable", lambda: app.put(T1, b"hello", **ROW))
    os.rename(app.device, f"{app.root}/.away")
    updater.devices._devices.clear()
    updater.rereports.run_once()
    assert told(server) == [] and in_hand_files(app) == 1
    os.rename(f"{app.root}/.away", app.device)
    updater.rereports.run_once()
    assert len(told(server)) == 1 and in_hand_files(app) == 0


def restarted(app, ago):
    """As after a power cut so many seconds ago."""
    directory = f"{app.device}/{boots.DIRECTORY}"
    (own,) = os.listdir(directory)
    os.rename(f"{directory}/{own}", f"{directory}/00000000-of-another-start")
    os.utime(f"{directory}/00000000-of-another-start", (time.time() - ago,) * 2)


def test_after_a_power_cut_what_was_written_last_is_reported_whatever_its_timestamp(cluster):
    """All copies of the listing lost the rows that they had acknowledged; nothing else tells of them."""
    app, updater, server = cluster
    rows = {**ROW, "X_Container_Host": server.host}
    put(app, "/a/c/old", T1, b"old", **rows)
    where = app.where("/a/c/old")
    os.utime(where.hash_dir, (time.time() - 7200,) * 2)
    app.put(T2, b"hello", **rows)
    put(app, "/a/c/gone", T2, b"gone", **rows)
    app.request("DELETE", "/sda/7/a/c/gone", X_Timestamp=T3, **rows)
    told(server)
    updater.rereports.run_once()
    assert told(server) == []
    restarted(app, 300)
    updater.rereports.run_once()
    assert sorted((m, p, h["X-Timestamp"]) for m, p, h in told(server)) == [
        ("DELETE", "/d0/7/a/c/gone", T3),
        ("PUT", "/d0/7/a/c/o", T2),
    ]
    assert os.listdir(f"{app.device}/{boots.DIRECTORY}") == []
    updater.rereports.run_once()
    assert told(server) == []
    restarted_nothing = boots.earlier_boots(app.device)
    assert restarted_nothing == {}


def test_after_a_power_cut_what_was_written_last_is_hashed_again(cluster):
    """The line of hashes.invalid is not on the disk when a write is acknowledged: without it a node would count as the same as one that lacks it."""
    app, updater, server = cluster
    put(app, "/a/c/old", T1, b"old")
    app.put(T1, b"old")
    store = app.server.stores.get(app.server.devices.get("sda"), app.server.policies[0])
    old = app.where("/a/c/old")
    os.utime(old.hash_dir, (time.time() - 7200,) * 2)
    before = store.suffix_hashes("7").hashes
    app.request("POST", X_Timestamp=T2)
    os.truncate(f"{old.partition_dir}/hashes.invalid", 0)
    assert store.suffix_hashes("7").hashes == before
    restarted(app, 300)
    updater.rereports.run_once()
    after = store.suffix_hashes("7")
    assert after.hashes[app.where().suffix] != before[app.where().suffix]
    assert after.hashed == 1


def test_a_pass_that_is_broken_off_is_made_again(cluster, monkeypatch):
    app, updater, server = cluster
    app.put(T2, b"hello", **{**ROW, "X_Container_Host": server.host})
    told(server)
    restarted(app, 10)
    with monkeypatch.context() as patch:

        def fail(*args):
            raise OSError(5, "disk")

        patch.setattr(
            type(updater.reclaimer.stores.get(updater.devices.get("sda"), app.server.policies[0])),
            "changed",
            fail,
        )
        updater.rereports.run_once()
    assert told(server) == []
    updater.rereports.run_once()
    assert len(told(server)) == 1


def test_by_hand(cluster):
    app, updater, server = cluster
    app.put(T2, b"hello", **{**ROW, "X_Container_Host": server.host})
    told(server)
    updater.run_once(report_again=3600)
    assert [p for _, p, _ in told(server)] == ["/d0/7/a/c/o"]


def test_a_clock_that_is_set_back_is_noticed_at_the_next_write(root, monkeypatch):
    beat = boots.Beat(root)
    now = [2e9]
    monkeypatch.setattr(boots.clock, "time", lambda: now[0])
    beat.beat()
    assert beat.is_fresh()
    now[0] -= 1
    assert not beat.is_fresh()
    beat.beat()
    now[0] += boots.BEAT_SECONDS
    assert not beat.is_fresh()


def test_notes_are_not_taken_from_others(root, monkeypatch, tmp_path):
    monkeypatch.setattr(in_hand, "SHARED_MEMORY", str(tmp_path))
    directory = in_hand.notes_directory(root)
    os.mkdir(directory, 0o777)
    os.chmod(directory, 0o777)
    app = App(root)
    assert app.put(T1, b"x").status == 201
    assert any("can't be noted" in line for line in app.log.lines)
    with pytest.raises(PermissionError):
        list(in_hand.abandoned(root))


def test_no_room_for_notes_stops_nobody(root, monkeypatch):
    """A store to memory that there is no room for would be the end of the process."""

    def full(*args):
        raise OSError(28, "No space left on device")

    app = App(root)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        assert app.put(T1, b"x").status == 201
    assert any("can't be noted" in line for line in app.log.lines)


def test_more_writes_than_notes_go_on(root, monkeypatch):
    monkeypatch.setattr(in_hand, "RECORDS", 1)
    app = App(root)
    store = app.server.stores.get(app.server.devices.get("sda"), app.server.policies[0])
    place = store.locate("7", "0" * 32, None)
    first = app.server.in_hand.begin(store, place)
    second = app.server.in_hand.begin(store, place)
    assert first >= 0 > second
    app.server.in_hand.end(second)
    app.server.in_hand.end(first)
    again = app.server.in_hand.begin(store, place)
    app.server.in_hand.doubt(again)
    assert app.server.in_hand.begin(store, place) == again >= 0, "doubts make room"
