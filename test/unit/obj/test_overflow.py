"""Metadata that has no room in extended attributes: kept behind the body, seen by nobody but those who look at the file."""

import errno
import os
import pathlib
import signal
from hashlib import md5

import pytest
from obj_app import App
from test_object_auditor import Disk

from swift.cli import object_info
from swift.engine import fault_points
from swift.engine.xattrs import get_xattr, set_xattr
from swift.obj.auditing.figures import ALL
from swift.obj.files import metadata, overflow, set_aside, writer
from swift.obj.files.quarantine import quarantine

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
ROOM = 3000
MANY = {f"X_Object_Meta_{n}": str(n) + "x" * 240 for n in range(14)} | {
    f"X_Object_Transient_Sysmeta_{n}": "y" * 250 for n in range(6)
}
BODIES = [b"", b"body", bytes(range(256)) * 1024 * 5]

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def little_room(monkeypatch):
    """As on ext4, whatever file system this is."""

    def limited(fd, name, value):
        if len(value) > ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        set_xattr(fd, name, value)

    monkeypatch.setattr(metadata, "set_xattr", limited)


@pytest.fixture
def app(root, road):
    app = App(root, batch=road == "batch")
    app.server.devices.get("sda").inline = True  # no threads: tests fork
    return app


def has_all(got):
    return all(got.headers[name.lower().replace("_", "-")] == value for name, value in MANY.items())


def file_of(app, name):
    return pathlib.Path(app.where().hash_dir, name)


@pytest.mark.parametrize("body", BODIES)
def test_an_object_is_as_any_other(app, body):
    assert app.put(T1, body, **MANY).status == 201
    assert file_of(app, f"{T1}.data").stat().st_size > len(body) + 3 * 1000
    for _ in range(2):  # what was read once may be remembered
        got = app.get()
        assert (got.status, got.body, got.headers["content-length"]) == (200, body, str(len(body)))
        assert got.headers["etag"].strip('"') == md5(body).hexdigest()
        assert has_all(got)
        assert not any("overflow" in name for name in got.headers)
    assert has_all(app.request("HEAD"))
    if body:
        got = app.get(Range="bytes=-3")
        assert (got.status, got.body) == (206, body[-3:])
        got = app.get(Range=f"bytes={len(body)}-")
        assert got.status == 416


def test_a_post(app):
    app.put(T1, b"body", X_Object_Sysmeta_Kept="yes")
    assert app.request("POST", X_Timestamp=T2, **MANY).status == 202
    assert app.files() == [f"{T1}.data", f"{T2}.meta"]
    got = app.get()
    assert (got.body, got.headers["x-object-sysmeta-kept"]) == (b"body", "yes")
    assert has_all(got)
    assert app.request("POST", X_Timestamp=T3, X_Object_Meta_A="1").status == 202
    got = app.get()
    assert got.headers["x-object-meta-a"] == "1" and "x-object-meta-3" not in got.headers


def test_what_the_file_looks_like(app):
    app.put(T1, b"body", **MANY)
    path = file_of(app, f"{T1}.data")
    kept = metadata.decode(get_xattr(path, metadata.XATTR))
    assert (kept["name"], kept["X-Timestamp"], kept["Content-Length"]) == ("/a/c/o", T1, "4")
    whole = path.read_bytes()
    offset, length, digest = kept[overflow.POINTER].split(";")
    assert (int(offset), int(offset) + int(length)) == (4, len(whole))
    assert md5(whole[4:]).hexdigest() == digest
    assert metadata.decode(whole[4:])["X-Object-Meta-7"] == MANY["X_Object_Meta_7"]


def test_what_is_kept_beside_the_file_has_no_room_either(app):
    kind = "text/" + "x" * ROOM
    assert app.put(T1, b"body", Content_Type=kind).status == 201
    for _ in range(2):
        got = app.get()
        assert (got.status, got.body, got.headers["content-type"]) == (200, b"body", kind)
    assert set(metadata.decode(get_xattr(file_of(app, f"{T1}.data"), metadata.XATTR))) == {overflow.POINTER}


def test_with_room_all_is_as_ever(app):
    app.put(T1, b"body", X_Object_Meta_A="1")
    assert file_of(app, f"{T1}.data").read_bytes() == b"body"


