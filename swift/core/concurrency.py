"""Green threads, timeouts and fast sockets: the one place that knows the engine.

What lives here: every import of eventlet and greenlet, our epoll hub and `Stream`, a socket registered once with that hub.
What never does: thread pools for blocking work (core/threads.py), HTTP, storage, configuration files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select as _patched_select  # noqa: F401  (imported before patching, so that `original` finds it)
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from swift.core import clock

os.environ.setdefault(
    "EVENTLET_NO_GREENDNS", "yes"
)  # its resolver costs memory and start-up time; we connect to addresses
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the reason why eventlet stays in this one file
    import eventlet
import eventlet.hubs
import eventlet.patcher
from eventlet import GreenPile, GreenPool, Timeout, sleep, spawn, spawn_after, spawn_n
from eventlet.event import Event
from eventlet.hubs import epolls
from eventlet.queue import Empty, Full, LightQueue, Queue
from eventlet.semaphore import Semaphore
from greenlet import GreenletExit, getcurrent

__all__ = ["after_fork", "connect", "Empty", "Event", "fork", "Full", "getcurrent", "GreenletExit", "GreenPile", "GreenPool", "hub", "Hub", "kill", "LightQueue", "listen", "Listener", "patch", "Queue", "raw_queue", "raw_socket", "raw_threading", "Semaphore", "sleep", "SourceError", "spawn", "spawn_after", "spawn_n", "Stream", "TargetError", "Timeout", "use_fast_hub", "wait_readable_any"]  # fmt: skip

raw_socket: Any = eventlet.patcher.original("socket")
raw_threading: Any = eventlet.patcher.original("threading")
raw_select: Any = eventlet.patcher.original("select")
_select = raw_select
raw_queue: Any = eventlet.patcher.original("queue")

kill = eventlet.kill

_EDGE = _select.EPOLLIN | _select.EPOLLOUT | _select.EPOLLRDHUP | _select.EPOLLET
_READ_EVENTS = _select.EPOLLIN | _select.EPOLLPRI | _select.EPOLLRDHUP | _select.EPOLLHUP | _select.EPOLLERR
_WRITE_EVENTS = _select.EPOLLOUT | _select.EPOLLHUP | _select.EPOLLERR
_GONE_EVENTS = _select.EPOLLRDHUP | _select.EPOLLHUP | _select.EPOLLERR

SWEEP_INTERVAL = 0.1  # seconds; how late a Stream's time limit may fire
FAIR_SHARE = 4 * 1024 * 1024  # bytes moved by one stream before others get a turn
PIPE_SIZE = 1024 * 1024


class Hub(epolls.Hub):
    """eventlet's epoll hub plus a table of edge-triggered streams that stay registered."""

    def __init__(self, time_source: Callable[[], float] | None = None) -> None:
        super().__init__(time_source)
        self.streams: dict[int, Stream] = {}
        self.callbacks: dict[int, Callable[[], None]] = {}
        self.next_sweep = clock.monotonic() + SWEEP_INTERVAL

    @classmethod
    def is_available(cls) -> bool:
        """eventlet asks its hubs this."""
        return True

    def watch(self, stream: Stream) -> None:
        """Registers a stream for its whole life."""
        self.streams[stream.fd] = stream
        self.poll.register(stream.fd, _EDGE)

    def forget(self, stream: Stream) -> None:
        """Takes a stream out, before its descriptor is closed."""
        if self.streams.get(stream.fd) is stream:
            del self.streams[stream.fd]
            with contextlib.suppress(OSError, ValueError):
                self.poll.unregister(stream.fd)

    def watch_callback(self, fd: int, callback: Callable[[], None]) -> None:
        """Calls callback in the hub whenever fd is readable (level-triggered)."""
        self.streams.pop(fd, None)  # one whose socket was closed behind its back would swallow our events
        self.callbacks[fd] = callback
        self.poll.register(fd, _select.EPOLLIN)

    def wait(self, seconds: float | None = None) -> None:
        if self.streams:
            seconds = SWEEP_INTERVAL if seconds is None or seconds > SWEEP_INTERVAL else seconds
        elif not self.callbacks and not self.listeners["read"] and not self.listeners["write"]:
            if seconds:
                eventlet.patcher.original("time").sleep(seconds)
            return
        try:
            events = self.poll.poll(seconds)
        except InterruptedError:
            return
        streams = self.streams
        others = None
        # looked up before anybody is woken, who may close a stream and get its number for another one
        for stream, fd, event in [(streams.get(fd), fd, event) for fd, event in events]:
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
        if now >= self.next_sweep:
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
        """Throws TimeoutError into whoever waits past its stream's deadline."""
        overdue = [
            s
            for s in self.streams.values()
            if s.deadline <= now and (s.reader is not None or s.writer is not None)
        ]
        for stream in overdue:
            for waiter in (stream.reader, stream.writer):
                if waiter is not None and stream.deadline <= now:
                    stream.reader = stream.writer = None
                    try:
                        waiter.throw(TimeoutError("timed out"))
                    except self.SYSTEM_EXCEPTIONS:
                        raise
                    except BaseException:
                        self.squelch_generic_exception(sys.exc_info())


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


