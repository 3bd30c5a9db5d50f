"""Lines on their way to a file or pipe that may be slow: a bounded queue and the thread that empties it.

What lives here: who writes, and when. What never does: what a line says, and which file it goes to.
"""

from __future__ import annotations

import atexit
import collections
import os
import weakref
from collections.abc import Callable

from swift.core import clock
from swift.core.concurrency import raw_threading

MAX_QUEUED_BYTES = 1024 * 1024
GATHER_SECONDS = 0.02  # what comes meanwhile goes out in one write
LAST_WRITE_SECONDS = 2.0  # what an ending process gives its lines

_beside = False
_writers: weakref.WeakSet[LineWriter] = weakref.WeakSet()


def write_beside_the_loop() -> None:
    """From now on this process serves: its lines are written by threads. Before, they are written where they come up."""
    global _beside
    _beside = True


def flush_all() -> None:
    """What still waits is written, within two seconds in all: for the end of a process that does without `atexit`."""
    give_up = clock.monotonic() + LAST_WRITE_SECONDS
    for writer in list(_writers):
        writer.flush(give_up)


atexit.register(flush_all)


class LineWriter:
    """Takes finished lines; `write(bytes) -> None` brings several of them to where they belong, and may block or raise OSError."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.dropped = 0
        self._write = write
        self._lines: collections.deque[bytes] = collections.deque()
        self._taken = 0  # bytes, counted by those who put
        self._brought = 0  # bytes, counted by who writes
        self._pid = 0  # whose thread it is: a forked child starts one of its own
        self._something = raw_threading.Event()
        self._writing = raw_threading.Lock()
        _writers.add(self)

    def put(self, line: bytes) -> None:
        """Never blocks while the process serves, and never raises: what finds no room is counted in `dropped`."""
        if not _beside:
            self._bring(line, 1)
            return
        if self._pid != os.getpid() and not self._start():
            self.dropped += 1
            return
        if self._taken - self._brought + len(line) > MAX_QUEUED_BYTES:
            self.dropped += 1
            return
        self._taken += len(line)
        self._lines.append(line)
        if not self._something.is_set():
            self._something.set()

    def flush(self, give_up: float) -> None:
        """Writes what waits, in the caller's thread if the other one gets out of the way before `give_up` (of the clock)."""
        if self._pid == os.getpid() and self._writing.acquire(timeout=max(0.0, give_up - clock.monotonic())):
            try:
                self._empty()
            finally:
                self._writing.release()

    def _start(self) -> bool:
        self._lines.clear()
        self._taken = self._brought = 0
        self._something = raw_threading.Event()
        self._writing = raw_threading.Lock()
        try:
            raw_threading.Thread(target=self._run, name="log writer", daemon=True).start()
        except RuntimeError:
            return False
        self._pid = os.getpid()
        return True

    def _run(self) -> None:
        while True:
            self._something.wait()
            self._something.clear()
            with self._writing:
                self._empty()
            raw_threading.Event().wait(GATHER_SECONDS)

    def _empty(self) -> None:
        """To be called by who holds `_writing`."""
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        if lines:
            data = b"".join(lines)
            self._bring(data, len(lines))
            self._brought += len(data)

    def _bring(self, data: bytes, lines: int) -> None:
        try:
            self._write(data)
        except OSError:
            self.dropped += lines
