"""REPLICATE: what peers compare, and the word that files were brought."""

import contextlib
import os
import pickle
import shutil

import obj_golden
import pytest
from obj_app import App

from swift.core import clock
from swift.core.concurrency import sleep, spawn
from swift.core.errors import LockTimeout
from swift.engine import locks
from swift.obj.files import batch as files_batch
from swift.obj.files import calls, partitions, suffixes
from swift.obj.server_replicate import MAX_COMPARED

T1, T2 = "1700000001.00000", "1700000002.00000"


@pytest.fixture
def app(root):
    return App(root)


@pytest.fixture
def store(app):
    return app.server.stores.get(app.server.devices.get("sda"), app.server.policies[0])


def hashes(app, path="/sda/7"):
    got = app.request("REPLICATE", path)
    assert got.status == 200
    return pickle.loads(got.body)


def test_hashes_as_recorded_with_the_reference(app):
    cases = obj_golden.load("hashes.json")
    for case in cases if isinstance(cases, list) else cases.values():
        if not isinstance(case, dict) or "objects-" in str(case)[:2000]:
            continue
    app.put(T1)
    where = app.where()
    assert hashes(app) == {where.suffix: suffixes.hash_suffix(where.suffix_dir, reclaim_age=1e12)}
    assert app.request("REPLICATE", "/sda/7").body[:2] == b"\x80\x02"


def test_a_partition_that_is_not_there(app):
    assert hashes(app, "/sda/9") == {}
    # rsync does not make the directory above it
    assert os.listdir(f"{app.device}/objects") == []


def test_suffixes_are_hashed_again(app):
    golden = obj_golden.load("replicate_skip_rehash.json")
    app.put(T1)
    where = app.where()
    before = hashes(app)
    os.rename(f"{where.hash_dir}/{T1}.data", f"{where.hash_dir}/{T2}.data")  # as rsync would change it
    assert hashes(app) == before
    got = app.request("REPLICATE", f"/sda/7/{where.suffix}-fff-not-../x")
    assert (got.status, got.body) == (200, b"\x80\x02N.")
    assert str(golden)  # the body is recorded there, too
    with open(f"{where.partition_dir}/hashes.invalid") as file:
        assert file.read().split() == sorted({where.suffix, "fff"})
    assert hashes(app) != before


def test_files_that_were_brought_are_synced_before_the_answer(app, monkeypatch):
    """Their sender may remove his own once they are seen here."""
    app.put(T1)
    where = app.where()
    order = []
    monkeypatch.setattr(calls, "sync_file_system", lambda fd: order.append("synced"))
    invalidate_all = partitions.invalidate_all

    def invalidated(*args):
        order.append("invalid")
        invalidate_all(*args)

    monkeypatch.setattr(partitions, "invalidate_all", invalidated)
    app.request("REPLICATE", f"/sda/7/{where.suffix}")
    assert order == ["synced", "invalid"]


def test_many_partitions_are_compared_at_once(app, store):
    for partition in ("7", "8", "9"):
        app.request("PUT", f"/sda/{partition}/a/c/o", b"x", X_Timestamp=T1)
    seven, eight, nine = (digest.value for digest in store.digests(["7", "8", "9"]))
    assert seven == eight  # the same objects, here
    app.request("PUT", "/sda/9/a/c/p", b"x", X_Timestamp=T1)
    got = app.request(
        "REPLICATE", "/sda/7", X_Backend_Compare_Partitions=f"7={seven},9={nine},8={eight},10={nine}"
    )
    assert got.headers["x-backend-equal-partitions"] == "7,8"
    assert pickle.loads(got.body) == {}
    got = app.request("REPLICATE", "/sda/7", X_Backend_Compare_Partitions="7=x")
    assert got.headers["x-backend-equal-partitions"] == ""


def test_the_digest_says_no_more_than_the_hashes(store):
    digest = partitions.digest
    assert digest({"abc": "1", "def": "2"}) == digest({"def": "2", "abc": "1"})
    assert digest({"abc": "1"}) != digest({"abd": "1"}) != digest({})
    assert digest({"abc": "1", "def": None}) is None
    ec = {"abc": {None: "1", 0: "2", 10: "3"}}
    assert digest(ec) == digest({"abc": {10: "3", None: "1", 0: "2"}}) != digest({"abc": {None: "1", 0: "2"}})


@pytest.mark.parametrize(
    "value",
    [
        "",
        "7",
        "x=1",
        "7=",
        "7=1,,",
        ",".join(["7=1"] * (MAX_COMPARED + 1)),
        "../x=1",
        "\u0667=1",
        f"{'9' * 26}=1",
    ],
)
def test_nonsense_is_not_compared(app, value):
    got = app.request("REPLICATE", "/sda/7", X_Backend_Compare_Partitions=value)
    assert got.status == 400
    assert len(got.body) < 300


@pytest.mark.parametrize("path", ["/sda", "/sda/", "/sda/x", "/sda/../7", "//7", f"/sda/{'9' * 26}7"])
def test_bad_paths(app, path):
    assert app.request("REPLICATE", path).status == 400


