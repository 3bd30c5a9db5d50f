"""What readers of a container see while others change it, other readers wait and the budget puts things out of the cache.

The device's pool is replaced by one whose calls wait, before and after their work, until the test lets them go on.
"""

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from contextlib import contextmanager

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from swift.container.broker import ContainerBroker
from swift.container.listing import JSON, object_listing
from swift.container.server import ContainerServer
from swift.core.concurrency import Semaphore, getcurrent, sleep, spawn
from swift.core.hashing import hash_path, set_hash_config
from swift.db import marks, seen, snapshots, stretches
from swift.db import reader as reader_module
from swift.db.budget import BUDGET, DEFAULT_BUDGET
from swift.db.errors import DatabaseMissing
from swift.db.listing import Listing
from swift.db.merge import ObjectItem
from swift.engine.threads import DeviceBusy
from test.databases import Logger, ShownContainer, call, make_conf

set_hash_config(b"", b"golden")


def make(root, name="c"):
    digest = hash_path("AUTH_a", name)
    os.makedirs(f"{root}/sda1", exist_ok=True)
    path = f"{root}/sda1/containers/1/{digest[-3:]}/{digest}/{digest}.db"
    broker = ContainerBroker(path, account="AUTH_a", container=name)
    broker.create("1700000000.00000", 0)
    return broker


class SteppedPool:
    """In place of a device's pool: each call waits for a step before its work, and for another one before its result is taken."""

    def __init__(self):
        self.gates = {}

    def run(self, function, *args):
        gate = self.gates.get(getcurrent())
        if gate is None:
            return function(*args)
        gate.acquire()
        try:
            return function(*args)
        finally:
            gate.acquire()


@contextmanager
def stepped_pool():
    pool = SteppedPool()
    saved = snapshots.pool_for
    snapshots.pool_for = lambda path: pool
    try:
        yield pool
    finally:
        snapshots.pool_for = saved


@contextmanager
def perfect_marks():
    """Marks that differ exactly when the content does, and can be believed at once."""

    def content(path):
        if os.path.isdir(path):
            return repr(sorted(os.listdir(path))).encode()
        with open(path, "rb") as file:
            return file.read()

    def mark(path):
        try:
            st_ = os.stat(path)
            return st_.st_dev, st_.st_ino, st_.st_size, 1 + 2 * zlib.crc32(content(path))
        except FileNotFoundError:
            return None

    def look(directory, names):
        return mark(directory), *[mark(directory + b"/" + name) for name in names]

    changed = {
        (reader_module, "mark"): mark,
        (reader_module, "mark_of"): lambda fd: mark(f"/proc/self/fd/{fd}"),
        (seen, "look_anyway"): look,
        (seen, "road_to"): lambda directory: look,
    }
    saved = {(module, name): getattr(module, name) for module, name in changed}
    try:
        for (module, name), value in changed.items():
            setattr(module, name, value)
        yield
    finally:
        for (module, name), value in saved.items():
            setattr(module, name, value)


@contextmanager
def budget_of(limit):
    saved = BUDGET.limit
    BUDGET.limit = limit
    try:
        yield
    finally:
        BUDGET.limit = saved


def evict_everything():
    with budget_of(0):
        BUDGET.add(object(), 1, lambda: None)


class Reader:
    """A request for a listing, which may be halted at the pool."""

    def __init__(self, pool, shown, listing, since):
        self.since = since  # the state of the model when it came
        self.listing = listing
        self.gate = Semaphore(0)
        self.result = None
        self.task = spawn(self._run, pool, shown)
        pool.gates[self.task] = self.gate

    def _run(self, pool, shown):
        def function(source):
            info = source.snapshot.info
            return (
                info["object_count"],
                info["bytes_used"],
                [
                    (entry.get("name", entry.get("subdir")), entry.get("bytes"))
                    for entry in json.loads(object_listing(source, self.listing, JSON, 0))
                ],
            )

        self.result = shown.snapshots.answer(shown.path, function)

    def step(self):
        self.gate.release()
        for _ in range(3):
            sleep(0)


