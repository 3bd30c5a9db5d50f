"""Which fragments of a segment are right, when some of them are not: found by trying. Blocks for as long as that takes.

Nothing is fetched here; whoever calls it has all that there is, and other threads to go on in.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from swift.coding.fragments import HEADER, Codec, FragmentError

MAX_TRIES = 2000  # sets of fragments


class Known(Protocol):
    """An object of which it is known what its segments must be."""

    codec: Codec

    def is_right(self, number: int, pieces: Sequence[bytes]) -> bool:
        """False if a segment is wrong."""


def first_right(
    whole: Known, number: int, fragments: Mapping[int, bytes], newest: int
) -> tuple[bytes | None, Sequence[int]]:
    """(a segment that is what it must be, the indexes that made it), of sets with the `newest` fragment; (None, ())."""
    others = [index for index in fragments if index != newest]
    for indexes in _tries(others, whole.codec.data - 1):
        chosen = (*indexes, newest)
        try:
            segment = whole.codec.decode([fragments[index] for index in chosen])
        except FragmentError:
            continue
        if whole.is_right(number, [segment]):
            return segment, chosen
    return None, ()


def says(codec: Codec, fragments: Sequence[bytes], index: int, fragment: bytes) -> bool:
    """True if `fragment`, with that index, is what the others make of it."""
    try:
        return _is_same(codec.rebuild(fragments, index), fragment)
    except FragmentError:
        return False


def _is_same(one: bytes, other: bytes) -> bool:
    """By what they hold: headers name the version of the library that wrote them."""
    return memoryview(one)[HEADER:] == memoryview(other)[HEADER:]


def agreeing(codec: Codec, length: int, fragments: Mapping[int, bytes]) -> tuple[bytes | None, Sequence[int]]:
    """(the segment of `length` bytes that more than the needed fragments say, the indexes of these); (None, ()) if there is none."""
    for indexes in _tries(list(fragments), codec.data):
        try:
            segment = codec.decode([fragments[index] for index in indexes])
        except FragmentError:
            continue
        if len(segment) != length:
            continue
        made = codec.encode(segment)
        same = [index for index, fragment in fragments.items() if _is_same(made[index], fragment)]
        if len(same) > codec.data:
            return segment, same
    return None, ()


def _tries(indexes: Sequence[int], count: int) -> Iterator[tuple[int, ...]]:
    return itertools.islice(itertools.combinations(indexes, count), MAX_TRIES)
