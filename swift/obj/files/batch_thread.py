"""A thread that takes all that waits at once. What never lives here: what a batch does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from swift.core.concurrency import raw_queue
from swift.engine.threads import Call, ThreadPool, busy_flag, forget_flag


class BatchThread(ThreadPool):
    """One thread of a device that takes all that waits and has it done together; what waits meanwhile is the next batch.

    `carry_out` gets a list of items and returns for each its result, or the exception that its caller gets. A batch has at most
    `max_items`, and no further one once their weights make `max_weight`.
    """

    bounded = True

    def __init__(
        self,
        name: str,
        carry_out: Callable[[list[Any]], list[Any]],
        max_items: int,
        max_weight: int,
        threads: int = 1,
    ) -> None:
        super().__init__(name, threads, 4096)
        self._carry_out = carry_out
        self._max_items = max_items
        self._max_weight = max_weight

    def begin_anew(self) -> None:
        self.__init__(self.name, self._carry_out, self._max_items, self._max_weight)  # type: ignore[misc]

    def carry(self, item: Any, weight: int) -> Any:
        """The result of `carry_out` for item, or the exception. Raises DeviceBusy and DeviceStuck as `DevicePool.run`."""
        return self.submit(self._carry_out, item, weight).wait()

    def _take(self, calls: Any, finished: list[int]) -> list[tuple[Call, Any]] | None:
        """What waits; waits for something. None when the thread is to end."""
        taken: list[tuple[Call, Any]] = []
        weight = 0
        entry = calls.get()
        if entry is None:
            return None
        call, _, (item, more) = entry
        with contextlib.suppress(raw_queue.Empty):
            while True:
                call.running = True  # before `cancelled` is looked at: see `give_up`
                if not call.cancelled:
                    taken.append((call, item))
                    weight += more
                else:
                    finished[0] += 1
                if len(taken) >= self._max_items or weight >= self._max_weight:
                    break
                call, _, (item, more) = calls.get_nowait()
        return taken

    def work(self, calls: Any, finished: list[int]) -> None:
        busy = busy_flag()
        while (taken := self._take(calls, finished)) is not None:
            busy[0] = True
            try:
                values = self._carry_out([item for _, item in taken])
            except BaseException as err:
                values = [err] * len(taken)
            busy[0] = False
            finished[0] += len(taken)
            self._hand_out(taken, values)
            del taken, values
        forget_flag(busy)

    def _hand_out(self, taken: list[tuple[Call, Any]], values: list[Any]) -> None:
        for (call, _), value in zip(taken, values, strict=True):
            call.end(value)
            self.hand_back(call)
        self.wake()
