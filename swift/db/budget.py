"""The bound of what all caches of a process keep together.

Lives here: the count of bytes, and who goes first. What is kept is the caches' business.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

DEFAULT_BUDGET = 16 * 1024 * 1024  # bytes in one process


class Budget:
    """Bounds what all caches of a process keep together; what was used least recently goes first.

    For one thread. What goes is only taken out of its cache: whoever has it in hand goes on with it.
    """

    def __init__(self, limit: int = DEFAULT_BUDGET) -> None:
        self.limit = limit
        self.used = 0
        self._items: OrderedDict[int, tuple[int, Callable[[], None]]] = OrderedDict()

    def add(self, item: object, size: int, drop: Callable[[], None]) -> None:
        """Count `size` bytes for `item`; `drop()` is called when they have to go, which may be at once."""
        self.remove(item)
        self._items[id(item)] = (size, drop)
        self.used += size
        while self.used > self.limit and self._items:
            _, (freed, drop_oldest) = self._items.popitem(last=False)
            self.used -= freed
            drop_oldest()

    def touch(self, item: object) -> None:
        """Note a use."""
        if id(item) in self._items:
            self._items.move_to_end(id(item))

    def remove(self, item: object) -> None:
        """Stop counting an item."""
        entry = self._items.pop(id(item), None)
        if entry is not None:
            self.used -= entry[0]


BUDGET = Budget()
