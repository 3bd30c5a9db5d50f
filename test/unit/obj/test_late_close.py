"""Large files go at once by name, and soon after with all that they hold."""

import errno
import os
import time

import pytest

from swift.obj.files import late_close

SIZES = [0, late_close.LARGE - 1, late_close.LARGE, 3 * late_close.LARGE]


def descriptors_of(path):
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith(str(path)):
                found.append(fd)
        except OSError:
            pass
    return found


def wait_for_none(path):
    until = time.monotonic() + 30
    while descriptors_of(path):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("size", SIZES)
def test_unlink(tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(b"")
    os.truncate(path, size)
    late_close.unlink(str(path))
    assert not path.exists()
    wait_for_none(path)


@pytest.mark.parametrize("size", SIZES)
def test_close(tmp_path, size):
    path = tmp_path / "file"
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    os.truncate(fd, size)
    late_close.close(fd)
    wait_for_none(path)


def test_what_is_not_there_or_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        late_close.unlink(str(tmp_path / "missing"))
    with pytest.raises(OSError):
        late_close.unlink(str(tmp_path))
    assert not descriptors_of(tmp_path)


def test_in_a_forked_child(tmp_path):
    for name in ("mine", "childs"):
        (tmp_path / name).write_bytes(b"")
        os.truncate(tmp_path / name, late_close.LARGE)
    late_close.unlink(str(tmp_path / "mine"))
    pid = os.fork()
    if pid == 0:
        late_close._forget()  # what swift.core.concurrency.fork calls
        late_close.unlink(str(tmp_path / "childs"))
        wait_for_none(tmp_path / "childs")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert not list(tmp_path.iterdir())


def test_the_number_that_waits_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(late_close, "MAX_WAITING", 0)
    path = tmp_path / "file"
    path.write_bytes(b"")
    os.truncate(path, late_close.LARGE)
    late_close.unlink(str(path))
    assert not path.exists() and not descriptors_of(path)


def large(path):
    path.write_bytes(b"")
    os.truncate(path, late_close.LARGE)
    return path


def test_without_a_free_descriptor_the_file_goes_nevertheless(tmp_path, monkeypatch):
    path = large(tmp_path / "file")

    def no_more(*args, **kwargs):
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(late_close.os, "open", no_more)
        late_close.unlink(str(path))
    assert not path.exists()


def test_without_a_free_thread_the_file_goes_nevertheless(tmp_path, monkeypatch):
    class NoThread:
        def __init__(self, **kwargs):
            pass

        def start(self):
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(late_close, "_started", False)
    monkeypatch.setattr(late_close.raw_threading, "Thread", NoThread)
    path = large(tmp_path / "file")
    late_close.unlink(str(path))
    assert not path.exists() and not descriptors_of(path)


def test_a_close_that_fails_does_not_end_it(tmp_path):
    path = large(tmp_path / "file")
    fd = os.open(path, os.O_RDONLY)
    late_close._hand_over(1 << 20)  # no such descriptor
    late_close.close(fd)
    wait_for_none(path)
