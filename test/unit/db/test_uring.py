"""Writes that wait for nobody: what is written, what is refused, and what a forked child may do."""

import errno
import os

import pytest

from swift.core.concurrency import after_fork
from swift.db import uring


@pytest.fixture
def pipe():
    """(read end, write end) of a pipe, which can refuse a write as files of XFS can."""
    ends = os.pipe()
    try:
        uring.write_at_once(ends[1], b"!")
        os.read(ends[0], 1)
    except OSError as error:
        assert error.errno in uring.CLOSED
        pytest.skip("this kernel has no ring, or one that waits for frozen file systems")
    yield ends
    for end in ends:
        os.close(end)


def test_what_is_written_is_there(pipe):
    for n in range(100):  # many times around the ring
        data = os.urandom(1 + n * 40)
        assert uring.write_at_once(pipe[1], data) == len(data)
        assert os.read(pipe[0], 65536) == data


def test_what_would_wait_is_refused(pipe):
    with pytest.raises(BlockingIOError):
        for _ in range(1000):
            uring.write_at_once(pipe[1], b"x" * 4096)
    os.read(pipe[0], 65536)
    assert uring.write_at_once(pipe[1], b"y") == 1


def test_what_is_too_long_for_the_buffer(pipe):
    with pytest.raises(BlockingIOError):
        uring.write_at_once(pipe[1], b"x" * (uring.MAX_WRITE + 1))


def test_errors_are_those_of_the_write(pipe):
    with pytest.raises(OSError) as caught:
        uring.write_at_once(pipe[0], b"x")
    assert caught.value.errno == errno.EBADF
    assert uring.write_at_once(pipe[1], b"x") == 1


def test_a_forked_child_has_a_ring_of_its_own(pipe):
    child = os.fork()
    if not child:
        try:
            for function in after_fork:
                function()
            os._exit(0 if uring.write_at_once(pipe[1], b"child") == 5 else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(pipe[0], 100) == b"child"
    assert uring.write_at_once(pipe[1], b"parent") == 6
    assert os.read(pipe[0], 100) == b"parent"


@pytest.mark.parametrize("release", ["6.12.9-lts", "5.15.0", "odd"])
def test_kernels_that_wait_for_a_frozen_file_system_are_not_asked(monkeypatch, release):
    monkeypatch.setattr(uring, "_ring", None)
    monkeypatch.setattr(uring, "_is_closed", False)
    monkeypatch.setattr(uring.os, "uname", lambda: os.uname_result(("Linux", "n", release, "v", "m")))
    monkeypatch.setattr(uring, "_syscall", None)
    for _ in range(2):
        with pytest.raises(OSError) as caught:
            uring.write_at_once(1, b"x")
        assert caught.value.errno == errno.ENOSYS


@pytest.mark.parametrize("answer", [-1, 0, 1])
def test_a_ring_that_does_not_answer_is_given_up(pipe, monkeypatch, answer):
    monkeypatch.setattr(uring, "_ring", uring._Ring())
    monkeypatch.setattr(uring, "_is_closed", False)
    monkeypatch.setattr(uring, "_syscall", lambda *args: answer)
    with pytest.raises(OSError) as caught:
        uring.write_at_once(pipe[1], b"x")
    assert isinstance(caught.value, uring.RingBroken) == (answer == 1), "only then may it have been written"
    monkeypatch.undo()
    monkeypatch.setattr(uring, "_is_closed", True)
    with pytest.raises(OSError) as caught:
        uring.write_at_once(pipe[1], b"x")
    assert caught.value.errno in uring.CLOSED
