"""The object store behind its interface: what daemons ask of it, the second phase of an EC write, and that nothing more is removed than named."""

import errno
import hashlib
import logging
import os
import signal

import pytest
from obj_app import App

from swift.core import clock
from swift.core.errors import ConfigError
from swift.core.hashing import hash_path
from swift.core.policy import ERASURE_CODING, StoragePolicy, policies
from swift.engine import fault_points
from swift.obj.device import Devices
from swift.obj.errors import NotExist, Quarantined
from swift.obj.files import metadata
from swift.obj.files.purge import purge
from swift.obj.files.store import FileStore
from swift.obj.reclaimer import Reclaimer
from swift.obj.store import BODY, EXTENT, HEAD, StoreOptions, Times, Write
from swift.obj.stores import Stores, kind_of
from swift.obj.verdicts import DeleteCheck

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
NAME = "/a/c/o"


class FragmentPolicy(StoragePolicy):
    """As much of an erasure-coded policy as a store asks for."""

    policy_type = ERASURE_CODING


@pytest.fixture
def devices(root):
    os.makedirs(f"{root}/sda")
    return Devices(root, mount_check=False)


@pytest.fixture(params=["replicated", "fragments"])
def store(request, devices):
    policy = FragmentPolicy(1, "ec") if request.param == "fragments" else policies().legacy
    return FileStore(devices.get("sda"), policy, StoreOptions(reclaim_age=1e12))


@pytest.fixture
def fragments(devices):
    device = devices.get("sda")
    device.inline = True  # no threads: these tests fork
    return FileStore(device, FragmentPolicy(1, "ec"), StoreOptions(reclaim_age=1e12))


def place_of(store, name=NAME, partition="7"):
    return store.locate(partition, hash_path(name[1:]), name)


def files(place):
    try:
        return sorted(os.listdir(place.hash_dir))
    except FileNotFoundError:
        return []


def nothing(state):
    return True


