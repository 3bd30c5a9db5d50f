"""Lines that wait in this process until there are enough of them for an object, or the oldest has waited long enough.

What is here goes with the process: at most what came in `interval` seconds. Never here: how an object is written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from swift.core import clock
from swift.core.concurrency import Semaphore, Timeout, sleep, spawn_n
from swift.s3.acl.forms import Grant

MOST_OF_OBJECT = 1024 * 1024  # bytes of lines, after which an object is written
MOST_OF_ALL = 16 * 1024 * 1024  # bytes of lines that wait; more are dropped
_TRIES = 5
_FIRST_PAUSE = 1.0  # seconds; four times as long before each further try
_LOOKS = 1.0  # seconds between two looks at what is due


class Place(NamedTuple):
    """Where lines go. Text. `source`: the bucket that they are of; `day`: YYYY-mm-dd of lines that lie apart by their day; `grants`: what
    is granted on the objects that they become."""

    account: str
    target: str
    prefix: str
    source: str
    dated_by: str = ""
    day: str = ""
    grants: tuple[Grant, ...] = ()


class _Batch:
    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.size = 0
        self.since = clock.monotonic()


# Writes an object, all or nothing; called again, by the same name.
Write = Callable[[], None]
Make = Callable[[Place, bytes], Write]  # of a place and its content


class Gone(Exception):
    """The target is not there, or does not let anybody write into it: trying again is of no use."""


class Batches:
    """`make(place, content)`: what writes the object; it raises Gone, or anything else to be called again. `told(message, *args)`: of
    what is lost."""

    def __init__(self, interval: float, make: Make, told: Callable[..., None]) -> None:
        self.interval = interval
        self.make = make
        self.told = told
        self.dropped = 0
        self.size = 0  # of all lines that wait or are under way
        self._open: dict[Place, _Batch] = {}
        self._is_looking = False
        self._writers = Semaphore(4)
        self._under_way = 0

    def add(self, place: Place, line: bytes) -> None:
        """Never waits."""
        if self.size + len(line) > MOST_OF_ALL:
            if not self.dropped:
                self.told("ERROR Access log lines are dropped: %d bytes of them wait", self.size)
            self.dropped += 1
            return
        batch = self._open.get(place)
        if batch is None:
            batch = self._open[place] = _Batch()
        batch.lines.append(line)
        batch.size += len(line)
        self.size += len(line)
        if batch.size >= MOST_OF_OBJECT:
            self._begin(place)
        elif not self._is_looking:
            self._is_looking = True
            spawn_n(self._look)

    def flush(self) -> None:
        """Write all that waits, at the end of a process; returns once it is written or given up."""
        for place in list(self._open):
            self._begin(place)
        while self._under_way:
            sleep(0.02)

    def _look(self) -> None:
        try:
            while self._open:
                sleep(min(_LOOKS, self.interval))
                oldest = clock.monotonic() - self.interval
                for place in [place for place, batch in self._open.items() if batch.since <= oldest]:
                    self._begin(place)
                if self.dropped and self.size < MOST_OF_ALL // 2:
                    self.told("ERROR %d access log lines were dropped", self.dropped)
                    self.dropped = 0
        finally:
            self._is_looking = False

    def _begin(self, place: Place) -> None:
        batch = self._open.pop(place, None)
        if batch is not None:
            self._under_way += 1
            spawn_n(self._write, place, batch)

    def _write(self, place: Place, batch: _Batch) -> None:
        try:
            write = self.make(place, b"".join(batch.lines))
            pause = _FIRST_PAUSE
            for tried in range(1, _TRIES + 1):
                try:
                    with self._writers:
                        write()
                    return
                except Gone as error:
                    self._lost(place, batch, error)
                    return
                except (Exception, Timeout) as error:
                    if tried == _TRIES:
                        self._lost(place, batch, error)
                        return
                    self.told("Access log lines of %s wait for %s: %r", place.source, place.target, error)
                sleep(pause)
                pause *= 4
        finally:
            self.size -= batch.size
            self._under_way -= 1

    def _lost(self, place: Place, batch: _Batch, error: BaseException) -> None:
        self.told(
            "ERROR %d access log lines of %s/%s are lost: %s: %s",
            len(batch.lines),
            place.account,
            place.source,
            place.target,
            error,
        )
