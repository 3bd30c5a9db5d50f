"""Small writes in batches: a result for each item, errors that are its own, and after a crash what `test_crash` says of single ones."""

import errno
import os
import signal

import pytest
from obj_app import App
from test_crash import killed

from swift.core.concurrency import hub, sleep, spawn
from swift.engine import durable, fault_points, threads
from swift.engine.locks import acquire_lock
from swift.engine.xattrs import set_xattr
from swift.obj.errors import DeviceUnavailable, Elsewhere, NoSpace, Refused, SameTimeConflict
from swift.obj.files import suffixes
from swift.obj.files.batch import Durable, SmallFile, SmallWrite, write_batch
from swift.obj.files.batch_thread import BatchThread
from swift.obj.files.state import read_state
from test.descriptors import none_left_open

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))
KEEP = 1e12


@pytest.fixture
def app(root):
    app = App(root)
    app.server.devices.get("sda").inline = True
    return app


def name_of(number):
    return f"/a/c/o{number}"


def item_of(app, number, timestamp=T1, body=b"body", extension=".data", partition="7"):
    where = app.where(name_of(number), partition)

    def plan():
        state = read_state(where, 0, hasty=True)
        if state.timestamp > timestamp:
            raise Refused(409, state.timestamp)
        metadata = {"X-Timestamp": timestamp}
        if extension == ".data":
            metadata |= {"Content-Type": "text/plain", "Content-Length": str(len(body)), "ETag": "e"}
        return number, SmallFile(metadata, extension, body, state.names)

    return SmallWrite(where, plan, len(body))


def write(app, items):
    return write_batch(items, app.server.stores.options)


def files(app, number, partition="7"):
    return app.files(name=name_of(number), partition=partition)


def consistent(app, partition="7"):
    """What replication would compare says what is there."""
    partition_dir = app.where(partition=partition).partition_dir
    if not os.path.isdir(partition_dir):
        return
    _, hashes = suffixes.get_hashes(partition_dir, reclaim_age=KEEP)
    for suffix in os.listdir(partition_dir):
        if len(suffix) == 3:
            assert hashes.get(suffix) == suffixes.hash_suffix(f"{partition_dir}/{suffix}", reclaim_age=KEEP)


def failing(monkeypatch, name, when, code):
    """`os.<name>` fails when `when(*args)` says so."""
    real = getattr(os, name)

    def call(*args, **kwargs):
        if when(*args):
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    monkeypatch.setattr(os, name, call)


def test_each_item_gets_its_result(app):
    items = [item_of(app, number, partition=str(number % 3)) for number in range(10)]
    assert write(app, items) == list(range(10))
    for number in range(10):
        assert files(app, number, str(number % 3)) == [f"{T1}.data"]
    for partition in "012":
        consistent(app, partition)
    assert write(app, []) == []


def test_what_a_plan_raises_is_its_own_items_result(app):
    app_items = [item_of(app, 0, T2), item_of(app, 1)]
    assert write(app, app_items) == [0, 1]
    refused, done = write(app, [item_of(app, 0, T1), item_of(app, 2)])
    assert isinstance(refused, Refused)
    assert done == 2
    assert files(app, 0) == [f"{T2}.data"]


def test_items_of_one_object_come_one_after_the_other(app):
    results = write(
        app,
        [
            item_of(app, 0, T1, b"one"),
            item_of(app, 0, T3, b"", ".ts"),
            item_of(app, 1),
            item_of(app, 0, T2, b"two"),
        ],
    )
    assert results[:3] == [0, 0, 1]
    assert isinstance(results[3], Refused)
    assert files(app, 0) == [f"{T3}.ts"]


def test_the_same_time_with_other_content_conflicts(app):
    first, same, other = (
        item_of(app, 0, T1, b"one"),
        item_of(app, 0, T1, b"one"),
        item_of(app, 0, T1, b"other"),
    )
    results = write(app, [first, same, other])
    assert results[:2] == [0, 0]
    assert isinstance(results[2], SameTimeConflict)


