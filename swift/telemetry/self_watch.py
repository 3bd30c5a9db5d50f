"""What a process notices of itself while it runs: how late its green threads are, what waits for its disks, what it had to log.

What lives here: looking, one tick a second, and that memory which nobody uses any more goes back to the kernel. What never does: what a table is (`swift.telemetry.metric_table`), and figures of
processes that the kernel has (`swift.telemetry.node_metrics`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Any

from swift.core import clock
from swift.core.concurrency import after_fork, hub, spawn_n
from swift.engine.arenas import give_back
from swift.engine.threads import DeviceBusy, device_states, run_in_thread
from swift.telemetry import families, metric_table
from swift.telemetry.log import messages_by_level
from swift.telemetry.log_sinks import LEVEL_NAMES, dropped_messages
from swift.telemetry.metric_table import TABLE, Key

TICK_SECONDS = 1.0
TICKS_A_TRIM = 60
TICKS_A_WRITE = 10  # who is asked sees by the age of a sibling's table that this one hangs


class _Ticks:
    def __init__(self) -> None:
        self.timer: Any = None
        self.due = 0.0
        self.left = TICKS_A_WRITE
        self.until_trim = TICKS_A_TRIM

    def start(self) -> None:
        if self.timer is None:
            self._set()

    def _set(self) -> None:
        self.due = clock.monotonic() + TICK_SECONDS
        self.timer = hub().schedule_call_global(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        TABLE.observe((families.LOOP_LAG, TABLE.process), max(0.0, clock.monotonic() - self.due))
        self.left -= 1
        if self.left <= 0:
            self.left = TICKS_A_WRITE
            TABLE.write()
        self.until_trim -= 1
        if self.until_trim <= 0:
            self.until_trim = TICKS_A_TRIM
            spawn_n(_trim)
        self._set()

    def forget(self) -> None:
        """In a forked child: the hub's timers are its parent's."""
        self.timer = None


_ticks = _Ticks()


def watch(process: str) -> None:
    """From now on this process, called `process` in labels, notices; to be called in whichever serves, not in its parent."""
    TABLE.process = process
    if _look not in metric_table.looks:
        metric_table.looks.append(_look)
    TABLE.write()
    _ticks.start()


def _trim() -> None:
    with contextlib.suppress(DeviceBusy):  # another time
        run_in_thread(give_back)


def _look() -> Iterable[tuple[Key, float]]:
    process = TABLE.process
    for level, count in messages_by_level.items():
        yield (families.LOG_MESSAGES, process, LEVEL_NAMES.get(level, "ERROR")), count
    dropped = dropped_messages()
    yield (families.LOG_DROPPED, process), dropped
    for path, pending, is_stuck in device_states():
        device = os.path.basename(path.rstrip("/"))
        yield (families.DEVICE_CALLS, process, device), pending
        yield (families.DEVICE_STUCK, process, device), 1.0 if is_stuck else 0.0


def _forget() -> None:
    _ticks.forget()
    messages_by_level.clear()


after_fork.append(_forget)
