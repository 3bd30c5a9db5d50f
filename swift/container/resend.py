"""When a container without news is reported all the same: once in an interval, however long the sweeps are.

Each container has a moment of its own in the interval. A sweep reports those whose moment has come since the last whole sweep began; as
these stretches lie edge to edge, none is left out and none is reported twice. Never here: reporting.
"""

from __future__ import annotations

import math

MAX_OWED = 10_000


class Resends:
    """`interval`: seconds, 0 for never. `done_until`: what came due before this has been reported; None: nothing is known of that.

    A sweep is `begin`, `is_due` for each container, `owe` for those that could not be told, `end`. A clock that is set back makes what
    was due come due once more; one that is set forward, all.
    """

    def __init__(self, interval: float, done_until: float | None = None) -> None:
        self.interval = interval
        self._since = self._until = done_until if done_until is not None else -math.inf
        self._owed: set[str] = set()
        self._owed_before: set[str] = set()

    def begin(self, now: float) -> None:
        """A sweep begins. `now`: seconds since the epoch."""
        self._since = min(self._since, now)
        self._until = now
        self._owed_before, self._owed = self._owed, set()

    def is_due(self, name_hash: str) -> bool:
        """True if this sweep is to report the container in any case. `name_hash`: 32 hex digits; of other names all share a moment."""
        if not self.interval:
            return False
        if name_hash in self._owed_before or self._until - self._since >= self.interval:
            return True
        moment = self._moment(name_hash)
        return self._turn(self._until, moment) > self._turn(self._since, moment)

    def owe(self, name_hash: str, most: int = MAX_OWED) -> None:
        """It was not reported to all who should know: the next sweep does it. Above `most` of them it waits for its next moment."""
        if len(self._owed) < most:
            self._owed.add(name_hash)

    def end(self) -> None:
        """The sweep has seen all containers. Without this, what it was to report is due in the next one."""
        self._since = self._until

    @property
    def done_until(self) -> float | None:
        """For whoever goes on from here."""
        return self._since if math.isfinite(self._since) else None

    def _moment(self, name_hash: str) -> float:
        try:
            return int(name_hash[:8], 16) / 2**32 * self.interval
        except ValueError:
            return 0.0

    def _turn(self, time: float, moment: float) -> int:
        return math.floor((time - moment) / self.interval)
