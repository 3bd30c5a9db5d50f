"""Rows on their way into pending files: those that come together travel together, and nobody is left behind."""

import os
from types import SimpleNamespace

import pytest

from swift.core import clock
from swift.core.concurrency import GreenPool, Timeout, kill, sleep, spawn
from swift.db import appends, at_once, pending
from swift.db.errors import DatabaseBusy, DatabaseMissing
from swift.engine.locks import locked


class Pool:
    """A device whose trips take as long as the gate is shut."""

    inline = False
    is_free = True
    path = "/a/device"

    def __init__(self):
        self.trips = 0
        self.open = False

    def run(self, function, *args):
        self.trips += 1
        while not self.open:
            sleep(0.001)
        return function(*args)

    def submit(self, function, *args, certain=False):
        return SimpleNamespace(running=False, wait=lambda: self.run(function, *args))

    def leave(self, function, *args):
        function(*args)


class Clock:
    """In the same tick for ever; what was done a moment ago is long past."""

    def file_time_ns(self):
        return 1

    def time_ns(self):
        return clock.time_ns() + 10**10

    def monotonic(self):
        return 1.0


@pytest.fixture(params=["by trip", "at once where that can be"], autouse=True)
def is_at_once(request, monkeypatch):
    """Returns True if rows that come after others need no trip."""
    way = request.param != "by trip"
    if way:
        monkeypatch.setattr(at_once, "clock", Clock())
        monkeypatch.setattr(at_once, "file_system_of", lambda path: "xfs")
        monkeypatch.setattr(at_once, "_needs_stable_pages", lambda number: False)
        monkeypatch.setattr(at_once, "open_cached", lambda at, path, flags: os.open(path, flags))
        monkeypatch.setattr(at_once.uring, "write_at_once", os.write)
    else:
        monkeypatch.setattr(at_once, "file_system_of", lambda path: "ext4")
    return way


@pytest.fixture
def path(tmp_path):
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "h.db").touch()
    return str(tmp_path / "h" / "h.db")


def rows(path):
    return pending.split(pending.read(path + ".pending"))


def test_rows_that_come_during_a_trip_share_the_next(path, monkeypatch):
    synced = []
    monkeypatch.setattr(appends, "sync_file", lambda file: synced.append(len(rows(path))))
    appender, pool, green = appends.Appender(lambda path: True, True), Pool(), GreenPool()
    sizes = []
    for n in range(20):
        green.spawn_n(lambda n=n: sizes.append(appender.append(path, pool, b":%d" % n, 1)))
        sleep(0)
        if n == 4:
            sleep(0.01)
    pool.open = True
    green.waitall()
    assert rows(path) == [b"%d" % n for n in range(20)], "in the order in which they came"
    assert pool.trips == 2
    assert synced[-1] == 20 and len(synced) == 2
    assert max(sizes) == os.path.getsize(path + ".pending")
    assert not appender._waiting


def test_a_failed_trip_fails_all_of_its_rows_and_no_others(path):
    here = []
    appender, pool, green = appends.Appender(lambda path: bool(here), False), Pool(), GreenPool()
    answers = []

    def write(n):
        try:
            answers.append(appender.append(path, pool, b":%d" % n, 1) > 0)
        except DatabaseMissing as err:
            answers.append(err)

    for n in range(5):
        green.spawn_n(write, n)
    pool.open = True
    green.waitall()
    assert [isinstance(answer, DatabaseMissing) for answer in answers] == [True] * 5
    assert len({id(answer) for answer in answers}) == 5, "each has an error of his own"
    here.append(1)
    green.spawn_n(write, 9)
    green.waitall()
    assert answers[-1] is True
    assert rows(path) == [b"9"]


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_whoever_is_killed_while_he_waits_leaves_nobody_behind(path, victim):
    appender, pool = appends.Appender(lambda path: True, False), Pool()
    writers = []
    for n in range(4):
        writers.append(spawn(appender.append, path, pool, b":%d" % n, 1))
        sleep(0.005)
    kill(writers[victim])
    pool.open = True
    with Timeout(60):
        for at, writer in enumerate(writers):
            if at != victim:
                assert writer.wait() > 0
        assert spawn(appender.append, path, pool, b":later", 1).wait() > 0
    assert rows(path)[-1] == b"later"


def test_a_group_is_bounded(path, monkeypatch, is_at_once):
    monkeypatch.setattr(appends, "MAX_GROUP", 3)
    appender, pool, green = appends.Appender(lambda path: True, False), Pool(), GreenPool()
    for n in range(10):
        green.spawn_n(appender.append, path, pool, b":%d" % n, 1)
    sleep(0.01)
    pool.open = True
    green.waitall()
    assert len(rows(path)) == 10
    assert pool.trips == 2 if is_at_once else pool.trips >= 4


def test_a_lock_that_is_held_for_long_keeps_no_thread(path, monkeypatch):
    monkeypatch.setattr(appends, "LOCK_SLICE", 0.02)
    appender, pool = appends.Appender(lambda path: True, False), Pool()
    pool.open = True
    with locked(os.path.dirname(path), 1):
        writer = spawn(appender.append, path, pool, b":x", 10)
        sleep(0.2)
        assert pool.trips > 1 and not writer.dead
        with pytest.raises(DatabaseBusy):
            spawn(appends.Appender(lambda path: True, False).append, path, pool, b":y", 0.05).wait()
    assert writer.wait() > 0
    assert rows(path) == [b"x"]


def test_a_sync_that_fails_is_no_success(path, monkeypatch):
    def fail(file):
        raise OSError(5, "I/O error", file)

    monkeypatch.setattr(appends, "sync_file", fail)
    pool = Pool()
    pool.inline = True
    with pytest.raises(OSError):
        appends.Appender(lambda path: True, True).append(path, pool, b":x", 1)


def test_a_file_that_was_merged_before_its_sync(tmp_path):
    appends.sync_file(str(tmp_path / "gone.db.pending"))


def test_a_missing_directory_is_a_missing_database(tmp_path):
    with pytest.raises(DatabaseMissing):
        appends.Appender(lambda path: True, False)._store(str(tmp_path / "no" / "h.db"), b":x", 1)
