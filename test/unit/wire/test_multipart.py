"""Multipart bodies: what we make, what we read, and that reading undoes making (spec proxy-and-backend.md 21.6, 14.3)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.wire.multipart import BadMultipart, MultipartReader, byteranges_body, byteranges_length


def reader(data, boundary="b", step=None):
    """A MultipartReader of data that arrives in pieces of step bytes."""
    position = 0

    def read(size):
        nonlocal position
        piece = data[position : position + min(size, step or size)]
        position += len(piece)
        return piece

    return MultipartReader(read, boundary)


def documents(data, boundary="b", step=None):
    return [(dict(d.headers), b"".join(d)) for d in reader(data, boundary, step)]


@given(
    st.binary(max_size=200),
    st.lists(st.tuples(st.integers(0, 199), st.integers(1, 200)), min_size=1, max_size=6),
    st.integers(1, 50),
)
def test_reading_undoes_making(data, spans, step):
    length = len(data)
    ranges = [(a, min(a + n, length)) for a, n in spans if a < length]
    body = b"".join(byteranges_body(ranges, length, "a/b; c=d", "xyz", lambda a, b: [data[a:b]]))
    assert len(body) == byteranges_length(ranges, length, "a/b; c=d", "xyz")
    if not ranges:
        assert body == b"--xyz--"
        return
    assert documents(body, "xyz", step) == [
        ({"Content-Type": "a/b; c=d", "Content-Range": f"bytes {a}-{b - 1}/{length}"}, data[a:b])
        for a, b in ranges
    ]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_documents(step):
    data = b"--b\r\nX-Document: object body\r\n\r\nbytes\r\n--bytes\r\n-\r\n--b\r\n\r\n\r\n--b\r\nA:1\r\n\r\n\r\n--b--ignored"
    if step != 1000:
        data = data.replace(b"\r\n--bytes", b"\r\n-b")
        expected = b"bytes\r\n-b\r\n-"
    else:
        with pytest.raises(BadMultipart):
            documents(data)
        return
    assert documents(data, step=step) == [
        ({"X-Document": "object body"}, expected),
        ({}, b""),
        ({"A": "1"}, b""),
    ]


def test_a_body_may_pause_behind_a_boundary():
    """The first body of an erasure-coded PUT ends with a boundary line; the commit document comes in a second one."""
    pieces = [
        b"--b\r\nX-Document: object body\r\n\r\nabc\r\n--b\r\n",
        b"",
        b"X-Document: put commit\r\n\r\nok\r\n--b--",
    ]
    documents = MultipartReader(lambda size: pieces.pop(0), "b")
    first = documents.next_document()
    assert first.read() == b"abc" and first.read() == b""
    assert len(pieces) == 2
    assert pieces.pop(0) == b""
    second = documents.next_document()
    assert second.headers["X-Document"] == "put commit" and second.read_all(100) == b"ok"
    assert documents.next_document() is None and documents.next_document() is None


def test_a_document_may_be_left_unread():
    data = b"--b\r\n\r\n" + b"x" * 200_000 + b"\r\n--b\r\nA: 1\r\n\r\ny\r\n--b--"
    documents = reader(data)
    first = documents.next_document()
    assert first.read(10) == b"x" * 10
    second = documents.next_document()
    assert first.read() == b"" and second.read() == b"y"


def test_limits():
    with pytest.raises(BadMultipart):
        documents(b"--b\r\n" + b"A: b\r\n" * 20_000 + b"\r\n\r\n--b--")
    with pytest.raises(BadMultipart):
        reader(b"--b\r\n\r\n" + b"x" * 100 + b"\r\n--b--").next_document().read_all(99)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"--c\r\n\r\nx\r\n--c--",
        b"x" * 100_000,
        b"\r\n--b\r\n\r\nx\r\n--b--",
        b"--b",
        b"--bx",
        b"--b\r\n",
        b"--b\r\nno colon\r\n\r\nx\r\n--b--",
        b"--b\r\nA: b\nB: c\r\n\r\nx\r\n--b--",
        b"--b\r\nA: b\r\n\r\nx",
        b"--b\r\nA: b\r\n\r\nx\r\n--b",
    ],
)
def test_broken_bodies(data):
    with pytest.raises(BadMultipart):
        documents(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.integers(1, 9))
def test_any_bytes(data, step):
    for prefix in (b"", b"--b\r\n", b"--b\r\n\r\n"):
        try:
            documents(prefix + data, step=step)
        except BadMultipart:
            continue
