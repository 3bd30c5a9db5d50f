"""Request bodies as the application reads them, however they arrive (spec proxy-and-backend.md 21.2, 21.3)."""

import io

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.core.concurrency import sleep, spawn
from swift.wire.errors import BadChunk, ClientDisconnected, ClientError
from swift.wire.input import MAX_LINE, NO_BODY, ChunkedBody, CountedBody, InputFilter, InputSource


class Pieces:
    """A stream of the given pieces; afterwards the client is gone."""

    def __init__(self, pieces):
        self.pieces = [piece for piece in pieces if piece]
        self.sent = b""

    def recv(self, size):
        if not self.pieces:
            return b""
        data = self.pieces.pop(0)
        if len(data) > size:
            self.pieces.insert(0, data[size:])
        return data[:size]

    def recv_into(self, buffer):
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def sendall(self, data):
        self.sent += data


def source(data, cuts=(), buffered=0):
    """A InputSource of which `buffered` bytes came with the head and the rest arrives cut at the given places."""
    rest = data[buffered:]
    places = sorted({0, len(rest), *(cut % (len(rest) + 1) for cut in cuts)})
    made = InputSource(Pieces([rest[a:b] for a, b in zip(places, places[1:], strict=False)]))
    made.buffer = data[:buffered]
    return made


def chunked(pieces, ending=b"0\r\n\r\n"):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece) + ending


steps = st.lists(
    st.tuples(
        st.sampled_from(["read", "readline", "read_available", "recv_into"]),
        st.integers(0, 12),
    ),
    max_size=12,
)
content = st.binary(max_size=60) | st.text("ab\n", max_size=60).map(str.encode)
cuts = st.lists(st.integers(0, 200), max_size=6)


@settings(max_examples=400, deadline=None)
@given(content, st.lists(st.integers(0, 60), max_size=5), cuts, st.integers(0, 80), steps, st.booleans())
def test_all_ways_of_reading_give_the_bytes_in_order(data, borders, cut_at, buffered, steps, is_chunked):
    following = b"GET / HTTP/1.1\r\n"
    if is_chunked:
        places = sorted({0, len(data), *(b % (len(data) + 1) for b in borders)})
        framed = chunked(
            [data[a:b] for a, b in zip(places, places[1:], strict=False)], b"0\r\nTrailer: x\r\n\r\n"
        )
    else:
        framed = data
    arriving = source(framed + following, cut_at, min(buffered, len(framed)))
    body = ChunkedBody(arriving, False) if is_chunked else CountedBody(arriving, len(data), False)
    got = b""
    for method, size in steps:
        before = len(got)
        if method == "recv_into":
            buffer = bytearray(size)
            got += bytes(buffer[: body.recv_into(buffer)])
        else:
            piece = getattr(body, method)(size)
            if method == "readline" and piece.count(b"\n"):
                assert piece.index(b"\n") == len(piece) - 1
            if method == "read":
                assert len(piece) == min(size, len(data) - before)
            got += piece
        assert len(got) - before <= size
    assert got == data[: len(got)]
    got += body.read()
    assert got == data and body.read() == b"" and body.received == len(data)
    assert body.discard(1000) and body.done
    while len(arriving.buffer) < len(following):
        arriving.buffer += arriving.recv(100)
    assert arriving.buffer == following


@settings(max_examples=200, deadline=None)
@given(content, cuts, st.integers(0, 200), st.booleans())
def test_a_body_cut_short_never_looks_whole(data, cut_at, end, is_chunked):
    framed = chunked([data]) if is_chunked else data
    framed = framed[: end % (len(framed) or 1)]
    arriving = source(framed, cut_at)
    body = ChunkedBody(arriving, False) if is_chunked else CountedBody(arriving, len(data), False)
    if not is_chunked and not data:
        return
    with pytest.raises(ClientDisconnected):
        while body.read_available(7):
            pass
    with pytest.raises(ClientError):
        body.read()


