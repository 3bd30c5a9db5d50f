"""Rows on their way from this process into the queue: those of many requests in one update, tried again later where it fails.

Never here: what the rows say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from swift.core.concurrency import Event, Semaphore, Timeout, sleep, spawn_n

Row = dict[str, Any]
# (container, rows): True once they are kept. May raise.
Send = Callable[[str, list[Row]], bool]
MOST_TOGETHER = 1000  # rows of an update
MOST_LATE = 10_000  # rows that are kept here until the queue takes them
_BETWEEN = 2.0  # seconds between two tries


class _Batch:
    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.done = Event()


class _Turn:
    def __init__(self) -> None:
        self.lock = Semaphore(1)
        self.users = 0


class Outbox:
    """`told(message, *args)`: of what goes wrong."""

    def __init__(self, told: Callable[..., None]) -> None:
        self.told = told
        self.late: deque[tuple[str, list[Row], Send]] = deque()
        self.late_rows = 0
        self.lost = 0
        self._open: dict[str, _Batch] = {}
        self._turns: dict[str, _Turn] = {}
        self._is_trying = False

    def put(self, container: str, rows: list[Row], send: Send) -> bool:
        """Returns True once the rows are kept by the queue; False if they are only kept here, or lost."""
        kept = True
        for start in range(0, len(rows), MOST_TOGETHER):
            kept = self._put(container, rows[start : start + MOST_TOGETHER], send) and kept
        return kept

    def _put(self, container: str, rows: list[Row], send: Send) -> bool:
        batch = self._open.get(container)
        if batch is not None and len(batch.rows) + len(rows) <= MOST_TOGETHER:
            batch.rows.extend(rows)
            return bool(batch.done.wait())
        batch = self._open[container] = _Batch()
        batch.rows.extend(rows)
        turn = self._turns.setdefault(container, _Turn())
        turn.users += 1
        kept = False
        try:
            with turn.lock:  # meanwhile others add theirs
                if self._open.get(container) is batch:
                    del self._open[container]
                kept = self._sent(container, batch.rows, send)
        finally:
            if self._open.get(container) is batch:
                del self._open[container]
            turn.users -= 1
            if not turn.users:
                self._turns.pop(container, None)
            if not kept:
                self._keep(container, batch.rows, send)
            batch.done.send(kept)
        return kept

    def _sent(self, container: str, rows: list[Row], send: Send) -> bool:
        try:
            return send(container, rows)
        except (Exception, Timeout) as error:
            self.told("ERROR Events could not be queued in %s: %r", container, error)
            return False

    # -- what the queue did not take

    def _keep(self, container: str, rows: list[Row], send: Send) -> None:
        if self.late_rows + len(rows) > MOST_LATE:
            self.lost += len(rows)
            self.told(
                "ERROR %d events are lost: the queue does not take any, and %d wait",
                len(rows),
                self.late_rows,
            )
            return
        self.told("%d events wait for the queue to take them", len(rows))
        self.late.append((container, rows, send))
        self.late_rows += len(rows)
        if not self._is_trying:
            self._is_trying = True
            spawn_n(self._try_again)

    def last_try(self) -> None:
        """Of all that waits here, at the end of a process. Whoever sets a time for it is heard."""
        down: set[str] = set()
        lost = 0
        try:
            while self.late:
                container, rows, send = self.late[0]
                try:
                    is_kept = container not in down and send(container, rows)
                except Exception:
                    is_kept = False
                if not is_kept:
                    down.add(container)
                    lost += len(rows)
                if self.late:
                    self.late.popleft()
        finally:
            lost += sum(len(rows) for _, rows, _ in self.late)
            self.late.clear()
            self.late_rows = 0
            self.lost += lost
            if lost:
                self.told("ERROR %d events are lost with this process", lost)

    def _try_again(self) -> None:
        try:
            while self.late:
                sleep(_BETWEEN)
                down: set[str] = set()  # a container that is not there holds up no others
                for batch in list(self.late):
                    if batch[0] in down:
                        continue
                    if not self._sent(*batch):
                        down.add(batch[0])
                    elif batch in self.late:  # else the end of the process has come
                        self.late.remove(batch)
                        self.late_rows -= len(batch[1])
        finally:
            self._is_trying = False
