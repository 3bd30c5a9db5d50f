"""Rests of a daemon that has much to do beside clients, who want the same disks and processors.

Never here: how often a daemon begins anything (`run.rate` and the daemons' own intervals).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swift.core import clock
from swift.core.concurrency import sleep

LEAST = 0.002  # seconds of work; after less nobody rests
MOST = 1.0  # seconds of a rest


class Rests:
    """After each piece of work a rest: `share` times what the work took. 0: none."""

    def __init__(self, share: float) -> None:
        self.share = share

    def after(self, seconds: float) -> None:
        """Rest from work of so many seconds."""
        if seconds > LEAST and self.share:
            sleep(min(seconds * self.share, MOST))

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args), and a rest."""
        started = clock.monotonic()
        result = function(*args)
        self.after(clock.monotonic() - started)
        return result


NO_RESTS = Rests(0)
