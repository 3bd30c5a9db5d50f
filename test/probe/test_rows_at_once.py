"""Rows appended in the event loop, on a real disk: one that is frozen holds nobody, and nothing of it stays open."""

import os
import threading
import time

import pytest
from real_disks import Disk

from swift.db import at_once, pending, uring
from swift.engine.locks import locked
from swift.engine.mounts import file_system_of
from swift.engine.threads import DevicePool

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
            known.write_in_thread(files, row)
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
    assert disk.unmount(60)
