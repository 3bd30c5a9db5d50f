"""Listings of accounts and containers: what is asked for, in which bounds, and the walk that finds it (database.md 9).

Lives here: the parameters, the order, prefixes, delimiters, paths. Never here: SQL, caches, the text of a listing. Names are
native text; their code point order is the UTF-8 byte order of the files.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from swift.core.config import truthy
from swift.core.constraints import listing_limit
from swift.core.errors import BadRequest

LAST_CHARACTER = "\U0010ffff"

Row = Sequence[Any]
"""A row whose first item is its name; a subdir is a row of one item."""

Fetch = Callable[[str, "str | None", bool, int], "tuple[list[Row], str | None]"]
"""fetch(low, high, reverse, count) -> (about `count` rows with low <= name < high, bound where to go on or None at the end)."""


def query_params(query: str, wanted: frozenset[str]) -> dict[str, str]:
    """The wanted parameters of a query string as native text, the last of a name. Raises BadRequest for what isn't UTF-8."""
    found: dict[str, str] = {}
    if not query:
        return found
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name not in wanted:
            if "%" not in name:
                continue
            name = unquote_to_bytes(name).decode("latin-1")
            if name not in wanted:
                continue
        if "+" in value:
            value = value.replace("+", " ")
        if "%" in value or not value.isascii():
            try:
                value = unquote_to_bytes(value.encode("latin-1")).decode()
            except ValueError:
                raise BadRequest(f'"{name}" parameter not valid UTF-8') from None
        found[name] = value
    return found


class Listing:
    """What a GET asks for. `marker` and `end_marker` are as the client gave them, not swapped for `reverse`."""

    __slots__ = (
        "allow_reserved",
        "delimiter",
        "end_marker",
        "limit",
        "marker",
        "path",
        "prefix",
        "reverse",
    )

    def __init__(
        self,
        limit: int = 10000,
        marker: str = "",
        end_marker: str = "",
        prefix: str = "",
        delimiter: str = "",
        path: str | None = None,
        reverse: bool = False,
        allow_reserved: bool = False,
    ) -> None:
        self.limit = limit
        self.marker = marker or ""
        self.end_marker = end_marker or ""
        self.prefix = prefix or ""
        self.delimiter = delimiter or ""
        self.path = path
        self.reverse = reverse
        self.allow_reserved = allow_reserved
        if path is not None:
            self.delimiter = "/"
            self.prefix = path.rstrip("/") + "/" if path else ""

    @classmethod
    def from_params(cls, params: dict[str, str], maximum: int, allow_reserved: bool, paths: bool) -> Listing:
        """From query parameters. Raises PreconditionFailed for a limit above `maximum`."""
        get = params.get
        return cls(
            listing_limit(get("limit"), maximum),
            get("marker", ""),
            get("end_marker", ""),
            get("prefix", ""),
            get("delimiter", ""),
            get("path") if paths else None,
            truthy(get("reverse")),
            allow_reserved,
        )

    def key(self) -> tuple[Any, ...]:
        """What tells this listing from another of the same database."""
        return (
            self.limit,
            self.marker,
            self.end_marker,
            self.prefix,
            self.delimiter,
            self.path,
            self.reverse,
            self.allow_reserved,
        )

    @property
    def flat(self) -> bool:
        """Returns True if it is nothing but rows between two bounds, in ascending order."""
        return not self.delimiter and not self.reverse

    def bounds(self) -> tuple[str, str | None]:
        """(first name, name behind the last or None) of all names that may be looked at."""
        above, below = (self.end_marker, self.marker) if self.reverse else (self.marker, self.end_marker)
        low = above + "\0" if above else ""
        if self.prefix > low:
            low = self.prefix
        if not self.allow_reserved and low < "\x01":
            low = "\x01"
        high = below or None
        if self.prefix:
            end = behind_prefix(self.prefix)
            if end is not None and (high is None or end < high):
                high = end
        return low, high


def behind_prefix(prefix: str) -> str | None:
    """The first text in order after all that start with `prefix`; None if there is none."""
    head = prefix.rstrip(LAST_CHARACTER)
    if not head:
        return None
    code = ord(head[-1]) + 1
    if 0xD800 <= code <= 0xDFFF:  # no text holds surrogates
        code = 0xE000
    return head[:-1] + chr(code)


