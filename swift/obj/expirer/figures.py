"""What a pass of the expirer tells: counts, lines of the log, and in recon how much is queued and how much of it is late (object-disk 24)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from swift.core import clock
from swift.obj.expirer.tasks import period_of

QUEUE = "object_expirer_queue"
MAX_DAYS = 400  # that are told apart; what is due later is counted as "later"


class Figures:
    """Of one pass. `containers`, `rows`: of the whole queue, as its account's servers have heard of them."""

    def __init__(self, containers: int, rows: int) -> None:
        self.started = clock.time()
        self.containers = containers
        self.rows = rows
        self.deleted = 0
        self.delayed = 0
        self.waiting = 0  # due, found by this process, and not done
        self.waiting_bytes = 0
        self.oldest_left: float | None = None  # when the oldest of those was due that could not be done
        self._by_day: dict[str, int] = {}

    # -- what happens

    def queued(self, listed: Mapping[str, Any], divisor: int) -> None:
        """A container of the queue, as its account lists it, its name a time."""
        day = datetime.fromtimestamp(period_of(listed["name"], divisor)[0], timezone.utc).date().isoformat()
        if day not in self._by_day and len(self._by_day) >= MAX_DAYS:
            day = "later"
        self._by_day[day] = self._by_day.get(day, 0) + int(listed.get("count") or 0)

    def found(self, size: int) -> None:
        """A row that is due, and this process's to do."""
        self.waiting += 1
        self.waiting_bytes += size

    def done(self, size: int) -> None:
        """Its object is deleted, or need not be, and it is out of the queue."""
        self.waiting -= 1
        self.waiting_bytes -= size

    def left(self, due: float) -> None:
        """It stays for another pass."""
        if self.oldest_left is None or due < self.oldest_left:
            self.oldest_left = due

    # -- what is told

    @property
    def seconds(self) -> float:
        """Since the beginning of the pass."""
        return clock.time() - self.started

    def recon(self, is_final: bool) -> dict[str, Any]:
        """A recon document."""
        queue = {
            "checked": self.started,
            "containers": self.containers,
            "queued": self.rows,
            "waiting": self.waiting,
            "waiting_bytes": self.waiting_bytes,
            "oldest_left": self.oldest_left,
            "delayed": self.delayed,
            "queued_by_day": self._by_day,
        }
        told: dict[str, Any] = {QUEUE: queue}
        if is_final:
            told["object_expiration_pass"] = self.seconds
            told["object_expirer_last"] = clock.time()
            told["expired_last_pass"] = self.deleted
        return told
