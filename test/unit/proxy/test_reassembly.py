"""Segments out of fragments that come from sources which die, lie, or send what has rotted."""

import hashlib
import itertools
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.coding.fragments import Codec, FragmentError
from swift.core.segment_sums import SEGMENT_SUMS, SegmentSummer, SegmentSums
from swift.core.segments import Whole
from swift.proxy.erasure_get import SegmentsBody
from swift.proxy.fragment_buckets import FragmentSource
from swift.proxy.fragment_ranges import segments_of
from swift.proxy.reassembly import SegmentReader
from swift.proxy.relay import BodyBroken
from swift.wire.client import BackendError

CODEC = Codec("liberasurecode_rs_vand", 4, 2)
SEGMENT = 200
FRAGMENT = CODEC.fragment_size(SEGMENT)


class Response:
    """As much of a backend's answer as is read: an archive from an offset on, in odd pieces, that may break off."""

    def __init__(self, archive, start, breaks_at=None, piece=77):
        self.piece = piece
        self.data = archive[start:]
        self.left = len(self.data) if breaks_at is None else max(breaks_at - start, 0)
        self.breaks = breaks_at is not None
        self.range = f"bytes {start}-{len(archive) - 1}/{len(archive)}" if start < len(archive) else None
        self.ended = Counter()

    def get(self, name):
        return self.range if name == "content-range" else None

    def set_timeout(self, seconds):
        pass

    def read_into(self, view):
        if self.breaks and not self.left:
            raise BackendError("broke off")
        count = min(len(view), self.piece, self.left, len(self.data))
        view[:count] = self.data[:count]
        self.data = self.data[count:]
        self.left -= count
        return count

    @property
    def remaining(self):
        return len(self.data)

    def release(self):
        self.ended["released"] += 1

    def close(self):
        self.ended["closed"] += 1


