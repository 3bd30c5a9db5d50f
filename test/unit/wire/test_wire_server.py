"""The server over real sockets: framing, keep-alive, bodies, limits, abuse (spec proxy-and-backend.md 21)."""

import errno
import gc
import itertools
import re
import socket
import time
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running_server import read_all, read_until, wait_for

from swift.core.concurrency import sleep
from swift.engine.threads import DeviceStuck
from swift.wire import answering
from swift.wire.errors import BadChunk, ClientDisconnected, ClientTimeout, ResponseBroken
from swift.wire.parser import HeadLimits


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


def echo(environ, start_response):
    data = environ["wsgi.input"].read()
    start_response("201 Created", [("X-Path", environ["PATH_INFO"]), ("Content-Length", str(len(data)))])
    return [data]


def responses(answer):
    return len(re.findall(rb"^HTTP/1\.[01] \d{3} ", answer, re.MULTILINE))


def split(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    return status, dict(line.split(": ", 1) for line in lines), body


# --- responses


def test_one_response(start):
    status, headers, body = split(
        start(hello).talk(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    )
    assert status == "HTTP/1.1 200 OK" and body == b"hello"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers.pop("Date"))
    assert headers == {"Content-Type": "text/plain", "Content-Length": "5", "Connection": "close"}


def test_keep_alive_and_pipelining(start):
    server = start(echo)
    request = b"PUT /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    answer = server.talk(b"".join(request % i for i in range(50)))
    assert answer.count(b"201 Created") == 50 and answer.count(b"abc") == 50
    assert re.findall(rb"X-Path: /(\d+)", answer) == [b"%d" % i for i in range(50)]
    assert b"Connection: close" not in answer


def test_pieces_of_a_request_may_come_one_byte_at_a_time(start):
    server = start(echo)
    with server.connect() as sock:
        for byte in b"\r\nPUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: u\r\n\r\n":
            sock.sendall(bytes([byte]))
            time.sleep(0.0005)
        assert read_until(sock, b"abc").startswith(b"HTTP/1.1 201 Created")
        sock.sendall(b"PUT /y HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nz")
        assert read_until(sock, b"\r\n\r\nz").startswith(b"HTTP/1.1 201 Created\r\nX-Path: /y")


@pytest.mark.parametrize(
    ("version", "connection_header", "kept", "said"),
    [
        (b"1.1", b"", True, False),
        (b"1.1", b"Connection: close\r\n", False, False),
        (b"1.1", b"Connection: Close, TE\r\n", False, False),
        (b"1.1", b"Connection: keep-alive\r\n", True, True),
        (b"1.1", b"Connection: Keep-Alive\r\n", True, True),
        (b"1.1", b"Connection: keep-alive, TE\r\n", True, False),
        (b"1.0", b"", False, False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True, True),
    ],
)
def test_connection_header(start, version, connection_header, kept, said):
    """`said` in the cases in which the reference's server says keep-alive."""
    server = start(hello)
    with server.connect() as sock:
        sock.sendall(b"GET / HTTP/" + version + b"\r\nHost: h\r\n" + connection_header + b"\r\n")
        head = read_until(sock, b"hello")
        assert (b"Connection: close" in head) is not kept
        assert (b"Connection: keep-alive" in head) is said
        if kept:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert b"hello" in read_all(sock)
        else:
            assert sock.recv(1) == b""


def test_keepalive_timeout_zero_means_no_keep_alive(start):
    assert b"Connection: close" in start(hello, keepalive_timeout="0").talk(
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    )


def test_idle_connections_are_closed(start):
    server = start(hello, keepalive_timeout="0.1")
    with server.connect() as sock:
        assert sock.recv(1) == b""


def test_chunked_response_when_the_length_is_unknown(start):
    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"abc"
        yield b""
        yield b"d" * 20

    server = start(app)
    _, headers, body = split(server.talk(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
    assert headers["Transfer-Encoding"] == "chunked"
    assert body == b"3\r\nabc\r\n14\r\n" + b"d" * 20 + b"\r\n0\r\n\r\n"
    _, headers, body = split(server.talk(b"GET / HTTP/1.0\r\n\r\n"))
    assert (
        headers["Connection"] == "close" and body == b"abc" + b"d" * 20 and "Transfer-Encoding" not in headers
    )


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "304 Not Modified"])
def test_bodiless_responses(start, status):
    def app(environ, start_response):
        start_response(status, [("Content-Length", "5" if status[0] == "2" else "0")])
        return [b"hello"]

    method = b"HEAD" if status == "200 OK" else b"GET"
    answer = start(app).talk(
        method + b" / HTTP/1.1\r\nHost: h\r\n\r\n" + method + b" / HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    assert answer.count(b"HTTP/1.1 " + status.encode()) == 2 and b"hello" not in answer


def test_length_is_added_for_known_bodies(start):
    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"abc", b"def"] if environ["PATH_INFO"] == "/2" else []

    server = start(app)
    _, headers, body = split(server.talk(b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n"))
    assert headers["Content-Length"] == "6" and body == b"abcdef"
    _, headers, body = split(server.talk(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
    assert headers["Content-Length"] == "0" and body == b""


@pytest.mark.parametrize("kind", ["list", "iterator"])
def test_never_more_than_announced(start, kind):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "5")])
        return [b"hel", b"loXX"] if kind == "list" else iter([b"hel", b"loXX", b"YY"])

    answer = start(app).talk(b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.count(b"hello") == 2 and b"X" not in answer.replace(b"X-", b"")


@pytest.mark.parametrize("kind", ["list", "iterator", "send_to"])
def test_less_than_announced_closes(start, kind):
    class Sender:
        def send_to(self, stream):
            stream.sendall(b"hel")
            return 3

        def __iter__(self):
            return iter([b"hel"])

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "5")])
        return {"list": [b"hel"], "iterator": iter([b"hel"]), "send_to": Sender()}[kind]

    server = start(app)
    with server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert read_all(sock).endswith(b"\r\n\r\nhel")
    assert wait_for(lambda: server.done)
    assert server.done[0][:4] == ("GET", 200, 3, 0) and server.done[0][4] is not None
    assert any("ended early" in line for line in server.logged)


