"""Green threads, timeouts and the hub: the one place that knows the engine.

What lives here: every import of eventlet and greenlet, and our epoll hub. What never does: the sockets that it watches
(engine/stream.py, engine/sockets.py), thread pools for blocking work (engine/threads.py), HTTP, storage, configuration files.
"""

from __future__ import annotations

import collections
import contextlib
import os
import select as _patched_select  # noqa: F401  (imported before patching, so that `original` finds it)
import sys
import warnings
from collections.abc import Callable
from typing import Any

from swift.core import clock

# its resolver costs memory and start-up time; we connect to addresses
os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the reason why eventlet stays in this one file
    import eventlet
import eventlet.hubs
import eventlet.patcher
from eventlet import GreenPile, GreenPool, Timeout, sleep, spawn, spawn_after, spawn_n
from eventlet.event import Event
from eventlet.hubs import epolls
from eventlet.lock import Lock as _StandardLock
from eventlet.queue import Empty, Full, LightQueue, Queue
from eventlet.semaphore import Semaphore
from greenlet import GreenletExit, getcurrent

__all__ = ["after_fork", "Empty", "Event", "fork", "Full", "getcurrent", "GreenletExit", "GreenPile", "GreenPool", "hub", "Hub", "is_ready", "kill", "LightQueue", "patch", "Queue", "raw_queue", "raw_select", "raw_socket", "raw_threading", "Semaphore", "sleep", "spawn", "spawn_after", "spawn_n", "Timeout", "use_fast_hub", "Watched"]  # fmt: skip

raw_socket: Any = eventlet.patcher.original("socket")
raw_threading: Any = eventlet.patcher.original("threading")
raw_select: Any = eventlet.patcher.original("select")
_select = raw_select
raw_queue: Any = eventlet.patcher.original("queue")
kill = eventlet.kill
_sleep_natively: Any = eventlet.patcher.original("time").sleep

_EDGE = _select.EPOLLIN | _select.EPOLLOUT | _select.EPOLLRDHUP | _select.EPOLLET
_READ_EVENTS = _select.EPOLLIN | _select.EPOLLPRI | _select.EPOLLRDHUP | _select.EPOLLHUP | _select.EPOLLERR
_WRITE_EVENTS = _select.EPOLLOUT | _select.EPOLLHUP | _select.EPOLLERR
_GONE_EVENTS = _select.EPOLLRDHUP | _select.EPOLLHUP | _select.EPOLLERR

MOST_EVENTS = 256  # heard in one turn
SWEEP_INTERVAL = 0.1  # seconds; how late the time limit of what is watched may fire


class Watched:
    """What the hub knows of a descriptor that stays registered: what may be tried, who waits for it and until when."""

    __slots__ = ("fd", "gone", "read_by", "readable", "reader", "writable", "write_by", "writer")

    fd: int  # -1 once closed
    readable: bool  # reading is worth a try
    writable: bool
    gone: bool  # the peer has closed its side, or the connection broke
    reader: Any  # the green thread that waits for input, or None
    writer: Any
    read_by: float  # when the reader's wait ends in TimeoutError, on clock.monotonic()'s scale
    write_by: float


