"""Rows that are appended in the event loop: the same as by a trip, or not at all, and nobody is ever waited for."""

import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from swift.core.concurrency import Timeout, spawn
from swift.core.locks import locked
from swift.db import appends, at_once, pending, uring
from swift.db.errors import DatabaseBusy, DatabaseMissing
from test.descriptors import Opened


class Pool:
    """A device whose trips are counted, and whose work that nobody waits for is done when it is told to."""

    inline = False
    path = "/a/device"

    def __init__(self):
        self.trips = 0
        self.left = []

    def run(self, function, *args):
        self.trips += 1
        self.catch_up()
        return function(*args)

    def leave(self, function, *args):
        self.left.append((function, args))

    def catch_up(self):
        while self.left:
            function, args = self.left.pop(0)
            function(*args)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(at_once, "file_system_of", lambda path: "xfs")
    monkeypatch.setattr(at_once, "_needs_stable_pages", lambda number: False)
    monkeypatch.setattr(at_once, "open_cached", lambda at, path, flags: os.open(path, flags))
    monkeypatch.setattr(at_once.uring, "write_at_once", os.write)
    set_tick(monkeypatch, 1)
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "h.db").touch()
    return str(tmp_path / "h" / "h.db")


@pytest.fixture
def appender(path):
    """To whose database one row was added, in a trip."""
    appender = appends.Appender(os.path.exists, False)
    assert appender.append(path, Pool(), b":first", 1) == 6
    return appender


def set_tick(monkeypatch, tick):
    monkeypatch.setattr(at_once, "clock", SimpleNamespace(file_time_ns=lambda: tick))


def rows(path):
    return pending.split(pending.read(path + ".pending"))


def failing(error):
    def write(fd, data):
        raise OSError(error, os.strerror(error))

    return write


def test_a_row_in_the_tick_of_another_takes_no_trip(path, appender, monkeypatch):
    pool, opened = Pool(), Opened()
    assert appender.append(path, pool, b":x", 1) == 8
    assert pool.trips == 0
    set_tick(monkeypatch, 2)
    assert appender.append(path, pool, b":y", 1) == 10
    assert pool.trips == 1
    assert appender.append(path, pool, b":z", 1) == 12
    assert pool.trips == 1
    assert rows(path) == [b"first", b"x", b"y", b"z"]
    assert opened.still() == []
    with locked(os.path.dirname(path), 0.01):
        pass


def test_durable_rows_always_take_a_trip(path):
    appender, pool = appends.Appender(os.path.exists, True), Pool()
    for _ in range(2):
        appender.append(path, pool, b":x", 1)
    assert pool.trips == 2


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENOSPC, errno.EIO, errno.EOPNOTSUPP, errno.ENOSYS])
def test_what_cannot_be_written_at_once_takes_a_trip(path, appender, monkeypatch, error):
    monkeypatch.setattr(at_once.uring, "write_at_once", failing(error))
    pool, opened = Pool(), Opened()
    assert appender.append(path, pool, b":x", 1) == 8
    assert pool.trips == 1
    monkeypatch.setattr(at_once.uring, "write_at_once", os.write)
    assert appender.append(path, pool, b":y", 1) == 10
    assert pool.trips == (2 if error in uring.CLOSED else 1), "a road that does not exist is not tried again"
    assert rows(path) == [b"first", b"x", b"y"]
    assert opened.still() == []