def expected(model, listing):
    entries = []
    for name in sorted(model):
        if name > listing.marker and name.startswith(listing.prefix):
            if listing.delimiter and listing.delimiter in name:
                entry = name[: name.index(listing.delimiter) + 1], None
                if entry not in entries and entry[0] != listing.marker:
                    entries.append(entry)
            else:
                entries.append((name, model[name]))
    return len(model), sum(model.values()), entries[: listing.limit]


NAMES = ["a/0", "a/1", "a/2", "b", "c/0"]
LISTINGS = [
    Listing(),
    Listing(limit=2),
    Listing(limit=2, marker="a/2"),
    Listing(prefix="b"),
    Listing(delimiter="/"),
]


class Interleavings(RuleBasedStateMachine):
    """Every answer is a state that the container had between the coming and the going of its request."""

    def __init__(self):
        super().__init__()
        self.root = tempfile.mkdtemp()
        self.contexts = [stepped_pool(), perfect_marks()]
        self.pool = self.contexts[0].__enter__()
        self.contexts[1].__enter__()
        self.saved = stretches.MIN_LOAD_ROWS, BUDGET.limit
        stretches.MIN_LOAD_ROWS = 2
        self.broker = make(self.root)
        self.other = ContainerBroker(self.broker.path)
        self.shown = ShownContainer(ContainerBroker(self.broker.path))
        self.history = [{}]
        self.readers = []
        self.times = (f"{1700000001 + n}.00000" for n in itertools.count())

    def teardown(self):
        BUDGET.limit = DEFAULT_BUDGET
        while self.readers:
            self.go_on(self.readers[0])
        stretches.MIN_LOAD_ROWS, BUDGET.limit = self.saved
        for context in reversed(self.contexts):
            context.__exit__(None, None, None)
        evict_everything()
        shutil.rmtree(self.root)

    def becomes(self, **changes):
        model = {**self.history[-1], **changes}
        self.history.append({name: size for name, size in model.items() if size is not None})

    @initialize(rows=st.sets(st.sampled_from(NAMES)))
    def begin(self, rows):
        self.other.merge_items([ObjectItem(name, next(self.times), 5, "t", "e", 0) for name in sorted(rows)])
        self.becomes(**dict.fromkeys(rows, 5))

    @rule(name=st.sampled_from(NAMES), size=st.integers(0, 9))
    def put(self, name, size):
        self.broker.put_object(name, next(self.times), size, "t", "e")
        self.becomes(**{name: size})

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name):
        self.broker.delete_object(name, next(self.times))
        self.becomes(**{name: None})

    @rule(name=st.sampled_from(NAMES), size=st.integers(0, 9))
    def store_past_the_pending_file(self, name, size):
        self.other.merge_items([ObjectItem(name, next(self.times), size, "t", "e", 0)])
        self.becomes(**{name: size})

    @rule()
    def merge(self):
        self.other.commit_pending()

    @rule(limit=st.sampled_from([0, 300, 3000, 6000, 20_000, DEFAULT_BUDGET]))
    def bound(self, limit):
        BUDGET.limit = limit

    @rule()
    def evict(self):
        evict_everything()

    @rule(listing=st.sampled_from(LISTINGS))
    def look(self, listing):
        """A reader that nobody halts."""
        reader = Reader(self.pool, self.shown, listing, len(self.history) - 1)
        reader.gate.release()
        for _ in range(20):
            if reader.task.dead:
                break
            for waiting in [reader, *self.readers]:  # it may have to wait for others
                waiting.step()
        reader.task.wait()
        assert reader.result == expected(self.history[-1], listing)

    @precondition(lambda self: len(self.readers) < 4)
    @rule(listing=st.sampled_from(LISTINGS))
    def come(self, listing):
        self.readers.append(Reader(self.pool, self.shown, listing, len(self.history) - 1))
        sleep(0)

    @precondition(lambda self: self.readers)
    @rule(which=st.integers(0, 3))
    def step(self, which):
        self.go_on(self.readers[which % len(self.readers)])

    def go_on(self, reader):
        reader.step()

        if reader.task.dead:
            self.readers.remove(reader)
            reader.task.wait()
            states = [expected(model, reader.listing) for model in self.history[reader.since :]]
            assert reader.result in states

    @invariant()
    def what_is_done_is_done(self):
        for reader in [reader for reader in self.readers if reader.task.dead]:
            self.go_on(reader)
        assert BUDGET.used <= DEFAULT_BUDGET


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