class Object:
    """An object of `length` bytes whose fragments are to be had from six sources. `scale`: how many times longer its segments are."""

    def __init__(self, length, with_sums=True, scale=1, codec=CODEC):
        self.codec = codec
        self.scale = scale
        self.segment = size = SEGMENT * scale
        self.fragment = codec.fragment_size(size)
        self.body = random.Random(length).randbytes(length)
        self.archives = [b""] * codec.total
        summer = SegmentSummer()
        for start in range(0, length, size):
            segment = self.body[start : start + size]
            summer.take(segment)
            self.archives = [a + f for a, f in zip(self.archives, codec.encode(segment), strict=True)]
        etag = hashlib.md5(self.body).hexdigest()
        value = summer.footer(etag).get(SEGMENT_SUMS) if with_sums else None
        self.whole = Whole(codec, size, length, etag, SegmentSums.parse(value, etag, -(-length // size)))
        self.breaks = {}
        self.failures = Counter()
        self.broken = []
        self.sources = []

    def flip(self, index, at):
        archive = bytearray(self.archives[index])
        archive[at] ^= 0x10
        self.archives[index] = bytes(archive)

    def source(self, index, segment):
        response = Response(
            self.archives[index], segment * self.fragment, self.breaks.pop(index, None), 77 * self.scale
        )
        source = FragmentSource({"id": index}, response, "1", index)
        self.sources.append(source)
        return source

    def replace(self, number, in_use, failed):
        if failed is not None:
            self.failures[failed.index] += 1
        for index in sorted(range(self.codec.total), key=lambda index: self.failures[index]):
            if index not in in_use and self.failures[index] < 2:
                return self.source(index, number)
        return None

    def read(self, start, stop, first=(0, 1, 2, 3)):
        segments = segments_of(start, stop, self.segment)
        sources = [self.source(index, segments.first) for index in first]
        reader = SegmentReader(
            self.whole,
            sources,
            segments.first,
            segments.last,
            1.0,
            self.replace,
            lambda source, error: self.broken.append(source.index),
        )
        return b"".join(SegmentsBody(reader, segments))


# bytes, and how many times longer the segments are: short ones are decoded by the library, long ones by what was learned of it
LENGTHS = st.integers(1, 2000).map(lambda length: (length, 1)) | st.integers(1, 2000).map(
    lambda length: (40 * length - length % 40, 40)
)


@settings(deadline=None)
@given(LENGTHS, st.data())
def test_any_range_of_any_four(length, data):
    length, scale = length
    thing = Object(length, scale=scale)
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    chosen = data.draw(st.sets(st.integers(0, 5), min_size=4, max_size=4))
    assert thing.read(start, stop, chosen) == thing.body[start:stop]
    assert all(sum(source.response.ended.values()) == 1 for source in thing.sources)


@settings(deadline=None)
@given(LENGTHS, st.data())
def test_up_to_two_archives_with_flipped_bits(length, data):
    """Whichever bytes they are: headers or payload, of data or parity."""
    length, scale = length
    thing = Object(length, scale=scale)
    for index in data.draw(st.sets(st.integers(0, 5), min_size=1, max_size=2)):
        thing.flip(index, data.draw(st.integers(0, len(thing.archives[index]) - 1)))
    chosen = data.draw(st.sets(st.integers(0, 5), min_size=4, max_size=4))
    assert thing.read(0, length, chosen) == thing.body
    assert all(sum(source.response.ended.values()) == 1 for source in thing.sources)


@settings(deadline=None)
@given(LENGTHS, st.data())
def test_sources_that_break_off(length, data):
    length, scale = length
    thing = Object(length, scale=scale)
    size = len(thing.archives[0])
    for index in data.draw(st.sets(st.integers(0, 5), max_size=2)):
        thing.breaks[index] = data.draw(st.integers(0, size - 1))
    assert thing.read(0, length) == thing.body


def test_three_rotten_fragments_are_too_many():
    thing = Object(1000)
    for index in (0, 2, 5):
        thing.flip(index, FRAGMENT + 100)
    got = b""
    with pytest.raises(BodyBroken):
        got = thing.read(0, 1000)
    assert got == b""


def test_no_damaged_byte_is_served_before_it_breaks():
    thing = Object(1000)
    for index in (0, 2, 5):
        thing.flip(index, 2 * FRAGMENT + 100)
    segments = segments_of(0, 1000, SEGMENT)
    reader = SegmentReader(
        thing.whole,
        [thing.source(i, 0) for i in range(4)],
        0,
        4,
        1.0,
        thing.replace,
        lambda source, error: None,
    )
    got = []
    with pytest.raises(BodyBroken):
        for piece in SegmentsBody(reader, segments):
            got.append(piece)
    assert b"".join(got) == thing.body[: 2 * SEGMENT]
    assert all(sum(source.response.ended.values()) == 1 for source in thing.sources)


def test_whoever_sent_the_bad_one_is_named_and_asked_no_more():
    thing = Object(1000)
    thing.flip(1, 100)
    assert thing.read(0, 1000) == thing.body
    assert thing.broken == [1]


def test_a_small_object_is_checked_by_its_md5():
    thing = Object(150, with_sums=False)
    thing.flip(3, 90)
    assert thing.read(0, 150) == thing.body
    assert thing.broken == [3]


def test_a_long_object_of_which_only_the_etag_is_known_never_ends_well_when_it_is_wrong():
    """As other proxies write them."""
    thing = Object(1000, with_sums=False)
    thing.failures.update({4: 2, 5: 2})  # no node has more than four fragments
    assert thing.read(0, 1000) == thing.body
    thing.flip(1, FRAGMENT + 100)
    segments = segments_of(0, 1000, SEGMENT)
    reader = SegmentReader(
        thing.whole,
        [thing.source(i, 0) for i in range(4)],
        0,
        4,
        1.0,
        thing.replace,
        lambda source, error: None,
    )
    got = []
    with pytest.raises(BodyBroken):
        for piece in SegmentsBody(reader, segments):
            got.append(piece)
    assert len(b"".join(got)) == 4 * SEGMENT


@settings(deadline=None)
@given(st.integers(SEGMENT + 1, 2000), st.data())
def test_without_checksums_one_more_fragment_must_agree(length, data):
    """One that has rotted is found by what the others say, and served is what they say."""
    thing = Object(length, with_sums=False)
    index = data.draw(st.integers(0, 5))
    thing.flip(index, data.draw(st.integers(0, len(thing.archives[index]) - 1)))
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    chosen = data.draw(st.sets(st.integers(0, 5), min_size=4, max_size=4))
    assert thing.read(start, stop, chosen) == thing.body[start:stop]
    assert all(sum(source.response.ended.values()) == 1 for source in thing.sources)


@pytest.mark.parametrize("with_sums", [True, False])
@pytest.mark.parametrize("scale", [1, 100])
def test_of_some_codes_not_any_fragments_are_enough(scale, with_sums):
    """Then others are fetched, and nobody is to blame."""
    codec = Codec("flat_xor_hd_3", 10, 5)
    unlucky = 0
    for chosen in itertools.islice(itertools.combinations(range(codec.total), codec.data), 0, None, 601):
        thing = Object(7 * SEGMENT * scale // 2, with_sums, scale, codec)
        try:
            codec.decode([thing.archives[index][: thing.fragment] for index in chosen])
        except FragmentError:
            unlucky += 1
        assert thing.read(0, len(thing.body), chosen) == thing.body
        assert not thing.broken
    assert unlucky
