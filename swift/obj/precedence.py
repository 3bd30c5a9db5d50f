"""Clients come first: what replication does within an object server is cut into pieces, of which few are under way, and after each it rests.

Clients are being served if one has been answered a moment ago. Never here: what the pieces are (`server_replicate`, `ssync.receiver`), and
who may replicate into this server at all (`ssync.turnstile`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from swift.core import clock
from swift.core.concurrency import Semaphore, sleep
from swift.obj.device import Device

SERVED_SECONDS = 0.25  # since a client was answered: then others may be expected
LONGEST_REST = 1.0  # seconds, after a piece that took long
TOGETHER = 16  # small writes to a disk that share their syncs


class Precedence:
    """Of one process. `answered`: how many requests it has answered, replication's too."""

    def __init__(self, answered: Callable[[], int]) -> None:
        self.carried_out = 0  # requests within sessions, and others of replication
        self._answered = answered
        self._seen = 0
        self._served = -SERVED_SECONDS
        self._turns: dict[tuple[str, int], Semaphore] = {}

    def is_due(self) -> bool:
        """True if clients are being served."""
        now = clock.monotonic()
        clients = self._answered() - self.carried_out
        if clients != self._seen:
            self._seen = clients
            self._served = now
        return now - self._served < SERVED_SECONDS

    @contextlib.contextmanager
    def piece(self, device: Device, most: int = 1) -> Iterator[None]:
        """A short piece of work: while clients are served, beside fewer than `most` others on that device, and followed by a rest.

        In memory, where work is done in the event loop, there is nothing to be gained by several at a time, whoever is served.
        """
        if device.inline:
            most = 1
        elif not self.is_due():
            yield
            return
        with self._turn(device, most):
            began = clock.monotonic()
            yield
            self.rest(began)

    def rest(self, began: float) -> None:
        """Clients get at least half of the time: called behind what began then."""
        sleep(min(clock.monotonic() - began, LONGEST_REST) if self.is_due() else 0)

    def _turn(self, device: Device, most: int) -> Semaphore:
        turn = self._turns.get((device.path, most))
        if turn is None:
            turn = self._turns[device.path, most] = Semaphore(most)
        return turn
