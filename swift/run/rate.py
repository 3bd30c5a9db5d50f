"""A limit on how often something happens, with a bounded right to catch up.

Which things are limited is decided by daemons and filters.

Spec: operations.md section 5 (rate limiter shared by daemons).
"""

from __future__ import annotations

from collections.abc import Callable

from swift.core import clock
from swift.core.concurrency import sleep

CATCH_UP_SECONDS = 5.0


class RateLimiter:
    """At most `per_second` events a second, 0 for no limit.

    Time that was not used in the last `catch_up` seconds may be made up for; after a longer pause nothing is, unless
    `burst_after_idle`, which keeps the right to a burst of `catch_up` seconds' worth.
    """

    def __init__(
        self,
        per_second: float,
        catch_up: float = CATCH_UP_SECONDS,
        burst_after_idle: bool = False,
        clock: Callable[[], float] = clock.monotonic,
        pause: Callable[[float], object] = sleep,
    ) -> None:
        self._step = 1000.0 / per_second if per_second > 0 else 0.0
        self._buffer = catch_up * 1000
        self._burst_after_idle = burst_after_idle
        self._clock = clock
        self._pause = pause
        # so that a limiter that has never been used has no debt and no credit (or all credit)
        self._running_time = clock() * 1000 - self._buffer if burst_after_idle else 0.0

    def _advance(self, amount: float) -> float:
        """Books `amount` events; how many milliseconds it is too early for them."""
        now = self._clock() * 1000
        if now - self._running_time > self._buffer:
            self._running_time = now - self._buffer if self._burst_after_idle else now
        early = max(self._running_time - now, 0.0)
        self._running_time += self._step * amount
        return early

    def wait(self, amount: float = 1) -> None:
        """Returns when `amount` events are allowed."""
        if self._step:
            early = self._advance(amount)
            if early > 0:
                self._pause(early / 1000)

    def is_allowed(self, amount: float = 1) -> bool:
        """Returns True if `amount` events are allowed now; if not, they aren't counted."""
        if not self._step:
            return True
        before = self._running_time
        if self._advance(amount) > 0:
            self._running_time = before
            return False
        return True
