"""What happens to an object while something else happens to its directory: nothing acknowledged may go with it."""

import errno
import gc
import hashlib
import json
import os
import shutil
import signal

import pytest
from obj_app import App, Input
from obj_container import ContainerServer

from swift.core.concurrency import sleep
from swift.engine import durable, fault_points
from swift.engine.new_file import NewFile
from swift.obj import async_pending
from swift.obj.errors import DeviceUnavailable
from swift.obj.files import quarantine, reader, writer
from swift.wire.connection_pool import POOL
from swift.wire.errors import BadChunk, ClientDisconnected, ClientTimeout
from test.descriptors import none_left_open

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
LARGE = b"0123456789abcdef" * 20000


class PausedInput(Input):
    """A request body in the middle of which something else happens."""

    def __init__(self, data, meanwhile):
        super().__init__(data)
        self.meanwhile = meanwhile

    def recv_into(self, buffer):
        if self.meanwhile and self.tell() > len(self.getvalue()) // 2:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return super().recv_into(buffer)


@pytest.fixture
def app(root, road):
    return App(root, batch=road == "batch")


def damage(app, timestamp):
    """Flip a byte of the data file, whose metadata stays."""
    with open(f"{app.where().hash_dir}/{timestamp}.data", "r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))


def slow_put(app, timestamp, body, meanwhile, monkeypatch):
    monkeypatch.setattr("obj_app.Input", lambda data, error: PausedInput(data, meanwhile))
    try:
        return app.put(timestamp, body)
    finally:
        monkeypatch.undo()


def test_an_upload_does_not_end_in_a_directory_that_was_quarantined_meanwhile(app, monkeypatch):
    app.put(T1, b"old")
    damage(app, T1)

    def meanwhile():
        assert app.get().status == 404
        assert not os.path.exists(app.where().hash_dir)

    assert slow_put(app, T2, LARGE, meanwhile, monkeypatch).status == 201
    got = app.get()
    assert (got.status, got.body) == (200, LARGE)
    assert app.files() == [f"{T2}.data"]


def test_nor_in_one_that_was_made_anew(app, monkeypatch):
    app.put(T1, b"old")
    damage(app, T1)

    def meanwhile():
        assert app.get().status == 404
        assert app.put(T3, b"newest").status == 201

    assert slow_put(app, T2, LARGE, meanwhile, monkeypatch).status == 201
    assert app.get().body == b"newest"
    assert app.files() == [f"{T3}.data"]


def test_the_same_again_is_not_found_in_a_quarantined_directory(app, monkeypatch):
    """The file of the same name is in the directory that was moved away: it does not count."""
    app.put(T2, LARGE)

    def meanwhile():
        quarantine.quarantine(app.where(), "by hand")

    assert slow_put(app, T2, LARGE, meanwhile, monkeypatch).status == 201
    assert app.get().body == LARGE


@pytest.mark.parametrize("newer", ["put", "delete"])
def test_damage_found_late_does_not_take_newer_files_away(app, newer):
    """A reader that is slow to find the damage of what it opened must not set aside what was written since."""
    app.put(T1, LARGE * 8)
    damage(app, T1)

    def start_response(status, headers, exc_info=None):
        assert status == "200 OK"

    request = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/sda/7/a/c/o", "wsgi.input": Input(b""), "QUERY_STRING": "", "CONTENT_TYPE": "",
    }  # fmt: skip
    body = app.application(request, start_response)
    if newer == "put":
        assert app.put(T2, b"new").status == 201
    else:
        assert app.request("DELETE", X_Timestamp=T2).status == 204
    with pytest.raises(Exception, match="checksum"):
        for _ in body:
            pass
    got = app.get()
    if newer == "put":
        assert (got.status, got.body) == (200, b"new")
    else:
        assert (got.status, got.headers["x-backend-timestamp"]) == (404, T2)


def test_damaged_data_beside_newer_data_is_set_aside_alone(app):
    """As a crash before the cleanup leaves it."""
    app.put(T1, LARGE)
    old = f"{app.where().hash_dir}/{T1}.data"
    os.link(old, f"{app.device}/kept")
    app.put(T2, b"new")
    os.link(f"{app.device}/kept", old)
    quarantine.quarantine(app.where(), "by hand", data=f"{T1}.data")
    assert app.files() == [f"{T2}.data"]
    assert app.get().body == b"new"
    # and what is gone already is not set aside again
    quarantine.quarantine(app.where(), "by hand", data=f"{T1}.data")
    assert app.get().body == b"new"


