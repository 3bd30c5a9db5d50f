"""Finished bodies of one state of a database, by what was asked for."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

from .budget import BUDGET, Budget

_OVERHEAD = 500


class Bodies:
    """A bounded cache; `close` when the state has passed. Any thread may `get`; the rest is for the thread of the budget."""

    def __init__(self, budget: Budget | None = None, limit: int = 64) -> None:
        self._budget = BUDGET if budget is None else budget
        self._limit = limit
        self._kept: OrderedDict[Any, list[bytes]] = (
            OrderedDict()
        )  # in lists of one: the budget knows objects by identity
        self._closed = False

    def get(self, key: Any) -> bytes | None:
        """What was kept there."""
        entry = self._kept.get(key)
        return None if entry is None else entry[0]

    def keep(self, key: Any, body: bytes) -> None:
        """Keep a body, or note a use of it."""
        entry = self._kept.get(key)
        if entry is not None:
            self._budget.touch(entry)
        elif not self._closed:
            if len(self._kept) >= self._limit:
                self._budget.remove(self._kept.popitem(last=False)[1])
            entry = self._kept[key] = [body]
            self._budget.add(entry, len(body) + _OVERHEAD, partial(self._drop, key))

    def _drop(self, key: Any) -> None:
        self._kept.pop(key, None)

    def open(self) -> None:
        """The state has come back: keep again."""
        self._closed = False

    def close(self) -> None:
        """Give the memory back, and keep nothing any more."""
        self._closed = True
        kept, self._kept = self._kept, OrderedDict()
        for entry in kept.values():
            self._budget.remove(entry)
