"""Writes that the kernel's threads carry out: nobody else waits for them, and who waits for a hung disk is let go."""

import errno
import os

import pytest

from swift.core import threads
from swift.core.concurrency import Timeout, after_fork, kill, sleep, spawn
from swift.core.threads import DeviceStuck
from swift.db import late_writes, uring


@pytest.fixture(autouse=True)
def ring(monkeypatch):
    """A ring of the test's own."""
    made = late_writes._Writes()
    monkeypatch.setattr(late_writes, "_writes", made)
    if made.device("/probe") is None:
        pytest.skip("this kernel has no ring, or one that waits for frozen file systems")
    yield made
    for device in made.devices.values():
        device.close()
    made._hub.forget_callback(made._ring.fd)
    os.close(made._ring.fd)


class Disk:
    """A pipe in the place of a file: full, it hangs until it is read."""

    def __init__(self):
        self.out, self.fd = os.pipe()
        self.ended = []

    def fill(self):
        os.set_blocking(self.fd, False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(self.fd, bytes(4096))
        os.set_blocking(self.fd, True)

    def write(self, data, path="/disk"):
        return late_writes.write(path, self.fd, data, self.ended.append)

    def read(self):
        return os.read(self.out, 1 << 20)


@pytest.fixture
def disk():
    made = Disk()
    yield made
    os.close(made.out)
    os.close(made.fd)


def test_what_is_written_is_there(disk, tmp_path):
    for n in range(600):  # many times around the ring
        assert disk.write(b"%d" % n) == len(b"%d" % n)
        assert disk.read() == b"%d" % n
    assert disk.ended[:11] == [1] * 10 + [2]
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for n in range(50):
        assert late_writes.write("/file", fd, b"row%d " % n, disk.ended.append) == len(b"row%d " % n)
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"".join(b"row%d " % n for n in range(50))


def test_others_go_on_while_one_waits(disk):
    disk.fill()
    other = Disk()
    waiting = spawn(disk.write, b"late")
    sleep(0.02)
    with Timeout(10):
        assert other.write(b"now", "/other") == 3
    assert not disk.ended and not waiting.dead
    disk.read()
    assert waiting.wait() == 4
    assert disk.ended == [4] and disk.read() == b"late"


def test_those_of_one_device_are_few_and_those_of_others_have_their_own(disk, ring):
    disk.fill()
    waiting = [spawn(disk.write, b"late") for _ in range(late_writes.MOST_AT_A_TIME)]
    sleep(0.02)
    assert disk.write(b"one more") == 0
    assert Disk().write(b"now", "/other") == 3
    disk.read()
    assert [one.wait() for one in waiting] == [4] * len(waiting)
    assert not ring._flying


def test_many_that_wait_hold_up_no_other(tmp_path):
    """As many as may wait for disks, and still one more is written."""
    disks = [Disk() for _ in range(12)]
    for one in disks:
        one.fill()
    waiting = [
        spawn(one.write, b"late", f"/disk{n}")
        for n, one in enumerate(disks)
        for _ in range(late_writes.MOST_AT_A_TIME)
    ]
    sleep(0.05)
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Timeout(20):
        assert late_writes.write("/file", fd, b"now", disks[0].ended.append) == 3
    for one in disks:
        one.read()
    assert [one.wait() for one in waiting] == [4] * len(waiting)
    os.close(fd)


def test_who_waits_for_a_hung_disk_is_let_go_and_it_is_used_again_when_it_answers(disk, monkeypatch):
    monkeypatch.setattr(threads.LIMITS, "stall", 0.05)
    disk.fill()
    with pytest.raises(DeviceStuck):
        disk.write(b"late")
    with pytest.raises(DeviceStuck):
        disk.write(b"more")
    assert Disk().write(b"now", "/other") == 3
    assert not disk.ended, "the kernel still has it in hand"
    disk.read()
    while not disk.ended:
        sleep(0.01)
    assert disk.ended == [4] and disk.read() == b"late"
    assert disk.write(b"again") == 5


def test_one_who_is_killed_leaves_the_write_to_its_end(disk):
    disk.fill()
    waiting = spawn(disk.write, b"late")
    sleep(0.02)
    kill(waiting)
    sleep(0.02)
    assert not disk.ended
    disk.read()
    while not disk.ended:
        sleep(0.01)
    assert disk.read() == b"late"


def test_errors_are_those_of_the_write(disk):
    assert late_writes.write("/disk", disk.out, b"x", disk.ended.append) == -errno.EBADF
    assert disk.ended == [-errno.EBADF]
    assert disk.write(b"x" * (uring.MAX_WRITE + 1)) == 0
    assert disk.write(b"x") == 1


def test_a_ring_that_takes_nothing_is_not_asked_again(disk, ring, monkeypatch):
    monkeypatch.setattr(uring, "_syscall", lambda *args: -1)
    assert disk.write(b"x") == 0
    monkeypatch.undo()
    monkeypatch.setattr(late_writes, "_writes", ring)
    assert disk.write(b"x") == 0
    assert ring.is_closed and not ring._flying and not disk.ended


def test_a_forked_child_has_a_ring_of_its_own(disk, ring):
    child = os.fork()
    if not child:
        try:
            for function in after_fork:
                function()
            ring.forget()
            os._exit(0 if disk.write(b"child") == 5 else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert disk.read() == b"child"
    assert disk.write(b"parent") == 6
    assert disk.read() == b"parent"