def test_a_missing_device(app):
    assert app.request("REPLICATE", "/sdx/7").status == 507


# ---------------------------------------------------------------- partitions as a whole


def test_an_empty_partition_is_dropped(app, store):
    app.put(T1)
    hashes(app)
    place = app.where()
    ((name_hash, times),) = store.hashes("7")
    assert not store.drop_partition("7")
    assert store.purge(store.locate("7", name_hash, None), times)
    assert store.drop_partition("7")
    assert not os.path.exists(place.partition_dir)
    assert store.drop_partition("7")


def test_what_is_no_object_keeps_its_partition(app, store):
    os.makedirs(f"{app.device}/objects/7/abc")
    with open(f"{app.device}/objects/7/abc/stray", "w"):
        pass
    assert not store.drop_partition("7")
    assert os.path.exists(f"{app.device}/objects/7/abc/stray")


def test_a_directory_without_files_does_not_keep_it(app, store):
    """Who is killed between the last file of an object and its directory leaves one."""
    app.put(T1)
    place = app.where()
    for name in os.listdir(place.hash_dir):
        os.unlink(f"{place.hash_dir}/{name}")
    assert store.drop_partition("7")
    assert not os.path.exists(place.partition_dir)


def test_what_a_crash_left_of_hashes_does_not_keep_it(app, store):
    os.makedirs(f"{app.device}/objects/7/abc")
    with open(f"{app.device}/objects/7/tmpa1b2c3.tmp", "w"):
        pass
    assert store.drop_partition("7")


def test_a_lock_that_was_removed_is_none(root):
    """Two that wait for a lock whose file goes away must not both believe that they have it."""
    first = locks.acquire_lock(root, 1)
    waiting = os.open(f"{root}/.lock", os.O_WRONLY)
    os.unlink(f"{root}/.lock")
    second = locks.acquire_lock(root, 1)  # the new file
    os.close(first)
    with pytest.raises(LockTimeout):
        locks.acquire_lock(root, 0.05)
    os.close(waiting)
    os.close(second)


def test_a_waiter_takes_the_new_lock(root, monkeypatch):
    flock = locks.fcntl.flock
    removed = []

    def race(fd, what):
        flock(fd, what)
        if not removed:
            removed.append(os.unlink(f"{root}/.lock"))  # between opening and locking

    monkeypatch.setattr(locks.fcntl, "flock", race)
    fd = locks.acquire_lock(root, 1)
    assert os.fstat(fd).st_nlink == 1
    assert os.fstat(fd).st_ino == os.stat(f"{root}/.lock").st_ino
    os.close(fd)


def test_a_pass_makes_its_place_and_clears_what_is_in_the_way(app, store):
    assert store.begin_pass() == []
    assert os.path.isdir(f"{app.device}/objects")
    with open(f"{app.device}/objects/12", "w"):
        pass
    os.makedirs(f"{app.device}/objects/7")
    with open(f"{app.device}/objects/auditor_status_ALL.json", "w"):
        pass
    assert store.begin_pass() == ["7"]
    assert sorted(os.listdir(f"{app.device}/objects")) == ["7", "auditor_status_ALL.json"]


# ---------------------------------------------------------------- large partitions


def test_a_large_partition_is_hashed_in_steps(app, store, monkeypatch):
    """No step keeps the others from the disk for long, and none of what was hashed is lost between them."""
    for n in range(30):
        app.request("PUT", f"/sda/7/a/c/o{n}", b"x", X_Timestamp=T1)
        app.request("PUT", f"/sda/8/a/c/o{n}", b"x", X_Timestamp=T1)
    whole = suffixes.get_hashes(f"{store.datadir}/8", reclaim_age=1e12)
    os.unlink(f"{store.datadir}/8/hashes.pkl")
    from swift.obj.files import store as files_store

    steps = []
    hash_some = files_store.hash_some

    def counted(*args, **kwargs):
        steps.append(hash_some(*args, **kwargs))
        return steps[-1]

    monkeypatch.setattr(files_store, "INLINE_SECONDS", 0)
    monkeypatch.setattr(files_store, "hash_some", counted)
    found = store.suffix_hashes("7")
    assert (found.hashed, found.hashes) == whole
    assert len(steps) == whole[0]
    assert all(step.hashed == 1 for step in steps)
    steps.clear()
    (eight, seven, none) = store.digests(["8", "7", "9"])
    assert (eight.value, eight.hashed) == (seven.value, whole[0])
    assert none.suffixes == 0


@pytest.mark.parametrize("compared", [True, False])
def test_others_are_served_while_much_is_hashed(app, monkeypatch, compared):
    """In memory that is done in the event loop."""
    from swift.obj.files import store as files_store

    numbers = [str(number) for number in range(20)]
    for number in numbers:
        app.request("PUT", f"/sda/{number if compared else 7}/a/c/o{number}", b"x", X_Timestamp=T1)
    monkeypatch.setattr(files_store, "INLINE_SECONDS", 0)
    turns = 0

    def other():
        nonlocal turns
        while True:
            turns += 1
            sleep(0)

    running = spawn(other)
    extra = {"X_Backend_Compare_Partitions": ",".join(f"{p}=x" for p in numbers)} if compared else {}
    assert app.request("REPLICATE", "/sda/7", **extra).status == 200
    running.kill()
    assert turns > 15


