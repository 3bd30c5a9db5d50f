"""Ranges of an object that is kept in fragments: which segments they lie in, and where those are in each archive (spec proxy 14.8).

Pure arithmetic. Bytes and offsets of the object, of segments and of fragment archives are never mixed in one name.
"""

from __future__ import annotations

from typing import NamedTuple

from swift.wire.ranges import RangeSpec


class Segments(NamedTuple):
    """The segments `first`..`last` (inclusive) of an object, of which the bytes `start` up to `stop` of the object are wanted."""

    first: int
    last: int
    start: int
    stop: int


def segments_of(start: int, stop: int, segment_size: int) -> Segments:
    """Where the bytes from `start` up to `stop` lie; at least one byte."""
    return Segments(start // segment_size, (stop - 1) // segment_size, start, stop)


def archive_range(spec: RangeSpec, segment_size: int, fragment_size: int) -> str:
    """What to ask of a fragment archive for one range of the object, whose length nobody knows yet; without the unit.

    It covers all fragments of the segments that the range touches, and for a suffix perhaps a part of one before them.
    """
    first, last = spec
    if first is None:
        count = -(-(last or 0) // segment_size) + 1
        return f"-{count * fragment_size}"
    start = first // segment_size * fragment_size
    if last is None:
        return f"{start}-"
    return f"{start}-{(last // segment_size + 1) * fragment_size - 1}"


def archive_bounds(first: int, last: int, fragment_size: int) -> str:
    """What to ask for the fragments of the segments `first`..`last`; without the unit. The last one may be shorter than it says."""
    return f"{first * fragment_size}-{(last + 1) * fragment_size - 1}"