def write(store, place, timestamp, body=b"body", fragment=None, commit=True):
    """Through `begin`, as a large body."""
    taken = []
    if store.ec and fragment is None:
        fragment = 1
    state, new = store.begin(
        place,
        len(body),
        nothing,
        Write(float(timestamp), None, fragment),
        lambda data: taken.append(bytes(data)),
    )
    try:
        step = max(3, len(body) // 4)
        for start in range(0, len(body), step):
            new.write(body[start : start + step])
        new.finish(
            {
                "X-Timestamp": timestamp,
                "Content-Length": str(len(body)),
                "Content-Type": "a/b",
                "ETag": hashlib.md5(body).hexdigest(),
            }
        )
        if commit:
            new.commit()
    finally:
        new.close()
    assert b"".join(taken) == body
    return state


def delete(store, place, timestamp):
    return store.delete(place, timestamp, DeleteCheck(timestamp), Write(float(timestamp)))


def killed(point, function):
    pid = os.fork()
    if pid == 0:
        try:
            fault_points.arm(point)
            function()
        finally:
            os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def test_each_device_and_policy_has_one_store(devices):
    stores = Stores(StoreOptions())
    device, policy = devices.get("sda"), policies().legacy
    assert stores.get(device, policy) is stores.get(device, policy)
    assert stores.get(device, FragmentPolicy(1, "ec")) is not stores.get(device, policy)
    assert kind_of(policy) is FileStore


def test_a_kind_of_store_that_is_not_here_is_refused(devices):
    policy = StoragePolicy(3, "packed", diskfile_module="egg:other#replication.slabs")
    with pytest.raises(ConfigError, match="slabs"):
        Stores(StoreOptions()).get(devices.get("sda"), policy)


def test_bytes_are_read_from_the_extent(store):
    """Whoever reads goes by descriptor and offset: an extent may begin anywhere in its file."""
    from swift.obj.body import ObjectBody

    place = place_of(store)
    write(store, place, T1, b"0123456789")
    prefs = [] if store.ec else None
    for start, stop in ((0, 10), (3, 7)):
        found = store.open(place, EXTENT, frag_prefs=prefs)
        # as a packed store would give it
        fd = os.memfd_create("extent")
        os.write(fd, b"xxxxx" + b"0123456789" + b"yyyy")
        os.close(found.fd)
        found.fd, found.offset = fd, 5
        body = ObjectBody(store, place, found, True)
        if (start, stop) == (0, 10):
            assert b"".join(body) == b"0123456789"
        else:
            ranges = body.app_iter_ranges([(3, 7)], "a/b", "xyz", 10)
            assert b"\r\n\r\n3456\r\n" in b"".join(ranges)
            assert b"".join(body.app_iter_range(3, 7)) == b"3456"
            body.close()


def test_what_head_gives_needs_no_closing(store):
    place = place_of(store)
    write(store, place, T1)
    prefs = [] if store.ec else None
    assert store.open(place, HEAD, frag_prefs=prefs).fd == -1
    found = store.open(place, BODY, frag_prefs=prefs)
    assert (found.body, found.fd) == (b"body", -1)


# ---------------------------------------------------------------- two phases


def test_a_fragment_is_durable_after_its_commit(fragments):
    place = place_of(fragments)
    write(fragments, place, T1, fragment=2, commit=False)
    assert files(place) == [f"{T1}#2.data"]
    with pytest.raises(NotExist):
        fragments.open(place, HEAD)
    fragments.commit(place, T1, 2)
    assert files(place) == [f"{T1}#2#d.data"]
    assert fragments.open(place, HEAD).durable_timestamp == T1
    fragments.commit(place, T1, 2)  # as after a lost answer
    assert files(place) == [f"{T1}#2#d.data"]


def test_a_commit_removes_what_no_longer_counts(fragments):
    place = place_of(fragments)
    write(fragments, place, T1, fragment=2)
    write(fragments, place, T2, fragment=2, commit=False)
    assert files(place) == [f"{T1}#2#d.data", f"{T2}#2.data"]
    fragments.commit(place, T2, 2)
    assert files(place) == [f"{T2}#2#d.data"]


def test_a_commit_of_what_is_gone(fragments):
    place = place_of(fragments)
    with pytest.raises(NotExist):
        fragments.commit(place, T1, 2)
    write(fragments, place, T1, fragment=2, commit=False)
    with pytest.raises(NotExist):
        fragments.commit(place, T2, 2)
    delete(fragments, place, T3)
    fragments.commit(place, T1, 2)  # a newer tombstone has taken it away
    assert files(place) == [f"{T3}.ts"]


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("point", ["invalidate:appended", "commit:renamed", "commit:durable"])
def test_killed_at_a_commit(fragments, before, point):
    """Before its name is durable the fragment may be either; the older one stays until it is."""
    place = place_of(fragments)
    if before:
        write(fragments, place, T1, fragment=2)
    write(fragments, place, T2, fragment=2, commit=False)
    fragments.suffix_hashes("7")
    assert killed(point, lambda: fragments.commit(place, T2, 2))
    old = [f"{T1}#2#d.data"] if before else []
    if point == "invalidate:appended":
        assert files(place) == [*old, f"{T2}#2.data"]
    else:
        assert files(place) == [*old, f"{T2}#2#d.data"]
        assert fragments.open(place, BODY).data_timestamp == T2
    # what replication compares says what is there
    hashes = fragments.suffix_hashes("7").hashes
    assert fragments.suffix_hashes("7", [place.suffix]).hashes == hashes
    fragments.commit(place, T2, 2)
    assert files(place) == [f"{T2}#2#d.data"]


def test_a_commit_is_synced_before_anything_older_goes(fragments, monkeypatch):
    place = place_of(fragments)
    write(fragments, place, T1, fragment=2)
    write(fragments, place, T2, fragment=2, commit=False)
    events = []
    real_fsync, real_unlink, real_rename = os.fsync, os.unlink, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda fd: (events.append(("fsync", os.readlink(f"/proc/self/fd/{fd}"))), real_fsync(fd))
    )
    monkeypatch.setattr(os, "unlink", lambda path: (events.append(("unlink", path)), real_unlink(path)))
    monkeypatch.setattr(os, "rename", lambda a, b: (events.append(("rename", b)), real_rename(a, b)))
    fragments.commit(place, T2, 2)
    assert events == [
        ("rename", f"{place.hash_dir}/{T2}#2#d.data"),
        ("fsync", place.hash_dir),
        ("unlink", f"{place.hash_dir}/{T1}#2#d.data"),
    ]


