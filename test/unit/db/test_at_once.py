"""Pending files that are locked and opened in the event loop: the same comes of it as of a trip, and nobody is ever waited for there."""

import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from swift.core import clock
from swift.core.concurrency import GreenletExit, Timeout, kill, sleep, spawn
from swift.db import appends, at_once, pending, uring
from swift.db.errors import DatabaseBusy, DatabaseMissing
from swift.engine.locks import locked
from swift.engine.threads import DeviceStuck, ThreadPool
from test.descriptors import open_files


class Pool:
    """A device whose trips and single writes are counted, and whose work that nobody waits for is done when it is told to."""

    inline = False
    is_free = True
    path = "/a/device"

    def __init__(self):
        self.trips = self.writes = 0
        self.left = []

    def run(self, function, *args):
        if function is at_once._write:
            self.writes += 1
        else:
            self.trips += 1
        self.catch_up()
        return function(*args)

    def submit(self, function, *args, certain=False):
        assert certain
        return SimpleNamespace(running=True, wait=lambda: self.run(function, *args))

    def leave(self, function, *args):
        self.left.append((function, args))

    def catch_up(self):
        while self.left:
            function, args = self.left.pop(0)
            function(*args)


class Clock:
    """Whose ticks come when they are told to; `ahead`: seconds by which what was done before is past."""

    tick = 1
    ahead = 10.0
    idle = 0.0

    def file_time_ns(self):
        return self.tick

    def time_ns(self):
        return clock.time_ns() + int(self.ahead * 1e9)

    def monotonic(self):
        return clock.monotonic() + self.idle


@pytest.fixture
def ticks(monkeypatch):
    made = Clock()
    monkeypatch.setattr(at_once, "clock", made)
    return made


@pytest.fixture
def path(tmp_path, monkeypatch, ticks):
    monkeypatch.setattr(at_once, "file_system_of", lambda path: "xfs")
    monkeypatch.setattr(at_once, "_needs_stable_pages", lambda number: False)
    monkeypatch.setattr(at_once, "open_cached", lambda at, path, flags: os.open(path, flags))
    monkeypatch.setattr(at_once.uring, "write_at_once", os.write)
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "h.db").touch()
    return str(tmp_path / "h" / "h.db")


@pytest.fixture
def pool():
    return Pool()


@pytest.fixture
def appender(path, pool):
    """To whose database two rows were added, in a trip and by a thread's write."""
    appender = appends.Appender(os.path.exists, False)
    assert appender.append(path, pool, b":first", 1) == 6
    assert appender.append(path, pool, b":second", 1) == 13
    assert (pool.trips, pool.writes) == (1, 1)
    pool.trips = pool.writes = 0
    return appender


def rows(path):
    return pending.split(pending.read(path + ".pending"))


def failing(error):
    def write(fd, data):
        raise OSError(error, os.strerror(error))

    return write


def open_below(folder):
    """How many files in or below a folder are open."""
    return sum(f" -> {folder}/" in text for text in open_files().values())


def open_of(path):
    return open_below(os.path.dirname(path))


def test_a_row_in_the_tick_of_another_needs_no_thread_and_any_other_one_call(path, appender, pool, ticks):
    assert appender.append(path, pool, b":x", 1) == 15
    assert (pool.trips, pool.writes) == (0, 0)
    ticks.tick = 2
    assert appender.append(path, pool, b":y", 1) == 17
    assert (pool.trips, pool.writes) == (0, 1)
    assert appender.append(path, pool, b":z", 1) == 19
    assert (pool.trips, pool.writes) == (0, 1)
    assert rows(path) == [b"first", b"second", b"x", b"y", b"z"]
    assert open_of(path) == 2
    with locked(os.path.dirname(path), 0.01):
        pass


def test_files_that_nobody_uses_are_closed(path, appender, pool, ticks):
    assert open_of(path) == 2
    ticks.idle = 2 * at_once.MAX_IDLE
    appender._at_once._sweep()
    pool.catch_up()
    assert open_of(path) == 0
    assert not appender._at_once._open
    assert appender.append(path, pool, b":x", 1) == 15
    assert rows(path)[-1] == b"x"


def test_files_in_use_are_not_closed(path, appender, pool, ticks):
    files = appender._at_once.lock(path, pool)
    ticks.idle = 2 * at_once.MAX_IDLE
    appender._at_once._sweep()
    pool.catch_up()
    assert appender._at_once.write_in_thread(files, b":x") == 15


