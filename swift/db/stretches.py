"""Stretches of a listing, kept in memory: names in order, and for each the text that shows it.

Lives here: the stretches of one table in one state of its file, which they mirror and outlive together; what is pending is laid
over by others. A stretch never changes: whoever has one in hand, in whichever thread, goes on with it when the cache has another.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import partial

from .budget import BUDGET, Budget

MAX_ROWS = 4096
MIN_LOAD_ROWS = 64
_ROW_OVERHEAD = 33 + 49 + 16  # headers of two objects, two list slots

Page = tuple[list[str], list[bytes]]
"""Names in ascending order, and the text of each."""

Load = Callable[[str, "str | None", int], Page]
"""load(low, high, count) -> up to `count` rows with low <= name < high."""


class Stretch:
    """All rows with low <= name < high (None: no bound)."""

    __slots__ = ("high", "low", "names", "size", "texts")

    def __init__(
        self, low: str, high: str | None, names: list[str], texts: list[bytes], size: int | None = None
    ) -> None:
        self.low = low
        self.high = high
        self.names = names
        self.texts = texts
        self.size = (
            sum(map(len, texts)) + sum(map(len, names)) + _ROW_OVERHEAD * len(names) + 200
            if size is None
            else size
        )

    def joined(self, after: Stretch) -> Stretch:
        """This and the stretch that follows it as one."""
        return Stretch(
            self.low, after.high, self.names + after.names, self.texts + after.texts, self.size + after.size
        )


class Stretches:
    """Disjoint stretches of one table in order, all of one state of the file; `close` when that has passed.

    Any thread may ask for pages; `keep` and `close` are for the thread of the budget.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = BUDGET if budget is None else budget
        self._kept: tuple[list[str], list[Stretch]] = (
            [],
            [],
        )  # lower bounds and stretches; replaced, never changed
        self._closed = False

    def page(
        self,
        low: str,
        high: str | None,
        count: int,
        load: Load | None = None,
        used: list[Stretch] | None = None,
        with_names: bool = True,
    ) -> tuple[Page, str | None] | None:
        """Up to `count` rows from `low` on, and where to go on (None: no rows are left below `high`).

        What isn't kept is loaded; without `load`, None is returned. `used` gets the stretches that were needed, for `keep`.
        `with_names`: without it the page's names are left out.
        """
        lows, stretches = self._kept
        names: list[str] = []
        texts: list[bytes] = []
        while True:
            room = count - len(texts)
            at = bisect_right(lows, low) - 1
            found = stretches[at] if at >= 0 else None
            if found is None or (found.high is not None and low >= found.high):
                if load is None:
                    return None
                limit = lows[at + 1] if at + 1 < len(lows) else None
                if high is not None and (limit is None or high < limit):
                    limit = high
                found = _loaded(low, limit, room, load)
            if used is not None:
                used.append(found)
            start = bisect_left(found.names, low) if low > found.low else 0
            end = len(found.names)
            last = found.high is None
            if high is not None and (last or high <= found.high):  # type: ignore[operator]
                end = bisect_left(found.names, high, start)
                last = True
            is_full = end - start >= room
            if is_full:
                end = start + room
            piece = found.texts[start:end]
            texts = texts + piece if texts else piece
            if with_names:
                names += found.names[start:end]
            if is_full:
                return (names, texts), found.names[end - 1] + "\0" if end > start else low
            if last:
                return (names, texts), None
            low = found.high  # type: ignore[assignment]

    def keep(self, used: list[Stretch]) -> None:
        """Note the use of stretches that are kept, and keep those that aren't."""
        if not self._closed:
            for stretch in used:
                self._keep(stretch)

    def _keep(self, stretch: Stretch) -> None:
        lows, stretches = self._kept
        at = bisect_right(lows, stretch.low)
        before = stretches[at - 1] if at else None
        after = stretches[at] if at < len(stretches) else None
        if before is not None and (before.high is None or before.high > stretch.low):
            self._budget.touch(before)  # it is itself, or others have loaded the same meanwhile
            return
        if after is not None and (stretch.high is None or stretch.high > after.low):
            return
        first, last = at, at
        if (
            before is not None
            and before.high == stretch.low
            and len(before.names) + len(stretch.names) <= MAX_ROWS
        ):
            stretch = before.joined(stretch)
            self._budget.remove(before)
            first -= 1
        elif (
            after is not None
            and after.low == stretch.high
            and len(after.names) + len(stretch.names) <= MAX_ROWS
        ):
            stretch = stretch.joined(after)
            self._budget.remove(after)
            last += 1
        self._replace(first, last, [stretch])
        self._budget.add(stretch, stretch.size, partial(self._drop, stretch))

    def _replace(self, first: int, last: int, new: list[Stretch]) -> None:
        lows, stretches = self._kept
        self._kept = (
            [*lows[:first], *[stretch.low for stretch in new], *lows[last:]],
            [*stretches[:first], *new, *stretches[last:]],
        )

    def _drop(self, stretch: Stretch) -> None:
        lows, stretches = self._kept
        at = bisect_left(lows, stretch.low)
        if at < len(stretches) and stretches[at] is stretch:
            self._replace(at, at + 1, [])

    def open(self) -> None:
        """The state has come back: keep again."""
        self._closed = False

    def close(self) -> None:
        """Give the memory back, and keep nothing any more."""
        self._closed = True
        _, stretches = self._kept
        self._kept = ([], [])
        for stretch in stretches:
            self._budget.remove(stretch)


def _loaded(low: str, high: str | None, count: int, load: Load) -> Stretch:
    """The rows from `low` up to `high`, but not many more than `count`."""
    count = max(count, MIN_LOAD_ROWS)
    names, texts = load(low, high, count)
    return Stretch(low, names[-1] + "\0" if len(names) >= count else high, names, texts)