class Hub(epolls.Hub):
    """eventlet's epoll hub plus a table of edge-triggered streams that stay registered."""

    running: bool
    stopping: bool

    def __init__(self, time_source: Callable[[], float] | None = None) -> None:
        super().__init__(time_source)
        self.streams: dict[int, Watched] = {}
        self.callbacks: dict[int, Callable[[], None]] = {}
        self.next_sweep = clock.monotonic() + SWEEP_INTERVAL

    @classmethod
    def is_available(cls) -> bool:
        """eventlet asks its hubs this."""
        return True

    def watch(self, stream: Watched) -> None:
        """Registers a stream for its whole life."""
        self.callbacks.pop(stream.fd, None)
        self.streams[stream.fd] = stream
        self.poll.register(stream.fd, _EDGE)

    def forget(self, stream: Watched) -> None:
        """Takes a stream out, before its descriptor is closed."""
        if self.streams.get(stream.fd) is stream:
            del self.streams[stream.fd]
            with contextlib.suppress(OSError, ValueError):
                self.poll.unregister(stream.fd)

    def add(self, evtype: str, fileno: int, *args: Any) -> Any:
        """A wait through eventlet's own interface."""
        if fileno in self.callbacks or fileno in self.streams:
            # closed behind our back and its number given anew: it would swallow the events
            self.callbacks.pop(fileno, None)
            self.streams.pop(fileno, None)
            with contextlib.suppress(OSError, ValueError):
                self.poll.unregister(fileno)
        return super().add(evtype, fileno, *args)

    def watch_callback(self, fd: int, callback: Callable[[], None]) -> None:
        """Calls callback in the hub whenever fd is readable (level-triggered)."""
        self.streams.pop(fd, None)  # one whose socket was closed behind its back would swallow our events
        self.callbacks[fd] = callback
        self.poll.register(fd, _select.EPOLLIN)

    def forget_callback(self, fd: int) -> None:
        """Ends `watch_callback`, if it was this hub's. To be called before the descriptor is closed."""
        self.callbacks.pop(fd, None)
        with contextlib.suppress(OSError, ValueError):
            self.poll.unregister(fd)

    def run(self, *args: Any, **options: Any) -> None:
        """eventlet's loop, which is to be asked for nothing where nothing is due: it turns once for nearly every message that comes."""
        if self.running:
            raise RuntimeError("Already running!")
        try:
            self.running = True
            self.stopping = False
            while not self.stopping:
                while self.closed:
                    self.close_one()
                if self.next_timers:
                    self.prepare_timers()
                seconds = None
                if self.timers:
                    now = self.clock()
                    if self.timers[0][0] <= now:
                        self.fire_timers(now)
                        if self.next_timers:
                            self.prepare_timers()
                        now = self.clock()
                    if self.timers:  # another list, maybe: it is replaced when many were cancelled
                        seconds = max(self.timers[0][0] - now, 0)
                self.wait(self.default_sleep() if seconds is None else seconds)
            self.timers_canceled = 0
            del self.timers[:]
            del self.next_timers[:]
        finally:
            self.running = False
            self.stopping = False

    def wait(self, seconds: float | None = None) -> None:
        if self.streams:
            seconds = SWEEP_INTERVAL if seconds is None or seconds > SWEEP_INTERVAL else seconds
        elif not self.callbacks and not self.listeners["read"] and not self.listeners["write"]:
            if seconds:
                _sleep_natively(seconds)
            return
        try:
            events = self.poll.poll(seconds, MOST_EVENTS)
        except InterruptedError:
            return
        streams = self.streams
        others = None
        if len(events) == 1:
            fd, event = events[0]
            heard: Any = ((streams.get(fd), fd, event),)
        else:
            # looked up before anybody is woken, who may close a stream and get its number for another one
            heard = [(streams.get(fd), fd, event) for fd, event in events]
        for stream, fd, event in heard:
            if stream is None:
                if others is None:
                    others = []
                others.append((fd, event))
                continue
            if stream.fd != fd:
                continue
            if event & _READ_EVENTS:
                stream.readable = True
                if event & _GONE_EVENTS:
                    stream.gone = True
                reader = stream.reader
                if reader is not None:
                    stream.reader = None
                    try:
                        reader.switch()
                    except self.SYSTEM_EXCEPTIONS:
                        raise
                    except BaseException:
                        self.squelch_generic_exception(sys.exc_info())
            if event & _WRITE_EVENTS:
                stream.writable = True
                writer = stream.writer
                if writer is not None:
                    stream.writer = None
                    try:
                        writer.switch()
                    except self.SYSTEM_EXCEPTIONS:
                        raise
                    except BaseException:
                        self.squelch_generic_exception(sys.exc_info())
        if others:
            self._fire_listeners(others)
        now = clock.monotonic()
        # a clock that was set back, as tests do, is no reason to wait for the time that it had been
        if not now < self.next_sweep <= now + SWEEP_INTERVAL:
            self.next_sweep = now + SWEEP_INTERVAL
            self._sweep(now)

    def _fire_listeners(self, events: list[tuple[int, int]]) -> None:
        """Descriptors registered through eventlet's own interface, and our callbacks."""
        readers = self.listeners["read"]
        writers = self.listeners["write"]
        due = []
        for fd, event in events:
            callback = self.callbacks.get(fd)
            if callback is not None:
                callback()
                continue
            if event & _READ_EVENTS and fd in readers:
                due.append((readers[fd], fd))
            if event & _WRITE_EVENTS and fd in writers:
                due.append((writers[fd], fd))
        for listener, fd in due:
            try:
                listener.cb(fd)
            except self.SYSTEM_EXCEPTIONS:
                raise
            except BaseException:
                self.squelch_exception(fd, sys.exc_info())

    def _sweep(self, now: float) -> None:
        """Throws TimeoutError into whoever waits past its time limit, for what has not come by now. Each wait ends on its own.

        Who was woken in this turn may have taken long: what came meanwhile came in time, as far as this process can tell.
        """
        overdue = [
            stream
            # a copy: a collector of garbage in another thread may close one
            for stream in list(self.streams.values())
            if (stream.read_by <= now and stream.reader is not None)
            or (stream.write_by <= now and stream.writer is not None)
        ]
        for stream in overdue:
            # looked up anew: who was woken may have lifted a limit, closed the stream or begun another wait
            waiter = stream.reader
            if waiter is not None and stream.read_by <= now:
                stream.reader = None
                stream.readable = is_ready(stream.fd, _READ_EVENTS)
                self._end_wait(waiter, stream.readable)
            waiter = stream.writer
            if waiter is not None and stream.write_by <= now:
                stream.writer = None
                stream.writable = is_ready(stream.fd, _WRITE_EVENTS)
                self._end_wait(waiter, stream.writable)

    def _end_wait(self, waiter: Any, in_time: bool) -> None:
        try:
            if in_time:
                waiter.switch()
            else:
                waiter.throw(TimeoutError("timed out"))
        except self.SYSTEM_EXCEPTIONS:
            raise
        except BaseException:
            self.squelch_generic_exception(sys.exc_info())


