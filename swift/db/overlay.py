"""Pending rows laid over the stored ones of one listing. An overlay never changes; a new row makes a new one."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from typing import Any

_FEW = 8  # names that are sorted in one by one


class Overlay:
    """For a name the row that a listing shows instead of the stored one, or None where it shows none."""

    __slots__ = ("_texts", "names", "rows")

    def __init__(
        self, names: list[str], rows: dict[str, Any], texts: dict[str, bytes | None] | None = None
    ) -> None:
        self.names = names  # ascending
        self.rows = rows
        self._texts = {} if texts is None else texts  # what has been made of rows so far

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
        texts = self._texts.copy()
        for name in rows:
            texts.pop(name, None)
        return Overlay(names, {**self.rows, **rows}, texts)

    def texts(self, names: list[str], text: Callable[[Any], bytes]) -> dict[str, bytes | None]:
        """{name: text(row), None where there is no row}; always with the same `text`."""
        made = self._texts
        for name in names:
            if name not in made:
                row = self.rows[name]
                made[name] = None if row is None else text(row)
        return made


NOTHING = Overlay([], {})


def lay_over(names: list[str], rows: list[Any], changes: list[str], overlay: Mapping[str, Any]) -> None:
    """Lay `changes` (names in the stretch that the lists cover) over two parallel lists, in place."""
    at = 0
    for name in changes:
        row = overlay[name]
        at = bisect_left(names, name, at)
        if at < len(names) and names[at] == name:
            if row is None:
                del names[at], rows[at]
            else:
                rows[at] = row
        elif row is not None:
            names.insert(at, name)
            rows.insert(at, row)