# ---------------------------------------------------------------- for daemons


def test_the_walker_finds_each_object_and_nothing_else(store, monkeypatch):
    monkeypatch.setattr("swift.obj.files.walker.STEP", 2)
    names = [f"/a/c/o{n}" for n in range(30)]
    places = {}
    for n, name in enumerate(names):
        place = place_of(store, name, str(n % 3 * 50))
        write(store, place, T1)
        places[place.name_hash] = place.partition
    delete(store, place_of(store, names[0], "0"), T2)
    for rubbish in ("junk", "99/abc", "99/nothex/x", "0/zzz"):
        os.makedirs(f"{store.datadir}/{rubbish}")
    open(f"{store.datadir}/123", "w").close()
    open(f"{store.datadir}/99/abd", "w").close()
    assert store.partitions() == ["0", "50", "99", "100", "123"]
    walked = [(place.name_hash, place.partition) for place in store.walk()]
    assert sorted(walked) == sorted(places.items())
    assert [p for _, p in walked] == sorted((p for _, p in walked), key=int)
    assert {place.partition for place in store.walk(["50"])} == {"50"}
    listed = list(store.hashes("0"))
    assert [h for h, _ in listed] == sorted(
        (h for h, p in places.items() if p == "0"), key=lambda h: (h[-3:], h)
    )
    assert [times for h, times in listed if h == hash_path("a/c/o0")] == [Times(T2, deleted=True)]
    suffix = hash_path("a/c/o3")[-3:]
    assert {h[-3:] for h, _ in store.hashes("0", [suffix])} == {suffix}


def test_times_tell_of_posts_and_of_fragments_that_are_not_durable(store):
    place = place_of(store)
    write(store, place, T1, fragment=1, commit=False)
    assert dict(store.hashes("7"))[place.name_hash] == Times(T1, durable=not store.ec)
    if store.ec:
        return
    store.post(place, lambda found: {"X-Timestamp": T2}, Write(float(T2)))
    store.post(
        place,
        lambda found: {"X-Timestamp": T3, "Content-Type": "c/d", "Content-Type-Timestamp": T3},
        Write(float(T3)),
    )
    assert dict(store.hashes("7"))[place.name_hash] == Times(T1, T3, T3)


def test_verify_reads_all_and_sets_aside_what_is_damaged(store):
    place = place_of(store)
    body = os.urandom(3 << 20)
    write(store, place, T1, body[: 1 << 10])
    write(store, place, T2, body)
    (name,) = [name for name in files(place) if name.startswith(T2)]
    read = []
    assert store.verify(place, read.append) == len(body) == sum(read)
    with open(f"{place.hash_dir}/{name}", "r+b") as file:
        file.seek(2 << 20)
        file.write(bytes([body[2 << 20] ^ 1]))
    with pytest.raises(Quarantined):
        store.verify(place)
    assert place.notes and "checksum" in place.notes[0]
    assert files(place) == []


def test_a_damaged_entry_is_set_aside_and_its_partition_hashed(store):
    place = place_of(store)
    write(store, place, T1)
    bad = place.hash_dir[:-32] + "f" * 29 + place.suffix
    open(bad, "w").close()
    found = store.suffix_hashes("7", look_for_new=True)
    assert found.hashes[place.suffix] and not os.path.exists(bad)
    assert len(found.damaged) == 1 and bad in found.damaged[0]


@pytest.mark.parametrize("newer", [None, "data", "meta", "tombstone"])
def test_purge_takes_what_it_names_and_nothing_newer(store, newer):
    place = place_of(store)
    write(store, place, T1, fragment=1)
    times = dict(store.hashes("7"))[place.name_hash]
    if newer == "data":
        write(store, place, T2, fragment=1)
    elif newer == "meta":
        with open(f"{place.hash_dir}/{T2}.meta", "w") as file:
            metadata.write(file.fileno(), {"X-Timestamp": T2, "name": NAME})
    elif newer == "tombstone":
        delete(store, place, T2)
    assert store.purge(place, times) is (newer is None)
    left = sorted(name.partition("#")[0].removesuffix(".data") for name in files(place))
    # data goes together with the metadata that was added to it
    assert left == {None: [], "data": [T2], "meta": [T1, f"{T2}.meta"], "tombstone": [f"{T2}.ts"]}[newer]
    # and the suffix hash knows
    hashes = store.suffix_hashes("7").hashes
    assert store.suffix_hashes("7", [place.suffix]).hashes == hashes