def test_small_damage_that_was_replaced_meanwhile_is_no_404(app, monkeypatch):
    """Between reading a damaged object and setting it aside a new one is written: that one is the answer."""
    app.server.devices.get("sda").inline = True  # what is patched below calls the server, which no thread may
    app.put(T1, b"old")
    damage(app, T1)
    real = reader.quarantine

    def quarantine(*args, **kwargs):
        monkeypatch.setattr(reader, "quarantine", real)
        assert app.put(T2, b"new").status == 201
        return real(*args, **kwargs)

    monkeypatch.setattr(reader, "quarantine", quarantine)
    got = app.get()
    assert (got.status, got.body) == (200, b"new")


# ---------------------------------------------------------------- connections that break behind the commit


def mime(body, footers):
    text = json.dumps(footers).encode()
    digest = hashlib.md5(text).hexdigest().encode()
    return (
        b"--b\r\nX-Document: object body\r\n\r\n%s\r\n--b\r\nX-Document: object metadata\r\nContent-MD5: %s\r\n\r\n%s\r\n--b--"
        % (body, digest, text)
    )


NOBODY = {"X_Container_Partition": "1", "X_Container_Host": "127.0.0.1:1", "X_Container_Device": "sda"}


@pytest.mark.parametrize("error", [ClientDisconnected("gone"), ClientTimeout("silent"), BadChunk("bad")])
def test_a_connection_that_breaks_behind_the_document_undoes_nothing(app, error):
    """The object is on disk by then: its container must be told, or no listing would ever show it."""
    got = app.request(
        "PUT",
        body=mime(LARGE, {"Etag": hashlib.md5(LARGE).hexdigest()}),
        error=error,
        X_Timestamp=T1,
        Content_Length=None,
        Transfer_Encoding="chunked",
        X_Backend_Obj_Metadata_Footer="yes",
        X_Backend_Obj_Multipart_Mime_Boundary="b",
        X_Backend_Obj_Content_Length=str(len(LARGE)),
        **NOBODY,
    )
    assert got.status == 201
    assert app.get().body == LARGE
    assert len(app.pendings()) == 1


def test_an_upload_in_drops_ends_in_time(root):
    """The limit on an upload's time holds also where no piece of it is ever full."""
    app = App(root, max_upload_time="0")
    got = app.put(T1, LARGE, Transfer_Encoding="chunked")
    assert got.status == 408
    assert got.input.tell() < len(LARGE) / 2
    assert app.files() == []


def test_a_swamped_disk_keeps_no_descriptors(app, monkeypatch):
    device = app.server.devices.get("sda")
    real = device.run

    def run(self, function, *args):
        if function.__name__ == "close":
            raise DeviceUnavailable("swamped")
        return real(function, *args)

    app.put(T1, LARGE)
    monkeypatch.setattr(type(device), "run", run)
    app.settle()
    with none_left_open(lambda: sleep(0.01), turns=500):  # closed when the disk comes to it
        assert app.put(T2, LARGE).status == 201
        assert app.put(T3, LARGE, Etag="0" * 32).status == 422
        app.settle()


def test_what_a_thread_opened_for_nobody_is_closed(app):
    """A caller that was told to stop does not get what the thread has opened for it meanwhile."""
    app.put(T1, LARGE)
    app.settle()
    with none_left_open():
        reader.open_object(app.where())
        writer.NewObjectFile(app.where(), app.server.stores.options)
        gc.collect()
    assert app.get().status == 200


def test_a_full_disk_leaves_no_empty_directory(app, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "full")

    real = os.open
    monkeypatch.setattr(
        os,
        "open",
        lambda path, flags, *a, **k: (full if flags & os.O_TMPFILE == os.O_TMPFILE else real)(
            path, flags, *a, **k
        ),
    )
    assert app.put(T1).status == 507
    assert not os.path.exists(app.where().hash_dir)


# ---------------------------------------------------------------- the same DELETE again


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("point", ["write:linked", "write:durable", "write:cleaned"])
def test_a_delete_that_died_before_it_told_the_container_tells_it_the_next_time(app, point):
    """The proxy sends a request again when its connection turns out to be dead: with the same timestamp."""
    app.server.devices.get("sda").inline = True
    app.put(T1)
    pid = os.fork()
    if pid == 0:
        try:
            fault_points.arm(point)
            app.request("DELETE", X_Timestamp=T2, **NOBODY)
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert app.pendings() == []
    assert app.request("DELETE", X_Timestamp=T2, **NOBODY).status == 404
    assert [async_pending.read_update(path)["op"] for path in app.pendings()] == ["DELETE"]
    # an older one changes nothing and tells nobody
    assert app.request("DELETE", X_Timestamp=T1, **NOBODY).status == 404
    assert len(app.pendings()) == 1


def test_an_expired_object_is_not_taken_for_a_tombstone(app):
    app.put(T1, X_Delete_At="1700000002")
    assert app.request("DELETE", X_Timestamp=T1, **NOBODY).status == 409
    assert app.pendings() == []
    assert app.files() == [f"{T1}.data"]


# ---------------------------------------------------------------- pending updates


