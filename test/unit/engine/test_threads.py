"""Pools of native threads, seen from green threads."""

import gc
import threading
import weakref

import pytest

from swift.core import concurrency as c
from swift.engine import threads
from swift.engine.mounts import is_memory_file_system
from test.descriptors import Opened


def test_thread_pool_runs_elsewhere_and_carries_results_and_errors(tmp_path):
    pool = threads.DevicePool(str(tmp_path))
    pool.inline = False
    pool._pool = pool._pool or threads.ThreadPool("test", 2, 3)
    assert pool.run(threading.get_native_id) != threading.get_native_id()
    with pytest.raises(ZeroDivisionError):
        pool.run(lambda: 1 // 0)


@pytest.mark.parametrize("inline", [True, False])
def test_what_computes_long_never_runs_inline(tmp_path, monkeypatch, inline):
    monkeypatch.setattr(threads, "is_memory_file_system", lambda path: inline)
    pool = threads.DevicePool(str(tmp_path))
    assert (pool.run_long(threading.get_native_id) == threading.get_native_id()) == inline
    assert pool.run_aside(threading.get_native_id) != threading.get_native_id()
    with pytest.raises(ZeroDivisionError):
        pool.run_aside(lambda: 1 // 0)


def test_a_hung_device_refuses_instead_of_queueing_for_ever():
    pool = threads.ThreadPool("test", 1, 2)
    gate = c.raw_threading.Event()
    waiting = [c.spawn(pool.run, gate.wait) for _ in range(2)]
    c.sleep(0)
    with pytest.raises(threads.DeviceBusy):
        pool.run(int)
    gate.set()
    assert [w.wait() for w in waiting] == [True, True]
    assert pool.run(int) == 0


def test_a_thread_of_a_pool_cannot_wait_for_a_pool():
    """It would take the pool away from the hub that all others wait in."""
    pool, other = threads.ThreadPool("test", 2, 10), threads.ThreadPool("other", 1, 10)
    for asked in (pool, other):
        with pytest.raises(RuntimeError, match="a thread of a pool"):
            pool.run(asked.run, int)
    assert [c.spawn(p.run, int, 3) for p in (pool, other)][0].wait() == 3
    assert pool.run(int, 7) == other.run(int, 7) == 7


def test_an_abandoned_call_does_not_disturb_the_next():
    pool = threads.ThreadPool("test", 1, 10)
    gate = c.raw_threading.Event()
    with pytest.raises(c.Timeout), c.Timeout(0.02):
        pool.run(gate.wait)
    gate.set()
    assert pool.run(int, 7) == 7


def test_a_pool_outlives_a_change_of_the_hub():
    pool = threads.ThreadPool("test", 1, 10)
    assert pool.run(int, 1) == 1
    c.use_fast_hub()
    assert pool.run(int, 2) == 2


def test_a_pool_that_is_closed_leaves_neither_threads_nor_descriptors():
    def alive():
        return sum(thread.name == "closed" for thread in c.raw_threading.enumerate())

    opened = Opened()
    pool = threads.ThreadPool("closed", 3, 10)
    for _ in range(3):  # closed, it starts anew when somebody calls
        gate = c.raw_threading.Event()
        calls = [pool.submit(gate.wait) for _ in range(3)]
        assert not pool.close(), "it has work"
        gate.set()
        assert [call.wait() for call in calls] == [True] * 3
        assert alive() >= 3
        with c.Timeout(60):
            while not pool.close() or alive():
                c.sleep(0.01)
    del calls, pool
    with c.Timeout(60):
        while opened.still():  # a thread that ends lets go of the pool last
            gc.collect()
            c.sleep(0.01)


def test_a_pool_is_not_closed_under_one_who_has_yet_to_hear_of_his_result():
    pool = threads.ThreadPool("test", 1, 10)
    waiting = c.spawn(pool.run, int, 7)
    c.sleep(0)
    while pool.pending:
        c.raw_threading.Event().wait(0.01)
    assert not pool.close()
    with c.Timeout(60):
        assert waiting.wait() == 7


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
    pool = threads.ThreadPool("test", 1, 10)
    call = pool.submit(int, 3)
    pool.run(int)
    assert call.done and call.wait() == 3
    assert pool.pending == 0


def test_an_error_does_not_keep_what_was_passed():
    class Buffer:
        pass

    def fail(buffer):
        raise KeyError(buffer)

    pool = threads.ThreadPool("test", 1, 10)
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


def test_what_is_collected_in_a_thread_takes_no_answers_away():
    """Garbage is collected in whichever thread comes to it: what closes its files there must not take the pool to itself."""
    pool = threads.ThreadPool("test", 2, 100)
    assert pool.run(lambda: 1) == 1
    left = []
    done = threading.Event()

    def collected():
        pool.leave(left.append, 1)
        done.set()

    assert pool.run(collected) is None and done.wait(60)
    with c.Timeout(60):
        assert [pool.run(lambda n=n: n) for n in range(20)] == list(range(20))
        while not left:
            c.sleep(0.01)
    assert left == [1]


def test_a_system_without_further_threads(monkeypatch):
    class NoThread:
        def __init__(self, **kwargs):
            pass

        def start(self):
            raise RuntimeError("can't start new thread")

    pool = threads.ThreadPool("test", 2, 10)
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


# ---------------------------------------------------------------- devices that hang


@pytest.fixture
def limits():
    before = threads.LIMITS.calls, threads.LIMITS.stall, threads.LIMITS.longest
    threads.bound_waits(100, 0.2)
    yield threads.LIMITS
    threads.LIMITS.calls, threads.LIMITS.stall, threads.LIMITS.longest = before


class Disk:
    """A device's threads, some of which can be made to hang."""

    def __init__(self, size):
        self.pool = threads._DiskThreads("test", size, 4096)
        self.gate = c.raw_threading.Event()
        self.begun = []

    def hang(self, name):
        self.begun.append(name)
        self.gate.wait()
        return name

    def ask(self, function, *args):
        """What becomes of a call: a green thread that ends with the result or the error."""

        def run():
            try:
                return self.pool.run(function, *args)
            except Exception as err:
                return err

        return c.spawn(run)


def test_all_who_wait_for_a_hung_device_are_let_go(limits):
    disk = Disk(2)
    waiters = [disk.ask(disk.hang, n) for n in range(20)]
    results = [waiter.wait() for waiter in waiters]
    assert [type(r) for r in results] == [threads.DeviceStuck] * 20
    assert sorted(disk.begun) == [0, 1]
    # whoever comes now is told so without waiting, and nothing more is put in the queue
    pending = disk.pool.pending
    for _ in range(200):
        with pytest.raises(threads.DeviceStuck):
            disk.pool.run(int)
    assert disk.pool.pending == pending
    disk.gate.set()
    while disk.pool.pending:
        c.sleep(0.01)
    assert disk.pool.run(int, 7) == 7
    assert sorted(disk.begun) == [0, 1]  # what nobody waited for any more was never begun
    assert not disk.pool.waiting


def test_a_device_that_hangs_again_and_again(limits):
    disk = Disk(1)
    for n in range(3):
        disk.gate.clear()
        assert isinstance(disk.ask(disk.hang, n).wait(), threads.DeviceStuck)
        disk.gate.set()
        while disk.pool.pending:
            c.sleep(0.01)
        assert disk.ask(disk.hang, n).wait() == n


def test_a_device_that_goes_on_finishing_calls_is_not_hung(limits):
    """One call takes long, the others are served: it is waited for."""
    disk = Disk(2)
    long = disk.ask(disk.hang, "long")
    for _ in range(40):
        assert disk.ask(int).wait() == 0
        c.sleep(0.01)
    assert not long.dead
    disk.gate.set()
    assert long.wait() == "long"


def test_nobody_waits_for_ever_for_one_call(limits):
    disk = Disk(2)
    limits.longest = 0.3
    assert isinstance(disk.ask(disk.hang, "long").wait(), threads.DeviceStuck)
    limits.longest = limits.stall = 60.0  # for the other thread, which may come late on a busy machine
    assert disk.pool.run(int) == 0
    disk.gate.set()


def test_long_work_is_waited_for_once_begun(limits):
    disk = Disk(1)
    limits.longest = 0.3
    long = c.spawn(disk.pool.run_long, disk.hang, "long")
    late = disk.ask(int)
    assert isinstance(late.wait(), threads.DeviceStuck)
    assert not long.dead
    disk.gate.set()
    assert long.wait() == "long"


def test_one_device_holds_a_share_of_the_clients(limits):
    disk = Disk(1)
    waiters = [disk.ask(disk.hang, n) for n in range(100)]
    c.sleep(0)
    busy = [w for w in waiters if w.dead]
    assert len(busy) == 25
    assert {type(w.wait()) for w in busy} == {threads.DeviceBusy}
    # what gives back resources is taken nevertheless
    closed = []
    disk.pool.submit(closed.append, 1, must=True)
    disk.gate.set()
    while disk.pool.pending:
        c.sleep(0.01)
    assert closed == [1]


def test_what_is_given_up_is_freed_when_it_ends(limits):
    class Thing:
        pass

    disk = Disk(1)
    thing = Thing()
    gone = weakref.ref(thing)
    waiter = disk.ask(lambda thing: disk.hang("x") and thing, thing)
    del thing
    assert isinstance(waiter.wait(), threads.DeviceStuck)
    del waiter
    disk.gate.set()
    while disk.pool.pending:
        c.sleep(0.01)
    disk.pool.run(int)  # the thread has let go of what came before
    gc.collect()
    assert gone() is None


def test_a_mount_is_looked_up_without_touching_it(tmp_path, monkeypatch):
    asked = []
    real = threads.os.stat
    monkeypatch.setattr(threads.os, "stat", lambda path, **k: (asked.append(path), real(path, **k))[1])
    assert not is_memory_file_system("/proc/self")
    if threads.os.path.ismount("/dev/shm"):
        asked.clear()
        assert is_memory_file_system("/dev/shm/a/b")
    assert asked == []
    link = tmp_path / "link"
    link.symlink_to("/dev/shm")
    assert is_memory_file_system(str(link)) == is_memory_file_system("/dev/shm")
