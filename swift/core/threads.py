"""Threads for what blocks: a small pool a device, and one for everything else.

What lives here: native threads that take calls from green threads. What never does: which calls are worth it.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import os
import sys
import weakref
from collections.abc import Callable
from typing import Any

from swift.core import clock
from swift.core.concurrency import Hub, after_fork, getcurrent, hub, raw_queue, raw_threading


class DeviceBusy(Exception):
    """A device's queue of waiting operations is full: it hangs or cannot keep up."""


class Call:
    """A function on its way through a pool, and what became of it."""

    __slots__ = ("_pool", "_raised", "_value", "done", "waiter")

    def __init__(self, pool: _ThreadPool) -> None:
        self._pool = pool
        self.done = False
        self.waiter: Any = None
        self._raised = False
        self._value: Any = None

    def carry_out(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Called in the thread. Whoever waits is to be woken if there is a `waiter` after it."""
        try:
            self._value = function(*args)
        except BaseException as err:
            self._value = err
            self._raised = True
        self.done = True  # before the waiter is looked at, who looks here after he has put down his name

    def wait(self) -> Any:
        """The result. Raises what the function raised. For one green thread, once."""
        self.waiter = getcurrent()
        try:
            while not self.done:
                self._pool.sleep()
        finally:
            self.waiter = None
        value, self._value = self._value, None
        if not self._raised:
            return value
        try:
            raise value
        finally:
            del value  # or the error, its traceback and we would keep each other, and what was passed, until a collection


_all_pools: weakref.WeakSet[_ThreadPool] = weakref.WeakSet()


class _ThreadPool:
    """A few native threads that take calls from green threads; results come back through one eventfd."""

    def __init__(self, name: str, size: int, limit: int) -> None:
        self.name = name
        self.size = size
        self.limit = limit
        self._submitted = 0
        self._finished: list[list[int]] = []  # each thread counts for itself
        self._threads = 0
        self._calls = raw_queue.SimpleQueue()
        self._results: collections.deque[Call] = collections.deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._hub: Hub | None = None
        _all_pools.add(self)

    def forget_threads(self) -> None:
        """In a forked child: the threads stayed with the parent, and so did whoever waits for them."""
        os.close(self._wake)
        _ThreadPool.__init__(self, self.name, self.size, self.limit)

    @property
    def pending(self) -> int:
        """Calls that have not come to their end."""
        return self._submitted - sum(count[0] for count in self._finished)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Calls function in a thread while other green threads go on. Raises what it raises, or DeviceBusy."""
        return self.submit(function, *args).wait()

    def submit(self, function: Callable[..., Any], *args: Any) -> Call:
        """Has function called in a thread; in a pool of one thread the calls come in the order of the submits. Raises DeviceBusy."""
        pending = self.pending
        if pending >= self.limit:
            raise DeviceBusy(self.name)
        current = hub()
        if current is not self._hub:  # the first call, or the process has changed its hub since
            self._hub = current
            current.watch_callback(self._wake, self._deliver)
        if self._threads < self.size and pending >= self._threads:
            self._start_thread()
        self._submitted += 1
        call = Call(self)
        self._calls.put((call, function, args))
        return call

    def _start_thread(self) -> None:
        try:
            raw_threading.Thread(target=self._work, name=self.name, daemon=True).start()
        except RuntimeError:  # the system has no more: those that there are must do
            if not self._threads:
                raise DeviceBusy(f"{self.name}: no thread can be started") from None
        else:
            self._threads += 1

    def sleep(self) -> None:
        """Lets others run until one of the pool's calls has somebody to wake."""
        assert self._hub is not None
        self._hub.switch()

    def _work(self) -> None:
        calls, results = self._calls, self._results
        busy = [False]
        _busy.append(busy)
        finished = [0]
        self._finished.append(finished)
        while True:
            call, function, args = calls.get()
            busy[0] = True
            call.carry_out(function, args)
            busy[0] = False
            finished[0] += 1
            if call.waiter is not None:
                results.append(call)
                os.eventfd_write(self._wake, 1)
            del call, function, args

    def _deliver(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        results = self._results
        while results:
            waiter = results.popleft().waiter
            if waiter is not None and not waiter.dead:
                try:
                    waiter.switch()
                except Hub.SYSTEM_EXCEPTIONS:
                    raise
                except BaseException:
                    hub().squelch_generic_exception(sys.exc_info())


class DevicePool:
    """Where the file operations of one device run: a small pool of threads of its own, so that a hung disk stalls nobody else.

    On a memory file system nothing can block, and calls run inline.
    """

    def __init__(self, path: str, size: int = 4, limit: int = 4096) -> None:
        self.path = path
        self.inline = is_memory_file_system(path)
        self._pool = None if self.inline else _ThreadPool(f"disk {path}", size, limit)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Runs function(*args) and returns its result. Raises what it raises, or DeviceBusy when the queue is full."""
        if self._pool is None:
            return function(*args)
        return self._pool.run(function, *args)


EXIT_SECONDS = 5.0
_busy: list[list[bool]] = []  # a flag for each thread that there is
_pools: dict[str, DevicePool] = {}
_shared_pool: _ThreadPool | None = None


def pool_for(device_path: str, size: int = 4) -> DevicePool:
    """The pool of a device's mount directory; made at first use. `size` (threads) counts only then."""
    pool = _pools.get(device_path)
    if pool is None:
        pool = _pools[device_path] = DevicePool(device_path, size)
    return pool


def run_in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Runs a blocking or long computation that belongs to no device (ring loading, hashing of large buffers)."""
    global _shared_pool
    if _shared_pool is None:
        _shared_pool = _ThreadPool("shared", 4, 8192)
    return _shared_pool.run(function, *args)


_lanes: list[_ThreadPool] = []
_lanes_given = 0


def lane() -> Callable[..., Call]:
    """A `submit` whose calls run one after the other, in their order, in one thread: for the pieces of one body.

    There are as many lanes as processors; more bodies share them. Raises OSError when there are no descriptors left.
    """
    global _lanes_given
    if len(_lanes) < (os.cpu_count() or 1):
        _lanes.append(_ThreadPool(f"lane {len(_lanes)}", 1, 65536))
    _lanes_given += 1
    return _lanes[_lanes_given % len(_lanes)].submit


def _forget() -> None:
    """In a forked child there are no threads. The pools stay: others hold them."""
    for pool in list(_all_pools):
        pool.forget_threads()
    _busy.clear()


def _finish() -> None:
    """An interpreter that ends while a thread is inside of a C library (SQLite) aborts: let short work end first."""
    never = raw_threading.Event()
    give_up = clock.monotonic() + EXIT_SECONDS
    while any(busy[0] for busy in _busy) and clock.monotonic() < give_up:
        never.wait(0.005)


atexit.register(_finish)


after_fork.append(_forget)


def is_memory_file_system(path: str) -> bool:
    """True when path lies on tmpfs or ramfs, where a sync is free and nothing waits for a disk."""
    try:
        device = os.stat(path).st_dev
        with open("/proc/self/mountinfo") as mounts:
            wanted = f"{os.major(device)}:{os.minor(device)}"
            for line in mounts:
                fields = line.split()
                if fields[2] == wanted:
                    return fields[fields.index("-") + 1] in ("tmpfs", "ramfs")
    except (OSError, ValueError, IndexError):
        pass
    return False
