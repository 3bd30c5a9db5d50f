"""A disk that doesn't answer, as account and container servers see it: nothing else of the process waits for it.

No root is needed for that: a pending file that is a named pipe holds whoever opens it until somebody opens its other end.
"""

import json
import os
from contextlib import contextmanager, suppress

import pytest

from swift.account.broker import AccountBroker
from swift.account.server import AccountServer
from swift.container.broker import ContainerBroker
from swift.container.server import ContainerServer
from swift.core.concurrency import raw_threading, sleep, spawn
from swift.core.hashing import hash_path
from swift.db import marks
from swift.engine import threads
from test.databases import Logger, call, make_conf

MUST_NOT_WAIT = 20.0  # seconds after which the disk comes back by itself, and the test fails


@contextmanager
def hung(pending_path):
    """Within the block, whoever opens the pending file waits. Yields an event that is set once that is over."""
    if os.path.exists(pending_path):
        os.unlink(pending_path)
    os.mkfifo(pending_path)
    over = raw_threading.Event()

    def come_back():
        over.set()
        with suppress(FileNotFoundError):
            end = os.open(pending_path, os.O_RDWR | os.O_NONBLOCK)  # lets go of whoever waits for a writer
            os.unlink(pending_path)
            os.close(end)  # the end of the file, for whoever reads

    rescue = raw_threading.Timer(MUST_NOT_WAIT, come_back)
    rescue.start()
    try:
        yield over
        assert not over.is_set(), "somebody has waited for the disk"
    finally:
        rescue.cancel()
        come_back()


@pytest.fixture(params=["account", "container"])
def servers(request, tmp_path, monkeypatch):
    """(the server, the path of its database on a disk, how its answers look): disks `good` and `bad` hold the same."""
    monkeypatch.setattr(threads, "is_memory_file_system", lambda path: False)
    monkeypatch.setattr(threads, "_pools", {})
    conf = make_conf(tmp_path)
    kind = request.param
    app = (AccountServer if kind == "account" else ContainerServer)(conf, Logger())
    name = ("AUTH_a",) if kind == "account" else ("AUTH_a", "c")
    digest = hash_path(*name)
    brokers = {}
    for device in ("good", "bad"):
        os.mkdir(f"{conf['devices']}/{device}")
        path = f"{conf['devices']}/{device}/{kind}s/1/{digest[-3:]}/{digest}/{digest}.db"
        broker = (AccountBroker if kind == "account" else ContainerBroker)(
            path, account=name[0], container="".join(name[1:]) or None
        )
        broker.create("1700000000.00000", 0)
        if kind == "account":
            broker.put_container("one", "1700000001.00000", "0", 1, 10, 0)
        else:
            broker.put_object("one", "1700000001.00000", 10, "t", "e")
        broker.commit_pending()
        brokers[device] = broker
    return app, brokers, "/".join(name)


def listing(app, device, name):
    status, _, body = call(app, "GET", f"/{device}/1/{name}", "format=json")
    return status, [entry["name"] for entry in json.loads(body)]


def test_a_hung_disk_holds_nobody_on_another_disk(servers):
    app, brokers, name = servers
    with hung(brokers["bad"].pending_path) as over:
        waiting = [spawn(listing, app, "bad", name) for _ in range(20)]
        sleep(0.05)
        for _ in range(3):
            assert listing(app, "good", name) == (200, ["one"])
            assert call(app, "HEAD", f"/good/1/{name}")[0] == 204
            sleep(0)
        assert not any(task.dead for task in waiting)
        assert not over.is_set()
    assert [task.wait() for task in waiting] == [(200, ["one"])] * 20


def test_what_is_in_memory_is_shown_while_the_disk_hangs(servers, monkeypatch):
    """A look at the files that can't wait says whether they are as they were."""
    app, brokers, name = servers
    path = brokers["bad"].pending_path
    os.unlink(path)
    os.mkfifo(path)  # before it is looked at: it is part of what is remembered
    monkeypatch.setattr(marks, "TICK_NS", -(10**15))
    reader = app.snapshots._reader(brokers["bad"].path)
    if marks.road_to(reader.directory) is None:
        pytest.skip("this file system, or this kernel, can't be looked at without waiting")
    first = spawn(listing, app, "bad", name)
    sleep(0.05)
    os.close(os.open(path, os.O_WRONLY))
    assert first.wait() == (200, ["one"])
    # from now on nobody opens the other end
    assert listing(app, "bad", name) == (200, ["one"])
    assert call(app, "HEAD", f"/bad/1/{name}")[0] == 204
