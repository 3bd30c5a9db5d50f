"""Who is let in: so many at a time, the others in the order of their arrival, and nobody who would wait too long.

A server that takes all that comes serves nobody well: everything gets slower until time limits run out, and then the work was for
nothing. So what is begun is finished, what can't be begun soon is refused at once, and nobody overtakes.
What lives here: counting places and waiting for them. What never does: connections, HTTP, what a refusal looks like.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from swift.core import clock
from swift.core.concurrency import Event, sleep, spawn_n

_LOOK_SECONDS = 0.1  # between two looks at who has waited too long
_RATE_SECONDS = 1.0  # over which it is counted how fast places become free
# A place that is held for so many times the usual time, and so long at least, is not work but waiting: for a disk that hangs, for a
# client that is slow. It is lent to the next one.
_UNUSUAL = 4
_LEAST_HOLD_SECONDS = 1.0
_LONGEST_HOLD_SECONDS = 30.0
_MEMORY = 64  # passes over which the usual time is averaged


class Refused(Exception):
    """There is no place, and there won't be one soon. retry_after: seconds (int)."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"busy for some {retry_after} s more")
        self.retry_after = retry_after


class Pass:
    """A place that somebody holds, until `leave`. usual: how long it is held says something of the work."""

    __slots__ = ("_gate", "_holds", "_since", "usual")

    def __init__(self, gate: Admission, since: float, usual: bool) -> None:
        self._gate: Admission | None = gate
        self._since = since
        self._holds = True
        self.usual = usual
        gate._passes[self] = None
        gate.taken += 1

    def leave(self) -> None:
        """Gives the place to the next one. Only the first call counts."""
        gate = self._gate
        if gate is None:
            return
        self._gate = None
        now = clock.monotonic()
        if self.usual:
            gate._usual_seconds += (now - self._since - gate._usual_seconds) / _MEMORY
        if self._holds:
            gate._free(self)
            if gate.queue:
                gate._let_in(now)


class Admission:
    """`places` at a time; whoever comes then waits, at most `longest_wait` seconds.

    lends: a place that is held unusually long does not count any more, so that a few who hang don't keep all others out.
    make_room: called now and then while somebody waits; returns True if it has asked somebody to leave. `queue`: who waits, to be looked
    at only.
    """

    def __init__(
        self,
        places: int,
        longest_wait: float,
        lends: bool = False,
        make_room: Callable[[], bool] | None = None,
    ) -> None:
        self.places = places
        self.longest_wait = longest_wait
        self.lends = lends
        self._make_room = make_room
        self.taken = 0
        self.refused = 0
        self._passes: dict[Pass, None] = {}  # of those who count, the oldest first
        self.queue: deque[_Waiter] = deque()
        self._usual_seconds = 0.0
        self._given = 0
        self._given_since = 0.0
        self._rate: float | None = None
        self._looking = False

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self.queue)

    def enter(self, usual: bool = True) -> Pass:
        """A place; waits for it if it must. Raises Refused."""
        now = clock.monotonic()
        if self.taken < self.places and not self.queue:
            return Pass(self, now, usual)
        if self.lends:
            self._lend(now)
            if self.taken < self.places and not self.queue:
                return Pass(self, now, usual)
        if self.expected_wait(now) > self.longest_wait:
            raise self._refusal(now)
        return self._wait(now, usual)

    def expected_wait(self, now: float) -> float:
        """Seconds that whoever comes now would wait, as far as can be told; 0 where nothing is known."""
        if not self.queue:
            return 0.0
        self._count(now)
        if self._rate is None:
            return 0.0
        return len(self.queue) / self._rate if self._rate else math.inf

    def _refusal(self, now: float) -> Refused:
        self.refused += 1
        return Refused(max(1, math.ceil(min(self.expected_wait(now), self.longest_wait))))

    def _wait(self, now: float, usual: bool) -> Pass:
        waiter = _Waiter(now, usual)
        self.queue.append(waiter)
        if len(self.queue) == 1:
            self._given, self._given_since, self._rate = 0, now, None
            if not self._looking:
                self._looking = True
                spawn_n(self._look_after_waiting)
        try:
            given = waiter.event.wait()
        except BaseException:  # we were thrown out of the wait: the place must not go with us
            if waiter in self.queue:
                self.queue.remove(waiter)
            elif waiter.given is not None:
                waiter.given.leave()
            raise
        if given is None:
            raise self._refusal(clock.monotonic())
        return given

    def _free(self, given: Pass) -> None:
        given._holds = False
        del self._passes[given]
        self.taken -= 1

    def _let_in(self, now: float) -> None:
        """The free places are handed to those who wait longest, so that nobody who comes meanwhile can take them."""
        while self.queue and self.taken < self.places:
            waiter = self.queue.popleft()
            waiter.given = Pass(self, now, waiter.usual)
            self._given += 1
            waiter.event.send(waiter.given)

    def _lend(self, now: float) -> None:
        most = min(max(_LEAST_HOLD_SECONDS, _UNUSUAL * self._usual_seconds), _LONGEST_HOLD_SECONDS)
        while self._passes:
            oldest = next(iter(self._passes))
            if now - oldest._since <= most:
                return
            self._free(oldest)
            self._let_in(now)

    def _count(self, now: float) -> None:
        """How many places became free a second, lately."""
        seconds = now - self._given_since
        if seconds >= _RATE_SECONDS:
            rate = self._given / seconds
            self._rate = rate if self._rate is None else (self._rate + rate) / 2
            self._given, self._given_since = 0, now

    def _look_after_waiting(self) -> None:
        while self.queue:
            sleep(_LOOK_SECONDS)
            now = clock.monotonic()
            self._count(now)
            if self.lends:
                self._lend(now)
            for _ in range(len(self.queue)):
                if self._make_room is None or not self._make_room():
                    break
            while self.queue and now - self.queue[0].since > self.longest_wait:
                self.queue.popleft().event.send(None)
        self._looking = False


class _Waiter:
    __slots__ = ("event", "given", "since", "usual")

    def __init__(self, since: float, usual: bool) -> None:
        self.since = since
        self.usual = usual
        self.event = Event()
        self.given: Pass | None = None