def test_what_cannot_be_hashed_ends_too(app, store, monkeypatch):
    from swift.obj.files import store as files_store

    for n in range(10):
        app.request("PUT", f"/sda/7/a/c/o{n}", b"x", X_Timestamp=T1)
    hash_suffix = suffixes.hash_suffix
    bad = app.where("/a/c/o3").suffix

    def broken(path, *args):
        if path.endswith(bad):
            raise OSError(5, "I/O error")
        return hash_suffix(path, *args)

    monkeypatch.setattr(suffixes, "hash_suffix", broken)
    monkeypatch.setattr(files_store, "INLINE_SECONDS", 0)
    found = store.suffix_hashes("7")
    assert found.hashes[bad] is None
    assert sum(value is not None for value in found.hashes.values()) == found.hashed > 5
    assert store.digests(["7"]) == [None]


def test_a_look_that_finds_nothing_new_writes_nothing(app, store):
    app.put(T1)
    store.suffix_hashes("7")
    before = os.stat(f"{store.datadir}/7/hashes.pkl")
    store.suffix_hashes("7", look_for_new=True)
    after = os.stat(f"{store.datadir}/7/hashes.pkl")
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_nobody_hashes_a_suffix_between_its_mark_and_its_change(root, monkeypatch, batch, method):
    """He would take the mark away, and peers never see the change (the reference marks first and holds nothing)."""
    app = App(root, batch)
    app.put(T1)
    where = app.where()
    hashes(app)
    came = []

    def somebody_hashes(point):
        if point == "invalidate:appended" and not came:
            came.append(point)
            with contextlib.suppress(LockTimeout):
                suffixes.get_hashes(where.partition_dir, reclaim_age=1e12)

    monkeypatch.setattr(suffixes, "LOCK_TIMEOUT", 0.01)
    monkeypatch.setattr(suffixes, "fault_point", somebody_hashes)
    monkeypatch.setattr(files_batch, "fault_point", somebody_hashes)
    assert app.request(method, X_Timestamp=T2, Content_Type="a/b").status < 300
    assert came
    assert hashes(app) == {where.suffix: suffixes.hash_suffix(where.suffix_dir, reclaim_age=1e12)}


def at_rest(where):
    """As if the hashes had been written some seconds ago."""
    then = clock.time_ns() - 5 * 10**9 + 1
    os.utime(f"{where.partition_dir}/hashes.pkl", ns=(then, then))


def test_hashes_that_were_written_a_moment_ago_vouch_for_nothing(app, store, monkeypatch):
    """They may be written twice more within a tick of the clock: with the inode and the time that the file had."""
    app.put(T1)
    where = app.where()
    path = f"{where.partition_dir}/hashes.pkl"
    store.suffix_hashes("7")
    written = os.stat(path).st_mtime_ns
    monkeypatch.setattr(clock, "file_time_ns", lambda: written)
    first = store.digests(["7"])
    hashes_ = suffixes.read_hashes(where.partition_dir)
    hashes_[where.suffix] = "f" * 32
    st = os.stat(path)
    with open(path, "r+b") as file:
        file.write(pickle.dumps(hashes_, 2))
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
    assert os.stat(path).st_size == st.st_size
    assert store.digests(["7"])[0].value != first[0].value


def test_digests_are_kept_for_as_long_as_the_hashes_stay(app, store, monkeypatch):
    """A pass over what is in sync reads no hashes; whatever changes them is seen at once."""
    app.put(T1)
    where = app.where()
    first = store.digests(["7"])
    at_rest(where)
    assert store.digests(["7"]) == [first[0]._replace(hashed=0)]
    consolidated = []
    consolidate = suffixes.consolidate
    monkeypatch.setattr(suffixes, "consolidate", lambda path: consolidated.append(path) or consolidate(path))
    assert store.digests(["7"])[0].value == first[0].value
    assert not consolidated
    app.put(T2)  # marks the suffix
    second = store.digests(["7"])
    assert second[0].value != first[0].value
    at_rest(where)
    assert store.digests(["7"])[0].value == second[0].value
    os.unlink(f"{where.hash_dir}/{T2}.data")
    os.unlink(f"{where.partition_dir}/hashes.pkl")  # as an operator may
    assert store.digests(["7"])[0].value not in (first[0].value, second[0].value)
    hashes_ = app.request("REPLICATE", "/sda/7")
    assert pickle.loads(hashes_.body) == {}
    app.put("1700000003.00000")
    third = store.digests(["7"])
    at_rest(where)
    assert store.digests(["7"])[0].value == third[0].value
    os.rename(where.suffix_dir, f"{where.partition_dir}/{'abc' if where.suffix != 'abc' else 'abd'}")
    assert store.digests(["7"], look_for_new=True)[0].value != third[0].value
    shutil.rmtree(where.partition_dir)
    assert store.digests(["7"])[0].suffixes == 0