sizes = st.sampled_from(
    [
        b"5",
        b"05",
        b"0",
        b"1",
        b"a",
        b"A",
        b"x",
        b"-1",
        b"+5",
        b"",
        b" 5",
        b"5 ",
        b"5;e=f",
        b'5;e="f"',
        b"0x5",
        b"5\t",
        b"f" * 17,
    ]
)
ends = st.sampled_from([b"\r\n"] * 10 + [b"\n", b"\r", b"", b"\r\r\n", b" \r\n"])
wild = st.lists(st.tuples(sizes, ends, st.binary(min_size=5, max_size=5), ends), max_size=4).map(
    lambda parts: b"".join(b"".join(part) for part in parts)
)


@settings(max_examples=600, deadline=None)
@given(
    wild,
    st.sampled_from(
        [b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"0\r\nA b\r\n\r\n", b"0\n\n", b"0\r\n\n", b"00\r\n\r\n"]
    ),
    cuts,
)
def test_we_accept_only_chunks_that_h11_accepts(start, end, cut_at):
    data = start + end + b"X" * 20
    body = ChunkedBody(source(data, cut_at), False)
    try:
        got = body.read()
    except (BadChunk, ClientDisconnected):
        return
    judge = h11.Connection(h11.SERVER)
    judge.receive_data(b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    assert isinstance(judge.next_event(), h11.Request)
    expected = b""
    while True:
        event = judge.next_event()
        if isinstance(event, h11.EndOfMessage):
            break
        assert isinstance(event, h11.Data), event
        expected += bytes(event.data)
    assert got == expected


def test_lines_are_bounded():
    for body in (
        CountedBody(source(b"x" * 3 * MAX_LINE, [10, 1000]), 3 * MAX_LINE, False),
        ChunkedBody(source(chunked([b"x" * 3 * MAX_LINE])), False),
    ):
        assert [len(line) for line in body] == [MAX_LINE] * 3


def test_hundred_continue_goes_out_once_and_only_when_needed():
    arriving = source(b"abcdef")
    body = CountedBody(arriving, 6, True)
    body.set_hundred_continue_response_headers([("X-A", "b")])
    assert arriving.stream.sent == b"" and body.read(0) == b""
    body.read(2)
    body.read()
    assert arriving.stream.sent == b"HTTP/1.1 100 Continue\r\nX-A: b\r\n\r\n"
    for read in ("readline", "read_available", "read"):
        arriving = source(b"abc")
        getattr(CountedBody(arriving, 3, True), read)()
        assert arriving.stream.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    arriving = source(chunked([b"abc"]))
    body = ChunkedBody(arriving, True)
    body.finish_expecting()
    assert body.read() == b"abc" and arriving.stream.sent == b""


def test_a_first_body_that_does_not_end_refuses_the_second():
    body = ChunkedBody(source(chunked([b"x" * 60_000] * 4)), False)
    body.read(5)
    with pytest.raises(BadChunk):
        body.send_hundred_continue_response()


class Masked(InputFilter):
    """Changes every byte, keeps the length, and gives pieces of its own sizes."""

    def __init__(self, below, piece):
        super().__init__(below)
        self.piece = piece
        self.seen = 0

    def pull(self, size):
        data = super().pull(self.piece)
        self.seen += len(data)
        return bytes(byte ^ 1 for byte in data)


@settings(max_examples=300, deadline=None)
@given(
    content,
    cuts,
    st.integers(0, 80),
    steps,
    st.integers(1, 30),
    st.sampled_from(["counted", "chunked", "file"]),
)
def test_no_way_of_reading_leads_past_a_filter(data, cut_at, buffered, steps, piece, kind):
    if kind == "file":
        below = io.BytesIO(data)
    elif kind == "chunked":
        framed = chunked([data])
        below = ChunkedBody(source(framed, cut_at, min(buffered, len(framed))), False)
    else:
        below = CountedBody(source(data, cut_at, min(buffered, len(data))), len(data), False)
    body = Masked(below, piece)
    masked = bytes(byte ^ 1 for byte in data)
    got = b""
    for method, size in steps:
        before = len(got)
        if method == "recv_into":
            buffer = bytearray(size)
            got += bytes(buffer[: body.recv_into(buffer)])
        else:
            got += getattr(body, method)(size)
        assert len(got) - before <= size
        if method == "read":
            assert len(got) - before == min(size, len(data) - before)
    got += b"".join(body)
    assert got == masked and body.read() == b"" and body.done
    assert body.seen == len(data)


def test_a_filter_shows_nothing_of_the_body_below_that_it_does_not_filter():
    """What any of our bodies can do, a filter does in its own way; there is no socket to be found on either."""
    below = CountedBody(source(b"abc"), 3, False)
    body = InputFilter(below)
    for name in dir(below):
        if not name.startswith("_") and name not in ("source", "length", "hundred_headers"):
            assert hasattr(body, name)
    assert not hasattr(body, "source") and not hasattr(body, "stream") and not hasattr(below, "stream")


def test_a_filter_passes_on_the_hundred_continue():
    arriving = source(chunked([b"one"]) + chunked([b"two"]))
    body = InputFilter(ChunkedBody(arriving, True))
    body.set_hundred_continue_response_headers([("X-A", "b")])
    assert body.expecting and arriving.stream.sent == b""
    assert body.read() == b"one" and not body.expecting
    assert arriving.stream.sent == b"HTTP/1.1 100 Continue\r\nX-A: b\r\n\r\n"
    body.send_hundred_continue_response()
    assert body.read() == b"two" and body.received == 6


def test_no_body():
    assert NO_BODY.read() == NO_BODY.readline() == NO_BODY.read_available() == b""
    assert list(NO_BODY) == [] and NO_BODY.recv_into(bytearray(3)) == 0 and NO_BODY.discard(0)
    NO_BODY.set_hundred_continue_response_headers([("X-A", "b")])
    NO_BODY.send_hundred_continue_response()
    assert NO_BODY.done and NO_BODY.received == 0


@pytest.mark.parametrize("line", [b"\x01\x01\x01\x01:", b"a b: c", b": c", b"a:\x0bc", b"\xff: c"])
def test_trailers_have_the_names_and_values_of_headers(line):
    with pytest.raises(BadChunk):
        ChunkedBody(source(b"0\r\n" + line + b"\r\n\r\n"), False).read()


@pytest.mark.parametrize("way", ["read_available", "recv_into"])
def test_others_have_their_turn_while_small_chunks_come_faster_than_they_are_read(way):
    """A client that sends without a pause is never waited for; by chunks of a byte it would keep everybody else waiting for good."""
    flood = b"1\r\na\r\n" * 30_000
    body = ChunkedBody(source(flood + b"0\r\n\r\n", range(0, len(flood), 65536)), False)
    turns, done = [], []

    def others():
        while not done:
            turns.append(body.received)
            sleep(0)

    beside = spawn(others)
    sleep(0)
    buffer = bytearray(65536)
    while body.recv_into(buffer) if way == "recv_into" else body.read_available():
        pass
    done.append(True)
    beside.wait()
    assert body.received == 30_000
    assert max(later - earlier for earlier, later in zip(turns, turns[1:], strict=False)) < 15_000
    assert len(turns) > 3


@pytest.mark.parametrize("kind", [CountedBody, ChunkedBody])
def test_others_have_their_turn_while_a_body_comes_faster_than_it_is_read(kind):
    size = 12 * 1024 * 1024
    arriving = source(b"x" * size if kind is CountedBody else chunked([b"x" * size]), range(0, size, 65536))
    body = CountedBody(arriving, size, False) if kind is CountedBody else ChunkedBody(arriving, False)
    turns = []
    beside = [spawn(turns.append, number) for number in range(3)]
    while len(turns) < 3 and body.read_available():
        pass
    assert turns == [0, 1, 2]
    assert body.received < size
    for one in beside:
        one.wait()
