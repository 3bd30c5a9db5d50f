"""The latest snapshots of a process's databases: kept between requests, checked at every use, renewed when they don't hold.

Lives here: the cache, and who waits for whom. What a snapshot is: swift.db.snapshot; how it is read: swift.db.reader. All of it belongs to the
event loop; only reading goes to the device's pool. A new snapshot takes the place of the old one by one assignment, once it is whole;
what is put out of the cache, for another or for want of room, stays true for those who have it in hand.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from swift.core.concurrency import Semaphore
from swift.engine.threads import DeviceBusy, pool_for

from .budget import BUDGET
from .errors import DatabaseBusy
from .reader import Held, NotInMemory, Reader, Source
from .snapshot import AnySnapshot, Stored

MAX_SNAPSHOTS = 512

Value = TypeVar("Value")


class _Watched(Generic[AnySnapshot]):
    """A database, and the latest that is known of it."""

    __slots__ = ("begun", "failed", "failure", "held", "held_number", "reader", "turn")

    def __init__(self, reader: Reader[AnySnapshot]) -> None:
        self.reader = reader
        self.held: Held[AnySnapshot] | None = None
        self.begun = 0  # reads are numbered in the order in which they begin
        self.held_number = 0  # of the read that gave `held`
        self.failed = 0  # of the last read that didn't get through to the database
        self.failure: Exception | None = None
        self.turn = Semaphore(1)  # to read for all who wait


class Snapshots(Generic[AnySnapshot]):
    """Snapshots by database path; what was used least recently goes first. `reader`: makes the reader of a path.

    Everything raises DatabaseMissing, DatabaseBusy, DatabaseQuarantined, sqlite3.Error, OSError, DeviceBusy.
    """

    def __init__(self, reader: Callable[[str], Reader[AnySnapshot]], limit: int = MAX_SNAPSHOTS) -> None:
        self._reader = reader
        self._limit = limit
        self._all: OrderedDict[str, _Watched[AnySnapshot]] = OrderedDict()

    def current(self, path: str) -> AnySnapshot:
        """The database as it is now, or has been since the call."""
        return self._current(path, self._watch(path))

    def stored(self, path: str) -> Stored:
        """What is stored now. Cheaper than `current` while rows are coming in."""
        watched = self._watch(path)
        held = watched.held
        if held is None or not held.seen.stored_holds_at_once():
            held = self._renewed(path, watched)
        return held.snapshot.stored

    def answer(self, path: str, function: Callable[[Source[AnySnapshot]], Value]) -> Value:
        """function(source) of the database as it is now: from memory if that is enough, else in the device's pool.

        It may be called twice, and changes nothing but what it returns. Raises what it raises, too.
        """
        watched = self._watch(path)
        if watched.held is not None:
            source = Source(self._current(path, watched), watched.reader)
            try:
                value = function(source)
            except NotInMemory:
                pass
            else:
                source.keep()
                return value
        return self._read(path, watched, function)[1]  # type: ignore[no-any-return]

    # -- renewal

    def _watch(self, path: str) -> _Watched[AnySnapshot]:
        watched = self._all.get(path)
        if watched is None:
            watched = self._all[path] = _Watched(self._reader(path))
            if len(self._all) > self._limit:
                oldest = next(iter(self._all))
                self._forget(oldest, self._all[oldest])
        else:
            self._all.move_to_end(path)
            BUDGET.touch(watched)  # or it would be the first to go, and all its rows with it
        return watched

    def _current(self, path: str, watched: _Watched[AnySnapshot]) -> AnySnapshot:
        held = watched.held
        if held is None or not held.seen.holds_at_once():
            held = self._renewed(path, watched)
        return held.snapshot

    def _renewed(self, path: str, watched: _Watched[AnySnapshot]) -> Held[AnySnapshot]:
        """What a read gave that began after this call: one serves all who wait for their turn meanwhile."""
        latest = watched.begun
        with watched.turn:
            held = watched.held
            if held is not None and watched.held_number > latest:
                return held
            if watched.failed > latest and watched.failure is not None:
                raise type(watched.failure)(*watched.failure.args) from watched.failure
            return self._read(path, watched, None)[0]

    def _read(
        self,
        path: str,
        watched: _Watched[AnySnapshot],
        function: Callable[[Source[AnySnapshot]], Any] | None,
    ) -> tuple[Held[AnySnapshot], Any]:
        watched.begun += 1
        number = watched.begun
        reader = watched.reader
        try:
            held, source, value = pool_for(reader.device_path).run(reader.read, watched.held, function)
        except BaseException as error:
            if isinstance(error, (DatabaseBusy, DeviceBusy)):
                watched.failed, watched.failure = number, error  # says nothing against what is held
            if watched.held is None or watched.failed != number:
                self._forget(path, watched)
            raise
        self._hold(path, watched, number, held)
        if source is not None:
            source.keep()
        return held, value

    def _hold(self, path: str, watched: _Watched[AnySnapshot], number: int, held: Held[AnySnapshot]) -> None:
        old = watched.held
        later = old is None or number > watched.held_number
        if later:
            watched.held, watched.held_number = held, number
        if old is not None:
            if old.snapshot is held.snapshot:
                return
            if not later:  # than others, who have been faster
                held.snapshot.close(old.snapshot)
                return
            old.snapshot.close(held.snapshot)
            held.snapshot.open()  # a faster one, which began earlier, may have put another in the place of what it shares
        if self._all.get(path) is watched:
            BUDGET.add(watched, held.snapshot.size, partial(self._forget, path, watched))
        else:
            held.snapshot.close()  # nobody will find it: nothing that is made of it is kept

    def _forget(self, path: str, watched: _Watched[AnySnapshot]) -> None:
        """Start from nothing at the next use."""
        if self._all.get(path) is watched:
            del self._all[path]
        BUDGET.remove(watched)
        if watched.held is not None:
            watched.held.snapshot.close()
