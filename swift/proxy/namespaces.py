"""Namespaces: which container lists, or takes, which names of a container in shards (spec proxy 9.8).

Values and pure functions; names are native text. Who is asked for them and where they are remembered is `shard_directory`'s
business, what is made of them `shard_listing`'s.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson


class Namespace(NamedTuple):
    """The names with lower < name <= upper ('': unbounded), and the `account/container` that has them."""

    lower: str
    upper: str
    path: str

    @property
    def end_marker(self) -> str:
        """What ends a forward listing behind the last of these names."""
        return f"{self.upper}\0" if self.upper else ""

    def holds(self, name: str) -> bool:
        """Returns True if the name is one of these; '' is none."""
        return self.lower < name and (not self.upper or name <= self.upper)

    def may_start_with(self, prefix: str) -> bool:
        """Returns False if no name of these begins with the prefix."""
        if self.upper and self.upper < prefix:
            return False
        return self.lower < prefix or self.lower.startswith(prefix)


def parse(body: bytes) -> list[Namespace]:
    """Namespaces, or whole shard ranges, as a container server lists them, in its order. Raises ValueError."""
    document = orjson.loads(body)
    if not isinstance(document, list):
        raise ValueError("not a list")
    return [_namespace(item) for item in document]


def _namespace(item: Any) -> Namespace:
    if not isinstance(item, dict):
        raise ValueError("not an object")
    lower, upper, path = item.get("lower"), item.get("upper"), item.get("name")
    if not (isinstance(lower, str) and isinstance(upper, str)):
        raise ValueError("no bounds")
    return Namespace(lower, upper, _path(path))


def _path(path: Any) -> str:
    if not isinstance(path, str):
        raise ValueError("no name")
    account, _, container = path.partition("/")
    if not account or not container or "/" in container:
        raise ValueError(f"not an account/container: {path[:200]!r}")
    path.encode()  # no lone surrogates
    return path


class BoundList:
    """Namespaces one behind the other, each up to where the next one begins: the form that caches hold.

    What overlaps the one before is left out, and the one before a gap takes its names.
    """

    __slots__ = ("lowers", "paths")

    def __init__(self, lowers: Sequence[str], paths: Sequence[str]) -> None:
        self.lowers = lowers
        self.paths = paths

    def __len__(self) -> int:
        return len(self.lowers)

    @classmethod
    def of(cls, namespaces: Iterable[Namespace]) -> BoundList:
        """The form of namespaces in the order in which servers list them."""
        lowers: list[str] = []
        paths: list[str] = []
        end: str | None = None
        for item in namespaces:
            if end is not None and (not end or item.lower < end):
                continue
            lowers.append(item.lower)
            paths.append(item.path)
            end = item.upper
        return cls(lowers, paths)

    @classmethod
    def of_cache(cls, stored: Any) -> BoundList:
        """From [[lower, path], ...]. Raises ValueError."""
        if not isinstance(stored, list) or not stored:
            raise ValueError("no list")
        lowers: list[str] = []
        paths: list[str] = []
        for entry in stored:
            if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str):
                raise ValueError("no pair")
            if lowers and entry[0] <= lowers[-1]:
                raise ValueError("not in order")
            lowers.append(entry[0])
            paths.append(_path(entry[1]))
        return cls(lowers, paths)

    def for_cache(self) -> list[list[str]]:
        """[[lower, path], ...]."""
        return [list(pair) for pair in zip(self.lowers, self.paths, strict=True)]

    def path_of(self, name: str) -> str | None:
        """The container that has a name; None below the first bound."""
        at = bisect_left(self.lowers, name) - 1
        return self.paths[at] if at >= 0 else None

    def at(self, number: int) -> Namespace:
        """One of them, counted from 0; the last one is unbounded."""
        lowers = self.lowers
        return Namespace(
            lowers[number], lowers[number + 1] if number + 1 < len(lowers) else "", self.paths[number]
        )

    def namespaces(self) -> list[Namespace]:
        """The same as namespaces."""
        return [self.at(number) for number in range(len(self.lowers))]

    def between(self, marker: str = "", end_marker: str = "", reverse: bool = False) -> Sequence[Namespace]:
        """Those that a listing between two markers needs, in its order, as `select`; each is made when somebody asks for it."""
        if reverse:
            marker, end_marker = end_marker, marker
        start = max(bisect_right(self.lowers, marker) - 1, 0) if marker else 0
        stop = bisect_left(self.lowers, end_marker) if end_marker else len(self.lowers)
        if marker and end_marker and marker >= end_marker:
            stop = start
        return _Part(self, range(start, max(start, stop))[:: -1 if reverse else 1])


class _Part(Sequence[Namespace]):
    """Of a container's thousands of shards a listing seldom needs more than some."""

    __slots__ = ("_bounds", "_numbers")

    def __init__(self, bounds: BoundList, numbers: range) -> None:
        self._bounds = bounds
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return _Part(self._bounds, self._numbers[at])
        return self._bounds.at(self._numbers[at])


def arranged(namespaces: Sequence[Namespace], reverse: bool = False) -> list[Namespace]:
    """Namespaces as servers list them, cut such that none has names of another; forward, or if `reverse`, backward as they came.

    Of several that have a name the first one counts: a shard that is being merged comes before the one that takes its rows. Where that one
    has names before others that are being merged, too, it stands there a second time.
    """
    items = namespaces[::-1] if reverse else namespaces
    lowest = [""] * len(items)  # of all lower bounds behind
    for at in range(len(items) - 2, -1, -1):
        behind = items[at + 1].lower
        lowest[at] = behind if at == len(items) - 2 else min(behind, lowest[at + 1])
    pieces: list[Namespace] = []
    reached = ""
    for at, item in enumerate(items):
        if reached and item.upper and item.upper <= reached:
            continue
        if item.lower > reached and at < len(items) - 1 and lowest[at] < item.lower:
            rest = items[at + 1 :]
            other = next((o for o in rest if o.lower <= reached), None) or min(rest, key=lambda o: o.lower)
            pieces.append(Namespace(max(other.lower, reached), item.lower, other.path))
            reached = item.lower
        pieces.append(Namespace(max(item.lower, reached), item.upper, item.path))
        reached = item.upper
        if not reached:
            break
    return pieces[::-1] if reverse else pieces


def select(
    namespaces: Iterable[Namespace], marker: str = "", end_marker: str = "", reverse: bool = False
) -> list[Namespace]:
    """Of namespaces in order those that a listing between two markers needs, in its order (spec database 11.4)."""
    if reverse:
        marker, end_marker = end_marker, marker
    if marker and end_marker and marker >= end_marker:
        return []
    chosen = [
        item
        for item in namespaces
        if (not marker or not item.upper or item.upper > marker)
        and (not end_marker or item.lower < end_marker)
    ]
    if reverse:
        chosen.reverse()
    return chosen
