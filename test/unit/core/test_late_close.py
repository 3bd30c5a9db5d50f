"""Large files go at once by name, and soon after with all that they hold."""

import os
import time

import pytest

from swift.core import late_close

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


def test_without_descriptors_or_threads_it_is_done_on_the_spot(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(24, "Too many open files")

    def refuse_thread(self):
        raise RuntimeError("can't start new thread")

    path = tmp_path / "file"
    path.write_bytes(b"")
    os.truncate(path, late_close.LARGE)
    fd = os.open(path, os.O_RDONLY)
    monkeypatch.setattr(late_close, "_started", False)
    monkeypatch.setattr(late_close.raw_threading.Thread, "start", refuse_thread)
    late_close.close(fd)
    assert not descriptors_of(path) and not late_close._started
    monkeypatch.setattr(late_close.os, "open", refuse)
    late_close.unlink(str(path))
    assert not path.exists()
