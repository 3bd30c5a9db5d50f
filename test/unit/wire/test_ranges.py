"""Range headers (spec proxy-and-backend.md 21.6, 31.7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.wire.ranges import Range, parse_range, ranges_for_length


def resolve(header, length):
    specs = parse_range(header)
    return "ignored" if specs is None else ranges_for_length(specs, length)


@pytest.mark.parametrize(
    ("header", "length", "expected"),
    [
        ("bytes=0-0", 10, [(0, 1)]),
        ("bytes=-5", 3, [(0, 3)]),
        ("bytes=5-", 5, []),
        ("bytes=-0", 10, []),
        ("bytes=9-9,8-8,7-7", 10, [(9, 10), (8, 9), (7, 8)]),
        ("bytes=7-7,6-6,5-5,4-4,3-3,2-2,1-1,0-0", 10, []),
        ("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7", 10, [(i, i + 1) for i in range(8)]),
        ("bytes=0-5,3-8,2-4", 10, []),
        ("bytes=0-5,3-8", 10, [(0, 6), (3, 9)]),
        ("bytes=0-100", 10, [(0, 10)]),
        ("bytes=0-0,20-30", 10, [(0, 1)]),
        ("bytes= 0 - 0 , 2-3", 10, [(0, 1), (2, 4)]),
        ("BYTES=0-0", 10, [(0, 1)]),
        (" Bytes\t=0-0", 10, [(0, 1)]),
        ("lines=0-0", 10, "ignored"),
        ("bytes", 10, "ignored"),
        ("bytes=0-", 0, []),
        ("bytes=-5", 0, None),
        ("bytes=-5,0-1", 0, None),
        ("bytes=" + ",".join(f"{i}-{i}" for i in range(51)), 100, []),
        ("bytes=" + ",".join(f"{i}-{i}" for i in range(50)), 100, [(i, i + 1) for i in range(50)]),
        *[
            (header, 10, "ignored")
            for header in (
                "bytes=",
                "bytes=-",
                "bytes=5-3",
                "bytes=a-b",
                "octets=1-2",
                "bytes=1",
                "bytes=--1",
                "bytes=1-2,x",
                "bytes=1-2-3",
                "bytes=+1-2",
                "bytes=\xb2-3",
                "bytes=1_0-20",
                "bytes=1-" + "9" * 100,
                "",
                None,
            )
        ],
    ],
)
def test_table(header, length, expected):
    assert resolve(header, length) == expected


@given(
    st.lists(st.tuples(st.none() | st.integers(0, 30), st.none() | st.integers(0, 30)), max_size=60),
    st.integers(0, 25),
)
def test_resolved_ranges_lie_inside(specs, length):
    text = "bytes=" + ",".join(f"{'' if a is None else a}-{'' if b is None else b}" for a, b in specs)
    bad = not specs or any(a is b is None or None not in (a, b) and b < a for a, b in specs)
    parsed = parse_range(text)
    assert (parsed is None) == bad
    if parsed is None:
        return
    assert parsed == specs and str(Range(text)) == text
    found = ranges_for_length(parsed, length)
    if found is None:
        assert length == 0
        return
    assert all(0 <= start < stop <= length for start, stop in found)
    assert len(found) <= 50


@given(st.text(max_size=40))
def test_any_text(text):
    """Ignored as a whole, or read to the last character."""
    for header in (text, "bytes=" + text):
        specs = parse_range(header)
        if specs is not None:
            texts = header.partition("=")[2].replace(" ", "").replace("\t", "").split(",")
            assert specs == [tuple(int(end) if end else None for end in text.split("-")) for text in texts]
            assert all(b is None or a is None or a <= b for a, b in specs)


def test_range_object():
    with pytest.raises(ValueError, match="Invalid Range"):
        Range("bytes=x")
    assert Range("bytes=1-").ranges_for_length(None) is None
