"""Objects served from what is remembered: never stale, never deleted, never damaged ones, and only where the kernel has it all."""

import errno
import os
import random
import shutil
import tempfile
import time

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from obj_app import App

from swift.core import clock
from swift.engine import openat2
from swift.engine.mounts import file_system_of
from swift.obj.files import warm, witness
from test import disks
from test.descriptors import none_left_open

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
SETTLE = witness.YOUNG_NS / 1e9 * 2


@pytest.fixture(scope="module", params=["xfs", "tmpfs"])
def disk(request):
    if request.param == "xfs":
        with disks.xfs() as path:
            yield path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        if file_system_of(path) != "tmpfs":
            pytest.skip("no tmpfs at /dev/shm")
        yield path


@pytest.fixture
def app(disk, tmp_path):
    root = f"{disk}/{tmp_path.name}"
    yield App(root)
    shutil.rmtree(root)


@pytest.fixture
def trips(app, monkeypatch):
    """The paths of the hash directories that reads took a trip for."""
    seen = []
    store = store_of(app)
    real = type(store)._open_trip

    def trip(self, where, *how):
        seen.append(where.hash_dir)
        return real(self, where, *how)

    monkeypatch.setattr(type(store), "_open_trip", trip)
    return seen


def inline(app):
    """Another server over the same disk that remembers nothing and does all in the calling thread."""
    other = App(app.root, warm_objects_mb="0")
    other.server.devices.get("sda").inline = True
    return other


def warm_up(app):
    time.sleep(SETTLE)
    return app.get()


def warm_objects(app):
    return store_of(app).warm


def store_of(app):
    return app.server.stores.get(app.server.devices.get("sda"), app.server.policies.default)


def test_a_warm_object_takes_no_trip(app, trips):
    app.put(T1, b"body", X_Object_Meta_A="b")
    first = warm_up(app)
    assert len(trips) == 1
    for method in ("GET", "HEAD"):
        got = app.request(method)
        assert (got.status, got.body) == (200, b"body" if method == "GET" else b"")
        assert {k: v for k, v in got.headers.items() if k != "date"} == {
            k: v for k, v in first.headers.items() if k != "date"
        }
    assert app.get(Range="bytes=1-2").body == b"od"
    assert app.get(If_None_Match=first.headers["etag"]).status == 304
    assert len(trips) == 1


def test_a_large_warm_object_is_opened_without_a_trip(app, trips):
    body = os.urandom(300000)
    app.put(T1, body)
    assert warm_up(app).body == body
    assert app.get().body == body
    assert app.get(Range="bytes=100000-100009").body == body[100000:100010]
    assert len(trips) == 1


def test_a_young_object_is_not_remembered(app, trips, monkeypatch):
    """What was changed a few ticks ago may change again with the same time of change."""
    monkeypatch.setattr(witness, "YOUNG_NS", 3_600_000_000_000)
    app.put(T1)
    for _ in range(3):
        assert app.get().status == 200
    assert len(trips) == 3


def test_where_times_are_of_whole_seconds_an_object_is_young_for_longer():
    """A POST in the second in which the object was written leaves the time that the directory had."""
    with disks.whole_seconds() as path:
        app = App(f"{path}/root")
        while time.time() % 1 > 0.2:
            time.sleep(0.01)
        app.put(T1, b"body")
        assert warm_up(app).status == 200
        assert app.request("POST", X_Timestamp=T2, X_Object_Meta_A="new").status == 202
        assert app.get().headers["x-object-meta-a"] == "new"


def test_a_directory_is_looked_at_before_it_is_listed(app, monkeypatch):
    """A change between the two must show: the sign is the older one."""
    app.put(T1)
    time.sleep(SETTLE)
    other = inline(app)
    real = os.listdir

    def listdir(path):
        names = real(path)
        monkeypatch.undo()
        other.put(T2, b"newer")
        return names

    monkeypatch.setattr(os, "listdir", listdir)
    app.get()
    time.sleep(SETTLE)
    assert app.get().body == app.get().body == b"newer"


@pytest.mark.parametrize(
    "change",
    [
        lambda app: app.put(T2, b"newer"),
        lambda app: app.request("DELETE", X_Timestamp=T2),
        lambda app: app.request("POST", X_Timestamp=T2, X_Object_Meta_A="new"),
        lambda app: shutil.rmtree(app.where().hash_dir),
        lambda app: shutil.rmtree(app.where().partition_dir),
        lambda app: os.rename(app.where().hash_dir, app.where().hash_dir + "x"),
        lambda app: os.rename(app.device, app.device + "x"),
        lambda app: os.truncate(f"{app.where().hash_dir}/{T1}.data", 3),
        lambda app: os.setxattr(f"{app.where().hash_dir}/{T1}.data", "user.swift.metadata", b"bad"),
        lambda app: os.removexattr(f"{app.where().hash_dir}/{T1}.data", "user.swift.metadata"),
        lambda app: open(f"{app.where().hash_dir}/{T1}.data", "r+b").write(b"B"),
        lambda app: open(f"{app.where().hash_dir}/{T2}.ts", "w").close(),
    ],
)
def test_every_change_is_seen_at_once(app, disk, change):
    """Also the second change of the same kind as the first, and with times of modification set back."""
    app.put(T1, b"body")
    for _ in range(3):
        warm_up(app)
    assert warm_objects(app).bytes
    cold = inline(app)
    change(app)
    with open(f"{app.root}/etc/x", "w"):
        got = app.get()
        known = cold.get()
    if got.status == 404:  # the first to see the damage has moved it away
        assert known.status == 404
    else:
        assert (got.status, got.body, got.headers.get("x-object-meta-a")) == (
            known.status,
            known.body,
            known.headers.get("x-object-meta-a"),
        )
    if os.path.isdir(app.device + "x"):
        shutil.rmtree(app.device + "x")


