"""Stretches of a listing, kept in memory: names in order, and for each the text that shows it.

Lives here: the stretches of one table, and the budget that all tables of a process share. What is kept mirrors the database
file alone; rows that are still pending are laid over it by `overlaid`. Whether it is still true is the snapshot's business.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

DEFAULT_BUDGET = 16 * 1024 * 1024  # bytes in one process
MAX_BLOCK_ROWS = 4096
MIN_LOAD_ROWS = 64
_ROW_OVERHEAD = 33 + 49 + 16  # headers of two objects, two list slots

Page = tuple[list[str], list[bytes]]
"""Names in ascending order, and the text of each."""


class Budget:
    """Bounds what all caches of a process keep together; what was used least recently goes first."""

    def __init__(self, limit: int = DEFAULT_BUDGET) -> None:
        self.limit = limit
        self.used = 0
        self._items: OrderedDict[int, tuple[int, Callable[[], None]]] = OrderedDict()

    def add(self, item: object, size: int, drop: Callable[[], None]) -> None:
        """Count `size` bytes for `item`; `drop()` is called when they have to go (and must not call remove)."""
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


class Block:
    """All rows with low <= name < high (None: no bound)."""

    __slots__ = ("high", "low", "names", "texts")

    def __init__(self, low: str, high: str | None, names: list[str], texts: list[bytes]) -> None:
        self.low = low
        self.high = high
        self.names = names
        self.texts = texts

    def size(self) -> int:
        """Bytes in memory, about."""
        return sum(map(len, self.texts)) + sum(map(len, self.names)) + _ROW_OVERHEAD * len(self.names) + 200


Load = Callable[[str, "str | None", int], "tuple[Page, bool]"]
"""load(low, high, count) -> (up to `count` rows with low <= name < high, whether they mirror the state that is cached)."""


class Blocks:
    """Disjoint blocks of one table in order. All are of one state of the file: `clear` when it changes."""

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = BUDGET if budget is None else budget
        self._lows: list[str] = []
        self._blocks: list[Block] = []

    def clear(self) -> None:
        """Forget everything."""
        for block in self._blocks:
            self._budget.remove(block)
        self._lows, self._blocks = [], []

    def page(self, low: str, high: str | None, count: int, load: Load) -> tuple[Page, str | None]:
        """Up to `count` rows from `low` on, and where to go on (None: no rows are left below `high`)."""
        names: list[str] = []
        texts: list[bytes] = []
        while True:
            at = bisect_right(self._lows, low) - 1
            block = self._blocks[at] if at >= 0 else None
            if block is None or (block.high is not None and low >= block.high):
                block = self._load(low, high, at + 1, count - len(names), load)
            else:
                self._budget.touch(block)
            start = bisect_left(block.names, low) if low > block.low else 0
            end = len(block.names)
            last = block.high is None
            if high is not None and (last or high <= block.high):  # type: ignore[operator]
                end = bisect_left(block.names, high, start)
                last = True
            room = count - len(names)
            if end - start >= room:
                end = start + room
                names += block.names[start:end]
                texts += block.texts[start:end]
                return (names, texts), names[-1] + "\0" if names else low
            names += block.names[start:end]
            texts += block.texts[start:end]
            if last:
                return (names, texts), None
            low = block.high  # type: ignore[assignment]

    def _load(self, low: str, high: str | None, at: int, count: int, load: Load) -> Block:
        """Read the rows from `low` up to `high` or the next block, but not many more than `count`, into a block of their own."""
        limit = self._lows[at] if at < len(self._lows) else None
        if high is not None and (limit is None or high < limit):
            limit = high
        count = max(count, MIN_LOAD_ROWS)
        (names, texts), current = load(low, limit, count)
        if len(names) >= count:
            block = Block(low, names[-1] + "\0", names, texts)
        else:
            block = Block(low, limit, names, texts)
        if current:
            self._keep(block)
        return block

    def _keep(self, block: Block) -> None:
        # other green threads may have been here during the load
        at = bisect_right(self._lows, block.low)
        before = self._blocks[at - 1] if at else None
        after = self._blocks[at] if at < len(self._blocks) else None
        if before is not None and (before.high is None or before.high > block.low):
            return
        if after is not None and (block.high is None or block.high > after.low):
            return
        if (
            before is not None
            and before.high == block.low
            and len(before.names) + len(block.names) <= MAX_BLOCK_ROWS
        ):
            before.names += block.names
            before.texts += block.texts
            before.high = block.high
            self._budget.add(before, before.size(), partial(self._drop, before))
            return
        if (
            after is not None
            and after.low == block.high
            and len(after.names) + len(block.names) <= MAX_BLOCK_ROWS
        ):
            # the next block grows backwards; readers may hold its lists, so it gets new ones
            after.names = block.names + after.names
            after.texts = block.texts + after.texts
            self._lows[at] = after.low = block.low
            self._budget.add(after, after.size(), partial(self._drop, after))
            return
        self._lows.insert(at, block.low)
        self._blocks.insert(at, block)
        self._budget.add(block, block.size(), partial(self._drop, block))

    def _drop(self, block: Block) -> None:
        at = bisect_left(self._lows, block.low)
        if at < len(self._blocks) and self._blocks[at] is block:
            del self._lows[at], self._blocks[at]


class PageCache:
    """Finished bodies of one state of a database, by what was asked for."""

    def __init__(self, budget: Budget | None = None, limit: int = 64) -> None:
        self._budget = BUDGET if budget is None else budget
        self._limit = limit
        self._pages: OrderedDict[Any, list[Any]] = OrderedDict()

    def get(self, key: Any) -> Any:
        """What was put there, or None."""
        entry = self._pages.get(key)
        if entry is None:
            return None
        self._budget.touch(entry)
        return entry[0]

    def put(self, key: Any, body: bytes) -> None:
        """Keep a body."""
        if len(self._pages) >= self._limit:
            self._budget.remove(self._pages.popitem(last=False)[1])
        entry = [body]
        self._pages[key] = entry
        self._budget.add(entry, len(body) + 500, partial(self._drop, key))

    def _drop(self, key: Any) -> None:
        self._pages.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        if self._pages:
            for entry in self._pages.values():
                self._budget.remove(entry)
            self._pages = OrderedDict()


class Overlay:
    """Pending rows of one table and policy over the stored ones: for a name its text, or None where the row is gone."""

    __slots__ = ("names", "texts")

    def __init__(self) -> None:
        self.names: list[str] = []
        self.texts: dict[str, Any] = {}

    def put(self, name: str, text: Any) -> None:
        """Lay a text (None: nothing) over a name."""
        if name not in self.texts:
            insort(self.names, name)
        self.texts[name] = text

    def between(self, low: str, high: str | None) -> list[str]:
        """The overlaid names with low <= name < high."""
        names = self.names
        return names[bisect_left(names, low) : None if high is None else bisect_left(names, high)]


def overlaid(names: list[str], texts: list[Any], changes: list[str], overlay: dict[str, Any]) -> None:
    """Lay `changes` (names in the stretch that the lists cover) over two parallel lists, in place."""
    at = 0
    for name in changes:
        text = overlay[name]
        at = bisect_left(names, name, at)
        if at < len(names) and names[at] == name:
            if text is None:
                del names[at], texts[at]
            else:
                texts[at] = text
        elif text is not None:
            names.insert(at, name)
            texts.insert(at, text)
