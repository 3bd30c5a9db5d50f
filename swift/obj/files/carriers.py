"""What carries batches to a device: a process of its own, and until that is up, or where it can't be had, a thread.

In a thread a batch asks for the interpreter lock some twenty times a write, which a busy event loop does not like to give. The process is
one for each server process; it has a thread for each device. When it dies, what was under way may be done or not, as after any crash:
WriterLost. There is never a second writer for a device that hangs: its items stay with the first, and who waits is let go as by any pool.
Also when the process was killed: the thread that hangs in the disk can't die before that answers. The other devices have lost theirs at once,
and are served by the next process; this one is refused until the thread is gone.
Everything here runs in the event loop. Never here: what is written (`batch`), the other end (`writer_process`).
"""

from __future__ import annotations

import collections
import contextlib
import os
import socket
import sys
import weakref
from collections.abc import Callable
from typing import Any

from swift.core import clock
from swift.core.concurrency import after_fork, hub, raw_socket
from swift.engine.threads import Call, DeviceStuck
from swift.obj.device import Device
from swift.obj.errors import Elsewhere, WriterLost
from swift.obj.files.batch import MAX_BYTES, MAX_ITEMS, SmallWrite, write_batch
from swift.obj.files.batch_thread import BatchThread
from swift.obj.files.messages import Terms, decode_results, encode_item
from swift.obj.files.writer_process import CONTROL, MAX_MESSAGE, READY
from swift.obj.store import StoreOptions

BACKLOG_BYTES = 32 << 20  # of items that the socket doesn't take; more of them take the trip
RESTART_SECONDS = 30.0  # between two starts of the process
_SEND_BUFFER = 4 << 20
_SO_SNDBUFFORCE = 32
_MAIN = "import sys; sys.path[:] = sys.argv[2:]; from swift.obj.files.writer_process import main; main()"