def test_a_removed_and_remade_directory_is_another_one(app, trips):
    for number in range(20):
        body = b"%d" % number
        app.put(f"17000000{number:02d}.00000", body)
        assert app.get().body == body
        warm_up(app)
        assert app.get().body == body
        shutil.rmtree(app.where().hash_dir)
        assert app.get().status == 404


def test_damage_that_leaves_the_times_alone_takes_the_trip(app, trips):
    """A flipped bit in the cache or on the disk: found by the checksum, quarantined by the trip."""
    app.put(T1, b"body")
    warm_up(app)
    known = warm_objects(app)._known[app.where().hash_dir]
    path = f"{app.where().hash_dir}/{T1}.data"
    with open(path, "r+b") as file:
        file.write(b"B")
    known.file_sign = os.stat(path).st_ino, os.stat(path).st_ctime_ns
    assert app.get().status == 404
    assert len(trips) == 2
    assert not os.path.exists(app.where().hash_dir)
    assert os.path.isdir(f"{app.device}/quarantined/objects/{app.where().name_hash}")


def test_an_object_that_expires_while_it_is_remembered(app):
    soon = int(time.time()) + 100
    app.put(f"{time.time():.5f}", X_Delete_At=str(soon))
    assert warm_up(app).status == 200
    assert app.get().status == 200
    assert app.get(X_Timestamp=f"{soon + 1}.00000").status == 404
    assert app.get(X_Timestamp=f"{soon + 1}.00000", X_Backend_Open_Expired="true").status == 200
    assert app.get().status == 200


def test_another_object_in_the_same_directory_is_not_served(app):
    app.put(T1)
    warm_up(app)
    store = store_of(app)
    place = store.locate("7", app.where().name_hash, "/a/c/other")
    assert warm_objects(app).open(store.device, place, 1, None, False) is None


def test_what_is_remembered_is_bounded(app):
    objects = warm_objects(app)
    objects.limit = 20000
    for number in range(30):
        app.request("PUT", f"/sda/7/a/c/{number}", b"x", X_Timestamp=T1)
    time.sleep(SETTLE)
    for number in range(30):
        app.request("GET", f"/sda/7/a/c/{number}")
        assert 0 < objects.bytes <= 20000
        assert objects.bytes == sum(known.bytes for known in objects._known.values())
    assert len(objects._known) > 5
    objects.limit = 0
    app.request("GET", "/sda/7/a/c/29")
    app.request("GET", "/sda/7/a/c/1")
    assert objects.bytes == 0


@pytest.mark.parametrize("code", sorted(openat2.CLOSED))
def test_a_kernel_or_container_without_the_call_closes_the_road(app, trips, monkeypatch, code):
    app.put(T1)
    warm_up(app)
    calls = []

    def refuse(*args):
        calls.append(args)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(warm, "open_cached", refuse)
    for _ in range(3):
        assert app.get().status == 200
    assert len(calls) == 1
    assert len(trips) == 4


def test_a_file_system_that_cannot_read_without_waiting_closes_the_road(app, trips, monkeypatch):
    app.put(T1)
    warm_up(app)

    def preadv(*args):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "preadv", preadv)
    for _ in range(3):
        assert app.get().status == 200
    assert not warm_objects(app).is_open(app.server.devices.get("sda"))


def test_a_file_of_another_owner_is_read_all_the_same(app, monkeypatch):
    app.put(T1)
    warm_up(app)
    real = openat2.open_cached

    def refuse(dir_fd, path, flags):
        if flags & os.O_NOATIME:
            raise OSError(errno.EPERM, "not the owner")
        return real(dir_fd, path, flags)

    monkeypatch.setattr(warm, "open_cached", refuse)
    assert app.get().body == b"body"
    monkeypatch.undo()
    warm_up(app)
    assert warm_objects(app).is_open(app.server.devices.get("sda"))


def test_what_is_cold_takes_the_trip(app, disk, trips):
    if file_system_of(disk) == "tmpfs":
        pytest.skip("nothing is ever cold in memory")
    app.put(T1, b"x" * 50000)
    warm_up(app)
    assert app.get().status == 200
    assert len(trips) == 1
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")
    assert app.get().body == b"x" * 50000
    assert len(trips) == 2
    assert app.get().body == b"x" * 50000
    assert len(trips) == 2


