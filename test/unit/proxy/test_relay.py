"""Bodies on their way from a storage server: how long a read may take, iterated and spliced (spec proxy 10.4)."""

import pytest

from swift.core import concurrency
from swift.engine import sockets
from swift.engine.stream import Stream
from swift.proxy.reader import Source
from swift.proxy.relay import BodyBroken, MultirangeBody, RangeBody, UnsizedBody
from swift.wire.connection_pool import POOL

BODY = b"x" * 200_000


@pytest.fixture
def ask():
    """ask(pauses, chunked) → a response whose head was waited for with a limit of `head_timeout`; its body comes in two halves
    with a pause between."""
    listening = sockets.Listener(sockets.listen("127.0.0.1", 0))
    streams = []

    def serve(pause, framing):
        stream = Stream(listening.accept()[0], 10)
        streams.append(stream)
        stream.recv(65536)
        stream.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
        halves = (BODY[:100_000], BODY[100_000:])
        for number, half in enumerate(halves):
            if number:
                concurrency.sleep(pause)
            stream.sendall(half if b"Length" in framing else b"%x\r\n%s\r\n" % (len(half), half))
        if b"Length" not in framing:
            stream.sendall(b"0\r\n\r\n")

    def begin(pause, head_timeout, framing=b"Content-Length: 200000\r\n"):
        concurrency.spawn_n(serve, pause, framing)
        conn = POOL.fresh(*listening.sock.getsockname(), 1)
        conn.send("GET", "/", b"", timeout=5)
        return Source({"ip": "127.0.0.1"}, conn.response(head_timeout), "")

    yield begin
    listening.close()
    for stream in streams:
        stream.close()


def bodies(source, timeout, broken):
    def note(source, error):
        broken.append(type(error).__name__)

    if source.response.content_length is None:
        return UnsizedBody(source, timeout, note)
    return RangeBody(source, 0, len(BODY) - 1, timeout, 65536, None, note)


def multirange(source, timeout, broken):
    return MultirangeBody(source, "bytes=0-1,5-6", timeout, 65536, None, lambda *args: broken.append(args))


def iterated(body):
    return b"".join(body)


def spliced(body):
    """Sent over a socket, as the server does it."""
    left, right = concurrency.raw_socket.socketpair()
    sink, source = Stream(left, 5), Stream(right, 5)
    got = []

    def read():
        while sum(map(len, got)) < len(BODY):
            data = source.recv(1 << 20)
            if not data:
                return
            got.append(data)

    reading = concurrency.spawn(read)
    try:
        body.send_to(sink)
        reading.wait()
    finally:
        sink.close()
        source.close()
        concurrency.kill(reading)
    return b"".join(got)


WAYS = [
    (iterated, bodies, b"Content-Length: 200000\r\n"),
    (spliced, bodies, b"Content-Length: 200000\r\n"),
    (iterated, multirange, b"Content-Length: 200000\r\n"),
    (iterated, bodies, b"Transfer-Encoding: chunked\r\n"),
]


@pytest.mark.parametrize("how,make,framing", WAYS)
def test_a_source_that_stalls_is_waited_for_as_long_as_the_body_says(ask, how, make, framing):
    """Though its head was waited for without any limit."""
    broken = []
    body = make(ask(30, None, framing), 0.2, broken)
    with concurrency.Timeout(60), pytest.raises(BodyBroken):
        how(body)
    assert len(broken) == 1


@pytest.mark.parametrize("how,make,framing", WAYS)
def test_the_wait_for_a_head_takes_no_time_from_its_body(ask, how, make, framing):
    """The head came in the last moment of its limit; the body has a limit of its own."""
    broken = []
    body = make(ask(0.6, 0.25, framing), 5, broken)
    with concurrency.Timeout(60):
        assert how(body) == BODY
    assert not broken
