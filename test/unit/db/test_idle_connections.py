"""Idle connections: whoever forks finds the thread that closes them out of SQLite, whose mutexes a child would find held for ever."""

import os
from types import SimpleNamespace

import pytest

from swift.core.concurrency import raw_threading
from swift.db import connection
from swift.db.connection import CONNECTIONS


class Slow:
    """A connection that takes a while to close."""

    path = "/nowhere/x.db"
    idle_since = 0.0

    def __init__(self):
        self.closing, self.go_on = raw_threading.Event(), raw_threading.Event()
        self.is_closed = False

    def close(self):
        self.closing.set()
        self.go_on.wait(30)
        self.is_closed = True


@pytest.fixture
def sweeping(monkeypatch):
    """A connection in the middle of being closed by a sweeper."""
    slow = Slow()
    monkeypatch.setattr(CONNECTIONS, "_idle", {("/nowhere/x.db", False): [slow]})
    monkeypatch.setattr(CONNECTIONS, "_sweeper", SimpleNamespace(join=lambda seconds: None))
    monkeypatch.setattr(CONNECTIONS, "_count", 1)
    thread = raw_threading.Thread(target=CONNECTIONS.sweep)
    thread.start()
    assert slow.closing.wait(30)
    yield slow
    slow.go_on.set()
    thread.join(30)


def test_a_fork_waits_for_the_sweeper(sweeping, monkeypatch):
    monkeypatch.setattr(connection, "CALM_SECONDS", 30)
    timer = raw_threading.Timer(0.2, sweeping.go_on.set)
    timer.start()
    child = os.fork()
    if not child:
        os._exit(0 if sweeping.is_closed and CONNECTIONS._sweeping.acquire(blocking=False) else 1)
    timer.join()
    assert os.waitpid(child, 0)[1] == 0
    assert not CONNECTIONS._sweeping.locked()


def test_but_not_for_one_that_hangs_in_a_disk(sweeping, monkeypatch):
    monkeypatch.setattr(connection, "CALM_SECONDS", 0.01)
    child = os.fork()
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert not sweeping.is_closed
