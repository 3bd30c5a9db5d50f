"""Rows appended in the event loop, on a real disk: one that is frozen holds nobody, and nothing of it stays open."""

import os
import threading
import time

import pytest
from real_disks import Disk

from swift.core import threads
from swift.core.concurrency import Timeout, sleep, spawn
from swift.core.locks import locked
from swift.core.mounts import file_system_of
from swift.core.threads import DevicePool, DeviceStuck
from swift.db import at_once, late_writes, pending, uring

FROZEN = 20.0  # seconds after which the disk is thawed, and the test fails


@pytest.fixture
def disk(tmp_path):
    made = Disk(tmp_path / "disk.img", tmp_path / "srv" / "disk")
    try:
        yield made.mount()
    finally:
        made.end()


def test_a_disk_that_is_frozen_refuses_and_nothing_stays_open(disk):
    os.mkdir(disk.path / "h")
    path = str(disk.path / "h" / "h.db")
    for name in (path, str(disk.path / "h" / ".lock")):
        open(name, "w").close()
    pool, known = DevicePool(str(disk.path)), at_once.AtOnce()
    sent, stored = [], 0
    for n in range(3000):
        row = b":%d" % n
        files = known.lock(path, pool)
        if files is None:
            pending.append(path + ".pending", row)
        elif known.write(files, row) is None:
            known.write_waiting(files, row)
        else:
            stored += 1
        sent.append(row[1:])
    assert pending.split(pending.read(path + ".pending")) == sent
    has_ring = file_system_of(str(disk.path)) == "xfs" and not uring._is_closed
    assert (stored > 0) == has_ring

    rescue = threading.Timer(FROZEN, disk.thaw)
    disk.freeze()
    rescue.start()
    start = time.monotonic()
    for _ in range(100):
        files = known.lock(path, pool)
        if files is not None:
            files.tick = at_once.clock.file_time_ns()
            assert known.write(files, b":frozen") is None
            known._unlock(files)
    assert time.monotonic() - start < FROZEN, "the event loop has waited for the disk"
    rescue.cancel()
    disk.thaw()
    files = None
    known.forget()
    with locked(os.path.dirname(path), 0.01):
        pass
    assert pending.split(pending.read(path + ".pending")) == sent
    assert disk.unmount(5)


def test_rows_that_wait_for_a_frozen_disk_hold_up_no_other_disk(disk, tmp_path, monkeypatch):
    """Each waits in a thread of the kernel's, of which there are enough; who waits is let go, and the rows are there in the end."""
    if file_system_of(str(disk.path)) != "xfs" or late_writes._writes.device("/probe") is None:
        pytest.skip("this machine has no XFS, or its kernel no ring that can refuse")
    monkeypatch.setattr(threads.LIMITS, "stall", 1.0)
    rescue = threading.Timer(FROZEN, disk.thaw)
    append = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    frozen = [os.open(disk.path / str(n), append) for n in range(late_writes.MOST_AT_A_TIME)]
    other = os.open(tmp_path / "other", append)
    ended = []
    disk.freeze()
    rescue.start()

    def write(fd):
        with pytest.raises(DeviceStuck):
            late_writes.write(str(disk.path), fd, b":late", ended.append)
        return True

    waiting = [spawn(write, fd) for fd in frozen]
    sleep(0.05)
    with Timeout(FROZEN):
        for _ in range(50):
            assert late_writes.write("/other", other, b":now", lambda result: None) == 4
            sleep(0.005)  # into the next tick
        assert [one.wait() for one in waiting] == [True] * len(frozen)
    assert not ended
    rescue.cancel()
    disk.thaw()
    with Timeout(FROZEN):
        while len(ended) < len(frozen):
            sleep(0.01)
    assert ended == [5] * len(frozen)
    for fd in [other, *frozen]:
        os.close(fd)
    assert [(disk.path / str(n)).read_bytes() for n in range(len(frozen))] == [b":late"] * len(frozen)
    assert (tmp_path / "other").read_bytes() == b":now" * 50
    assert disk.unmount(5)