after_fork: list[
    Callable[[], None]
] = []  # called in a forked child: whoever keeps threads or sockets forgets them there


def fork() -> int:
    """os.fork, with a fresh hub and without the parent's threads in the child. To be called from the main green thread."""
    pid = os.fork()
    if pid == 0:
        # the epoll instance is the parent's too: what we close must not be taken out of it
        inherited = eventlet.hubs.get_hub()
        if isinstance(inherited, Hub):
            inherited.streams.clear()
        use_fast_hub()
        _pipes.clear()
        for forget in after_fork:
            forget()
    return pid


_FOREVER = float("inf")


class Stream:
    """A connected stream socket, non-blocking, registered once with the hub.

    One green thread may read and one may write at a time. Waits longer than `timeout` seconds (set_timeout) or past the absolute
    time of set_deadline raise TimeoutError, at most SWEEP_INTERVAL late. A broken connection raises OSError.
    """

    __slots__ = (
        "_hub",
        "_recv",
        "_recv_into",
        "_send",
        "deadline",
        "fd",
        "gone",
        "reader",
        "readable",
        "sock",
        "timeout",
        "writable",
        "writer",
    )

    def __init__(self, sock: Any, timeout: float | None = None) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.fd = sock.fileno()
        self.readable = self.writable = True
        self.gone = False
        self.reader: Any = None
        self.writer: Any = None
        self.timeout = timeout
        self.deadline = _FOREVER
        self._recv = sock.recv
        self._recv_into = sock.recv_into
        self._send = sock.send
        self._hub = hub()
        self._hub.watch(self)

    # -- time limits ---------------------------------------------------------------------------------------------------
    def set_timeout(self, seconds: float | None) -> None:
        """Bounds each single wait from now on."""
        self.timeout = seconds
        if seconds is None:
            self.deadline = _FOREVER

    def set_deadline(self, seconds: float | None) -> None:
        """Bounds all waits from now on together (and switches the single-wait bound off)."""
        self.timeout = None
        self.deadline = _FOREVER if seconds is None else clock.monotonic() + seconds

    # -- waiting -------------------------------------------------------------------------------------------------------
    def _switch(self) -> None:
        hub = self._hub
        if self.timeout is not None:
            self.deadline = clock.monotonic() + self.timeout
        elif self.deadline <= clock.monotonic():
            self.reader = self.writer = None
            raise TimeoutError("timed out")
        greenlet = hub.greenlet
        if greenlet.dead:
            hub.switch()
        else:
            greenlet.switch()

    def wait_readable(self) -> None:
        """Returns when there is something to read (or the end of it)."""
        if self.fd < 0:
            raise OSError(errno.EBADF, "closed")
        if self.readable:
            return
        self.reader = getcurrent()
        try:
            self._switch()
        finally:
            self.reader = None

    def wait_writable(self) -> None:
        """Returns when the send buffer has room."""
        if self.fd < 0:
            raise OSError(errno.EBADF, "closed")
        if self.writable:
            return
        self.writer = getcurrent()
        try:
            self._switch()
        finally:
            self.writer = None

    # -- reading -------------------------------------------------------------------------------------------------------
    def try_recv(self, size: int) -> bytes | None:
        """What is there now: up to size bytes, b'' at the end, None if it would block."""
        if not self.readable:
            return None
        try:
            data = self._recv(size)
        except BlockingIOError:
            self.readable = self.gone
            return None
        if len(data) < size and not self.gone:
            self.readable = False
        return data

    def recv(self, size: int) -> bytes:
        """Up to size bytes; b'' at the end of the stream."""
        while True:
            if self.readable:
                try:
                    data = self._recv(size)
                except BlockingIOError:
                    self.readable = False
                else:
                    if len(data) < size and not self.gone:
                        self.readable = False
                    return data
            self.wait_readable()

    def recv_into(self, buffer: Any) -> int:
        """Fills a writable buffer as far as data is there; 0 at the end of the stream."""
        while True:
            if self.readable:
                try:
                    count = self._recv_into(buffer)
                except BlockingIOError:
                    self.readable = False
                else:
                    if count < len(buffer) and not self.gone:
                        self.readable = False
                    return count
            self.wait_readable()

    # -- writing -------------------------------------------------------------------------------------------------------
    def sendall(self, data: Any) -> None:
        """Sends all of data."""
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return
        view = memoryview(data)
        while True:
            view = view[sent:]
            if not view:
                return
            self.writable = False
            self.wait_writable()
            try:
                sent = self._send(view)
            except BlockingIOError:
                sent = 0

    def sendmsg_all(self, parts: Sequence[Any]) -> None:
        """Sends a short list of buffers with one system call where the kernel takes them all."""
        total = sum(map(len, parts))
        try:
            sent = self.sock.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        if sent == total:
            return
        for part in parts:
            if sent >= len(part):
                sent -= len(part)
            else:
                self.sendall(memoryview(part)[sent:] if sent else part)
                sent = 0

    def sendfile_all(self, fd: int, offset: int, count: int) -> int:
        """Sends count bytes of a file from offset; returns the bytes sent (fewer only if the file ends)."""
        done = since_yield = 0
        while done < count:
            try:
                sent = os.sendfile(self.fd, fd, offset + done, min(count - done, FAIR_SHARE))
            except BlockingIOError:
                self.writable = False
                self.wait_writable()
                since_yield = 0
                continue
            if sent == 0:
                break
            done += sent
            since_yield += sent
            if since_yield >= FAIR_SHARE and done < count:
                since_yield = 0
                sleep(0)
        return done

    def splice_to(self, target: Stream, count: int) -> int:
        """Moves count bytes from this stream to another without copying them into Python.

        Returns the bytes that reached the target: fewer than count if this stream ended. Raises SourceError or TargetError.
        """
        done = since_yield = 0
        with _pipe() as (pipe_out, pipe_in):
            flags = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK | os.SPLICE_F_MORE
            while done < count:
                try:
                    got = os.splice(self.fd, pipe_in, min(count - done, PIPE_SIZE), flags=flags)
                except BlockingIOError:
                    self.readable = False
                    if self.gone and not self._peek():
                        break
                    try:
                        self.wait_readable()
                    except OSError as err:
                        raise SourceError(err, done) from err
                    since_yield = 0
                    continue
                except OSError as err:
                    raise SourceError(err, done) from err
                if got == 0:
                    break
                left = got
                while left:
                    try:
                        left -= os.splice(pipe_out, target.fd, left, flags=flags)
                    except BlockingIOError:
                        target.writable = False
                        try:
                            target.wait_writable()
                        except OSError as err:
                            raise TargetError(err) from err
                        since_yield = 0
                    except OSError as err:
                        raise TargetError(err) from err
                done += got
                since_yield += got
                if since_yield >= FAIR_SHARE and done < count:
                    since_yield = 0
                    sleep(0)
        return done

    def _peek(self) -> bytes:
        try:
            return self.sock.recv(1, raw_socket.MSG_PEEK)
        except BlockingIOError:
            return b"?"  # neither an end nor input
        except OSError:
            return b""

    # -- state ---------------------------------------------------------------------------------------------------------
    def is_dead(self) -> bool:
        """For an idle connection: the peer has closed it or sent something nobody asked for."""
        return self.fd < 0 or self.gone or self.readable and self._has_input()

    def _has_input(self) -> bool:
        try:
            self.sock.recv(1, raw_socket.MSG_PEEK)
        except BlockingIOError:
            self.readable = False
            return False
        except OSError:
            return True
        return True

    def fileno(self) -> int:
        return self.fd

    def shutdown_write(self) -> None:
        """Tells the peer that nothing more will come."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(raw_socket.SHUT_WR)

    def close(self) -> None:
        """Closes the socket; whoever still waits on it gets OSError(EBADF)."""
        if self.fd < 0:
            return
        self._hub.forget(self)
        self.fd = -1
        self.sock.close()
        if self.reader is not None or self.writer is not None:
            self._hub.schedule_call_global(0, self._end_waits)

    def _end_waits(self) -> None:
        # by now a waiter may have gone on for another reason: then it is not ours to disturb
        for waiter in (self.reader, self.writer):
            if waiter is not None and waiter in (self.reader, self.writer):
                waiter.throw(OSError(errno.EBADF, "closed"))


class TargetError(OSError):
    """splice_to could not write to its target."""


class SourceError(OSError):
    """splice_to could not read on; `moved` bytes had reached the target by then."""

    def __init__(self, cause: OSError, moved: int) -> None:
        super().__init__(*cause.args)
        self.moved = moved


def wait_readable_any(streams: Iterable[Stream], seconds: float | None) -> list[Stream]:
    """Waits until at least one of the streams can be read; returns those that can ([] after the time limit)."""
    streams = list(streams)
    # one that was read to its last byte is still marked until somebody looks
    ready = [s for s in streams if s.fd < 0 or s.readable and s._has_input()]
    if ready or not streams:
        return ready
    hub = streams[0]._hub
    me = getcurrent()
    deadline = _FOREVER if seconds is None else clock.monotonic() + seconds
    for stream in streams:
        stream.reader = me
        stream.deadline = deadline
    timer = None
    if seconds is not None and seconds < SWEEP_INTERVAL * 5:
        timer = hub.schedule_call_global(max(seconds, 0), me.throw, TimeoutError("timed out"))
        for stream in streams:
            stream.deadline = _FOREVER
    try:
        hub.switch()
    except OSError:
        pass  # the time is up, or one of them was closed
    finally:
        if timer is not None:
            timer.cancel()
        for stream in streams:
            stream.reader = None
            stream.deadline = _FOREVER
    return [s for s in streams if s.readable or s.fd < 0]


_pipes: list[tuple[int, int]] = []


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """A (read end, write end) pair from a small store; one that may still hold bytes is not put back."""
    if _pipes:
        pair = _pipes.pop()
    else:
        pair = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            import fcntl

            fcntl.fcntl(pair[1], 1031, PIPE_SIZE)  # F_SETPIPE_SZ
    clean = False
    try:
        yield pair
        clean = True
    finally:
        if clean and len(_pipes) < 16:
            _pipes.append(pair)
        else:
            os.close(pair[0])
            os.close(pair[1])


# -- opening connections ---------------------------------------------------------------------------------------------------


def connect(ip: str, port: int, seconds: float) -> Stream:
    """A new TCP connection. Raises OSError (TimeoutError after the time limit)."""
    family = raw_socket.AF_INET6 if ":" in ip else raw_socket.AF_INET
    sock = raw_socket.socket(family, raw_socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(raw_socket.IPPROTO_TCP, raw_socket.TCP_NODELAY, 1)
        try:
            code = sock.connect_ex((ip, port))
        except UnicodeError as err:
            raise OSError(errno.EINVAL, f"no address: {err}") from None
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        stream = Stream(sock)
    except BaseException:
        sock.close()
        raise
    if code == 0:
        return stream
    stream.readable = stream.writable = False
    try:
        with Timeout(seconds, TimeoutError("connect timed out")):
            stream.wait_writable()
        code = sock.getsockopt(raw_socket.SOL_SOCKET, raw_socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        stream.close()
        raise
    return stream


def listen(ip: str, port: int, backlog: int = 4096, reuse_port: bool = False) -> Any:
    """A bound, listening, non-blocking raw socket. Raises OSError."""
    family = raw_socket.AF_INET6 if ":" in ip else raw_socket.AF_INET
    sock = raw_socket.socket(family, raw_socket.SOCK_STREAM)
    try:
        sock.setsockopt(raw_socket.SOL_SOCKET, raw_socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(raw_socket.SOL_SOCKET, raw_socket.SO_REUSEPORT, 1)
        sock.bind((ip, port))
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


class Listener:
    """Accepts from a listening socket, cooperatively."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self._stream = Stream(sock)

    def accept(self) -> tuple[Any, Any]:
        """(raw socket, peer address) of the next connection. Raises OSError once closed."""
        stream = self._stream
        while True:
            if stream.fd < 0:
                raise OSError(errno.EBADF, "closed")
            if stream.readable:
                try:
                    return self.sock.accept()
                except BlockingIOError:
                    stream.readable = False
                except ConnectionAbortedError:
                    continue
            stream.gone = False
            stream.wait_readable()

    def close(self) -> None:
        """Stops accepting; a waiting accept raises OSError."""
        self._stream.close()