@pytest.fixture
def pool():
    with stepped_pool() as pool:
        yield pool


def test_the_budget_runs_out_while_a_reader_waits_for_the_disk(tmp_path, pool):
    broker = make(tmp_path)
    shown = ShownContainer(broker)
    for n in range(3):
        broker.put_object(f"o{n}", "1700000001.00000", 1, "t", "e")
    for another in (None, "o3"):
        if another:
            broker.put_object(another, "1700000001.00000", 1, "t", "e")
        reader = Reader(pool, shown, Listing(), 0)
        sleep(0)
        while not reader.task.dead:
            evict_everything()
            reader.step()
        reader.task.wait()
        assert [name for name, _ in reader.result[2]] == ["o0", "o1", "o2", *([another] if another else [])]
        reader = Reader(pool, shown, Listing(), 0)
        while not reader.task.dead:
            reader.step()


def test_one_read_serves_all_who_came_before_it_began(tmp_path, pool):
    broker = make(tmp_path)
    shown = ShownContainer(broker)
    _ = shown.now
    reads = []
    plain = shown.reader._read
    shown.reader._read = lambda *args: reads.append(1) or plain(*args)
    broker.put_object("o", "1700000001.00000", 1, "t", "e")
    tasks = [spawn(lambda: shown.snapshots.current(shown.path).info["object_count"]) for _ in range(10)]
    gate = Semaphore(0)
    pool.gates.update(dict.fromkeys(tasks, gate))
    sleep(0)
    broker.put_object(
        "p", "1700000001.00000", 1, "t", "e"
    )  # the first has begun: not for it, but for all others
    for _ in range(4):
        gate.release()
        sleep(0.01)
    assert all(task.dead for task in tasks)
    assert {task.wait() for task in tasks[1:]} == {2}
    assert len(reads) == 2


def test_what_a_slow_reader_brings_back_is_kept_as_before(tmp_path, monkeypatch, pool):
    """Two read the same: the first to end could not tell that nothing has changed, the second could."""
    broker = make(tmp_path)
    broker.merge_items([ObjectItem(f"o{n}", "1700000001.00000", 1, "t", "e", 0) for n in range(9)])
    with perfect_marks():
        shown = ShownContainer(broker)
        _ = shown.now
        first, second = (Reader(pool, shown, Listing(marker=marker), 0) for marker in ("o2", "o5"))
        sleep(0)
        monkeypatch.setattr(seen.SeenFile, "is_same", lambda *_: False)
        first.step()
        monkeypatch.undo()
        second.step()
        first.step()
        second.step()
        assert first.task.dead and second.task.dead
        trips = []
        plain = pool.run
        monkeypatch.setattr(pool, "run", lambda *call: trips.append(call) or plain(*call))
        for _ in range(3):
            assert len(json.loads(shown.listing(Listing(marker="o1")))) == 7
        assert len(trips) <= 1


def test_who_waits_behind_a_reader_that_is_killed_goes_on(tmp_path, pool):
    broker = make(tmp_path)
    shown = ShownContainer(broker)
    _ = shown.now
    broker.put_object("o", "1700000001.00000", 1, "t", "e")
    first = spawn(lambda: shown.now.info["object_count"])
    pool.gates[first] = Semaphore(0)
    sleep(0)
    second = spawn(lambda: shown.now.info["object_count"])
    sleep(0)
    first.kill()
    assert second.wait() == 1