def is_ready(fd: int, events: int) -> bool:
    """Returns True if any of `events` (of poll) has come for a descriptor, or it is closed: as the kernel says, who may know more than the hub."""
    if fd < 0:
        return True
    poll = raw_select.poll()
    poll.register(fd, events)
    return bool(poll.poll(0))


def use_fast_hub() -> None:
    """Makes our hub the current thread's hub (a fresh one: also to be called in a forked child)."""
    eventlet.hubs.use_hub(Hub)
    eventlet.hubs.get_hub()


def hub() -> Hub:
    """The current thread's hub, which is ours."""
    current = eventlet.hubs.get_hub()
    if not isinstance(current, Hub):
        use_fast_hub()
        current = eventlet.hubs.get_hub()
    return current


def patch() -> None:
    """Makes the standard library's sockets, locks and sleep cooperative. Call once, first thing in a process."""
    eventlet.hubs.use_hub(Hub)
    eventlet.patcher.monkey_patch(os=False, select=True, socket=True, thread=True, time=True)
    global _home
    _home = raw_threading.get_ident()
    _StandardLock.acquire = _acquire
    _StandardLock.release = _release


# called in a forked child: whoever keeps threads or sockets forgets them there
after_fork: list[Callable[[], None]] = []


# The standard library's locks are green ones from `patch` on, and native threads come by them too (`tempfile`, handlers of
# `logging`). In such a thread a green lock would wait in a hub of that thread, in which nobody would ever wake it.

_LOOK_AGAIN = 0.001  # seconds
_home = 0  # the thread that has the hub
_green_release = _StandardLock.release
_freed: collections.deque[Any] = collections.deque()  # locks that native threads let go
_bell = -1  # an eventfd, heard in the hub


def _acquire(lock: Any, blocking: bool = True, timeout: float | None = None) -> bool:
    """`Lock.acquire` for any thread: a native one looks again and again, green ones stand in line if they can wait."""
    is_home = raw_threading.get_ident() == _home
    taken = not (is_home and blocking and lock._waiters) and _take(lock)
    if taken or not blocking:
        return taken
    end = None if timeout is None or timeout < 0 else clock.monotonic() + timeout
    if is_home:
        return _wait_in_line(lock, None if end is None else timeout)
    while not (taken := _take(lock)) and (end is None or clock.monotonic() < end):
        _sleep_natively(_LOOK_AGAIN)
    return taken


def _take(lock: Any) -> bool:
    """Take a lock if it is free. Python changes threads at calls and jumps: between the look and the taking there is none of them."""
    is_free: bool = lock.counter > 0
    lock.counter -= is_free
    return is_free


def _wait_in_line(lock: Any, timeout: float | None) -> bool:
    global _bell
    if _bell < 0:
        _bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    if _bell not in hub().callbacks:
        hub().watch_callback(_bell, _wake_for_locks)
    me, waiters, line_up = getcurrent(), lock._waiters, lock._waiters.append
    with Timeout(timeout, False):
        while True:
            line_up(me)
            try:
                # looked from the line: who lets it go from now on sees that somebody waits
                if lock.counter <= 0 or waiters[0] is not me:
                    hub().switch()
            finally:
                if me in waiters:
                    waiters.remove(me)
            if _take(lock):
                return True
            line_up = waiters.appendleft  # a native thread was faster
    return _take(lock)


def _release(lock: Any, blocking: bool = True) -> bool:
    """`Lock.release` for any thread."""
    if raw_threading.get_ident() == _home:
        return bool(_green_release(lock, blocking))
    if lock.counter > 0:
        raise RuntimeError("release unlocked lock")
    lock.counter += 1
    if lock._waiters and _bell >= 0:
        _freed.append(lock)
        os.eventfd_write(_bell, 1)
    return True


def _wake_for_locks() -> None:
    with contextlib.suppress(BlockingIOError):
        os.eventfd_read(_bell)
    while _freed:
        hub().schedule_call_global(0, _freed.popleft()._do_acquire)


def _forget_the_bell() -> None:
    """In a forked child it is the parent's."""
    global _bell
    if _bell >= 0:
        os.close(_bell)
    _bell = -1
    _freed.clear()


after_fork.append(_forget_the_bell)


def fork() -> int:
    """os.fork, with a fresh hub and without the parent's threads in the child. To be called from the main green thread."""
    pid = os.fork()
    if pid == 0:
        # the epoll instance is the parent's too: what we close must not be taken out of it
        inherited = eventlet.hubs.get_hub()
        if isinstance(inherited, Hub):
            inherited.streams.clear()
        use_fast_hub()
        for forget in after_fork:
            forget()
    return pid
