"""A response's body read as the body of a request: the same bytes in whatever way they are asked for, and no end that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.wire.body_input import BodyInput, SourceBroken


class Received:
    """A body that can be received into a buffer, a few bytes at a time."""

    def __init__(self, data, at_most, fails_at=None):
        self.data, self.at_most, self.fails_at = data, at_most, fails_at
        self.closed = 0

    def __iter__(self):
        raise AssertionError("it could have been received")

    def recv_into(self, buffer):
        if self.fails_at is not None and len(self.data) <= self.fails_at:
            raise OSError("gone")
        piece = self.data[: min(self.at_most, len(buffer))]
        buffer[: len(piece)] = piece
        self.data = self.data[len(piece) :]
        return len(piece)

    def close(self):
        self.closed += 1


def read_all(source, ways):
    """The whole body, by one way after the other."""
    found = b""
    while True:
        way, size = ways[len(found) % len(ways)]
        if way == "read":
            data = source.read(size)
            assert len(data) == size or source.read(1) == b""
        elif way == "line":
            data = source.readline(size)
            assert b"\n" not in data[:-1]
        elif way == "into":
            buffer = bytearray(size)
            data = bytes(buffer[: source.recv_into(buffer)])
        else:
            data = source.read_available(size)
        assert len(data) <= size
        if not data:
            return found
        found += data


WAYS = st.lists(st.tuples(st.sampled_from(["read", "line", "into", "some"]), st.integers(1, 9)), min_size=1)


@given(pieces=st.lists(st.binary(max_size=12)), ways=WAYS, known=st.booleans())
def test_the_bytes_are_those_of_the_body(pieces, ways, known):
    whole = b"".join(pieces)
    source = BodyInput(iter(pieces), len(whole) if known else None)
    assert read_all(source, ways) == whole
    assert source.received == len(whole)
    assert source.broken is None


@given(data=st.binary(max_size=60), at_most=st.integers(1, 9), ways=WAYS)
def test_what_can_be_received_is(data, at_most, ways):
    body = Received(data, at_most)
    source = BodyInput(body, len(data))
    found = bytearray(len(data) + 5)
    at = 0
    while count := source.recv_into(memoryview(found)[at:]):
        at += count
    assert bytes(found[:at]) == data
    source.close()
    source.close()
    assert body.closed == 1


def test_no_more_than_the_length_is_handed_out():
    source = BodyInput([b"abc", b"def"], 4)
    assert source.read() == b"abcd"
    assert source.read(1) == source.readline() == b""
    assert source.done and source.remaining == 0


@pytest.mark.parametrize("read", [lambda s: s.read(), lambda s: s.recv_into(bytearray(9)) and s.read()])
@pytest.mark.parametrize(
    "body",
    [lambda: [b"abc"], lambda: iter([b"abc", b""]), lambda: raising(b"abc"), lambda: Received(b"abcd", 3, 1)],
)
def test_a_body_that_breaks_off_is_an_error_and_no_end(body, read):
    source = BodyInput(body(), 4)
    with pytest.raises(SourceBroken):
        read(source)
    assert source.broken is not None


def raising(*pieces):
    yield from pieces
    raise RuntimeError("the checksum is another one")


def test_a_body_that_is_found_wrong_at_its_end_has_not_been_read_whole():
    """Its last bytes are not handed out before it has said that all was right."""
    source = BodyInput(raising(b"abc", b"d"), 4)
    assert source.read(3) == b"abc"
    with pytest.raises(SourceBroken, match="checksum"):
        source.read(1)


def test_large_pieces_are_not_copied_again_and_again():
    piece = bytes(1024 * 1024)
    source = BodyInput([piece], len(piece))
    assert source.read(len(piece)) is piece