def test_a_busy_device_is_asked_once_for_all_who_wait(tmp_path, monkeypatch):
    broker = make(tmp_path)
    shown = ShownContainer(broker)
    _ = shown.now
    broker.put_object("o", "1700000001.00000", 1, "t", "e")
    asked = []

    class Busy:
        def run(self, function, *args):
            asked.append(1)
            sleep(0.01)
            raise DeviceBusy("disk sda1")

    monkeypatch.setattr(snapshots, "pool_for", lambda path: Busy())

    def ask():
        with pytest.raises(DeviceBusy):
            _ = shown.now
        return True

    assert all(task.wait() for task in [spawn(ask) for _ in range(10)])
    assert len(asked) == 2  # for the first, and for all who came while it was asked


def test_a_busy_device_does_not_cost_what_is_known(tmp_path, monkeypatch):
    broker = make(tmp_path)
    shown = ShownContainer(broker)
    monkeypatch.setattr(marks, "TICK_NS", -(10**15))
    first = shown.now

    class Busy:
        def run(self, function, *args):
            raise DeviceBusy("disk sda1")

    with monkeypatch.context() as patched:
        patched.setattr(snapshots, "pool_for", lambda path: Busy())
        assert shown.now is first
        with pytest.raises(DeviceBusy):
            shown.listing(Listing())
        assert shown.now is first


# ---------------------------------------------------------------- other processes, other files

WRITER = """
import sys
from swift.container.broker import ContainerBroker
broker = ContainerBroker(sys.argv[1])
for n in range(300):
    if n % 11 == 7:
        broker.commit_pending()
    elif n % 5 == 3:
        broker.delete_object(f"o{n - 3:03d}", f"{1700000001 + n}.00000")
        print("-", f"o{n - 3:03d}", flush=True)
    else:
        broker.put_object(f"o{n:03d}", f"{1700000001 + n}.00000", 1, "t", "e")
        print("+", f"o{n:03d}", flush=True)
"""


def test_what_another_process_has_acknowledged_is_shown(tmp_path):
    broker = make(tmp_path)
    shown = ShownContainer(broker)
    known = {}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, broker.path], stdout=subprocess.PIPE, text=True
    ) as writer:
        for line in writer.stdout:
            sign, name = line.split()
            known[name] = sign == "+"
            found = {entry["name"] for entry in json.loads(shown.listing(Listing()))}
            assert not any(name in found for name, there in known.items() if not there)
            stays = {name for name, there in known.items() if there and int(name[1:]) % 5}  # never deleted
            assert stays <= found
    assert writer.returncode == 0
    found = [entry["name"] for entry in json.loads(shown.listing(Listing()))]
    assert found == sorted(name for name, there in known.items() if there)
    assert shown.info["object_count"] == len(found)


def coarse(monkeypatch, seconds):
    """File times as a file system with times of so many seconds has them."""
    plain = marks._mark

    def mark(st_):
        device, inode, size, changed = plain(st_)
        return device, inode, size, changed - changed % (seconds * 10**9)

    monkeypatch.setattr(marks, "_mark", mark)


CHANGE = """
import sys
from swift.container.broker import ContainerBroker
ContainerBroker(sys.argv[1]).update_metadata({"X-Container-Read": ("", "1700000002.00000")})
"""


@pytest.mark.parametrize("seconds", [1, 2])
def test_a_right_that_is_withdrawn_within_the_second_in_which_it_was_read(tmp_path, monkeypatch, seconds):
    """The size stays, and so does the time of the last change."""
    coarse(monkeypatch, seconds)
    broker = make(tmp_path)
    shown = ShownContainer(broker)
    broker.update_metadata({"X-Container-Read": ("alice", "1700000001.00000")})
    sleep(3 * marks.TICK_NS / 1e9)
    assert shown.now.metadata["X-Container-Read"][0] == "alice"
    subprocess.run([sys.executable, "-c", CHANGE, broker.path], check=True)
    assert shown.now.metadata["X-Container-Read"][0] == ""
    sleep(seconds)
    assert shown.now.metadata["X-Container-Read"][0] == ""


