"""Rows for pending files on a memory file system: kept open, and yet always in the file that the path leads to."""

import os
import shutil

import pytest

from swift.core import clock
from swift.db import appends, at_once, pending
from swift.db.errors import DatabaseBusy, DatabaseMissing
from swift.engine.locks import locked
from test.descriptors import open_files


class Pool:
    """A device on a memory file system: nothing is ever done elsewhere."""

    inline = True
    path = "/a/device"

    def leave(self, function, *args):
        function(*args)


class Clock:
    """`idle`: seconds by which what was done before is past."""

    idle = 10.0

    def time_ns(self):
        return clock.time_ns() + int(self.idle * 1e9)

    def monotonic(self):
        return clock.monotonic() + self.idle


@pytest.fixture
def later(monkeypatch):
    made = Clock()
    monkeypatch.setattr(at_once, "clock", made)
    return made


@pytest.fixture
def path(tmp_path, later):
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "h.db").touch()
    return str(tmp_path / "h" / "h.db")


@pytest.fixture
def appender(path):
    """To whose database two rows were added, so that its files are open."""
    made = appends.Appender(os.path.exists, False)
    assert made.append(path, Pool(), b":first", 1) == 6
    assert made.append(path, Pool(), b":second", 1) == 13
    return made


def rows(path):
    return pending.split(pending.read(path + ".pending"))


def open_of(path):
    return sum(f" -> {os.path.dirname(path)}/" in text for text in open_files().values())


def test_files_stay_open_and_unlocked_until_nobody_uses_them(path, appender, later):
    assert appender.append(path, Pool(), b":third", 1) == 19
    assert rows(path) == [b"first", b"second", b"third"]
    assert open_of(path) == 2
    with locked(os.path.dirname(path), 0.01):
        pass
    later.idle += 2 * at_once.MAX_IDLE
    appender._at_once._sweep()
    assert open_of(path) == 0
    assert appender.append(path, Pool(), b":x", 1) == 21


def test_rows_follow_what_was_merged_replaced_or_removed(path, appender):
    pending.empty(path + ".pending")
    assert appender.append(path, Pool(), b":a", 1) == 2
    pending.replace(path + ".pending", b":kept")
    assert appender.append(path, Pool(), b":b", 1) == 7
    assert rows(path) == [b"kept", b"b"]
    os.unlink(path + ".pending")
    assert appender.append(path, Pool(), b":c", 1) == 2
    os.unlink(os.path.dirname(path) + "/.lock")
    assert appender.append(path, Pool(), b":d", 1) == 4
    assert rows(path) == [b"c", b"d"]


def test_a_directory_in_the_place_of_another_gets_the_rows(path, appender):
    directory = os.path.dirname(path)
    os.rename(directory, directory + "-away")
    with pytest.raises(DatabaseMissing):
        appender.append(path, Pool(), b":lost", 1)
    os.mkdir(directory)
    with pytest.raises(DatabaseMissing):
        appender.append(path, Pool(), b":lost", 1)
    open(path, "w").close()
    assert appender.append(path, Pool(), b":new", 1) == 4
    assert rows(path) == [b"new"]
    assert rows(directory + "-away/h.db") == [b"first", b"second"]


def test_a_device_in_the_place_of_another_gets_the_rows(path, appender):
    """The directories above are others; the one that is open has not changed."""
    above = os.path.dirname(os.path.dirname(path))
    os.rename(above, above + "-away")
    os.makedirs(os.path.dirname(path))
    open(path, "w").close()
    try:
        assert appender.append(path, Pool(), b":new", 1) == 4
        assert rows(path) == [b"new"]
    finally:
        shutil.rmtree(above)
        os.rename(above + "-away", above)
    assert rows(path) == [b"first", b"second"]


def test_a_database_that_is_gone_takes_no_row(path, appender):
    os.unlink(path)
    with pytest.raises(DatabaseMissing):
        appender.append(path, Pool(), b":lost", 1)
    assert rows(path) == [b"first", b"second"]


def test_whoever_holds_the_lock_is_waited_for(path, appender):
    with locked(os.path.dirname(path), 0.01):
        with pytest.raises(DatabaseBusy):
            appender.append(path, Pool(), b":x", 0.01)
    assert appender.append(path, Pool(), b":y", 1) == 15
    assert rows(path) == [b"first", b"second", b"y"]


def test_half_a_row_stays_nowhere(path, appender, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    with pytest.raises(OSError, match="no space"):
        appender.append(path, Pool(), b":half", 1)
    monkeypatch.undo()
    assert appender.append(path, Pool(), b":whole", 1) == 19
    assert rows(path) == [b"first", b"second", b"whole"]
    with locked(os.path.dirname(path), 0.01):
        pass