def test_a_memory_file_system_of_an_old_kernel_is_left_as_it_is(app, disk, monkeypatch):
    """There, an attribute could change and the time of change stay."""
    if file_system_of(disk) != "tmpfs":
        pytest.skip("needs tmpfs")
    monkeypatch.setattr(warm, "_release", lambda: (6, 1))
    app.put(T1)
    warm_up(app)
    app.get()
    assert warm_objects(app).bytes == 0


def test_nothing_leaks(app):
    app.put(T1)
    warm_up(app)
    with none_left_open():
        for _ in range(10):
            app.get()
            app.request("HEAD")
            app.get(Range="bytes=0-1")
        shutil.rmtree(app.where().hash_dir)
        app.get()


# ---------------------------------------------------------------- beside somebody who writes


def write_for_ever(app, stop, seed):
    """Another process that puts, deletes and posts, with no pause between changes of one directory."""
    chance = random.Random(seed)
    number = 0
    while not os.path.exists(stop):
        number += 1
        timestamp = f"{1700000000 + number}.00000"
        for _ in range(chance.choice((1, 1, 1, 5))):
            what = chance.random()
            if what < 0.6:
                app.put(timestamp, b"%d" % number, X_Object_Meta_N=str(number))
            elif what < 0.8:
                app.request("DELETE", X_Timestamp=timestamp)
            else:
                app.request("POST", X_Timestamp=timestamp, X_Object_Meta_N=str(number))
        if chance.random() < 0.3:
            time.sleep(chance.choice((0.001, 0.03)))
    os._exit(0)


@pytest.mark.parametrize("seed", range(4))
def test_reads_beside_a_writer_are_never_older_than_the_disk(app, tmp_path, seed):
    """What a read answers is at least as new as what lay on the disk before it began."""
    cold = inline(app)
    stop = str(tmp_path / "stop")
    pid = os.fork()
    if pid == 0:
        write_for_ever(cold, stop, seed)
    try:
        end = time.monotonic() + 0.5
        reads = 0
        while time.monotonic() < end or reads <= 20:
            before = cold.get(X_Backend_Open_Expired="true")
            oldest = before.headers.get("x-backend-timestamp", "")
            got = app.get()
            assert got.headers.get("x-backend-timestamp", "") >= oldest
            if got.status == 200:
                assert int(got.body) <= int(got.headers["x-object-meta-n"])
            reads += 1
    finally:
        open(stop, "w").close()
        os.waitpid(pid, 0)


class Changes(RuleBasedStateMachine):
    """Any sequence of changes, by this server or behind its back, between reads: each read says what is there."""

    app = other = None

    def __init__(self):
        super().__init__()
        self.number = 0
        self.name = f"/a/c/{clock.uuid4().hex}"

    def request(self, app, method, **kwargs):
        return app.request(method, f"/sda/7{self.name}", **kwargs)

    @property
    def hash_dir(self):
        return self.app.where(self.name).hash_dir

    def timestamp(self):
        self.number += 1
        return f"{1700000000 + self.number}.00000"

    @rule(body=st.binary(max_size=20), behind=st.booleans())
    def put(self, body, behind):
        app = self.other if behind else self.app
        self.request(app, "PUT", body=body, X_Timestamp=self.timestamp())

    @rule(behind=st.booleans())
    def delete(self, behind):
        app = self.other if behind else self.app
        self.request(app, "DELETE", X_Timestamp=self.timestamp())

    @rule(value=st.sampled_from("abc"), behind=st.booleans())
    def post(self, value, behind):
        app = self.other if behind else self.app
        self.request(app, "POST", X_Timestamp=self.timestamp(), X_Object_Meta_A=value)

    @rule()
    def remove(self):
        shutil.rmtree(self.hash_dir, ignore_errors=True)

    @rule()
    def replace(self):
        """As rsync brings a file: another inode under the same name, with older times of modification."""
        for name in self.app.files(name=self.name):
            if name.endswith(".data"):
                path = f"{self.hash_dir}/{name}"
                shutil.copy2(path, path + "x")
                for key in os.listxattr(path):
                    os.setxattr(path + "x", key, os.getxattr(path, key))
                os.rename(path + "x", path)

    @rule(pause=st.sampled_from((0, 0.005, SETTLE)))
    def read(self, pause):
        time.sleep(pause)
        for _ in range(3):
            known, got = self.request(self.other, "GET"), self.request(self.app, "GET")
            assert (got.status, got.body) == (known.status, known.body)
            for header in ("x-object-meta-a", "x-backend-timestamp", "etag"):
                assert got.headers.get(header) == known.headers.get(header)


def test_any_sequence_of_changes(app):
    Changes.app, Changes.other = app, inline(app)
    case = Changes.TestCase
    case.settings = settings(
        max_examples=15,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case().runTest()