def test_open_files_are_bounded(tmp_path, path, appender, pool, monkeypatch):
    monkeypatch.setattr(at_once, "MAX_OPEN", 3)
    for n in range(20):
        os.mkdir(tmp_path / str(n))
        other = str(tmp_path / str(n) / "h.db")
        open(other, "w").close()
        for _ in range(3):
            appender.append(other, pool, b":x", 1)
    pool.catch_up()
    assert len(appender._at_once._open) == 3
    assert open_below(tmp_path) == 3 * 2


def test_files_that_a_thread_writes_to_are_not_closed_for_others(tmp_path, path, appender, pool, monkeypatch):
    monkeypatch.setattr(at_once, "MAX_OPEN", 2)
    files = appender._at_once.lock(path, pool)
    for n in range(4):
        os.mkdir(tmp_path / str(n))
        other = str(tmp_path / str(n) / "h.db")
        open(other, "w").close()
        appender.append(other, pool, b":x", 1)
        appender.append(other, pool, b":x", 1)
    pool.catch_up()
    with pytest.raises(DatabaseBusy):
        appender._store(path, b":other", 0.01)
    assert len(appender._at_once._open) == 2
    assert appender._at_once.write_in_thread(files, b":x") == 15
    assert rows(path) == [b"first", b"second", b"x"]


def test_no_more_files_are_opened_while_all_are_written_to(tmp_path, path, appender, pool, monkeypatch):
    monkeypatch.setattr(at_once, "MAX_OPEN", 1)
    files = appender._at_once.lock(path, pool)
    os.mkdir(tmp_path / "other")
    open(tmp_path / "other" / "h.db", "w").close()
    for size in (2, 4):
        assert appender.append(str(tmp_path / "other" / "h.db"), pool, b":x", 1) == size
    assert pool.trips == 2
    assert appender._at_once.write_in_thread(files, b":x") == 15


def test_what_a_thread_has_closed_is_not_unlocked_once_more(path, appender, pool, ticks):
    """Its numbers may be those of other files by then."""

    class Overtaking(Pool):
        def submit(self, function, *args, certain=False):
            def wait():
                raise DeviceStuck("it hangs")

            call = SimpleNamespace(wait=wait)
            overtaking = property(
                lambda self: function(*args) is not None
            )  # it begins just after it was asked
            return type("Call", (), {"wait": lambda self: call.wait(), "running": overtaking})()

    ticks.tick = 2
    other = Overtaking()
    appender._at_once._open[path].pool = other
    with pytest.raises(DeviceStuck):
        appender.append(path, other, b":x", 1)
    other.catch_up()
    assert rows(path) == [b"first", b"second"]
    assert open_of(path) == 0


def test_a_forked_child_has_no_hold_on_the_files(path, appender, pool):
    """What it closes of its copies must not unlock the parent's."""
    files = appender._at_once.lock(path, pool)
    child = os.fork()
    if not child:
        at_once._forget()
        os._exit(len(appender._at_once._open))
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(DatabaseBusy):
        appender._store(path, b":other", 0.01)
    appender._at_once.write_in_thread(files, b":x")


def test_durable_rows_always_take_a_trip(path):
    appender, pool = appends.Appender(os.path.exists, True), Pool()
    for _ in range(2):
        appender.append(path, pool, b":x", 1)
    assert pool.trips == 2


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENOSPC, errno.EIO, errno.EOPNOTSUPP, errno.ENOSYS])
def test_what_cannot_be_written_at_once_is_written_by_a_thread(path, appender, pool, monkeypatch, error):
    monkeypatch.setattr(at_once.uring, "write_at_once", failing(error))
    assert appender.append(path, pool, b":x", 1) == 15
    assert (pool.trips, pool.writes) == (0, 1)
    monkeypatch.setattr(at_once.uring, "write_at_once", os.write)
    assert appender.append(path, pool, b":y", 1) == 17
    assert pool.writes == (2 if error in uring.CLOSED else 1), "a ring that does not exist is not tried again"
    assert rows(path) == [b"first", b"second", b"x", b"y"]
    assert open_of(path) == 2