@pytest.mark.parametrize("bad", [0, 2, 4])
def test_a_failed_sync_of_a_file_is_one_items_error(app, monkeypatch, bad):
    synced = iter(range(100))
    failing(
        monkeypatch,
        "fsync",
        lambda fd: os.readlink(f"/proc/self/fd/{fd}").endswith("(deleted)") and next(synced) == bad,
        errno.EIO,
    )
    results = write(app, [item_of(app, number) for number in range(5)])
    for number, result in enumerate(results):
        if number == bad:
            assert isinstance(result, OSError) and result.errno == errno.EIO
            assert not os.path.exists(app.where(name_of(number)).hash_dir)
        else:
            assert result == number
            assert files(app, number) == [f"{T1}.data"]
    consistent(app)


def test_a_failed_sync_of_a_directory_fails_all_that_need_it(app, monkeypatch):
    partition_dir = app.where(partition="1").partition_dir
    failing(monkeypatch, "fsync", lambda fd: os.readlink(f"/proc/self/fd/{fd}") == partition_dir, errno.EIO)
    results = write(app, [item_of(app, number, partition=str(number % 2)) for number in range(6)])
    assert [isinstance(result, OSError) for result in results] == [False, True] * 3
    # and what was not synced is not believed to be durable the next time
    assert isinstance(write(app, [item_of(app, 1, T2, partition="1")])[0], OSError)
    monkeypatch.undo()
    assert write(app, [item_of(app, 1, T2, partition="1")]) == [1]


@pytest.mark.parametrize("call", ["write", "setxattr", "mkdir", "link"])
def test_a_disk_that_fills_up_amid_a_batch_fails_those_that_meet_it(app, monkeypatch, call):
    if call == "setxattr":
        real = set_xattr
        calls = iter(range(100))

        def full(*args):
            if next(calls) == 4:  # of the third file, and then of the probe
                raise OSError(errno.EDQUOT, "full")
            return real(*args)

        monkeypatch.setattr("swift.obj.files.metadata.set_xattr", full)
    else:
        calls = iter(range(100))
        wanted = {"write": 2, "mkdir": 6, "link": 2}[call]
        failing(monkeypatch, call, lambda *args: next(calls) == wanted, errno.ENOSPC)
    results = write(app, [item_of(app, number) for number in range(5)])
    failed = [number for number, result in enumerate(results) if isinstance(result, NoSpace)]
    assert len(failed) == 1
    for number, result in enumerate(results):
        assert (files(app, number) == [f"{T1}.data"]) == (number not in failed), result
    monkeypatch.undo()
    assert write(app, [item_of(app, failed[0])]) == failed
    consistent(app)


def test_a_held_lock_holds_up_nobody(app):
    write(app, [item_of(app, 0, partition="0"), item_of(app, 1, partition="1")])
    lock = acquire_lock(app.where(partition="1").partition_dir, 1)
    try:
        results = write(app, [item_of(app, n, T2, partition=str(n % 2)) for n in range(4)])
    finally:
        os.close(lock)
    assert [results[0], results[2]] == [0, 2]
    assert isinstance(results[1], Elsewhere) and isinstance(results[3], Elsewhere)
    assert files(app, 1, "1") == [f"{T1}.data"]
    assert not os.path.exists(app.where(name_of(3), "1").hash_dir)


def test_damage_is_left_to_the_trip(app):
    write(app, [item_of(app, 0)])
    os.setxattr(f"{app.where(name_of(0)).hash_dir}/{T1}.data", "user.swift.metadata", b"bad")
    results = write(app, [item_of(app, 0, T2), item_of(app, 1)])
    assert isinstance(results[0], Elsewhere)
    assert results[1] == 1
    assert files(app, 0) == [f"{T1}.data"]
    assert not os.path.exists(f"{app.device}/quarantined")


def test_directories_that_vanished_are_made_again(app):
    write(app, [item_of(app, 0)])
    os.rename(app.where().partition_dir, app.where().partition_dir + "x")
    assert write(app, [item_of(app, 0, T2)]) == [0]
    assert files(app, 0) == [f"{T2}.data"]
    os.rename(app.device, app.device + "x")
    (result,) = write(app, [item_of(app, 0, T3)])
    assert isinstance(result, DeviceUnavailable)
    assert not os.path.exists(app.device)


def test_nothing_leaks(app, monkeypatch):
    def some():
        write(app, [item_of(app, n, T2) for n in range(5)])
        write(app, [item_of(app, n, T1) for n in range(5)])

    some()
    with none_left_open():
        some()
        failing(monkeypatch, "link", lambda *args: True, errno.EIO)
        write(app, [item_of(app, n, T3) for n in range(5)])


# ---------------------------------------------------------------- killed