@pytest.mark.parametrize("answer", ["short", errno.EAGAIN, errno.ENOSPC])
def test_half_a_record_is_cut_before_anything_follows(path, appender, monkeypatch, answer):
    def write_half(fd, data):
        written = os.write(fd, data[: len(data) // 2])
        if answer != "short":
            raise OSError(answer, os.strerror(answer))
        return written

    monkeypatch.setattr(at_once.uring, "write_at_once", write_half)
    pool, opened = Pool(), Opened()
    assert appender._at_once.append(path, pool, b":half of this") is None
    with pytest.raises(DatabaseBusy):
        appender._store(path, b":other", 0.01)  # as another process would
    pool.catch_up()
    assert rows(path) == [b"first"]
    assert appender.append(path, pool, b":half of this", 1) > 0
    assert rows(path) == [b"first", b"half of this"]
    assert opened.still() == []


def test_a_disk_that_is_full_stores_nothing(path, appender, monkeypatch):
    def full(fd, data, *rest):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(at_once.uring, "write_at_once", full)
    monkeypatch.setattr(pending.os, "write", full)
    with pytest.raises(OSError) as caught:
        appender.append(path, Pool(), b":x", 1)
    assert caught.value.errno == errno.ENOSPC
    assert rows(path) == [b"first"]


def test_a_write_of_which_nobody_knows_is_no_success(path, appender, monkeypatch):
    def broken(fd, data):
        raise uring.RingBroken()

    monkeypatch.setattr(at_once.uring, "write_at_once", broken)
    pool = Pool()
    with pytest.raises(OSError):
        appender.append(path, pool, b":x", 1)
    assert pool.trips == 0
    appender.append(path, pool, b":y", 1)
    assert pool.trips == 1


def test_a_lock_that_is_held_is_waited_for_in_a_thread(path, appender):
    pool = Pool()
    with locked(os.path.dirname(path), 1), pytest.raises(DatabaseBusy):
        appender.append(path, pool, b":x", 0.05)
    assert pool.trips > 0
    assert rows(path) == [b"first"]


def test_a_pending_file_that_was_merged_away_is_made_in_a_trip(path, appender):
    os.unlink(path + ".pending")
    pool = Pool()
    assert appender.append(path, pool, b":x", 1) == 2
    assert pool.trips == 1


def test_a_pending_file_that_was_shortened_or_replaced(path, appender):
    pool = Pool()
    pending.empty(path + ".pending")
    assert appender.append(path, pool, b":x", 1) == 2
    pending.replace(path + ".pending", b":kept")
    assert appender.append(path, pool, b":y", 1) == 7
    assert rows(path) == [b"kept", b"y"]
    assert pool.trips == 0


def test_only_a_trip_says_that_a_database_is_missing(path, appender):
    pool = Pool()
    os.unlink(path)
    with pytest.raises(DatabaseMissing):
        appender.append(path, pool, b":x", 1)
    assert pool.trips == 1
    os.rename(os.path.dirname(path), os.path.dirname(path) + "-away")
    with pytest.raises(DatabaseMissing):
        appender.append(path, pool, b":x", 1)


def test_the_lock_of_a_directory_that_was_made_anew(path, appender, monkeypatch):
    """The row must not go into a directory whose lock is somebody else's."""
    directory = os.path.dirname(path)

    def lock_and_lose(fd, how):
        os.rename(directory, directory + "-away")
        os.mkdir(directory)
        for name in (path, directory + "/.lock", path + ".pending"):
            open(name, "w").close()
        monkeypatch.undo()

    monkeypatch.setattr(at_once, "fcntl", SimpleNamespace(flock=lock_and_lose, LOCK_EX=2, LOCK_NB=4))
    assert appender._at_once.append(path, Pool(), b":x") is None
    assert os.path.getsize(path + ".pending") == 0


def test_a_pipe_in_the_place_of_the_file_holds_nobody(path, appender):
    os.unlink(path + ".pending")
    os.mkfifo(path + ".pending")
    with Timeout(10):
        assert appender._at_once.append(path, Pool(), b":x") is None


def test_a_file_that_is_gone_is_closed_by_a_thread(path, appender, monkeypatch):
    def write_and_lose(fd, data):
        os.unlink(path + ".pending")
        return os.write(fd, data)

    monkeypatch.setattr(at_once.uring, "write_at_once", write_and_lose)
    pool, opened = Pool(), Opened()
    assert appender.append(path, pool, b":x", 1) == 8
    assert [function for function, args in pool.left] == [os.close]
    pool.catch_up()
    assert opened.still() == []


@pytest.mark.parametrize("kind", ["ext4", "nfs", ""])
def test_other_file_systems_take_trips(path, monkeypatch, kind):
    monkeypatch.setattr(at_once, "file_system_of", lambda path: kind)
    appender, pool = appends.Appender(os.path.exists, False), Pool()
    for _ in range(3):
        appender.append(path, pool, b":x", 1)
    assert pool.trips == 3


def test_a_device_that_needs_stable_pages_takes_trips(path, monkeypatch):
    monkeypatch.setattr(at_once, "_needs_stable_pages", lambda number: True)
    appender, pool = appends.Appender(os.path.exists, False), Pool()
    for _ in range(3):
        appender.append(path, pool, b":x", 1)
    assert pool.trips == 3


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(at_once, "MAX_DATABASES", 10)
    known = at_once.AtOnce()
    for n in range(100):
        known.stored(f"/{n}")
    assert len(known._ticks) <= 10


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
at_once.clock = SimpleNamespace(file_time_ns=lambda: 1)
pool = SimpleNamespace(path="/a/device", inline=False, run=lambda function, *args: function(*args))
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


def test_rows_of_many_at_once_are_all_there(path, appender):
    pool = Pool()
    writers = [spawn(appender.append, path, pool, b":%d" % n, 1) for n in range(50)]
    for writer in writers:
        writer.wait()
    assert sorted(rows(path)) == sorted([b"first", *[b"%d" % n for n in range(50)]])
