"""`Stream`: a connected socket, registered once with the hub, that green threads read and write.

What lives here: waiting, time limits, and moving bytes, through Python or past it (sendfile, splice). What never does: making
connections (engine/sockets.py), the hub itself (core/concurrency.py), what the bytes mean.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Sequence
from typing import Any

from swift.core import clock
from swift.core.concurrency import (
    SWEEP_INTERVAL,
    Watched,
    getcurrent,
    hub,
    is_ready,
    raw_select,
    raw_socket,
    sleep,
)
from swift.engine.pipes import PIPE_SIZE, pipe

FAIR_SHARE = 4 * 1024 * 1024  # bytes moved by one stream before others get a turn

_FOREVER = float("inf")
_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Stream(Watched):
    """A connected stream socket, non-blocking, registered once with the hub.

    One green thread may read and one may write at a time. Waits longer than `timeout` seconds (set_timeout) or past the absolute
    time of set_deadline raise TimeoutError, at most SWEEP_INTERVAL late; what has come by the time that this is noticed is not too late.
    A broken connection raises OSError.
    `zero_copy`: what is written to the descriptor is what the peer reads, so that the kernel may write there by itself.
    """

    zero_copy = True

    __slots__ = (
        "_hub",
        "_recv",
        "_recv_into",
        "_send",
        "sock",
        "timeout",
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
        self.read_by = self.write_by = _FOREVER
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
            self.read_by = self.write_by = _FOREVER

    def set_deadline(self, seconds: float | None) -> None:
        """Bounds all waits from now on together (and switches the single-wait bound off)."""
        self.timeout = None
        self.read_by = self.write_by = _FOREVER if seconds is None else clock.monotonic() + seconds

    # -- waiting -------------------------------------------------------------------------------------------------------
    def _switch(self) -> None:
        hub = self._hub
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
        if self.timeout is not None:
            self.read_by = clock.monotonic() + self.timeout
        elif self.read_by <= clock.monotonic():
            if self.has_come():
                return
            raise TimeoutError("timed out")
        self.reader = getcurrent()
        try:
            # as _switch
            hub = self._hub
            greenlet = hub.greenlet
            if greenlet.dead:
                hub.switch()
            else:
                greenlet.switch()
        finally:
            self.reader = None

    def wait_writable(self) -> None:
        """Returns when the send buffer has room."""
        if self.fd < 0:
            raise OSError(errno.EBADF, "closed")
        if self.writable:
            return
        if self.timeout is not None:
            self.write_by = clock.monotonic() + self.timeout
        elif self.write_by <= clock.monotonic():
            self.writable = is_ready(self.fd, raw_select.POLLOUT)
            if self.writable:
                return
            raise TimeoutError("timed out")
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

    def try_send(self, data: bytes) -> int:
        """Sends what there is room for now; returns the bytes sent, 0 too if the connection is broken."""
        try:
            return self._send(data)
        except OSError:
            return 0

    def send_more(self, data: bytes) -> None:
        """sendall for what the kernel shall join with what is sent next."""
        try:
            sent = self._send(data, raw_socket.MSG_MORE)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.sendall(data[sent:])

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

        Returns the bytes that reached the target: fewer than count if this stream ended. Raises SourceError, TargetError, and TypeError
        for a target that must not be written to this way.
        """
        if not isinstance(target, Stream):
            raise TypeError(f"nothing can be spliced to a {type(target).__name__}")
        done = since_yield = 0
        with pipe() as (pipe_out, pipe_in):
            while done < count:
                try:
                    got = os.splice(self.fd, pipe_in, min(count - done, PIPE_SIZE), flags=_SPLICE)
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
                # with MORE on the last piece the kernel would hold its tail back for 200 ms
                flags = _SPLICE | os.SPLICE_F_MORE if done + got < count else _SPLICE
                if target._take_from(pipe_out, got, flags):
                    since_yield = 0
                done += got
                since_yield += got
                if since_yield >= FAIR_SHARE and done < count:
                    since_yield = 0
                    sleep(0)
        return done

    def _take_from(self, pipe_out: int, count: int, flags: int) -> bool:
        """Send count bytes that are in a pipe. Returns True if it had to wait. Raises TargetError."""
        waited = False
        while count:
            try:
                count -= os.splice(pipe_out, self.fd, count, flags=flags)
            except BlockingIOError:
                self.writable = False
                waited = True
                try:
                    self.wait_writable()
                except OSError as err:
                    raise TargetError(err) from err
            except OSError as err:
                raise TargetError(err) from err
        return waited

    def _peek(self) -> bytes:
        try:
            return self.sock.recv(1, raw_socket.MSG_PEEK)
        except BlockingIOError:
            return b"?"  # neither an end nor input
        except OSError:
            return b""

    def peek(self) -> bytes:
        """The first byte that has come, which stays to be read; waits for it. b'' at the end of the stream."""
        while True:
            self.wait_readable()
            try:
                return self.sock.recv(1, raw_socket.MSG_PEEK)
            except BlockingIOError:
                self.readable = False

    # -- state ---------------------------------------------------------------------------------------------------------
    @property
    def is_open(self) -> bool:
        """It was not closed here."""
        return self.fd >= 0

    def is_dead(self) -> bool:
        """For an idle connection: the peer has closed it or sent something nobody asked for."""
        return self.fd < 0 or self.gone or self.readable and self._has_input()

    def has_come(self) -> bool:
        """Returns True if there is something to read, an end too, of which the hub may not know yet."""
        self.readable = self.fd < 0 or self._has_input()
        return self.readable

    def is_quiet(self) -> bool:
        """Returns True if nothing has come, an end neither: as the socket says, which may know more than the hub."""
        return self.fd >= 0 and not self.gone and not self._has_input()

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
        stream.read_by = deadline
    timer = None
    if seconds is not None and seconds < SWEEP_INTERVAL * 2:
        timer = hub.schedule_call_global(max(seconds, 0), me.throw, TimeoutError("timed out"))
        for stream in streams:
            stream.read_by = _FOREVER
    try:
        hub.switch()
    except OSError:
        pass  # the time is up, or one of them was closed
    finally:
        if timer is not None:
            timer.cancel()
        for stream in streams:
            stream.reader = None
            stream.read_by = _FOREVER
    ready = [s for s in streams if s.readable or s.fd < 0]
    # When this process is behind, time limits are noticed before what came in time: the sockets know.
    return ready or [s for s in streams if s.has_come()]
