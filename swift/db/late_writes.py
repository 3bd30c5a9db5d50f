"""Writes that wait for a disk in threads of the kernel's: handed over and heard of by the event loop, through one ring of the process.

A thread of ours would have to take the interpreter back from the loop twice; the kernel's need none. They are bounded like the threads of a
device: a few at a time, and who waits for a disk that hangs is let go (`core.threads`). What lives here: who waits for which write. What never
does: what is written, and what becomes of the file.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from swift.core.concurrency import Hub, after_fork, hub
from swift.core.threads import Call, DeviceBusy, DeviceStuck, ThreadPool

from .uring import MAX_WRITE, Ring

MOST_AT_A_TIME = 4  # of a device
_SLOTS = 256
_MOST_IN_ALL = _SLOTS // 2

Ended = Callable[[int], None]


class _DeviceWrites(ThreadPool):
    """Those that are under way for one device."""

    bounded = True

    def __init__(self, path: str) -> None:
        super().__init__(path, 0, MOST_AT_A_TIME)
        self._count = self.counter()
        self.calls = self

    def begin_anew(self) -> None:
        self.__init__(self.name)  # type: ignore[misc]

    def put(self, entry: tuple[Call, Any, tuple[int, bytes, Ended]]) -> None:
        """Called by `submit` in the place of a queue's."""
        call, _, (fd, data, ended) = entry
        call.running = True
        try:
            _writes.begin(self, call, fd, data, ended)
        except OSError as error:
            self.end(call, error)

    def tell(self) -> None:
        """Have those go on whose writes have ended."""
        if self._results:
            self.wake()

    def end(self, call: Call, value: Any) -> None:
        """What became of a call; who waits for it goes on at the next `wake`."""
        self._count[0] += 1
        call.end(value)
        self.hand_back(call)


class _Writes:
    """The ring of this process, and all that is under way in it."""

    def __init__(self) -> None:
        self.is_closed = False
        self.devices: dict[str, _DeviceWrites] = {}
        self._ring: Ring | None = None
        self._hub: Hub | None = None
        self._number = 0
        self._flying: dict[int, tuple[_DeviceWrites, Call, Any, Ended]] = {}

    def device(self, path: str) -> _DeviceWrites | None:
        """Whose writes are to be submitted. None where the road is closed or full."""
        if self.is_closed or len(self._flying) >= _MOST_IN_ALL:
            return None
        if self._ring is None:
            try:
                self._ring = Ring(_SLOTS)
                self._ring.allow_workers()
            except OSError:
                self.is_closed = True
                return None
        current = hub()
        if current is not self._hub:
            self._hub = current
            current.watch_callback(self._ring.fd, self._heard)
        found = self.devices.get(path)
        if found is None:
            found = self.devices[path] = _DeviceWrites(path)
        return found

    def begin(self, device: _DeviceWrites, call: Call, fd: int, data: bytes, ended: Ended) -> None:
        """Hand a write over; what needed no wait has ended. Raises OSError when nothing was written."""
        assert self._ring is not None
        memory = (ctypes.c_char * len(data)).from_buffer_copy(data)
        self._number += 1
        self._flying[self._number] = device, call, memory, ended
        try:
            self._ring.submit(self._number, fd, ctypes.addressof(memory), len(data))
        except OSError:
            self.is_closed = True
            del self._flying[self._number]
            raise
        for other in self._take():
            other.tell()

    def _take(self) -> set[_DeviceWrites]:
        """Those of whose writes some have ended."""
        assert self._ring is not None
        found = set()
        while (result := self._ring.result()) is not None:
            device, call, _, ended = self._flying.pop(result[0])
            try:
                ended(result[1])
            finally:
                device.end(call, result[1])
            found.add(device)
        return found

    def _heard(self) -> None:
        if self._ring is not None:
            for device in self._take():
                device.wake_waiters()

    def forget(self) -> None:
        """In a forked child: what is under way is the parent's."""
        if self._ring is not None:
            self._ring.forget()
        self.__init__()  # type: ignore[misc]


_writes = _Writes()
after_fork.append(_writes.forget)


def write(path: str, fd: int, data: bytes, ended: Ended) -> int:
    """Append to a file of the device at `path`, open for appending; the bytes written, or a negative errno. 0: it is not to be had.

    `ended(result)` is called once the kernel has let go of the file, whether or not anybody still waits here. Raises DeviceStuck.
    """
    device = _writes.device(path) if len(data) <= MAX_WRITE else None
    if device is None:
        return 0
    try:
        result: int = device.submit(write, fd, data, ended).wait()
        return result
    except DeviceStuck:
        raise
    except (DeviceBusy, OSError):
        return 0