@pytest.mark.parametrize("posted, written", [(T2, T3), (T3, T2)])
def test_a_purge_beside_a_newer_fragment_that_was_never_committed(fragments, posted, written):
    """The metadata of what goes do not stay with it, older than it or newer: they would be left alone once it is gone as well."""
    place = place_of(fragments)
    write(fragments, place, T1, fragment=1)
    fragments.post(place, lambda found: {"X-Timestamp": posted}, Write(now=0.0))
    write(fragments, place, written, fragment=1, commit=False)
    assert not fragments.purge(place, Times(T1, posted), 1)
    assert files(place) == [f"{written}#1.data"]
    assert purge(place, Times(written, durable=False), 1, commit_window=-1.0)


def test_metadata_newer_than_what_was_given_back_keep_their_data(fragments):
    """A POST that the peer does not have yet stays with what it was sent to, also beside a fragment that was never committed."""
    place = place_of(fragments)
    write(fragments, place, T1, fragment=1)
    fragments.post(place, lambda found: {"X-Timestamp": T3}, Write(now=0.0))
    write(fragments, place, T2, fragment=1, commit=False)
    before = files(place)
    assert not fragments.purge(place, Times(T1), 1)
    assert files(place) == before


def test_metadata_newer_than_a_tombstone_go_with_it(store):
    """They would be left alone, seen by no daemon, and keep the partition on a handoff; first an object has time to arrive for them."""
    place = place_of(store)
    write(store, place, T1, fragment=1)
    store.post(place, lambda found: {"X-Timestamp": T3}, Write(now=0.0))
    delete(store, place, T2)
    assert sorted(files(place)) == [f"{T2}.ts", f"{T3}.meta"]
    assert not store.purge(place, Times(T2, deleted=True))
    assert len(files(place)) == 2
    assert purge(place, Times(T2, deleted=True), commit_window=-1.0)
    assert files(place) == []


def test_a_post_to_what_is_given_back_meanwhile_finds_nothing(store):
    """Metadata without an object would be nobody's."""
    place = place_of(store)
    write(store, place, T1, fragment=1)
    times = dict(store.hashes("7"))[place.name_hash]

    def change(found):
        purge(place, times)
        return {"X-Timestamp": T2}

    with pytest.raises(NotExist):
        store.post(place, change, Write(now=0.0))
    assert files(place) == []


def test_purge_of_one_fragment_leaves_the_others(fragments):
    place = place_of(fragments)
    write(fragments, place, T1, fragment=1)
    write(fragments, place, T1, fragment=2)
    assert not fragments.purge(place, Times(T1), 1)
    assert files(place) == [f"{T1}#2#d.data"]
    assert fragments.purge(place, Times(T1), 2)
    assert fragments.purge(place, Times(T1), 2)


def test_killed_at_a_purge(fragments):
    place = place_of(fragments)
    write(fragments, place, T1, fragment=1)
    write(fragments, place, T1, fragment=2)
    fragments.suffix_hashes("7")
    assert killed("purge:unlinked", lambda: fragments.purge(place, Times(T1)))
    assert len(files(place)) == 1
    hashes = fragments.suffix_hashes("7").hashes
    assert fragments.suffix_hashes("7", [place.suffix]).hashes == hashes
    assert fragments.purge(place, Times(T1))
    assert files(place) == []