def walk(listing: Listing, fetch: Fetch) -> list[Row]:
    """The rows and subdirs of a listing, in its order."""
    low, high = listing.bounds()
    if listing.limit <= 0 or (high is not None and low >= high):
        return []
    if not listing.delimiter:
        return _walk_rows(listing, fetch, low, high)
    return _Delimited(listing, fetch, low, high).walk()


def _walk_rows(listing: Listing, fetch: Fetch, low: str, high: str | None) -> list[Row]:
    found: list[Row] = []
    while len(found) < listing.limit:
        rows, bound = fetch(low, high, listing.reverse, listing.limit - len(found))
        found += rows
        if bound is None:
            break
        if listing.reverse:
            high = bound
        else:
            low = bound
    return found[: listing.limit]


class _Delimited:
    """The walk with a delimiter: reads ahead where rows are wanted, jumps where a subdir hides many."""

    def __init__(self, listing: Listing, fetch: Fetch, low: str, high: str | None) -> None:
        self.listing = listing
        self.fetch = fetch
        self.low = low
        self.high = high
        self.reverse = listing.reverse
        self.found: list[Row] = []
        self.skip_from = len(listing.prefix)
        # a subdir that the lower marker names has been listed before
        self.lower_marker = listing.end_marker if listing.reverse else listing.marker
        marker = "" if listing.reverse or listing.path is not None else self.lower_marker
        if marker and marker.startswith(listing.prefix) and self._subdir(marker) == marker:
            self._go_behind(marker)

    def _subdir(self, name: str) -> str | None:
        delimiter = self.listing.delimiter
        at = name.find(delimiter, self.skip_from)
        return None if at < 0 else name[: at + len(delimiter)]

    def _go_behind(self, subdir: str) -> bool:
        """Move the bounds past all names below a subdir; whether any are left."""
        if self.reverse:
            self.high = subdir
            if self.listing.path is not None:
                self.high += "\0"  # the directory's own row is still to come
        else:
            behind = behind_prefix(subdir)
            if behind is None:
                return False
            self.low = max(self.low, behind)
        return self.high is None or self.low < self.high

    def walk(self) -> list[Row]:
        limit = self.listing.limit
        count = min(limit + 1, 100)
        if self.high is not None and self.low >= self.high:
            return self.found
        while len(self.found) < limit:
            rows, bound = self.fetch(self.low, self.high, self.reverse, count)
            before = len(self.found)
            inside = self._take(rows)
            if len(self.found) >= limit or bound is None:
                break
            if inside is None:
                if self.reverse:
                    self.high = bound
                else:
                    self.low = bound
                if self.high is not None and self.low >= self.high:
                    break
            elif not self._go_behind(inside):
                break
            gained = len(self.found) - before
            count = max(4, count // 4) if gained * 8 < len(rows) else min(count * 2, 1000)
        return self.found[:limit]

    def _take(self, rows: list[Row]) -> str | None:
        """Work through rows as fetched; the subdir below which they end, if they do."""
        found, limit = self.found, self.listing.limit
        by_path = self.listing.path is not None
        at, end = 0, len(rows)
        while at < end and len(found) < limit:
            row = rows[at]
            name: str = row[0]
            subdir = self._subdir(name)
            if subdir is None:
                if not by_path or name != self.listing.prefix:
                    found.append(row)
                at += 1
                continue
            if by_path:
                if name == subdir:
                    found.append(row)
            elif subdir != self.lower_marker:
                found.append((subdir,))
            at = self._behind(rows, at + 1, subdir)
            if at == end:
                return subdir if not (self.reverse and by_path and name == subdir) else None
        return None

    def _behind(self, rows: list[Row], at: int, subdir: str) -> int:
        """The index of the first row from `at` on that is not below `subdir`."""
        end = len(rows)
        if at < end and not self._is_below(rows[at][0], subdir):
            return at
        if self.reverse:
            while at < end and self._is_below(rows[at][0], subdir):
                at += 1
            return at
        behind = behind_prefix(subdir)
        return end if behind is None else bisect_left(rows, behind, at, key=_name)

    def _is_below(self, name: str, subdir: str) -> bool:
        if self.reverse and self.listing.path is not None and name == subdir:
            return False
        return name.startswith(subdir)


def _name(row: Row) -> str:
    name: str = row[0]
    return name