def test_times_set_back_hide_nothing(tmp_path, monkeypatch):
    """As rsync --times and tar do: only the time of the last change of the inode can't be set."""
    broker = make(tmp_path)
    broker.put_object("a", "1700000001.00000", 1, "t", "e")
    shown = ShownContainer(broker)
    sleep(2 * marks.TICK_NS / 1e9)
    _ = shown.now
    before = os.stat(broker.pending_path)
    with open(broker.pending_path, "rb+") as file:
        data = file.read().replace(b":", b":", 1)
        file.seek(0)
        file.write(data[: len(data) // 2] + b"x" + data[len(data) // 2 + 1 :])
    os.utime(broker.pending_path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not shown.snapshots._all[shown.path].held.seen.holds()


def test_a_database_that_is_replaced_between_being_opened_and_looked_at(tmp_path, monkeypatch):
    """What was read from the old file must not be taken for the new one's content."""
    broker, new = make(tmp_path), make(tmp_path, "new")
    new.merge_items([ObjectItem("new", "1700000001.00000", 1, "t", "e", 0)])
    shown = ShownContainer(broker)
    opened = broker.connection
    waiting = [new.path]

    @contextmanager
    def connection(path=None):
        with opened(path) as conn:
            if waiting:
                os.rename(waiting.pop(), broker.path)
            yield conn

    monkeypatch.setattr(broker, "connection", connection)
    assert [entry["name"] for entry in json.loads(shown.listing(Listing()))] == ["new"]
    sleep(2 * marks.TICK_NS / 1e9)
    assert [entry["name"] for entry in json.loads(shown.listing(Listing()))] == ["new"]


def test_a_file_that_goes_when_sharding_ends_is_no_missing_container(tmp_path, monkeypatch):
    retiring = make(tmp_path)
    retiring.merge_items([ObjectItem("o", "1700000001.00000", 1, "t", "e", 0)])
    fresh = retiring.path[:-3] + "_1700000500.00000.db"
    shutil.copy(retiring.path, fresh)
    shown = ShownContainer(retiring)
    assert shown.info["db_state"] == "sharding"
    opened = retiring.connection
    waiting = [retiring.path]

    @contextmanager
    def connection(path=None):
        if waiting:
            os.unlink(waiting.pop())
        with opened(path) as conn:
            yield conn

    monkeypatch.setattr(retiring, "connection", connection)
    assert shown.info["db_state"] == "unsharded"
    shutil.rmtree(os.path.dirname(fresh))
    with pytest.raises(DatabaseMissing):
        _ = shown.now


def test_a_container_of_two_files_is_kept_too(tmp_path, monkeypatch):
    retiring = make(tmp_path)
    retiring.merge_items([ObjectItem(f"o{n}", "1700000001.00000", 1, "t", "e", 0) for n in range(5)])
    shutil.copy(retiring.path, retiring.path[:-3] + "_1700000500.00000.db")
    shown = ShownContainer(ContainerBroker(retiring.path))
    sleep(2 * marks.TICK_NS / 1e9)
    first = shown.listing(Listing(limit=3))
    assert len(json.loads(first)) == 3
    monkeypatch.setattr(shown.reader.broker, "connection", None)
    assert shown.info["db_state"] == "sharding"
    assert shown.listing(Listing(limit=3)) == first
    # rows of now go to the file that isn't listed
    ContainerBroker(retiring.path).put_object("p", "1700000002.00000", 1, "t", "e")
    monkeypatch.undo()
    assert shown.listing(Listing(limit=3)) == first
    assert shown.info["object_count"] == 5


def test_a_pending_file_that_can_not_be_merged_is_shown_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(reader_module, "MAX_OVERLAY", 1000)
    broker = make(tmp_path)
    for n in range(40):
        broker.put_object(f"o{n:02d}", "1700000001.00000", 5, "t", "e")
    shown = ShownContainer(broker)
    monkeypatch.setattr(broker, "commit_pending", lambda: None)
    assert len(json.loads(shown.listing(Listing()))) == 40
    monkeypatch.setattr(reader_module, "LONGEST_OVERLAY", 2000)
    # what was read of files that had settled may still hold: so there is something new
    broker.put_object("p", "1700000001.00000", 5, "t", "e")
    with pytest.raises(Exception, match="can't be merged"):
        shown.listing(Listing(limit=1))


# ---------------------------------------------------------------- the server


ROW = {"X-Timestamp": "1700000002.00000", "X-Size": "1", "X-Content-Type": "t", "X-Etag": "e"}


@pytest.mark.parametrize("size", [0, 1, 1000, 5000, 20_000])
def test_a_small_cache_hides_nothing(tmp_path, size):
    with budget_of(size):
        app = ContainerServer({**make_conf(tmp_path), "listing_cache_size": str(size)}, Logger())
        path = "/sda1/1/AUTH_a/c"
        assert call(app, "PUT", path, headers={"X-Timestamp": "1700000001.00000"})[0] == 201
        names = []
        for n in range(20):
            names.append(f"o{n:02d}")
            assert call(app, "PUT", f"{path}/{names[-1]}", headers=ROW)[0] == 201
            assert call(app, "GET", path)[2].split() == names
            for query in ("format=json", "format=json&delimiter=/"):
                assert [entry["name"] for entry in json.loads(call(app, "GET", path, query)[2])] == names
            assert call(app, "HEAD", path)[1]["X-Container-Object-Count"] == str(n + 1)


def test_a_cold_listing_is_one_trip_to_the_disk_and_a_warm_one_none(tmp_path, monkeypatch):
    broker = make(tmp_path)
    broker.merge_items([ObjectItem(f"o{n:04d}", "1700000001.00000", 1, "t", "e", 0) for n in range(1000)])
    sleep(2 * marks.TICK_NS / 1e9)
    trips = []

    class Counting:
        def run(self, function, *args):
            trips.append(function)
            return function(*args)

    monkeypatch.setattr(snapshots, "pool_for", lambda path: Counting())
    shown = ShownContainer(broker)
    assert len(json.loads(shown.listing(Listing()))) == 1000
    assert len(trips) == 1
    if marks.road_to(shown.reader.directory) is None:
        pytest.skip("this file system, or this kernel, can't be looked at without waiting")
    for listing in (Listing(limit=10), Listing(marker="o0500", end_marker="o0700"), Listing(prefix="o09")):
        assert json.loads(shown.listing(listing))
    assert shown.info["object_count"] == 1000
    # a name that nobody has ever looked for is no knowledge of the kernel's: the pending file that there isn't
    assert len(trips) <= 2
    del trips[:]
    assert json.loads(shown.listing(Listing(limit=10))) and shown.info["object_count"] == 1000
    assert not trips


def test_without_a_road_that_never_waits_all_is_right_by_trips(tmp_path, monkeypatch):
    monkeypatch.setattr(seen, "road_to", lambda directory: None)
    broker = make(tmp_path)
    broker.put_object("a", "1700000001.00000", 1, "t", "e")
    shown = ShownContainer(broker)
    assert shown.info["object_count"] == 1
    sleep(2 * marks.TICK_NS / 1e9)
    first = shown.now
    with monkeypatch.context() as patched:
        patched.setattr(shown.reader.broker, "connection", None)  # a look is enough
        assert shown.now is first
    broker.put_object("b", "1700000001.00000", 1, "t", "e")
    assert [entry["name"] for entry in json.loads(shown.listing(Listing()))] == ["a", "b"]