def test_a_vanished_device_is_not_made_anew(tmp_path):
    """An unmounted disk may have left no directory: nothing of ours must appear in its place."""
    update = {"op": "PUT", "account": "a", "container": "c", "obj": "o", "headers": {}, "db_state": None}
    device = str(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        async_pending.write_update(device, 0, "0" * 32, T1, update)
    with pytest.raises(FileNotFoundError):
        NewFile(device, f"{device}/tmp")
    assert not os.path.exists(device)


def test_the_updater_removes_the_directory_just_now(tmp_path, monkeypatch):
    """As often as it may happen within reason."""
    update = {"op": "PUT", "account": "a", "container": "c", "obj": "o", "headers": {}, "db_state": None}
    real = async_pending.write_durable
    times = iter(range(10))

    def late(path, data, tmp_dir):
        if next(times) < 3:
            os.rmdir(os.path.dirname(path))
        return real(path, data, tmp_dir)

    monkeypatch.setattr(async_pending, "write_durable", late)
    path = async_pending.write_update(str(tmp_path), 0, "0" * 32, T1, update)
    assert async_pending.read_update(path)["op"] == "PUT"


def test_slow_answers_of_several_servers_keep_no_connections(root):
    app = App(root, container_update_timeout="0.2", node_timeout="5")
    servers = [ContainerServer(delay=0.6), ContainerServer(delay=0.6)]
    try:
        hosts = {
            "X_Container_Partition": "1",
            "X_Container_Host": ",".join(server.host for server in servers),
            "X_Container_Device": "sda,sdb",
        }
        app.put(T1, **hosts)
        sleep(0.8)
        POOL.clear()
        sleep(0.05)
        with none_left_open(lambda: (POOL.clear(), sleep(0.05))):
            for timestamp in (T2, T3):
                app.put(timestamp, **hosts)
    finally:
        for server in servers:
            server.close()


@pytest.mark.parametrize("partition", ["9" * 300, "0" * 5000, "99999999999", "-1", "0x1", "١"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "HEAD"])
def test_partitions_that_no_ring_has(app, method, partition):
    path = f"/sda/{partition}/a/c/o".encode().decode("latin-1")
    got = app.request(method, path, X_Timestamp=T1, X_Object_Meta_A="b")
    assert got.status == 400
    assert not os.path.exists(f"{app.device}/objects")


# ---------------------------------------------------------------- what is on disk when the answer is out


@pytest.fixture
def events(monkeypatch):
    """fsyncs, links, renames and unlinks in their order: (what, path)."""
    seen = []

    def path_of(fd):
        return os.readlink(f"/proc/self/fd/{fd}")

    def record(name, describe):
        real = getattr(os, name)

        def call(*args, **kwargs):
            result = real(*args, **kwargs)
            seen.append((name, describe(*args, **kwargs)))
            return result

        monkeypatch.setattr(os, name, call)

    record("fsync", path_of)
    record(
        "link", lambda source, target, dst_dir_fd=None, **kwargs: os.path.join(path_of(dst_dir_fd), target)
    )
    record("rename", lambda source, target: target)
    record("unlink", lambda path, **kwargs: path)
    return seen


@pytest.mark.parametrize("size", [4, 200000])
@pytest.mark.parametrize(
    "verb, before",
    [("PUT", "nothing"), ("PUT", "data"), ("POST", "data"), ("DELETE", "nothing"), ("DELETE", "data")],
)
def test_the_order_of_a_write(app, events, verb, size, before):
    """File synced, linked, directories synced, older files removed: in this order, before the answer."""
    if before == "data":
        app.put(T1)
    events.clear()
    body = b"x" * size if verb == "PUT" else b""
    app.request(verb, body=body, X_Timestamp=T2, X_Object_Meta_A="b")
    where = app.where()
    extension = {"PUT": "data", "POST": "meta", "DELETE": "ts"}[verb]
    linked = events.index(("link", f"{where.hash_dir}/{T2}.{extension}"))
    assert any(what == "fsync" and path.endswith("(deleted)") for what, path in events[:linked])
    after = [event for event in events[linked:] if event[0] == "fsync"]
    assert [path for _, path in after][:2] == [where.hash_dir, where.suffix_dir]
    removed = [at for at, event in enumerate(events) if event == ("unlink", f"{where.hash_dir}/{T1}.data")]
    if before == "data" and verb != "POST":
        assert removed and removed[0] > events.index(after[-1])
    else:
        assert not removed
    if before == "nothing":
        parents = [app.device, f"{app.device}/objects", where.partition_dir]
        assert {path for what, path in events[linked:] if what == "fsync" and path in parents} == set(parents)


def test_directories_that_another_process_made_anew_are_synced_again(app, events):
    """It is killed before its own sync: what we acknowledge in its directory must not hang on that."""
    where = app.where()
    device = app.server.devices.get("sda")
    for turn, partition_too in enumerate((False, True)):
        assert app.put(f"17000001{turn}0.00000").status == 201
        pid = os.fork()
        if pid == 0:
            try:
                device.inline = True
                shutil.rmtree(where.partition_dir if partition_too else where.suffix_dir)
                fault_points.arm("mkdirs_durable:made:2" if partition_too else "mkdirs_durable:made")
                app.put(f"17000001{turn}1.00000")
            finally:
                os._exit(1)
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        for attempt in (2, 3):
            events.clear()
            assert app.put(f"17000001{turn}{attempt}.00000").status == 201
            synced = [path for what, path in events if what == "fsync"]
            assert (where.partition_dir in synced) == (attempt == 2)
            assert (f"{app.device}/objects" in synced) == (attempt == 2 and partition_too)


@pytest.mark.parametrize("verb", ["PUT", "POST", "DELETE"])
def test_a_pending_update_is_synced_before_the_answer(app, events, verb):
    if verb == "POST":
        app.put(T1)
    events.clear()
    app.request(verb, body=b"x" if verb == "PUT" else b"", X_Timestamp=T2, X_Object_Meta_A="b", **NOBODY)
    (path,) = app.pendings()
    renamed = events.index(("rename", path))
    assert events[renamed - 1][0] == "fsync" and events[renamed - 1][1].startswith(f"{app.device}/tmp/")
    assert events[renamed + 1] == ("fsync", os.path.dirname(path))
    assert ("fsync", f"{app.device}/async_pending") in events[:renamed]


def test_a_sync_that_fails_is_no_success(app, monkeypatch):
    """Of the file, of the directory, of its parent: each failure is told, and the object is whole or absent."""
    app.server.beat(app.server.devices.get("sda"))
    real = os.fsync
    for failing in range(1, 8):
        calls = iter(range(1, 100))

        def fsync(fd, failing=failing, calls=calls):
            if next(calls) == failing:
                raise OSError(errno.EIO, "I/O error")
            return real(fd)

        durable._known_durable.clear()
        monkeypatch.setattr(os, "fsync", fsync)
        status = app.put(f"170000{failing:04d}.00000", b"x" * 10).status
        monkeypatch.undo()
        done = next(calls) - 1
        assert status == (507 if done >= failing else 201)
        got = app.get()
        assert got.status == 404 or got.body == b"x" * 10


# ---------------------------------------------------------------- the same POST again


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("content_type", [None, "a/b"])
@pytest.mark.parametrize("point", ["write:linked", "write:durable", "write:cleaned"])
def test_a_post_that_died_before_it_told_the_container_tells_it_the_next_time(app, point, content_type):
    app.server.devices.get("sda").inline = True
    app.put(T1)
    headers = {"X_Timestamp": T2, "X_Object_Meta_A": "b", "Content_Type": content_type, **NOBODY}
    pid = os.fork()
    if pid == 0:
        try:
            fault_points.arm(point)
            app.request("POST", **headers)
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert app.pendings() == []
    assert app.request("POST", **headers).status == 202
    (path,) = app.pendings()
    told = async_pending.read_update(path)["headers"]
    assert (told["X-Meta-Timestamp"], told["X-Content-Type"]) == (T2, content_type or "text/plain")
    assert app.get().headers["x-object-meta-a"] == "b"


@pytest.mark.parametrize(
    "change",
    [
        {"X_Object_Meta_A": "c"},
        {"Content_Type": "c/d"},
        {"X_Object_Meta_B": "new"},
        {"X_Object_Meta_A": None},
    ],
)
def test_another_post_of_the_same_time_is_refused(app, change):
    app.put(T1)
    headers = {"X_Timestamp": T2, "X_Object_Meta_A": "b", "Content_Type": "a/b"}
    assert app.request("POST", **headers).status == 202
    assert app.request("POST", **headers).status == 202
    assert app.request("POST", **{**headers, **change}).status == 409
    got = app.get()
    assert (got.headers["x-object-meta-a"], got.headers["content-type"]) == ("b", "a/b")
    assert len([name for name in app.files() if name.endswith(".meta")]) == 1


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("size", [10, 100000])
@pytest.mark.parametrize("point", ["write:linked", "write:durable", "write:cleaned"])
def test_a_put_that_died_before_it_told_the_container_tells_it_the_next_time(app, point, size):
    app.server.devices.get("sda").inline = True
    pid = os.fork()
    if pid == 0:
        try:
            fault_points.arm(point)
            app.put(T1, b"x" * size, **NOBODY)
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert app.pendings() == []
    assert app.put(T1, b"x" * size, **NOBODY).status == 201
    (path,) = app.pendings()
    assert async_pending.read_update(path)["headers"]["X-Size"] == str(size)
