"""How fast small segments may be asked for, so that one client's download is not thousands of requests a second (spec middleware 2.11)."""

from __future__ import annotations

from swift.core import clock

_BUFFER = 5.0  # seconds: who was slower than that saves nothing up


class Pace:
    """Lets `after` small segments through, then `per_second` of them; 0: no limit."""

    __slots__ = ("_after", "_interval", "_next", "_seen")

    def __init__(self, per_second: float, after: int) -> None:
        self._interval = 1.0 / per_second if per_second > 0 else 0.0
        self._after = after
        self._seen = 0
        self._next = 0.0

    def delay(self, is_small: bool) -> float:
        """Seconds until the next segment may be asked for."""
        if not is_small or not self._interval or self._seen < self._after:
            return 0.0
        return max(self._next - clock.monotonic(), 0.0)

    def passed(self, is_small: bool) -> None:
        """The next segment is being asked for."""
        if not is_small or not self._interval:
            return
        if self._seen >= self._after:
            now = clock.monotonic()
            if now - self._next > _BUFFER:
                self._next = now
            self._next += self._interval
        self._seen += 1
