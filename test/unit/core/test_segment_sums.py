"""Checksums of segments: kept, bound to their object, and left out where they don't fit or are not worth it."""

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core.segment_sums import MAX_SUMS, SEGMENT_SUMS, SMALLEST, SegmentSummer, SegmentSums

ETAG = "0123456789abcdef" * 2


def footer_of(segments):
    summer = SegmentSummer()
    for segment in segments:
        summer.take(segment)
    return summer.footer(ETAG)


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=2, max_size=MAX_SUMS + 20))
def test_what_is_kept_is_what_is_read(segments):
    sums = SegmentSums.parse(footer_of(segments)[SEGMENT_SUMS], ETAG, len(segments))
    for number, segment in enumerate(segments):
        assert sums.of(number) == (crc32(segment) if number < MAX_SUMS else None)


def test_small_objects_have_none():
    assert footer_of([b"x" * (SMALLEST - 1)]) == footer_of([]) == {}
    assert footer_of([b"x" * SMALLEST]) != {}


@pytest.mark.parametrize("change", ["etag", "count", "base64", "nothing", "text"])
def test_what_is_about_another_object_says_nothing(change):
    value = footer_of([b"a", b"b"])[SEGMENT_SUMS]
    etag, count = ETAG, 2
    if change == "etag":
        etag = "f" * 32
    elif change == "count":
        count = 3
    elif change == "base64":
        value += "!"
    elif change == "nothing":
        value = None
    else:
        value = "x"
    assert SegmentSums.parse(value, etag, count) is None
