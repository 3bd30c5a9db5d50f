"""The Range header: its syntax, and which bytes it means for a given length. Spec: proxy-and-backend.md 21.6, 31.7."""

import re

MAX_RANGES = 50
MAX_OVERLAPPING_PAIRS = 2
MAX_NONASCENDING_RANGES = 8

_SPEC = re.compile(r"([0-9]*)-([0-9]*)\Z", re.ASCII)
# A number of more digits than any length has cannot change the meaning and would only cost time.
_MAX_DIGITS = 40

_CONTENT_RANGE = re.compile(r"bytes (\d{1,20})-(\d{1,20})/(\d{1,20})")

RangeSpec = tuple[int | None, int | None]


def parse_range(header: str | None) -> list[RangeSpec] | None:
    """[(first, last), …] of a Range header, both ends inclusive; (first, None) is `a-`, (None, n) is `-n`.

    None when there is no header or any part of it is malformed: it is to be ignored as a whole.
    """
    if not header:
        return None
    unit, _, ranges = header.partition("=")
    if unit.strip(" \t").lower() != "bytes":
        return None
    specs: list[RangeSpec] = []
    for text in ranges.replace(" ", "").replace("\t", "").split(","):
        match = _SPEC.match(text)
        if match is None or len(text) > _MAX_DIGITS:
            return None
        first, last = match.groups()
        if first and last:
            if int(last) < int(first):
                return None
            specs.append((int(first), int(last)))
        elif first:
            specs.append((int(first), None))
        elif last:
            specs.append((None, int(last)))
        else:
            return None
    return specs


def parse_content_range(value: str | None) -> tuple[int, int, int] | None:
    """(first, last, length of the whole object) of a Content-Range header; None for anything else."""
    match = _CONTENT_RANGE.fullmatch(value or "")
    if match is None:
        return None
    first, last, length = map(int, match.groups())
    return (first, last, length) if first <= last < length else None


def ranges_for_length(specs: list[RangeSpec], length: int) -> list[tuple[int, int]] | None:
    """[(start, stop), …] with stop exclusive, in request order, for an entity of length bytes.

    [] means 416: nothing satisfiable, or an abusive set. None means that the whole (empty) entity is the answer (200).
    """
    found: list[tuple[int, int]] = []
    for first, last in specs:
        if first is None:
            if last:
                if length == 0:
                    return None
                found.append((max(length - last, 0), length))
        elif first < length:
            found.append((first, length if last is None else min(last + 1, length)))
    return [] if _abusive(found) else found


def _abusive(ranges: list[tuple[int, int]]) -> bool:
    count = len(ranges)
    if count < 2:
        return False
    if count > MAX_RANGES:
        return True
    if count >= MAX_NONASCENDING_RANGES and any(ranges[i][0] > ranges[i + 1][0] for i in range(count - 1)):
        return True
    overlaps = 0
    for i, (start, stop) in enumerate(ranges):
        for other_start, other_stop in ranges[i + 1 :]:
            if start < other_stop and other_start < stop:
                overlaps += 1
    return overlaps > MAX_OVERLAPPING_PAIRS


class Range:
    """A parsed Range header. `ranges` is the list of parse_range; ValueError when it is malformed."""

    __slots__ = ("ranges",)

    def __init__(self, header: str) -> None:
        specs = parse_range(header)
        if specs is None:
            raise ValueError(f"Invalid Range header: {header[:128]}")
        self.ranges = specs

    def __str__(self) -> str:
        parts = (f"{'' if a is None else a}-{'' if b is None else b}" for a, b in self.ranges)
        return "bytes=" + ",".join(parts)

    def ranges_for_length(self, length: int | None) -> list[tuple[int, int]] | None:
        return None if length is None else ranges_for_length(self.ranges, length)