@pytest.mark.parametrize("answer", ["short", errno.EAGAIN, errno.ENOSPC])
def test_half_a_record_is_cut_before_anything_follows(path, appender, pool, monkeypatch, answer):
    def write_half(fd, data):
        written = os.write(fd, data[: len(data) // 2])
        if answer != "short":
            raise OSError(answer, os.strerror(answer))
        return written

    monkeypatch.setattr(at_once.uring, "write_at_once", write_half)
    files = appender._at_once.lock(path, pool)
    assert appender._at_once.write(files, b":half of this") is None
    with pytest.raises(DatabaseBusy):
        appender._store(path, b":other", 0.01)  # as another process would
    assert appender._at_once.write_in_thread(files, b":half of this") == 26
    assert rows(path) == [b"first", b"second", b"half of this"]
    assert open_of(path) == 2


def test_half_a_record_of_a_thread_is_cut_too(path, appender, pool, ticks, monkeypatch):
    ticks.tick = 2
    real = os.write
    monkeypatch.setattr(pending.os, "write", lambda fd, data: real(fd, data[: len(data) // 2]))
    with pytest.raises(OSError) as caught:
        appender.append(path, pool, b":half of this", 1)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert rows(path) == [b"first", b"second"]
    pool.catch_up()
    with locked(os.path.dirname(path), 0.01):
        pass


class HangingPool(Pool):
    """Whose calls don't come back before they are told to; they begin as they come, or then only."""

    def __init__(self, have_begun):
        super().__init__()
        self.have_begun = have_begun
        self.inside = []

    def submit(self, function, *args, certain=False):
        if self.have_begun:
            # as a thread that has looked already
            function = lambda files, rows: (pending.append_to(files.file, rows), files.close())  # noqa: E731
        self.inside.append((function, args))
        return SimpleNamespace(running=self.have_begun, wait=self.hang)

    def hang(self):
        raise DeviceStuck("it hangs")

    def come_back(self):
        for function, args in self.inside:
            function(*args)
        self.inside.clear()


def test_a_write_that_never_began_has_no_lock(path, appender, ticks):
    ticks.tick = 2
    pool = HangingPool(have_begun=False)
    appender._at_once._open[path].pool = pool
    with pytest.raises(DeviceStuck) as kept:  # who keeps the error keeps no lock
        appender.append(path, pool, b":x", 1)
    with locked(os.path.dirname(path), 0.01):
        pass
    pool.come_back()
    pool.catch_up()
    assert rows(path) == [b"first", b"second"]
    assert open_of(path) == 0
    assert kept.value.args == ("it hangs",)


def test_a_write_that_is_refused_has_no_lock(path, appender, pool, ticks, monkeypatch):
    ticks.tick = 2

    def refuse(function, *args, certain=False):
        raise DeviceStuck("it hangs")

    monkeypatch.setattr(pool, "submit", refuse)
    with pytest.raises(DeviceStuck) as kept:
        appender.append(path, pool, b":x", 1)
    with locked(os.path.dirname(path), 0.01):
        pass
    pool.catch_up()
    assert open_of(path) == 0 and kept.value is not None


def test_nobody_waits_for_a_thread_with_the_lock_in_his_hand(path, appender, pool, ticks, monkeypatch):
    """All threads may be waiting for that lock."""
    ticks.tick = 2
    monkeypatch.setattr(pool, "is_free", False)
    assert appender.append(path, pool, b":x", 1) == 15
    assert (pool.trips, pool.writes) == (1, 0)
    assert rows(path) == [b"first", b"second", b"x"]
    assert not appender._at_once._open[path].locked


def test_half_a_record_is_cut_under_the_same_lock_all_the_same(path, appender, pool, ticks, monkeypatch):
    monkeypatch.setattr(pool, "is_free", False)

    def half(fd, data):
        os.write(fd, data[:3])
        return 3

    monkeypatch.setattr(at_once.uring, "write_at_once", half)
    appender.append(path, pool, b":a long row", 1)
    assert (pool.trips, pool.writes) == (0, 1)
    assert rows(path) == [b"first", b"second", b"a long row"]


def test_threads_that_all_wait_for_one_database_do_not_stop_its_rows(path, appender):
    """A real pool, whose two threads want the lock while a row is on its way: both get it, and the row is stored."""
    device = ThreadPool("disk x", 2, 100)
    pool = SimpleNamespace(
        inline=False, path="/a/device", run=device.run, submit=device.submit, leave=device.leave
    )
    pool.is_free = False  # as it was asked while they waited
    try:
        held = locked(os.path.dirname(path), 5)
        held.__enter__()
        waiting = [spawn(device.run, take_and_give, os.path.dirname(path)) for _ in range(4)]
        sleep(0.05)
        held.__exit__(None, None, None)
        with Timeout(4):
            assert appender.append(path, pool, b":x", 3) == 15
            for one in waiting:
                one.wait()
    finally:
        device.close()


def take_and_give(directory):
    with locked(directory, 5):
        pass


def test_a_write_that_hangs_keeps_its_lock_until_it_is_over(path, appender, ticks):
    ticks.tick = 2
    pool = HangingPool(have_begun=True)
    appender._at_once._open[path].pool = pool
    with pytest.raises(DeviceStuck):
        appender.append(path, pool, b":x", 1)
    assert not appender._waiting and not appender._at_once._open
    with pytest.raises(DatabaseBusy):
        appender._store(path, b":other", 0.01)
    pool.come_back()
    assert rows(path) == [b"first", b"second", b"x"]
    with locked(os.path.dirname(path), 0.01):
        pass
    assert open_of(path) == 0


def test_whoever_is_killed_in_his_write_leaves_nobody_behind(path, appender, pool, ticks, monkeypatch):
    ticks.tick = 2
    gate = []

    def slow(function, *args):
        def call():
            while not gate:
                sleep(0.001)
            return function(*args)

        return spawn(call).wait()

    monkeypatch.setattr(pool, "run", slow)
    first = spawn(appender.append, path, pool, b":x", 1)
    sleep(0.005)
    others = [spawn(appender.append, path, pool, b":%d" % n, 1) for n in range(3)]
    sleep(0.005)
    kill(first)
    gate.append(1)
    with Timeout(60):
        assert [other.wait() > 0 for other in others] == [True] * 3
        with pytest.raises(GreenletExit):
            first.wait()
    assert sorted(rows(path)[2:]) == [b"0", b"1", b"2"]  # his own had not begun
    assert not appender._waiting


def test_a_disk_that_is_full_stores_nothing(path, appender, pool, monkeypatch):
    def full(fd, data, *rest):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(at_once.uring, "write_at_once", full)
    monkeypatch.setattr(pending.os, "write", full)
    with pytest.raises(OSError) as caught:
        appender.append(path, pool, b":x", 1)
    assert caught.value.errno == errno.ENOSPC
    assert rows(path) == [b"first", b"second"]


def test_a_write_of_which_nobody_knows_is_no_success(path, appender, pool, monkeypatch):
    def broken(fd, data):
        raise uring.RingBroken()

    monkeypatch.setattr(at_once.uring, "write_at_once", broken)
    with pytest.raises(OSError):
        appender.append(path, pool, b":x", 1)
    assert (pool.trips, pool.writes) == (0, 0)
    appender.append(path, pool, b":y", 1)
    assert pool.trips == 1


def test_a_lock_that_is_held_is_waited_for_in_a_thread(path, appender, pool):
    with locked(os.path.dirname(path), 1), pytest.raises(DatabaseBusy):
        appender.append(path, pool, b":x", 0.05)
    assert pool.trips > 0 and not pool.writes
    assert rows(path) == [b"first", b"second"]
    assert appender.append(path, pool, b":x", 0.05) == 15


def test_a_pending_file_that_was_merged_away_is_made_in_a_trip(path, appender, pool):
    os.unlink(path + ".pending")
    assert appender.append(path, pool, b":x", 1) == 2
    assert pool.trips == 1


def test_a_pending_file_that_was_shortened_or_replaced(path, appender, pool):
    pending.empty(path + ".pending")
    assert appender.append(path, pool, b":x", 1) == 2
    pending.replace(path + ".pending", b":kept")
    assert appender.append(path, pool, b":y", 1) == 7
    assert rows(path) == [b"kept", b"y"]
    assert pool.trips == 0


def test_a_directory_that_changed_a_moment_ago_is_looked_at_again(path, appender, pool, ticks):
    """Its mark may be the same after the next change: that it was seen says nothing yet."""
    ticks.ahead = -10.0  # however long this machine takes to get to the next line
    pending.replace(path + ".pending", b":kept")
    assert appender.append(path, pool, b":x", 1) == 7
    assert appender._at_once._open[path].mark is None
    with open(path + ".other", "wb") as file:
        file.write(b":new")
    os.rename(path + ".other", path + ".pending")
    assert appender.append(path, pool, b":y", 1) == 6
    assert rows(path) == [b"new", b"y"]


def test_only_a_trip_says_that_a_database_is_missing(path, appender, pool):
    os.unlink(path)
    with pytest.raises(DatabaseMissing):
        appender.append(path, pool, b":x", 1)
    assert pool.trips == 1
    os.rename(os.path.dirname(path), os.path.dirname(path) + "-away")
    with pytest.raises(DatabaseMissing):
        appender.append(path, pool, b":x", 1)


def test_a_directory_that_was_moved_away_gets_no_rows(path, appender, pool):
    """Ours, open as it is, is in quarantine now; or what is above it has lost its place."""
    away = os.path.dirname(path) + "-away"
    os.rename(os.path.dirname(path), away)
    with pytest.raises(DatabaseMissing):
        appender.append(path, pool, b":x", 1)
    assert pending.read(away + "/h.db.pending") == b":first:second"


def test_the_lock_of_a_directory_that_was_made_anew(path, appender, pool, monkeypatch):
    """The row must not go into a directory whose lock is somebody else's."""
    directory = os.path.dirname(path)

    def lock_and_lose(fd, how):
        os.rename(directory, directory + "-away")
        os.mkdir(directory)
        for name in (path, directory + "/.lock", path + ".pending"):
            open(name, "w").close()
        monkeypatch.undo()

    monkeypatch.setattr(at_once, "fcntl", SimpleNamespace(flock=lock_and_lose, LOCK_EX=2, LOCK_NB=4))
    assert appender._at_once.lock(path, pool) is None
    assert os.path.getsize(path + ".pending") == 0
    pool.catch_up()
    assert not appender._at_once._open


def test_a_pipe_in_the_place_of_the_file_holds_nobody(path, appender, pool):
    os.unlink(path + ".pending")
    os.mkfifo(path + ".pending")
    with Timeout(60):
        assert appender._at_once.lock(path, pool) is None


def test_a_file_that_is_gone_is_closed_by_a_thread(path, appender, pool):
    pending.replace(path + ".pending", b":kept")
    assert appender._at_once.lock(path, pool)
    assert [function for function, args in pool.left] == [os.close]
    pool.catch_up()
    assert open_of(path) == 2


@pytest.mark.parametrize("kind", ["ext4", "nfs", ""])
def test_other_file_systems_take_trips(path, monkeypatch, kind):
    monkeypatch.setattr(at_once, "file_system_of", lambda path: kind)
    appender, pool = appends.Appender(os.path.exists, False), Pool()
    for _ in range(3):
        appender.append(path, pool, b":x", 1)
    assert (pool.trips, pool.writes) == (3, 0)


def test_a_device_that_needs_stable_pages_takes_trips(path, monkeypatch):
    monkeypatch.setattr(at_once, "_needs_stable_pages", lambda number: True)
    appender, pool = appends.Appender(os.path.exists, False), Pool()
    for _ in range(3):
        appender.append(path, pool, b":x", 1)
    assert pool.trips == 3


def test_killed_after_an_append_in_the_loop(path):
    """What was written is whole, and the lock goes with the process."""
    script = f"""
import os
from types import SimpleNamespace
from swift.db import appends, at_once
at_once.file_system_of = lambda path: "xfs"
at_once._needs_stable_pages = lambda number: False
at_once.open_cached = lambda at, path, flags: os.open(path, flags)
at_once.uring.write_at_once = os.write
at_once.clock = SimpleNamespace(file_time_ns=lambda: 1, time_ns=lambda: 0, monotonic=lambda: 0.0)
run = lambda function, *args, **how: function(*args)
written = lambda *call, **how: SimpleNamespace(running=True, wait=lambda: run(*call))
pool = SimpleNamespace(path="/a/device", inline=False, is_free=True, run=run, submit=written)
appender = appends.Appender(os.path.exists, False)
for n in range(9):
    appender.append({path!r}, pool, b":row%d" % n, 1)
"""
    env = dict(os.environ, SWIFT_FAULT_POINT="db:pending:appended:4")
    done = subprocess.run([sys.executable, "-c", script], env=env)
    assert done.returncode == -9
    assert rows(path) == [b"row0", b"row1", b"row2", b"row3"]
    with locked(os.path.dirname(path), 0.01):
        pass


def test_rows_of_many_at_once_are_all_there(path, appender, pool):
    writers = [spawn(appender.append, path, pool, b":%d" % n, 1) for n in range(50)]
    for writer in writers:
        writer.wait()
    assert sorted(rows(path)) == sorted([b"first", b"second", *[b"%d" % n for n in range(50)]])