POINTS = [
    "mkdirs_durable:made",
    "write:opened",
    "write:written",
    "write:attributes",
    "write:synced",
    "invalidate:appended",
    "write:linked",
    "write:durable",
    "write:cleaned",
]


def fragment_of(app, number, timestamp, body=None):
    """What writes a fragment, or, without a body, makes it durable."""
    store = app.server.stores.get(app.server.devices.get("sda"), app.server.policies[2])
    where = store.locate("7", f"{number:029x}abc", name_of(number))

    def plan():
        if body is None:
            return None, Durable(timestamp, 1)
        state = read_state(where, 0, hasty=True)
        metadata = {
            "X-Timestamp": timestamp,
            "Content-Type": "a/b",
            "Content-Length": str(len(body)),
            "ETag": "e",
        }
        return number, SmallFile(metadata, ".data", body, state.names, fragment=1)

    return SmallWrite(where, plan, len(body or b""))


def fragments(app, number):
    return sorted(os.listdir(fragment_of(app, number, T1).where.hash_dir))


def test_fragments_become_durable(app):
    """Older ones go then; one that is not there is left to the trip, and does the others no harm."""
    assert write(app, [fragment_of(app, number, T1, b"old") for number in range(3)]) == [0, 1, 2]
    assert write(app, [fragment_of(app, number, T1) for number in range(3)]) == [None] * 3
    assert write(app, [fragment_of(app, number, T2, b"new") for number in range(2)]) == [0, 1]
    assert fragments(app, 0) == [f"{T1}#1#d.data", f"{T2}#1.data"]
    results = write(
        app,
        [
            fragment_of(app, 0, T2),
            fragment_of(app, 1, T2),
            fragment_of(app, 2, T2),
            item_of(app, 9),
            fragment_of(app, 0, T3, b"x"),
        ],
    )
    assert isinstance(results.pop(2), Elsewhere)
    assert results == [None, None, 9, 0]
    assert fragments(app, 0) == [f"{T2}#1#d.data", f"{T3}#1.data"]
    assert (fragments(app, 1), fragments(app, 2)) == ([f"{T2}#1#d.data"], [f"{T1}#1#d.data"])


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("call", ["rename", "fsync"])
def test_a_fragment_that_can_not_become_durable(app, monkeypatch, call, code):
    write(app, [fragment_of(app, number, T1, b"old") for number in range(3)])
    failed = iter(range(10))
    failing(monkeypatch, call, lambda *args: next(failed) == 1, code)
    results = write(app, [fragment_of(app, number, T1) for number in range(3)])
    assert [result for result in results if result is not None] == [results[1]]
    assert isinstance(results[1], NoSpace if code == errno.ENOSPC else OSError)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("point", ["invalidate:appended", "commit:renamed", "commit:durable"])
def test_killed_while_fragments_become_durable(app, point, count):
    """Each is there by its old name or its new one, and beside it what came before unless it is durable; the same again goes through."""
    for number in range(3):
        write(app, [fragment_of(app, number, T1, b"old")])
        write(app, [fragment_of(app, number, T1)])
    write(app, [fragment_of(app, number, T2, b"new") for number in range(3)])
    assert (
        killed(f"{point}:{count}", lambda: write(app, [fragment_of(app, n, T2) for n in range(3)]))
        or count > 1
    )
    for number in range(3):
        there = fragments(app, number)
        assert f"{T2}#1#d.data" in there or there == [f"{T1}#1#d.data", f"{T2}#1.data"]
    store = app.server.stores.get(app.server.devices.get("sda"), app.server.policies[2])
    for number in range(3):
        store.commit(fragment_of(app, number, T2).where, T2, 1)
        assert fragments(app, number) == [f"{T2}#1#d.data"]


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("point", POINTS)
def test_killed_amid_a_batch(app, point, count):
    """Each object of it is whole, old or new, and replication sees which; the same batch again goes through."""
    write(app, [item_of(app, number, partition=str(number % 2)) for number in range(3)])
    for partition in "01":
        suffixes.get_hashes(app.where(partition=partition).partition_dir, reclaim_age=KEEP)
    # 0 and 1 are overwritten, 2 is deleted, 3 to 5 are new, some of them in a new partition
    items = [
        item_of(app, 0, T2, b"new", partition="0"),
        item_of(app, 1, T2, b"new", partition="1"),
        item_of(app, 2, T2, b"", ".ts", partition="0"),
        *(item_of(app, number, T2, b"new", partition=str(number % 3)) for number in (3, 4, 5)),
    ]
    durable._known_durable.clear()
    pid = os.fork()
    if pid == 0:
        try:
            fault_points.arm(f"{point}:{count}")
            write(app, items)
        finally:
            os._exit(0)
    status = os.waitpid(pid, 0)[1]
    times = {"mkdirs_durable:made": 3, "invalidate:appended": 3}.get(point, 6)
    if count <= times:
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL or point.startswith("mkdirs")
    durable._known_durable.clear()
    for item in items:
        there = sorted(os.listdir(item.where.hash_dir)) if os.path.isdir(item.where.hash_dir) else []
        assert all(name.split(".")[2] in ("data", "ts") for name in there)
        for name in there:
            state = read_state(item.where, 0)
            assert state.timestamp in (T1, T2)
            assert name.startswith((T1, T2))
    for partition in "012":
        consistent(app, partition)
    results = write(app, items)
    assert results == [0, 1, 2, 3, 4, 5]
    for item, extension in zip(items, ("data", "data", "ts", "data", "data", "data"), strict=True):
        assert os.listdir(item.where.hash_dir) == [f"{T2}.{extension}"]
    for partition in "012":
        consistent(app, partition)


