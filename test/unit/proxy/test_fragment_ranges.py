"""Ranges of an object and of its fragment archives."""

from hypothesis import given
from hypothesis import strategies as st

from swift.coding.fragments import Codec
from swift.core.segments import segment_length
from swift.proxy.fragment_ranges import archive_bounds, archive_range, segments_of
from swift.wire.ranges import parse_range, ranges_for_length

CODEC = Codec("liberasurecode_rs_vand", 4, 2)

numbers = st.integers(0, 5000)
specs = st.one_of(
    st.tuples(numbers, st.none()),
    st.tuples(st.none(), st.integers(1, 5000)),
    st.tuples(numbers, numbers).map(sorted).map(tuple),
)


def test_examples_of_the_specification():
    """Segments of 65536 bytes in 2+1, fragments of 32848."""
    assert archive_range((65530, 65545), 65536, 32848) == "0-65695"
    assert archive_range((None, 10), 65536, 32848) == "-65696"
    assert archive_range((65536, None), 65536, 32848) == "32848-"


@given(specs, st.integers(0, 4000), st.integers(1, 700))
def test_an_archive_range_covers_the_segments_of_the_range(spec, length, size):
    """Whatever is satisfiable of the object, its fragments are among what is asked of an archive."""
    fragment = CODEC.fragment_size(size)
    archive = CODEC.archive_size(length, size)
    wanted = ranges_for_length([spec], length)
    asked = ranges_for_length(parse_range(f"bytes={archive_range(spec, size, fragment)}"), archive)
    if not wanted:
        return
    start, stop = wanted[0]
    segments = segments_of(start, stop, size)
    assert segments.first * size <= start and stop <= (segments.last + 1) * size
    first, end = asked[0]
    assert first <= segments.first * fragment
    last_fragment = CODEC.fragment_size(segment_length(segments.last, length, size))
    assert end >= segments.last * fragment + last_fragment
    if spec[0] is not None:
        assert first == segments.first * fragment  # nothing is read that nobody needs
    else:
        assert segments.first * fragment - first < 2 * fragment


@given(st.integers(1, 4000), st.integers(1, 700))
def test_segments_make_up_the_object(length, size):
    count = -(-length // size)
    assert sum(segment_length(number, length, size) for number in range(count)) == length


def test_bounds():
    assert archive_bounds(2, 4, 100) == "200-499"