def test_a_body_that_sends_itself(start):
    closed = []

    class Sender:
        def send_to(self, stream):
            stream.sendall(b"hello")
            return 5

        def __iter__(self):
            return iter([b"hel", b"lo"])

        def close(self):
            closed.append(1)

    def app(environ, start_response):
        length = [] if environ["PATH_INFO"] == "/chunked" else [("Content-Length", "5")]
        start_response("200 OK", length)
        return Sender()

    server = start(app)
    assert server.talk(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").endswith(b"\r\n\r\nhello")
    assert server.talk(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").endswith(b"\r\n\r\n")
    assert server.talk(b"GET /chunked HTTP/1.1\r\nHost: h\r\n\r\n").endswith(
        b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
    )
    assert len(closed) == 3


def test_unhandled_errors_show_no_traceback(start):
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/late":
            start_response("200 OK", [("Content-Length", "10")])
            return itertools.chain([b"abc"], (1 / 0 for _ in "x"))
        if environ["PATH_INFO"] == "/header":
            start_response("200 OK", [("X-A", "b\r\nX-Injected: c")])
            return []
        raise RuntimeError("secret detail")

    server = start(app)
    for path in (b"/", b"/header"):
        status, headers, body = split(server.talk(b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n"))
        assert (status, body) == ("HTTP/1.1 500 Internal Error", b"Internal server error.\n")
        assert headers["Connection"] == "close" and "X-Injected" not in headers
    assert server.talk(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n").endswith(b"\r\n\r\nabc")
    assert len([line for line in server.logged if "unhandled error" in line]) == 3


@pytest.mark.parametrize("error", [DeviceStuck("disk sdb1"), OSError(errno.EIO, "Input/output error")])
def test_a_disk_that_breaks_behind_the_head_is_one_line(start, error):
    def pieces():
        yield b"abc"
        raise error

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "10")])
        return pieces()

    server = start(app)
    assert server.talk(b"GET /o HTTP/1.1\r\nHost: h\r\n\r\n").endswith(b"\r\n\r\nabc")
    assert [line for line in server.logged if "ended early" in line] == [
        f"GET /o: the response ended early: {error}"
    ]
    assert not any("unhandled" in line or "Traceback" in line for line in server.logged)


def test_a_body_that_breaks_before_its_first_byte_may_be_asked_for_again(start):
    def pieces():
        raise ResponseBroken("a segment is not what it should be")
        yield b""

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "10")])
        return pieces()

    server = start(app)
    status, headers, body = split(server.talk(b"GET /o HTTP/1.1\r\nHost: h\r\n\r\n"))
    assert (status, body) == ("HTTP/1.1 503 Service Unavailable", b"Service unavailable.\n")
    assert headers["Connection"] == "close"
    assert [line for line in server.logged if "ended early" in line] == [
        "GET /o: the response ended early: a segment is not what it should be"
    ]