class WriterChannel(BatchThread):
    """The way to the thread that the writer process has for one device."""

    def __init__(self, name: str, on_silence: Callable[[], object]) -> None:
        """`on_silence`: called now and then while results are waited for; it may end all that is under way."""
        super().__init__(name, lambda items: [], MAX_ITEMS, MAX_BYTES, threads=0)
        self._count = self.counter()
        self.calls = self
        self._on_silence = on_silence
        self._flying: dict[int, tuple[Call, SmallWrite]] = {}
        self._number = 0
        self._backlog: collections.deque[bytes] = collections.deque()
        self._backlog_bytes = 0
        self._sock: Any = None
        self._buffer = memoryview(bytearray(MAX_MESSAGE))
        self.thread = 0  # number of the thread at the other end, once it is up

    def begin_anew(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self.__init__(self.name, self._on_silence)  # type: ignore[misc]

    def close(self) -> bool:
        if self.pending or self.waiting:
            return False
        self.lose()
        return super().close()

    @property
    def is_ready(self) -> bool:
        """The other end is up."""
        return self.thread > 0

    @property
    def is_open(self) -> bool:
        """False when there is no process, or it has died."""
        return self._sock is not None

    def open(self, control: Any, terms: Terms) -> None:
        """Have the process serve us. Raises OSError."""
        ours, theirs = raw_socket.socketpair(raw_socket.AF_UNIX, raw_socket.SOCK_SEQPACKET)
        with theirs:
            for sock in (ours, theirs):
                for option in (raw_socket.SO_SNDBUF, _SO_SNDBUFFORCE):
                    with contextlib.suppress(OSError):
                        sock.setsockopt(raw_socket.SOL_SOCKET, option, _SEND_BUFFER)
            ours.setblocking(False)
            ours.send(terms.encode())
            socket.send_fds(control, [b"d"], [theirs.fileno()])
        self._sock = ours
        hub().watch_callback(ours.fileno(), self._receive)

    def put(self, entry: tuple[Call, Any, tuple[SmallWrite, int]]) -> None:
        """Send an item; called by `submit` in the place of a queue's."""
        call, _, (item, _) = entry
        call.running = True
        self._number += 1
        try:
            message = encode_item(self._number, item)
            if len(message) > MAX_MESSAGE or self._backlog_bytes > BACKLOG_BYTES or self._sock is None:
                raise Elsewhere("not for the writer process")
        except Elsewhere as error:
            self._end(call, error)
            return
        self._flying[self._number] = call, item
        try:
            if not self._backlog:
                self._sock.send(message)
                return
        except BlockingIOError:
            pass
        except OSError:
            self.lose()
            return
        self._backlog.append(message)
        self._backlog_bytes += len(message)

    def _end(self, call: Call, value: Any) -> None:
        self._count[0] += 1
        call.end(value)
        self.hand_back(call)

    def _receive(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            # one message: the hub comes back at once if there are more
            count = sock.recv_into(self._buffer)
            if not count:
                self.lose()
            elif not self.is_ready:
                self.thread = int(bytes(self._buffer[len(READY) : count]))
            else:
                self._arrived(bytes(self._buffer[:count]))
        except BlockingIOError:
            pass
        except OSError:
            self.lose()
        self.wake_waiters()

    def _arrived(self, message: bytes) -> None:
        for number, notes, value in decode_results(message):
            call, item = self._flying.pop(number)
            for text in notes or ():
                item.where.note(text)
            self._end(call, value)
        with contextlib.suppress(BlockingIOError):
            while self._backlog:
                self._sock.send(self._backlog[0])
                self._backlog_bytes -= len(self._backlog.popleft())

    def look(self) -> None:
        if self._flying:
            self._on_silence()
        super().look()

    def lose(self) -> None:
        """The process is gone, or will be: what is under way is in doubt."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        self.thread = 0
        hub().forget_callback(sock.fileno())
        sock.close()
        self._backlog.clear()
        self._backlog_bytes = 0
        flying, self._flying = self._flying, {}
        for call, _ in flying.values():
            self._end(call, WriterLost("the writer process has died: the write may be done or not"))
        self.wake()  # who found it out need not be in the hub


class OnTheSpot:
    """For memory file systems: each item is a batch of its own, carried out by whoever brings it."""

    def __init__(self, options: StoreOptions) -> None:
        self._options = options

    def carrier(self, device: Device) -> OnTheSpot:
        """What takes the next item for a device. Raises DeviceUnavailable."""
        if device.mount_check:
            device.check()
        return self

    def carry(self, item: SmallWrite, weight: int) -> Any:
        """As `BatchThread.carry`."""
        value = write_batch([item], self._options)[0]
        if isinstance(value, BaseException):
            raise value
        return value


class Writers:
    """The carriers of all devices of a process: the writer process with its channels, and the threads that stand in for it."""

    def __init__(self, options: StoreOptions) -> None:
        self._options = options
        self._channels: dict[str, WriterChannel] = {}
        self._threads: dict[str, BatchThread] = {}
        self._control: Any = None
        self._pids: list[int] = []
        # processes that were killed and can't die yet: pid → device → number of the thread that may hang in it
        self._dying: dict[int, dict[str, int]] = {}
        self._started = -RESTART_SECONDS
        _all_writers.add(self)

    def carrier(self, device: Device) -> BatchThread:
        """What takes the next item for a device."""
        thread = self._threads.get(device.path)
        if thread is not None and thread.is_stuck:
            return thread  # no second writer beside it: whoever comes is told at once
        if self._dying and self._hangs_on_in(device.path):
            raise DeviceStuck(device.path)
        if self._options.writer_process:
            channel = self._channels.get(device.path)
            if channel is None or not channel.is_open:
                channel = self._open(device)
            if channel is not None and channel.is_ready:
                return channel
        if thread is None:
            thread = BatchThread(
                f"write {device.path}", lambda items: self._write(device, items), MAX_ITEMS, MAX_BYTES
            )
            self._threads[device.path] = thread
        return thread

    def _write(self, device: Device, items: list[SmallWrite]) -> list[Any]:
        if device.mount_check:
            device.check()
        return write_batch(items, self._options)

    def _open(self, device: Device) -> WriterChannel | None:
        try:
            if not self._is_running():
                return None
            channel = self._channels.get(device.path)
            if channel is None:
                channel = WriterChannel(f"write {device.path}", self._has_ended)
                self._channels[device.path] = channel
            channel.open(self._control, Terms(device.path, device.mount_check, self._options))
            return channel
        except OSError:
            self._close()
            return None

    def _is_running(self) -> bool:
        """True if there is a process; starts one unless it is too early for that. Raises OSError."""
        now = clock.monotonic()
        if self._control is not None and not self._has_ended():
            return True
        self._close()
        if now - self._started < RESTART_SECONDS or not sys.executable:
            return False
        self._started = now
        ours, theirs = raw_socket.socketpair(raw_socket.AF_UNIX, raw_socket.SOCK_STREAM)
        with theirs:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-c", _MAIN, "swift object writer", *filter(None, sys.path)],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), CONTROL)],
            )
        self._pids.append(pid)
        self._control = ours
        return True

    def _has_ended(self) -> bool:
        """True if the last process has; collects what is left of those that have."""
        for pid in list(self._pids):
            if _is_collected(pid):
                self._pids.remove(pid)
            elif _is_dying(pid):
                self._pids.remove(pid)
                self._dying[pid] = {
                    path: channel.thread for path, channel in self._channels.items() if channel.thread
                }
                for channel in self._channels.values():
                    channel.lose()
        return not self._pids

    def _hangs_on_in(self, path: str) -> bool:
        """True if the thread of a killed process is still inside of this device."""
        for pid in list(self._dying):
            if _is_collected(pid):
                del self._dying[pid]
        return any(
            path in threads and os.path.exists(f"/proc/{pid}/task/{threads[path]}")
            for pid, threads in self._dying.items()
        )

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None

    def close(self) -> None:
        """Whoever writes later starts it all anew. What is being written keeps its carrier."""
        self._threads = {path: thread for path, thread in self._threads.items() if not thread.close()}
        self._channels = {path: channel for path, channel in self._channels.items() if not channel.close()}
        if not self._channels:
            self._close()

    def forget(self) -> None:
        """In a forked child: the process is the parent's."""
        self._close()
        self._pids.clear()
        self._dying.clear()
        self._channels.clear()
        self._threads.clear()
        self._started = -RESTART_SECONDS


def _is_collected(pid: int) -> bool:
    """True if nothing is left of a child of ours."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _is_dying(pid: int) -> bool:
    """True if a process was killed: its first thread has ended, and the others end as soon as they come out of the kernel."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read(1024).rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except (OSError, IndexError):
        return False


_all_writers: weakref.WeakSet[Writers] = weakref.WeakSet()


def close_writers() -> None:
    """All of this process, as far as they have nothing to do."""
    for writers in list(_all_writers):
        writers.close()


def _forget() -> None:
    for writers in list(_all_writers):
        writers.forget()


after_fork.append(_forget)
