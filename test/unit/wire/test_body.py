"""Bodies of files: sent by the kernel, read by filters, on memory and on disk (doc/architecture.md, body protocol)."""

import os

import pytest

from swift.wire import body as body_module
from swift.wire.body import BodyFilter, FileBody, FileTooShort, in_page_cache
from swift.wire.multipart import byteranges_body


class Pool:
    """A device pool that counts its trips."""

    def __init__(self, inline=False):
        self.inline = inline
        self.calls = 0

    def run(self, function, *args):
        self.calls += 1
        return function(*args)


@pytest.fixture
def file(tmp_path):
    data = os.urandom(3_000_000)
    path = tmp_path / "data"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    yield fd, data
    os.close(fd)


def send(start, make):
    """What arrives of a body that the server sends, and what the server says about it."""
    closed = []

    def app(environ, start_response):
        body, length = make(lambda: closed.append(1))
        start_response("200 OK", [("Content-Length", str(length))])
        return body

    server = start(app)
    answer = server.talk(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert closed == [1]
    return answer.partition(b"\r\n\r\n")[2], server


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("pool", [None, Pool(True), Pool()])
def test_file_body_is_sent(start, file, pool, cached, monkeypatch):
    fd, data = file
    if not cached:
        monkeypatch.setattr(body_module, "in_page_cache", lambda *args: False)
    sent, _ = send(start, lambda close: (FileBody(fd, 5, 2_500_000, close, pool), 2_500_000))
    assert sent == data[5:2_500_005]
    if pool is not None and not pool.inline:
        assert (pool.calls > 0) is not cached
        pool.calls = 0


@pytest.mark.parametrize("iterated", [True, False])
def test_what_may_wait_for_a_disk_is_done_in_its_pool(start, file, monkeypatch, iterated):
    fd, data = file
    inside, outside, advised = [], [], []

    class Trips(Pool):
        def run(self, function, *args):
            inside.append(1)
            try:
                return function(*args)
            finally:
                inside.pop()

    def watched(name):
        real = getattr(os, name)

        def call(number, *args):
            if number == fd:
                if not inside:
                    outside.append(name)
                if name == "posix_fadvise":
                    advised.append(args[:2])
            return real(number, *args)

        monkeypatch.setattr(os, name, call)

    monkeypatch.setattr(body_module, "in_page_cache", lambda *args: False)
    for name in ("pread", "preadv", "read", "posix_fadvise", "sendfile"):
        watched(name)
    body = FileBody(fd, 5, 2_500_000, None, Trips())
    if iterated:
        assert b"".join(body) == data[5:2_500_005]
    else:
        assert (
            send(start, lambda close: (FileBody(fd, 5, 2_500_000, close, Trips()), 2_500_000))[0]
            == data[5:2_500_005]
        )
        assert advised[0][0] == 5 + body_module.STRETCH and sum(advised[-1]) == 2_500_005
    assert not outside


def test_file_body_is_iterable(file):
    fd, data = file
    closed = []
    body = FileBody(fd, 5, 100_000, lambda: closed.append(1), Pool())
    assert b"".join(body) == data[5:100_005]
    body.close()
    body.close()
    assert closed == [1]


def test_byteranges(start, file):
    fd, data = file
    ranges = [(10, 20), (2_000_000, 2_900_000)]
    expected = b"".join(byteranges_body(ranges, len(data), "a/b", "xyz", lambda a, b: [data[a:b]]))

    def make(close=None):
        return FileBody.byteranges(fd, ranges, len(data), "a/b", "xyz", close), len(expected)

    assert send(start, make)[0] == expected
    assert b"".join(make()[0]) == expected


@pytest.mark.parametrize("pool", [None, Pool()])
def test_a_file_that_is_too_short(start, file, pool):
    fd, data = file
    sent, server = send(start, lambda close: (FileBody(fd, 0, len(data) + 5, close, pool), len(data) + 5))
    assert sent == data
    assert isinstance(server.done[0][4], FileTooShort)
    with pytest.raises(FileTooShort):
        list(FileBody(fd, 0, len(data) + 5))


def test_in_page_cache(file):
    assert in_page_cache(file[0], 0, 1_000_000) in (True, False)


class Closing:
    """A body that counts how often it is closed."""

    def __init__(self, *pieces):
        self.pieces = pieces
        self.closed = 0

    def __iter__(self):
        return iter(self.pieces)

    def send_to(self, stream):
        raise AssertionError("went past the filter")

    def close(self):
        self.closed += 1


class Upper(BodyFilter):
    ends = 0

    def pieces(self, below):
        for piece in below:
            yield piece.upper()

    def ended(self):
        self.ends += 1


def test_a_filtered_body_has_no_way_around_the_filter():
    below = Closing(b"ab", b"c")
    body = Upper(below)
    assert not hasattr(body, "send_to")
    assert list(body) == [b"AB", b"C"]
    body.close()
    body.close()
    assert below.closed == body.ends == 1
    assert list(body) == []


@pytest.mark.parametrize("taken", [0, 1])
def test_a_filtered_body_is_closed_whoever_stops_reading_it(taken):
    below = Closing(b"ab", b"c")
    body = Upper(below)
    pieces = iter(body)
    for _ in range(taken):
        next(pieces)
    body.close()
    assert below.closed == body.ends == 1