def test_a_purge_and_a_new_object_at_once(root):
    """What is put while older content is purged is there afterwards."""
    app = App(root)
    for n in range(1, 20):
        app.put(f"17000000{n:02d}.00000", b"old")
        store = FileStore(app.server.devices.get("sda"), policies().legacy, StoreOptions(reclaim_age=1e12))
        pid = os.fork()
        if pid == 0:
            store.device.inline = True
            store.purge(app.where(), Times(f"17000000{n:02d}.00000"))
            os._exit(0)
        app.server.devices.get("sda").inline = True
        assert app.put(f"17000001{n:02d}.00000", b"new").status == 201, app.log.lines[-3:]
        os.waitpid(pid, 0)
        assert app.get().body == b"new"
        assert app.request("DELETE", X_Timestamp=f"17000002{n:02d}.00000").status == 204
        for name in app.files():
            os.unlink(f"{app.where().hash_dir}/{name}")


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EPERM])
def test_a_directory_that_is_removed_while_a_batch_opens_it(root, monkeypatch, code):
    """ext4 says EPERM to who makes a file in a directory that has just gone."""
    app = App(root, batch=True)
    app.server.devices.get("sda").inline = True
    assert app.put("1700000001.00000", b"old").status == 201
    real, gone = os.open, []

    def open_late(path, flags, *args, **kwargs):
        if flags & os.O_TMPFILE == os.O_TMPFILE and not gone:
            gone.append(path)
            raise OSError(code, os.strerror(code), path)
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_late)
    assert app.put("1700000002.00000", b"new").status == 201, app.log.lines[-3:]
    assert gone and app.get().body == b"new"


# ---------------------------------------------------------------- what is old


def reclaimer_of(store, age):
    options = StoreOptions(reclaim_age=age)
    devices = Devices(os.path.dirname(store.device.path), mount_check=False)
    devices.get("sda").inline = store.device.inline
    return Reclaimer(devices, Stores(options), policies(), logging.getLogger("test"))


def test_old_tombstones_go_without_replication(devices):
    device = devices.get("sda")
    device.inline = True
    store = FileStore(device, policies().legacy, StoreOptions(reclaim_age=1e12))
    now = clock.time()
    old, young = f"{now - 1000:.5f}", f"{now - 10:.5f}"
    for n in range(20):
        place = place_of(store, f"/a/c/o{n}", str(n % 3))
        if n % 2:
            write(store, place, f"{now - 2000:.5f}")
        if n % 4 < 2:
            delete(store, place, old if n % 8 < 4 else young)
    store.suffix_hashes("0")
    before = {hash_of for p in "012" for hash_of, _ in store.hashes(p)}
    expected = {
        hash_of
        for p in "012"
        for hash_of, times in store.hashes(p)
        if not (times.deleted and times.data == old)
    }
    assert 0 < len(expected) < len(before)
    reclaimer = reclaimer_of(store, 500)
    assert reclaimer.run_once() == len(before) - len(expected)
    assert {hash_of for p in "012" for hash_of, _ in store.hashes(p)} == expected
    assert reclaimer.run_once() == 0
    for p in "012":
        # no empty directory is left, and what replication compares says what is there
        for directory, directories, files_ in os.walk(f"{store.datadir}/{p}"):
            assert directories or files_, directory
        hashes = store.suffix_hashes(p).hashes
        assert store.suffix_hashes(p, hashes).hashes == hashes


def test_killed_at_a_reclaim(devices):
    device = devices.get("sda")
    device.inline = True
    store = FileStore(device, policies().legacy, StoreOptions(reclaim_age=1e12))
    place = place_of(store)
    delete(store, place, T1)
    store.suffix_hashes("7")
    old = FileStore(device, policies().legacy, StoreOptions(reclaim_age=1))
    for point in ("invalidate:appended", "reclaim:removed"):
        assert killed(point, lambda: list(old.reclaim("7")))
        assert files(place) == ([f"{T1}.ts"] if point == "invalidate:appended" else [])
        hashes = store.suffix_hashes("7").hashes
        assert store.suffix_hashes("7", [place.suffix]).hashes == hashes


def test_a_put_while_its_tombstone_is_reclaimed(devices):
    device = devices.get("sda")
    device.inline = True
    store = FileStore(device, policies().legacy, StoreOptions(reclaim_age=1e12))
    old = FileStore(device, policies().legacy, StoreOptions(reclaim_age=1))
    place = place_of(store)
    for n in range(10, 40):
        delete(store, place, f"17000000{n}.00000")
        pid = os.fork()
        if pid == 0:
            list(old.reclaim("7"))
            os._exit(0)
        body = b"%d" % n
        write(store, place, f"17000001{n}.00000", body)
        os.waitpid(pid, 0)
        assert store.open(place, BODY).body == body
        delete(store, place, f"17000002{n}.00000")
        list(old.reclaim("7"))
        assert files(place) == []
