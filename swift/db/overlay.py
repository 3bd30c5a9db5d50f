"""Pending rows laid over the stored ones of one listing. An overlay never changes; a new row makes a new one."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from typing import Any

_FEW = 8  # names that are sorted in one by one


class Overlay:
    """The rows of a table that are others than the stored ones, by name; deleted ones too."""

    __slots__ = ("_texts", "names", "rows")

    def __init__(
        self,
        names: list[str],
        rows: dict[str, Any],
        texts: dict[str, tuple[Any, bytes | None]] | None = None,
    ) -> None:
        self.names = names  # ascending
        self.rows = rows
        # (row, text made of it), shared with the overlays that this one is made of and that are made of it
        self._texts = {} if texts is None else texts

    def between(self, low: str, high: str | None) -> list[str]:
        """The overlaid names with low <= name < high."""
        names = self.names
        return names[bisect_left(names, low) : None if high is None else bisect_left(names, high)]

    def with_rows(self, rows: Mapping[str, Any]) -> Overlay:
        """This overlay with more rows, or others for its names."""
        new = [name for name in rows if name not in self.rows]
        names = self.names
        if new:
            names = names.copy()
            if len(new) > _FEW:
                names += new
                names.sort()
            else:
                for name in new:
                    insort(names, name)
        return Overlay(names, {**self.rows, **rows}, self._texts if self.names else None)

    def texts(self, names: list[str], text: Callable[[Any], bytes | None]) -> dict[str, bytes | None]:
        """{name: text(row)}; always with the same `text`."""
        found = {}
        rows, made = self.rows, self._texts
        for name in names:
            row = rows[name]
            known = made.get(name)
            if known is None or known[0] is not row:
                known = made[name] = (row, text(row))
            found[name] = known[1]
        return found


NOTHING = Overlay([], {})


def lay_over(names: list[str], rows: list[Any], changes: Mapping[str, Any]) -> None:
    """Lay `changes` (of names in the stretch that the lists cover, in order; None: nothing there) over two parallel lists, in place."""
    at = 0
    for name, row in changes.items():
        at = bisect_left(names, name, at)
        if at < len(names) and names[at] == name:
            if row is None:
                del names[at], rows[at]
            else:
                rows[at] = row
        elif row is not None:
            names.insert(at, name)
            rows.insert(at, row)