def test_late_start_response(start):
    def app(environ, start_response):
        yield b""
        start_response("202 Accepted", [("Content-Length", "1")])
        yield b"x"

    assert start(app).talk(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").startswith(b"HTTP/1.1 202 Accepted\r\n")


def test_completion_callbacks(start):
    seen = []

    def app(environ, start_response):
        environ["swift.on_response_done"].append(seen.append)
        environ["swift.on_response_done"].append(lambda served: 1 / 0)
        return echo(environ, start_response)

    server = start(app)
    server.talk(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
    assert wait_for(lambda: server.done)
    served = seen[0]
    assert served.environ["PATH_INFO"] == "/x"
    assert (served.status, served.sent, served.received, served.error) == (201, 3, 3, None)
    assert ("X-Path", "/x") in served.headers and 0 < served.start <= served.end
    assert server.done == [("PUT", 201, 3, 3, None)]


# --- request bodies


@pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_000])
@pytest.mark.parametrize("chunk", [None, 1000, 65536])
def test_bodies_both_ways(start, size, chunk):
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    if chunk is None:
        request = b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s" % (size, data)
    else:
        pieces = [data[i : i + chunk] for i in range(0, size, chunk)]
        framed = b"".join(b"%X\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        request = b"PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"
    assert split(start(echo).talk(request + b"GET /y HTTP/1.1\r\nHost: h\r\n\r\n"))[2].startswith(data)


def test_ways_to_read(start):
    data = b"line one\nline two\n" + b"x" * 300 + b"\nlast"
    results = []

    def app(environ, start_response):
        body = environ["wsgi.input"]
        buffer = bytearray(4)
        got = [body.readline(), body.read(4), body.readline(3), body.read_available(2)]
        count = body.recv_into(buffer)
        got += [bytes(buffer[:count]), body.read(0)]
        got += body.readlines()
        got += [body.read(), body.readline(), body.read_available(), body.read(5)]
        results.append(got)
        start_response("200 OK", [])
        return []

    server = start(app)
    server.talk(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (data[:5], data[5:40], data[40:]))
    server.talk(b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked + b"0\r\n\r\n")
    for got in results:
        assert got[:4] == [b"line one\n", b"line", b" tw", b"o\n"] and b"".join(got) == data
        assert got[-4:] == [b""] * 4
    assert len(results) == 2


def test_unread_bodies_are_dropped_or_the_connection_is(start):
    server = start(hello)
    request = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
    answer = server.talk(request % 100_000 + b"x" * 100_000 + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.count(b"hello") == 2 and b"Connection: close" not in answer
    big = answering.DISCARD_LIMIT + 1
    answer = server.talk(request % big + b"x" * big + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.count(b"hello") == 1 and b"Connection: close" in answer
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = server.talk(head + chunk * 3 + b"0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.count(b"hello") == 2
    answer = server.talk(head + chunk * 20 + b"0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.count(b"hello") == 1


def test_a_refused_upload_reads_its_answer(start):
    """A client that writes everything before it reads must get the answer, not a reset."""

    def app(environ, start_response):
        start_response("413 Request Entity Too Large", [("Content-Length", "0")])
        return []

    server = start(app)
    with server.connect() as sock:
        size = 30_000_000
        sock.sendall(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
        block = b"x" * 1_000_000
        for _ in range(size // len(block)):
            sock.sendall(block)
        assert read_all(sock).startswith(b"HTTP/1.1 413 ")


# --- Expect: 100-continue


def test_continue_is_sent_when_the_body_is_read(start):
    server = start(echo)
    with server.connect() as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n")
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        answer = read_until(sock, b"abc")
        assert answer.startswith(b"HTTP/1.1 201 Created") and b"Connection: close" not in answer


def test_no_continue_when_the_answer_comes_first(start):
    server = start(hello)
    with server.connect() as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        status, headers, body = split(read_all(sock))
        assert status == "HTTP/1.1 200 OK" and headers["Connection"] == "close" and body == b"hello"


def test_no_continue_when_the_body_came_without_waiting(start):
    answer = start(echo).talk(
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc"
    )
    assert answer.startswith(b"HTTP/1.1 201 ")


def test_second_body_after_a_second_continue(start):
    """The conversation of an erasure-coded PUT (spec 14.3)."""
    bodies = []

    def app(environ, start_response):
        body = environ["wsgi.input"]
        body.set_hundred_continue_response_headers([("X-Obj-Metadata-Footer", "yes")])
        # As a reader of MIME documents does: it stops at the last boundary, before the final chunk.
        bodies.append(body.read(5))
        body.send_hundred_continue_response()
        bodies.append(body.read())
        start_response("201 Created", [("Content-Length", "0")])
        return []

    server = start(app)
    hundred = b"HTTP/1.1 100 Continue\r\nX-Obj-Metadata-Footer: yes\r\n\r\n"
    with server.connect() as sock:
        for _ in range(2):
            sock.sendall(
                b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
            )
            assert read_until(sock, b"\r\n\r\n") == hundred
            sock.sendall(b"5\r\nfirst\r\n0\r\n\r\n")
            assert read_until(sock, b"\r\n\r\n") == hundred
            sock.sendall(b"6\r\nsecond\r\n0\r\n\r\n")
            assert b"Connection: close" not in read_until(sock, b"\r\n\r\n")
    assert bodies == [b"first", b"second"] * 2


def test_hundred_headers_cannot_break_the_framing(start):
    def app(environ, start_response):
        environ["wsgi.input"].set_hundred_continue_response_headers([("X-A", "b\r\nX-B: c")])
        environ["wsgi.input"].read()

    answer = start(app).talk(
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 500 ")


# --- clients that go away, are slow, or lie


@pytest.mark.parametrize(
    "chunks",
    [
        b"5\nabcde\r\n0\r\n\r\n",
        b"5\rabcde\r\n0\r\n\r\n",
        b"x\r\nabcde",
        b"-1\r\nabcde",
        b"0x5\r\nabcde\r\n0\r\n\r\n",
        b"+5\r\nabcde\r\n0\r\n\r\n",
        b" 5\r\nabcde\r\n0\r\n\r\n",
        b"\r\n",
        b"5;a\0b\r\nabcde\r\n0\r\n\r\n",
        b"5\r\nabcdeX\r\n0\r\n\r\n",
        b"5\r\nabcde\n0\r\n\r\n",
        b"10000000000000000\r\nabc",
        b"fffffffffffffffffffff\r\nabc",
        b"5;" + b"e" * 2000 + b"\r\nabcde\r\n0\r\n\r\n",
        b"5" + b" " * 2000 + b"\r\nabcde\r\n0\r\n\r\n",
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\n folded: x\n\r\n",
        b"0\r\n" + b"A: b\r\n" * 2000 + b"\r\n",
    ],
)
def test_bad_chunks(start, chunks):
    seen = []

    def app(environ, start_response):
        try:
            return echo(environ, start_response)
        except BadChunk as error:
            seen.append(error)
            raise

    answer = start(app).talk(
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunks
        + b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n") and b"Connection: close" in answer
    assert answer.count(b"HTTP/1.1") == 1 and seen


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"400",
        ),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", b"501"),
        (b"GET / HTTP/1.1\nHost: h\n\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10000 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n", b"400"),
        (b"GET /" + b"y" * 1_000_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"\r\n" * 100 + b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50 + b"\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
    ],
)
def test_refused_heads_close_the_connection(start, request_bytes, status):
    server = start(hello)
    with server.connect() as sock:
        try:
            sock.sendall(request_bytes + b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
        except OSError:
            pass  # refused before all of it was sent
        sock.shutdown(socket.SHUT_WR)
        answer = read_all(sock)
    assert answer.split(b" ")[1] == status and b"Connection: close\r\n" in answer
    assert b"hello" not in answer and responses(answer) == 1
    assert not server.records


def test_forms_of_a_refusal(start):
    server = start(hello, limits=HeadLimits(request_line=50))
    assert (
        server.talk(b"GET /" + b"x" * 50 + b" HTTP/1.1\r\n\r\n")
        == b"HTTP/1.0 414 Request URI Too Long\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    status, headers, body = split(server.talk(b"GET <b>\r\nx HTTP/1.1\r\n\r\n"))
    assert status.startswith("HTTP/1.1 400 Bad") and headers["Content-Type"] == "text/html;charset=utf-8"
    assert headers["X-Trans-Id"] == headers["X-Openstack-Request-Id"] and headers["X-Trans-Id"].startswith(
        "tx"
    )
    assert int(headers["Content-Length"]) == len(body) and b"<b>" not in body
    _, headers, body = split(server.talk(b"PUT / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"))
    assert headers["Content-Type"] == "text/plain" and body == b"Invalid Transfer-Encoding header value"


FRAGMENTS = st.sampled_from(
    [
        b"GET /a HTTP/1.1\r\n",
        b"PUT /b HTTP/1.1\r\n",
        b"HEAD /c HTTP/1.0\r\n",
        b"Host: h\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\0",
    ]
    + [
        b"Content-Length: 3\r\n",
        b"Content-Length: 30\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"abc",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
    ]
    + [
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"X: y\r\n z\r\n",
        b"ffffffffffffffff\r\n",
    ]
)


def test_any_mixture_of_bytes(start):
    """Whatever comes, the answers are well-formed, the connection ends, and nothing is worth a line in the log."""
    server = start(echo)

    @settings(max_examples=150, deadline=None, database=None)
    @given(st.lists(FRAGMENTS | st.binary(max_size=6), max_size=14))
    def attack(parts):
        answer = server.talk(b"".join(parts))
        statuses = re.findall(rb"^HTTP/1\.[01] (\d{3}) ", answer, re.MULTILINE)
        assert set(statuses) <= {b"100", b"201", b"400", b"414", b"431", b"501", b"505"}
        assert not answer or answer.startswith(b"HTTP/1.")

    attack()
    assert wait_for(lambda: server.server.active == 0)
    assert not server.records


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_put_that_ends_at_any_byte(start, framing):
    seen, answered = [], []

    def app(environ, start_response):
        try:
            data = environ["wsgi.input"].read()
        except ClientDisconnected as error:
            seen.append(error)
            raise
        answered.append(data)
        start_response("201 Created", [("Content-Length", "0")])
        return []

    server = start(app)
    if framing == "length":
        request = b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789"
    else:
        request = b"PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"
    head = request.index(b"\r\n\r\n") + 4
    for end in range(len(request)):
        answer = server.talk(request[:end])
        assert answer == b"", (end, answer)
    # and with a reset instead of an orderly end
    for end in range(0, len(request), 3):
        with server.connect() as sock:
            sock.sendall(request[:end])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert server.talk(request).startswith(b"HTTP/1.1 201 ")
    assert wait_for(lambda: server.server.active == 0)
    assert answered == [b"0123456789"]
    assert len(seen) >= len(request) - head
    assert {entry[1] for entry in server.done} == {201, 499}
    assert not server.records


def test_slow_body(start):
    seen = []

    def app(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except ClientTimeout as error:
            seen.append(error)
            raise

    server = start(app, client_timeout="0.2")
    with server.connect() as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nab")
        answer = read_until(sock, b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n") and seen


def test_slow_headers(start):
    """The head has one time limit, however steadily it drips."""
    server = start(hello, client_timeout="0.3", keepalive_timeout="60")
    with server.connect() as sock:
        sock.settimeout(0.02)
        sock.sendall(b"GET / HTTP/1.1\r\n")
        answer = b""
        for i in range(500):
            try:
                sock.sendall(b"X-%d: a\r\n" % i)
                answer += sock.recv(1000)
            except TimeoutError:
                continue
            except OSError:
                break
            if answer:
                break
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_read(start):
    class Endless:
        closed = 0

        def __iter__(self):
            return self

        def __next__(self):
            return b"x" * 65536

        def close(self):
            Endless.closed += 1

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", str(10**10))])
        return Endless()

    server = start(app, client_timeout="0.2")
    with server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert wait_for(lambda: server.done)
    assert isinstance(server.done[0][4], ClientTimeout) and Endless.closed == 1
    with server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        sock.recv(1000)
    assert wait_for(lambda: len(server.done) == 2)
    assert isinstance(server.done[1][4], ClientDisconnected) and Endless.closed == 2
    assert not server.records


# --- many clients, end of the server, other protocols


def test_drain(start):
    release = []

    def app(environ, start_response):
        while environ["PATH_INFO"] == "/slow" and not release:
            sleep(0.01)
        return hello(environ, start_response)

    server = start(app)
    idle, busy = server.connect(), server.connect()
    idle.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    read_until(idle, b"hello")
    busy.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
    assert wait_for(lambda: server.server.active == 2)
    server.shut()
    assert idle.recv(1) == b""
    with pytest.raises(OSError, match=".+"):
        server.connect()
    assert server.thread.is_alive()
    release.append(1)
    assert b"hello" in read_all(busy)
    server.thread.join(60)
    assert not server.thread.is_alive()
    idle.close()
    busy.close()


def test_drain_when_all_slots_are_taken(start):
    server = start(hello, max_clients="1")
    with server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        read_until(sock, b"hello")
        server.shut()
        server.thread.join(60)
        assert not server.thread.is_alive()


def test_clients_in_the_backlog_are_answered_at_a_stop(start):
    waiting = []

    def app(environ, start_response):
        if not waiting:
            waiting.extend(server.connect() for _ in range(5))
            for sock in waiting:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            server.server.stop()
        return hello(environ, start_response)

    server = start(app, max_clients="2")
    server.talk(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert all(read_all(sock).endswith(b"hello") for sock in waiting)
    server.thread.join(60)
    assert not server.thread.is_alive()


def test_stop_from_within(start):
    def app(environ, start_response):
        server.server.stop()
        return hello(environ, start_response)

    server = start(app)
    assert b"Connection: close" in server.talk(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    server.thread.join(60)
    assert not server.thread.is_alive()


def test_proxy_protocol(start):
    def app(environ, start_response):
        keys = ("REMOTE_ADDR", "REMOTE_PORT", "SERVER_ADDR", "SERVER_PORT", "wsgi.url_scheme")
        start_response("200 OK", [])
        return [",".join(str(environ.get(key)) for key in keys).encode()]

    server = start(app, require_proxy_protocol="yes")
    get = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    answer = server.talk(b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 443\r\n" + get + get)
    assert answer.count(b"1.2.3.4,1111,5.6.7.8,443,https") == 2
    assert b"127.0.0.1," in server.talk(b"PROXY UNKNOWN anything\r\n" + get)
    for bad in (
        b"",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1111\r\n",
        b"PROXY X\r\n",
        b"x" * 200,
        b"PROXY TCP4 a b 1 2\n",
    ):
        answer = server.talk(bad + get)
        assert answer.startswith(b"HTTP/1.1 400 Invalid PROXY line") and responses(answer) == 1


def test_a_thousand_idle_connections_hold_no_buffers(start):
    import resource

    server = start(hello)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    socks = []
    try:

        def resident():
            with open("/proc/self/statm") as statm:
                return int(statm.read().split()[1]) * resource.getpagesize()

        for _round in range(2):
            before = resident()
            for _ in range(400):
                sock = server.connect()
                sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                assert b"hello" in sock.recv(1000)
                socks.append(sock)
        # The second round: what the process needs once is there by then.
        assert resident() - before < 400 * 20_000
    finally:
        for sock in socks:
            sock.close()


def test_errors_of_a_connection_do_not_end_the_server(start, monkeypatch):
    """accept(2) hands on what went wrong with the connection that it was to give."""
    import errno
    import os

    from swift.engine.sockets import Listener

    real = Listener.accept
    codes = [errno.ENETDOWN, errno.EHOSTUNREACH, errno.ECONNRESET, errno.EMFILE]

    def accept(self):
        if codes:
            code = codes.pop()
            raise OSError(code, os.strerror(code))
        return real(self)

    monkeypatch.setattr(Listener, "accept", accept)
    server = start(hello)
    assert b"200 OK" in server.talk(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert not codes


@pytest.mark.parametrize("kind", ["reads", "sends", "sends no chunks", "is failed"])
def test_nothing_of_a_broken_request_stays_until_garbage_is_looked_for(start, kind):
    """Buffers of those who leave in the midst would pile up in a process that has little else to do."""
    alive = weakref.WeakSet()

    class Buffer:
        """Stands for what an application has in hand."""

    def app(environ, start_response):
        buffer = Buffer()
        alive.add(buffer)
        if kind == "is failed":
            raise RuntimeError("as it must")
        while kind != "reads" and environ["wsgi.input"].read(65536):
            pass
        start_response("200 OK", [("Content-Length", str(1 << 30))])

        def pieces(held=buffer):
            for _ in range(1 << 14):
                yield b"x" * 65536

        return pieces()

    chunked = "Transfer-Encoding: chunked" if kind == "sends no chunks" else "Content-Length: 1000"
    running = start(app)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with running.connect() as sock:
                sock.sendall(f"PUT / HTTP/1.1\r\nHost: h\r\n{chunked}\r\n\r\nabc\r\n".encode())
                if kind == "reads":
                    assert read_until(sock, b"x" * 1000)
        assert wait_for(lambda: len(running.done) == 3)
        assert all(error is not None for *_, error in running.done)
        running.done.clear()  # they hold the errors
        running.records.clear()
        assert wait_for(lambda: not alive)
    finally:
        gc.enable()