# ---------------------------------------------------------------- the thread that carries them


class Gate:
    """A `carry_out` that waits, and says what it got."""

    def __init__(self):
        self.open = threads.raw_threading.Event()
        self.batches = []

    def __call__(self, items):
        self.batches.append(list(items))
        self.open.wait()
        return [ValueError(item) if item == "bad" else item * 2 for item in items]


@pytest.fixture
def ours():
    """Our hub, before there are green threads."""
    hub()


def start(thread, items, weight=1):
    waiting = [spawn(thread.carry, item, weight) for item in items]
    sleep(0)
    return waiting


def test_what_waits_is_the_next_batch(ours):
    gate = Gate()
    thread = BatchThread("test", gate, 4, 100)
    waiting = start(thread, [1])
    while not gate.batches:
        sleep(0.001)
    waiting += start(thread, [2, 3, "bad", 4, 5, 6])
    gate.open.set()
    results = []
    for green in waiting:
        try:
            results.append(green.wait())
        except ValueError as error:
            results.append(str(error))
    assert results == [2, 4, 6, "bad", 8, 10, 12]
    assert gate.batches == [[1], [2, 3, "bad", 4], [5, 6]]
    assert thread.pending == 0


def test_a_batch_is_bounded_by_weight(ours):
    gate = Gate()
    thread = BatchThread("test", gate, 100, 10)
    waiting = start(thread, [0])
    while not gate.batches:
        sleep(0.001)
    waiting += start(thread, [1, 2, 3, 4], 6)
    gate.open.set()
    assert [green.wait() for green in waiting] == [0, 2, 4, 6, 8]
    assert gate.batches == [[0], [1, 2], [3, 4]]


def test_what_carry_out_raises_everybody_gets(ours):
    def broken(items):
        raise OSError(errno.EIO, "gone")

    thread = BatchThread("test", broken, 4, 100)
    for _ in range(2):
        with pytest.raises(OSError):
            thread.carry(1, 1)


def test_an_abandoned_item_that_has_not_begun_is_never_done(ours):
    gate = Gate()
    thread = BatchThread("test", gate, 4, 100)
    waiting = start(thread, [1])
    while not gate.batches:
        sleep(0.001)
    abandoned = thread.submit(gate, 2, 1)
    abandoned.give_up()
    waiting += start(thread, [3])
    gate.open.set()
    assert [green.wait() for green in waiting] == [2, 6]
    assert gate.batches == [[1], [3]]
    assert thread.pending == 0
    assert thread.carry(4, 1) == 8


def test_a_stuck_thread_lets_go_of_who_waits(ours, monkeypatch):
    monkeypatch.setattr(threads.LIMITS, "stall", 0.2)
    gate = Gate()
    thread = BatchThread("test", gate, 4, 100)
    waiting = start(thread, [1, 2, 3])
    for green in waiting:
        with pytest.raises(threads.DeviceStuck):
            green.wait()
    with pytest.raises(threads.DeviceStuck):
        thread.carry(4, 1)
    gate.open.set()
    while thread.pending:
        sleep(0.01)
    assert thread.carry(5, 1) == 10
