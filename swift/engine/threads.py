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
from swift.core.concurrency import (
    Event,
    Hub,
    Timeout,
    after_fork,
    getcurrent,
    hub,
    raw_queue,
    raw_threading,
    spawn_n,
)
from swift.engine.mounts import is_memory_file_system


class DeviceBusy(Exception):
    """A device has as many waiting calls as it may have: it can't keep up. To be answered 503: others may well take the request."""


class DeviceStuck(DeviceBusy):
    """A device hangs: it has finished nothing for some time though all its threads are inside of it. To be answered 507."""


class Call:
    """A function on its way through a pool, and what became of it."""

    __slots__ = (
        "_pool",
        "_raised",
        "_value",
        "cancelled",
        "certain",
        "done",
        "given_up",
        "patient",
        "running",
        "tick",
        "waiter",
    )

    def __init__(self, pool: ThreadPool, tick: int, patient: bool, certain: bool = False) -> None:
        self._pool = pool
        self.tick = tick  # of the watch, when it was submitted
        self.patient = patient  # it may take as long as it likes once it has begun
        self.certain = certain  # it is carried out even if nobody waits any more
        self.running = False
        self.cancelled = False
        self.done = False
        self.given_up = False  # its waiter is not to wait any longer
        self.waiter: Any = None
        self._raised = False
        self._value: Any = None

    def carry_out(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Called in the thread. Whoever waits is to be woken if there is a `waiter` after it."""
        self.running = True  # before `cancelled` is looked at: see `give_up`
        if self.cancelled:
            return
        try:
            self._value = function(*args)
        except BaseException as err:
            self._value = err
            self._raised = True
        self.done = True  # before the waiter is looked at, who looks here after he has put down his name

    def end(self, value: Any) -> None:
        """In the place of `carry_out`: its result, or the exception that its caller gets. The waiter is to be woken as there."""
        self._value = value
        self._raised = isinstance(value, BaseException)
        self.done = True

    def give_up(self) -> None:
        """Its waiter gets DeviceStuck; what has not begun will never be done, unless it is certain. Called in the thread of the waiters."""
        self.cancelled = not self.certain
        self.given_up = True

    def wait(self) -> Any:
        """The result. Raises what the function raised, or DeviceStuck: then it may still be done, or never. For one green thread, once."""
        pool = self._pool
        self.waiter = getcurrent()
        pool.waiting.add(self)
        try:
            while not self.done:
                if self.given_up:
                    raise DeviceStuck(pool.name)
                pool.sleep()
        finally:
            self.waiter = None
            pool.waiting.discard(self)
        value, self._value = self._value, None
        if not self._raised:
            return value
        try:
            raise value
        finally:
            del value  # or the error, its traceback and we would keep each other, and what was passed, until a collection


class StallLimits:
    """How long and how many may wait for a device. One for the process, changed by `bound_waits`.

    `calls`: so many may wait for one device. `stall`: seconds without any call finishing, while all threads of a device are busy,
    after which it counts as stuck. `longest`: seconds that anybody waits for one call.
    """

    __slots__ = ("calls", "longest", "stall")

    def __init__(self) -> None:
        self.calls = 4096
        self.stall = 60.0
        self.longest = 600.0


LIMITS = StallLimits()
_TICK_SHARE = 8  # looks at a pool in the time after which it counts as stuck


def bound_waits(max_clients: int, stall: float) -> None:
    """For a server: one device holds at most three quarters of its clients, and none of them for long when it hangs.

    `stall`: seconds, see `StallLimits`; six times that for a single call on a device that goes on working otherwise.
    """
    LIMITS.calls = max(4, max_clients * 3 // 4)
    LIMITS.stall = stall
    LIMITS.longest = 6 * stall


_all_pools: weakref.WeakSet[ThreadPool] = weakref.WeakSet()
_own_thread = raw_threading.local()


class _Bell:
    """What threads ring to be heard in the hub: an eventfd, closed when nobody holds it any more."""

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = -1
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)

    def ring(self) -> None:
        """For any thread."""
        os.eventfd_write(self.fd, 1)

    def silence(self) -> None:
        """In the hub, when it was heard."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)


class ThreadPool:
    """A few native threads that take calls from green threads; results come back through one eventfd.

    A subclass takes from `calls` in its own `work`, counts what has come to its end in the thread's own `finished`, and has who waits
    woken by `hand_back` and `wake`. `size` 0: the work is done elsewhere, no thread is started.
    """

    bounded = False  # by LIMITS: it waits for one device

    def __init__(self, name: str, size: int, limit: int) -> None:
        self.name = name
        self.size = size
        self.limit = limit
        self._submitted = 0
        self._finished: list[list[int]] = []  # each thread counts for itself
        self._threads = 0
        self.calls = raw_queue.SimpleQueue()
        self._results: collections.deque[Call] = collections.deque()
        self._bell = _Bell()
        self._hub: Hub | None = None
        self._thread: int | None = None  # the native thread of that hub
        self._strays: collections.deque[Any] = collections.deque()  # function, arguments
        self.waiting: set[Call] = set()
        self._stuck = False
        self._watched = False  # the watch is running: only while there are calls
        self._tick = 0
        self._progress = 0  # the tick at which something was last seen to have finished
        self._seen_finished = 0
        _all_pools.add(self)

    def forget_threads(self) -> None:
        """In a forked child: the threads stayed with the parent, and so did whoever waits for them."""
        self.begin_anew()

    def close(self) -> bool:
        """Its threads end and its descriptor is closed; whoever submits later starts new ones. False while it has work: then nothing happens."""
        if self.pending or self.waiting:
            return False
        if self._hub is None and not self._threads:
            return True  # nobody has submitted anything yet
        if self._hub is not None:
            self._hub.forget_callback(self._bell.fd)
        for _ in range(self._threads):
            self.calls.put(None)
        watched = self._watched
        self.begin_anew()
        self._watched = watched
        return True

    def begin_anew(self) -> None:
        """As `__init__`, with the arguments that it had."""
        ThreadPool.__init__(self, self.name, self.size, self.limit)

    @property
    def _done(self) -> int:
        counts = self._finished
        return counts[0][0] if len(counts) == 1 else sum(count[0] for count in counts)

    @property
    def is_stuck(self) -> bool:
        """True while what it was given hangs in the disk."""
        return self._stuck and self._done == self._seen_finished

    @property
    def pending(self) -> int:
        """Calls that have not come to their end."""
        return self._submitted - self._done

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Calls function in a thread while other green threads go on. Raises what it raises, DeviceBusy or DeviceStuck."""
        return self.submit(function, *args).wait()

    def run_long(self, function: Callable[..., Any], *args: Any) -> Any:
        """As `run`, for what may take as long as it likes once it has begun."""
        return self.submit(function, *args, patient=True).wait()

    def submit(
        self,
        function: Callable[..., Any],
        *args: Any,
        patient: bool = False,
        must: bool = False,
        certain: bool = False,
    ) -> Call:
        """Has function called in a thread; in a pool of one thread the calls come in the order of the submits.

        `must`: also where the pool is full or stuck, for what gives back resources. Raises DeviceBusy, DeviceStuck, and
        RuntimeError in a thread of a pool: there is no hub in it that could go on meanwhile.
        """
        done = self._done
        pending = self._submitted - done
        if not must:
            if self._stuck:
                if done == self._seen_finished:
                    raise DeviceStuck(self.name)
                self._stuck = False
            if pending >= self.limit or (self.bounded and pending >= LIMITS.calls):
                raise DeviceBusy(self.name)
        current = hub()
        if current is not self._hub:  # the first call, or the process has changed its hub since
            if getattr(_own_thread, "is_of_pool", False):
                raise RuntimeError(f"{self.name}: asked by a thread of a pool, which nobody could wake")
            self._hub, self._thread = current, raw_threading.get_ident()
            self._watched = False
            current.watch_callback(self._bell.fd, self.deliver)
        if self._threads < self.size and pending >= self._threads:
            self._start_thread()
        self._submitted += 1
        call = Call(self, self._tick, patient, certain)
        self.calls.put((call, function, args))
        if not self._watched and self.bounded:
            self._progress = self._tick
            self._watch()
        return call

    def leave(self, function: Callable[..., Any], *args: Any) -> None:
        """Has something done that nobody waits for. From any thread: garbage is collected in whichever comes to it."""
        if self._thread in (None, raw_threading.get_ident()):
            self.submit(function, *args, must=True)
            return
        self._strays.append((function, args))
        self._bell.ring()

    # ------------------------------------------------------------ the watch

    def _watch(self) -> None:
        assert self._hub is not None
        self._watched = True
        self._hub.schedule_call_global(LIMITS.stall / _TICK_SHARE, self.look)

    def look(self) -> None:
        """Now and then while there are calls: does the device still finish any, and has anybody waited too long?"""
        self._watched = False
        self._tick += 1
        done = self._done
        if done != self._seen_finished:
            self._seen_finished = done
            self._progress = self._tick
            self._stuck = False
        pending = self._submitted - done
        if not pending:
            return
        self._watch()
        if not self._stuck and pending >= self.size and self._tick - self._progress > _TICK_SHARE:
            self._stuck = True
        longest = self._tick - _TICK_SHARE * LIMITS.longest / LIMITS.stall
        for call in list(self.waiting):
            if not call.running:
                late = self._stuck or call.tick < longest
            elif call.patient:
                late = False
            else:
                late = call.tick < longest or (self._stuck and self._tick - call.tick > _TICK_SHARE)
            if late and not call.given_up:
                call.give_up()
                self._results.append(call)
        self.deliver()

    def _start_thread(self) -> None:
        try:
            args = self.calls, self.counter()
            raw_threading.Thread(target=self._live, args=args, name=self.name, daemon=True).start()
        except RuntimeError:  # the system has no more: those that there are must do
            if not self._threads:
                raise DeviceBusy(f"{self.name}: no thread can be started") from None
        else:
            self._threads += 1

    def sleep(self) -> None:
        """Lets others run until one of the pool's calls has somebody to wake."""
        assert self._hub is not None
        self._hub.switch()

    def counter(self) -> list[int]:
        """Of calls that have come to their end: `[0]`, for one thread to count up."""
        finished = [0]
        self._finished.append(finished)
        return finished

    def hand_back(self, call: Call) -> None:
        """Whoever waits for this call goes on at the next `wake` or `deliver`."""
        if call.waiter is not None:
            self._results.append(call)

    def wake(self) -> None:
        """Have `deliver` called in the hub. From any thread."""
        self._bell.ring()

    def _live(self, calls: Any, finished: list[int]) -> None:
        _own_thread.is_of_pool = True
        self.work(calls, finished)

    def work(self, calls: Any, finished: list[int]) -> None:
        """The life of a thread: it takes from `calls`, until it gets None, and counts in `finished` what has come to its end."""
        busy = busy_flag()
        while (entry := calls.get()) is not None:
            call, function, args = entry
            busy[0] = True
            call.carry_out(function, args)
            busy[0] = False
            finished[0] += 1
            if call.waiter is not None:
                self._results.append(call)
                self._bell.ring()
            del entry, call, function, args
        forget_flag(busy)

    def deliver(self) -> None:
        """In the hub: those whose calls were handed back go on."""
        self._bell.silence()
        while self._strays:
            function, args = self._strays.popleft()
            self.submit(function, *args, must=True)
        self.wake_waiters()

    def wake_waiters(self) -> None:
        """As `deliver`, when it was not the bell that woke the hub."""
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


class _DiskThreads(ThreadPool):
    """The threads of a device."""

    bounded = True


class DevicePool:
    """Where the file operations of one device run: a small pool of threads of its own, so that a hung disk stalls nobody else.

    Who calls is let go when the disk hangs, whether or not the call ever comes back: that is DeviceStuck (507), at once for all who come
    later, until the first call has come back. DeviceBusy (503) when more than their share wait. How many and how long: `bound_waits`, which
    each server calls once. On a memory file system nothing can block, and calls run inline.
    """

    def __init__(self, path: str, size: int = 4, limit: int = 4096) -> None:
        self.path = path
        self.inline = is_memory_file_system(path)
        self._pool = None if self.inline else _DiskThreads(f"disk {path}", size, limit)
        self._aside: ThreadPool | None = None

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Runs function(*args) and returns its result. Raises what it raises, DeviceBusy (503) or DeviceStuck (507).

        After DeviceStuck the function may still be running, or run to its end later: what it holds must be its own.
        """
        if self._pool is None:
            return function(*args)
        return self._pool.run(function, *args)

    def run_long(self, function: Callable[..., Any], *args: Any) -> Any:
        """As `run`, for what may rightly take minutes (a check of a whole database): once begun, it is waited for."""
        if self._pool is None:
            return function(*args)
        return self._pool.run_long(function, *args)

    def run_aside(self, function: Callable[..., Any], *args: Any) -> Any:
        """As `run_long`, and in a thread in any case: for what computes for so long that who comes meanwhile would notice."""
        if self._pool is not None:
            return self._pool.run_long(function, *args)
        if self._aside is None:
            self._aside = ThreadPool(f"memory {self.path}", ASIDE_THREADS, 4096)
        return self._aside.run_long(function, *args)

    def submit(self, function: Callable[..., Any], *args: Any, certain: bool = False) -> Call:
        """As `run` without waiting: `Call.wait` gives the result. Not for inline devices.

        `certain`: it is carried out at some time even if who waits for it was let go before it began.
        """
        assert self._pool is not None
        return self._pool.submit(function, *args, certain=certain)

    @property
    def is_free(self) -> bool:
        """True if what is submitted now begins at once, as far as threads go."""
        return self._pool is None or self._pool.pending < self._pool.size

    def leave(self, function: Callable[..., Any], *args: Any) -> None:
        """Have something done that nobody waits for, such as closing a file. Never refused, never waits. From any thread."""
        if self._pool is None:
            function(*args)
            return
        self._pool.leave(function, *args)


ASIDE_THREADS = 2
EXIT_SECONDS = 5.0
_busy: dict[int, list[bool]] = {}  # a flag for each thread that there is, by its id()
_pools: dict[str, DevicePool] = {}
_shared_pool: ThreadPool | None = None


def pool_for(device_path: str, size: int = 4) -> DevicePool:
    """The pool of a device's mount directory; made at first use. `size` (threads) counts only then."""
    pool = _pools.get(device_path)
    if pool is None:
        pool = _pools[device_path] = DevicePool(device_path, size)
    return pool


def device_states() -> list[tuple[str, int, bool]]:
    """Of each device that has threads: its mount directory, calls that have not come to their end, and True if it hangs."""
    return [
        (path, device._pool.pending, device._pool.is_stuck)
        for path, device in _pools.items()
        if device._pool is not None
    ]


def busy_flag() -> list[bool]:
    """`[True]` while the thread that asked for it must not be cut off by the end of the process."""
    busy = [False]
    _busy[id(busy)] = busy
    return busy


def forget_flag(busy: list[bool]) -> None:
    """Its thread ends."""
    _busy.pop(id(busy), None)


def run_in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Runs a blocking or long computation that belongs to no device (ring loading, hashing of large buffers)."""
    global _shared_pool
    if _shared_pool is None:
        _shared_pool = ThreadPool("shared", 4, 8192)
    return _shared_pool.run(function, *args)


class Shared:
    """A call whose result all get who ask while it is under way: no number of them takes more than one thread."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._told: Any = None

    def ask(self) -> Any:
        """What the function returns. Raises what it raises, Timeout too."""
        told = self._told
        if told is None:
            told = self._told = Event()
            spawn_n(self._find, told)
        return told.wait()

    def _find(self, told: Any) -> None:
        try:
            value = self._function()
        except (Exception, Timeout) as error:
            self._told = None
            told.send_exception(error)
        else:
            self._told = None
            told.send(value)


_lanes: list[ThreadPool] = []
_lanes_given = 0


def lane() -> Callable[..., Call]:
    """A `submit` whose calls run one after the other, in their order, in one thread: for the pieces of one body.

    There are as many lanes as processors; more bodies share them. Raises OSError when there are no descriptors left.
    """
    global _lanes_given
    if len(_lanes) < (os.cpu_count() or 1):
        _lanes.append(ThreadPool(f"lane {len(_lanes)}", 1, 65536))
    _lanes_given += 1
    return _lanes[_lanes_given % len(_lanes)].submit


def close_pools() -> None:
    """The threads of all pools that have nothing to do end; whoever needs one later starts it anew."""
    for pool in list(_all_pools):
        pool.close()


def _forget() -> None:
    """In a forked child there are no threads. The pools stay: others hold them."""
    for pool in list(_all_pools):
        pool.forget_threads()
    _busy.clear()


def _finish() -> None:
    """An interpreter that ends while a thread is inside of a C library (SQLite) aborts: let short work end first."""
    never = raw_threading.Event()
    give_up = clock.monotonic() + EXIT_SECONDS
    while any(busy[0] for busy in list(_busy.values())) and clock.monotonic() < give_up:
        never.wait(0.005)


atexit.register(_finish)


after_fork.append(_forget)