def test_it_can_be_forbidden(root, road):
    app = App(root, batch=road == "batch", metadata_overflow="no")
    got = app.put(T1, b"body", **MANY)
    assert (got.status, got.body[:18]) == (400, b"Metadata too large")
    assert app.get().status == 404


def test_the_same_put_twice(app):
    assert [app.put(T1, b"body", **MANY).status for _ in range(2)] in ([201, 201], [201, 409])
    with open(file_of(app, f"{T1}.data"), "rb") as file:
        writer.check_same(file.name, metadata.read(file.fileno()))


def test_a_full_disk(app, monkeypatch):
    def full(fd, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(overflow, "write_all", full)
    assert app.put(T1, b"body", **MANY).status == 507
    assert app.files() == []


@pytest.mark.parametrize("size", [4, 3 << 20])
@pytest.mark.parametrize("point", ["overflow:written", "write:attributes", "write:synced", "write:linked"])
def test_killed(app, size, point):
    app.put(T1, b"old", X_Object_Meta_A="old")
    pid = os.fork()
    if pid == 0:
        try:
            fault_points.arm(point)
            app.put(T2, b"n" * size, **MANY)
        finally:
            os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    got = app.get()
    if point == "write:linked":
        assert got.body == b"n" * size and has_all(got)
    else:
        assert (got.body, got.headers["x-object-meta-a"]) == (b"old", "old")
    assert app.put(T2, b"n" * size, **MANY).status == 201
    got = app.get()
    assert got.body == b"n" * size and has_all(got)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("damage", ["flipped", "cut", "longer"])
def test_damage_behind_the_body_is_damage(app, body, damage):
    app.put(T1, body, **MANY)
    path = file_of(app, f"{T1}.data")
    with open(path, "r+b") as file:
        if damage == "cut":
            file.truncate(path.stat().st_size - 1)
        else:
            file.seek(-1 if damage == "flipped" else 0, os.SEEK_END)
            file.write(b"#")
    assert app.get().status == 404
    assert not path.exists()


@pytest.mark.parametrize("pointer", ["", "x", "4;5", "-1;9;x", "4;99999999999;x", "4;0;x", "٤;5;x;"])
def test_a_pointer_that_leads_nowhere(tmp_path, pointer):
    path = tmp_path / "file"
    path.write_bytes(b"body")
    with open(path, "r+b") as file:
        set_xattr(
            file.fileno(), metadata.XATTR, metadata.encode({"name": "/a/c/o", overflow.POINTER: pointer})
        )
        with pytest.raises(metadata.Corrupt):
            metadata.read(file.fileno())


def test_no_request_can_set_the_pointer(app):
    app.put(T1, b"body", Metadata_Overflow="0;4;x", X_Object_Meta_Metadata_Overflow="1")
    got = app.get()
    assert got.body == b"body" and "metadata-overflow" not in got.headers


def test_the_auditor(root):
    disk = Disk(root)
    for number, body in enumerate(BODIES):
        disk.put(f"good{number}", body, **MANY)
    fragment = disk.put(
        "fragment",
        b"x" * 100,
        T1,
        2,
        f"{T1}#1#d.data",
        X_Object_Sysmeta_Ec_Frag_Index="1",
        X_Object_Sysmeta_Ec_Etag="e" * 32,
        **MANY,
    )
    bad = disk.put("bad", b"body", **MANY)
    with open(bad, "r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"#")
    disk.audit(ALL)
    assert [
        path.rpartition("/")[2] for path in disk.quarantined() if "/" in path and fragment.name not in path
    ] == [bad.name]


def test_what_was_set_aside_is_judged_by_its_body(app):
    app.put(T1, b"body" * 100, **MANY)
    where = app.where()
    quarantine(where, "for this test", None, f"{T1}.data", file_of(app, f"{T1}.data").stat().st_ino)
    (entry,) = set_aside.entries(
        set_aside.quarantine_of(where.device_path, 0), False, None, where.name_hash, 9
    )
    assert (entry.fault, entry.size, entry.etag) == ("", 400, md5(b"body" * 100).hexdigest())


def test_object_info(app, capsys):
    app.put(T1, b"body", **MANY)
    path = str(file_of(app, f"{T1}.data"))
    found, tail = object_info.read_metadata(path)
    object_info.print_content_checks(path, found, tail, True)
    out = capsys.readouterr().out
    assert "Content-Length: 4 (valid)" in out and f"ETag: {md5(b'body').hexdigest()} (valid)" in out
