"""Pools of native threads, seen from green threads."""

import gc
import threading
import weakref

import pytest

from swift.core import concurrency as c
from swift.core import threads


def test_thread_pool_runs_elsewhere_and_carries_results_and_errors(tmp_path):
    pool = threads.DevicePool(str(tmp_path))
    pool.inline = False
    pool._pool = pool._pool or threads._ThreadPool("test", 2, 3)
    assert pool.run(threading.get_native_id) != threading.get_native_id()
    with pytest.raises(ZeroDivisionError):
        pool.run(lambda: 1 // 0)


def test_a_hung_device_refuses_instead_of_queueing_for_ever():
    pool = threads._ThreadPool("test", 1, 2)
    gate = c.raw_threading.Event()
    waiting = [c.spawn(pool.run, gate.wait) for _ in range(2)]
    c.sleep(0)
    with pytest.raises(threads.DeviceBusy):
        pool.run(int)
    gate.set()
    assert [w.wait() for w in waiting] == [True, True]
    assert pool.run(int) == 0


def test_an_abandoned_call_does_not_disturb_the_next():
    pool = threads._ThreadPool("test", 1, 10)
    gate = c.raw_threading.Event()
    with pytest.raises(c.Timeout), c.Timeout(0.02):
        pool.run(gate.wait)
    gate.set()
    assert pool.run(int, 7) == 7


def test_a_pool_outlives_a_change_of_the_hub():
    pool = threads._ThreadPool("test", 1, 10)
    assert pool.run(int, 1) == 1
    c.use_fast_hub()
    assert pool.run(int, 2) == 2


def test_the_calls_of_a_lane_come_in_their_order():
    submit = threads.lane()
    seen = []
    calls = [submit(seen.append, n) for n in range(500)]
    failed = submit(lambda: 1 // 0)
    assert submit(len, seen).wait() == 500
    assert seen == list(range(500))
    assert all(call.done for call in calls)
    with pytest.raises(ZeroDivisionError):
        failed.wait()


def test_a_result_that_was_there_before_anybody_asked():
    pool = threads._ThreadPool("test", 1, 10)
    call = pool.submit(int, 3)
    pool.run(int)
    assert call.done and call.wait() == 3
    assert pool.pending == 0


def test_an_error_does_not_keep_what_was_passed():
    class Buffer:
        pass

    def fail(buffer):
        raise KeyError(buffer)

    pool = threads._ThreadPool("test", 1, 10)
    buffer = Buffer()
    kept = weakref.ref(buffer)
    gc.disable()
    try:
        with pytest.raises(KeyError):
            pool.run(fail, buffer)
        del buffer
        pool.run(int)  # the thread has let go of the call before
        assert kept() is None
    finally:
        gc.enable()


def test_a_system_without_further_threads(monkeypatch):
    class NoThread:
        def __init__(self, **kwargs):
            pass

        def start(self):
            raise RuntimeError("can't start new thread")

    pool = threads._ThreadPool("test", 2, 10)
    with monkeypatch.context() as patch:
        patch.setattr(threads.raw_threading, "Thread", NoThread)
        with pytest.raises(threads.DeviceBusy):
            pool.run(int)
    assert pool.run(int, 1) == 1
    gate = c.raw_threading.Event()
    waiting = pool.submit(gate.wait)
    with monkeypatch.context() as patch:
        patch.setattr(threads.raw_threading, "Thread", NoThread)
        second = pool.submit(int, 2)
    gate.set()
    assert (waiting.wait(), second.wait()) == (True, 2)
