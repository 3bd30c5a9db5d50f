"""The backend client against a scripted peer on loopback."""

import os

import pytest

from swift.core import concurrency as c
from swift.engine import sockets
from swift.engine.stream import Stream
from swift.wire import backend_call, connection_pool
from swift.wire.backend_call import BackendCall
from swift.wire.client import (
    BackendError,
    BackendTimeout,
    ConnectError,
    StaleConnection,
    header_block,
    header_block_of,
    wait_any,
)
from swift.wire.connection_pool import ConnectionPool


class Peer:
    """Answers each request head on each connection with the next scripted bytes; None closes the connection."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.connections = 0
        self.sock = sockets.listen("127.0.0.1", 0)
        self.port = self.sock.getsockname()[1]
        self.listener = sockets.Listener(self.sock)
        c.spawn_n(self.accept)

    def accept(self):
        try:
            while True:
                sock, _ = self.listener.accept()
                self.connections += 1
                c.spawn_n(self.serve, Stream(sock, 5))
        except OSError:
            pass

    def serve(self, stream):
        buffer = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = stream.recv(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                self.requests.append(head)
                answer = self.answers.pop(0)
                if answer is None:
                    return
                stream.sendall(answer)
        finally:
            stream.close()


@pytest.fixture
def pool(monkeypatch):
    pool = ConnectionPool()
    monkeypatch.setattr(backend_call, "POOL", pool)
    yield pool
    pool.clear()


def get(pool, peer, method="GET", timeout=10.0, **kwargs):
    return called(peer, method, timeout, **kwargs).answer()


def called(peer, method="GET", timeout=10.0, **kwargs):
    block = header_block([("X-A", "b")])
    return BackendCall(
        "127.0.0.1", peer.port, method, "/sda/1/a/c/o", block, conn_timeout=0.5, timeout=timeout, **kwargs
    )


def asked(conn):
    """The answer to a request over this very connection."""
    conn.send("GET", "/", b"")
    return conn.response(10)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nEtag: x\r\n\r\nhello"


def test_request_and_response(pool):
    peer = Peer(OK)
    response = get(pool, peer)
    assert peer.requests[0].split(b"\r\n") == [
        b"GET /sda/1/a/c/o HTTP/1.1",
        b"Host: 127.0.0.1:%d" % peer.port,
        b"X-A: b",
    ]
    assert (response.status, response.reason, response.content_length, response.get("etag")) == (
        200,
        "OK",
        5,
        "x",
    )
    assert response.buffered
    assert response.read_all(100) == b"hello"


def test_connections_are_used_again(pool):
    peer = Peer(OK, OK, OK)
    for _ in range(3):
        get(pool, peer).read_all(100)
    assert peer.connections == 1


@pytest.mark.parametrize("extra", [b"Connection: close\r\n", b"connection: Close\r\n"])
def test_a_closing_server_is_not_used_again(pool, extra):
    answer = OK.replace(b"Etag", extra + b"Etag")
    peer = Peer(answer, answer)
    get(pool, peer).read_all(100)
    get(pool, peer).read_all(100)
    assert peer.connections == 2


def test_unread_body_never_reaches_the_next_request(pool):
    peer = Peer(OK, OK)
    get(pool, peer).release()
    assert get(pool, peer).read_all(100) == b"hello"
    assert peer.connections == 2


def test_a_pooled_connection_that_died_is_replaced_unseen(pool):
    peer = Peer(OK, None, OK)
    get(pool, peer).read_all(100)
    assert get(pool, peer).read_all(100) == b"hello"
    assert peer.connections == 2


def test_without_retry_the_caller_is_told(pool):
    peer = Peer(OK, None)
    get(pool, peer).read_all(100)
    with pytest.raises(StaleConnection):
        asked(pool.idle("127.0.0.1", peer.port))


def test_a_call_to_a_connection_that_died_is_on_its_way_again(pool):
    """For those who wait for many calls: nothing was waited for where the answer was to be."""
    peer = Peer(OK, None, OK)
    get(pool, peer).read_all(100)
    call = called(peer)
    assert call.send_idle()
    wait_any([call.conn], 5)
    assert call.arrived() is None
    assert wait_any([call.conn], 5) == [call.conn]
    assert call.arrived().read_all(100) == b"hello"
    assert peer.connections == 2


def test_a_call_without_an_idle_connection_is_not_sent(pool):
    peer = Peer(OK)
    call = called(peer)
    assert not call.send_idle() and call.conn is None
    call.send_fresh()
    assert call.response().read_all(100) == b"hello"


def test_a_call_that_fails_leaves_no_connection(pool):
    for answer in (None, b"", b"nonsense\r\n\r\n"):
        call = called(Peer(answer), timeout=0.05)
        with pytest.raises(BackendError):
            call.answer()
        assert call.conn is None


def test_who_wants_to_wait_longer_keeps_the_connection(pool):
    peer = Peer(b"")
    call = called(peer, timeout=60)
    call.send()
    with pytest.raises(BackendTimeout):
        call.response(0.05, keep=True)
    assert call.conn is not None and call.conn.stream.fd >= 0
    call.close()


def test_a_fresh_connection_that_breaks_is_an_error(pool):
    with pytest.raises(BackendError):
        get(pool, Peer(None))


def test_silence_is_a_timeout(pool):
    with pytest.raises(BackendTimeout):
        get(pool, Peer(b""), timeout=0.05)


def test_refused(pool):
    peer = Peer()
    peer.listener.close()
    with pytest.raises(ConnectError):
        pool.get("127.0.0.1", peer.port)


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
    ],
)
def test_broken_answers_are_errors(pool, answer):
    class Once(Peer):
        def serve(self, stream):
            stream.recv(65536)
            stream.sendall(answer)
            stream.close()

    with pytest.raises(BackendError):
        get(pool, Once()).read_all(100)


def test_chunked_body_with_trailer(pool):
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"
    )
    peer = Peer(chunked, OK)
    assert get(pool, peer).read_all(100) == b"abcde"
    get(pool, peer).read_all(100)
    assert peer.connections == 1


def test_head_and_no_content_have_no_body(pool):
    peer = Peer(OK[:-5], b"HTTP/1.1 204 No Content\r\n\r\n", OK)
    response = get(pool, peer, method="HEAD")
    assert (response.content_length, response.read_all(10)) == (5, b"")
    assert get(pool, peer).read_all(10) == b""
    assert get(pool, peer).read_all(10) == b"hello"
    assert peer.connections == 1


def test_body_until_close(pool):
    class UntilClose(Peer):
        def serve(self, stream):
            stream.recv(65536)
            stream.sendall(b"HTTP/1.0 200 OK\r\n\r\nabc")
            stream.close()

    assert get(pool, UntilClose()).read_all(100) == b"abc"


def test_bodies_are_bounded(pool):
    with pytest.raises(BackendError):
        get(pool, Peer(OK)).read_all(4)


def test_interim_answers(pool):
    peer = Peer(b"HTTP/1.1 100 Continue\r\nX-Cap: crc32\r\n\r\n" + OK)
    conn = pool.get("127.0.0.1", peer.port)
    conn.send("PUT", "/x", b"")
    interim = conn.wait_continue(5)
    assert (interim.status, interim.get("x-cap")) == (100, "crc32")
    assert conn.response(5).read_all(10) == b"hello"


def test_the_same_head_again_is_an_answer_of_its_own(pool):
    peer = Peer(OK, OK, OK.replace(b"hello", b"world"), OK.replace(b"200 OK", b"404 No"))
    first = get(pool, peer)
    assert first.read_all(10) == b"hello"
    second = get(pool, peer)
    assert second.headers == [("Content-Length", "5"), ("Etag", "x")]
    assert second.read_all(10) == b"hello"
    assert get(pool, peer).read_all(10) == b"world"
    assert get(pool, peer).status == 404


def test_wait_any_sees_buffered_and_arriving_answers(pool):
    quiet, loud = Peer(b""), Peer(OK)
    first, second = pool.get("127.0.0.1", quiet.port), pool.get("127.0.0.1", loud.port)
    first.send("GET", "/x", b"")
    second.send("GET", "/x", b"")
    assert wait_any([first, second], 5) == [second]
    first.close()
    second.close()


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b"])
def test_no_header_can_be_smuggled_in(value):
    with pytest.raises(ValueError):
        header_block([("X-A", value)])
    with pytest.raises(ValueError):
        header_block(iter([("X-A", value)]))
    with pytest.raises(ValueError):
        header_block_of({"X-A": value})


def test_a_block_by_its_form_is_the_block():
    for _ in range(2):
        for headers in (
            {},
            {"X-100%s": "%d", "Etag": "\xe9"},
            {"Etag": "%", "X-A": "b"},
            {"X-A": "b", "Etag": ""},
        ):
            assert header_block_of(headers) == header_block(headers.items())


REFUSED = b"HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 2\r\n\r\nno"


def test_after_an_answer_without_100_the_connection_is_not_used_again(pool):
    """The body was not sent; a server that still waits for it would take the next request for it."""
    peer = Peer(REFUSED, OK)
    conn = pool.get("127.0.0.1", peer.port)
    conn.send("PUT", "/x", header_block([("Expect", "100-continue"), ("Transfer-Encoding", "chunked")]))
    final = conn.wait_continue(5)
    assert (final.status, final.read_all(10)) == (422, b"no")
    assert get(pool, peer).read_all(10) == b"hello"
    assert peer.connections == 2


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("answer, kept", [(REFUSED, 2), (OK, 1)], ids=["refused", "taken"])
def test_a_server_that_refuses_a_body_is_not_believed_to_have_read_it(pool, streamed, answer, kept):
    class Reading(Peer):
        """Reads the body before it answers; whether that is so, the client can't know."""

        def serve(self, stream):
            stream.set_timeout(60)
            while True:
                data = stream.recv(65536)
                if not data:
                    return stream.close()
                self.requests.append(data)
                while b"PUT" in b"".join(self.requests) and b"the body" not in b"".join(self.requests):
                    self.requests.append(stream.recv(65536))
                stream.sendall(self.answers.pop(0))

    peer = Reading(answer, OK)
    conn = pool.get("127.0.0.1", peer.port)
    if streamed:
        conn.send("PUT", "/x", header_block([("Content-Length", "8")]))
        conn.send_bytes(b"the body")
    else:
        conn.send("PUT", "/x", header_block([("Content-Length", "8")]), b"the body")
    conn.response(5).drain()
    get(pool, peer).drain()
    assert peer.connections == kept


def test_a_body_that_breaks_off_closes_the_connection(pool):
    peer = Peer(OK[:-2])
    response = get(pool, peer, timeout=0.1)
    with pytest.raises(BackendTimeout):
        response.read_all(100)
    assert response.conn.stream.fd < 0


def test_names_that_are_no_addresses_are_refused(pool):
    with pytest.raises(ConnectError):
        pool.get("x" * 70 + ".example", 80)


@pytest.fixture
def quick_reaper(monkeypatch):
    monkeypatch.setattr(connection_pool, "REAP_SECONDS", 0.02)


def until(condition):
    with c.Timeout(60):
        while not condition():
            c.sleep(0.01)


def test_what_a_peer_has_closed_is_closed_here_though_nobody_asks_for_it(pool, quick_reaper):
    peer = Peer(*[OK] * 3, *[None] * 3)
    got = [pool.fresh("127.0.0.1", peer.port) for _ in range(3)]
    streams = [conn.stream for conn in got]
    for conn in got:
        asked(conn).read_all(100)
    assert all(stream.fd >= 0 for stream in streams)
    del got, conn
    for stream in streams:  # the answer to a second request is the end of the connection
        stream.sendall(b"GET / HTTP/1.1\r\n\r\n")
    until(lambda: all(stream.fd < 0 for stream in streams))
    assert pool._count == 0 and not pool._idle
    until(lambda: pool._reaper is None)


def test_what_was_idle_for_too_long_is_closed(pool, quick_reaper, monkeypatch):
    peer = Peer(OK, OK)
    old = pool.fresh("127.0.0.1", peer.port)
    young = pool.fresh("127.0.0.1", peer.port)
    for conn in (old, young):
        asked(conn).read_all(100)
    old.idle_since -= connection_pool.MAX_IDLE_SECONDS + 1
    until(lambda: old.stream.fd < 0)
    c.sleep(0.05)
    assert young.stream.fd >= 0 and pool.idle("127.0.0.1", peer.port) is young


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_uses_no_connection_of_its_parent():
    peer = Peer(OK, OK)
    asked(connection_pool.POOL.fresh("127.0.0.1", peer.port)).read_all(100)
    pid = c.fork()
    if pid == 0:
        os._exit(0 if connection_pool.POOL.idle("127.0.0.1", peer.port) is None else 1)
    assert os.waitpid(pid, 0)[1] == 0
    conn = connection_pool.POOL.idle("127.0.0.1", peer.port)
    assert conn is not None and asked(conn).read_all(100) == b"hello"
    connection_pool.POOL.clear()


def test_heads_that_say_the_same_have_bodies_of_their_own():
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: 1 \r\n\r\n"
    peer = Peer(head + b"one", head + b"two", head.replace(b"X-A: 1", b"X-A: 2") + b"six")
    pool = ConnectionPool()
    seen = []
    for _ in range(3):
        conn = pool.get("127.0.0.1", peer.port)
        conn.send("GET", "/", b"", timeout=60)
        response = conn.response(5)
        seen.append((response.get("x-a"), response.headers[-1], response.read_all(10)))
    assert seen == [("1", ("X-A", "1"), b"one"), ("1", ("X-A", "1"), b"two"), ("2", ("X-A", "2"), b"six")]


def test_a_bad_head_is_bad_each_time():
    bad = b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"
    peer = Peer(bad, bad)
    pool = ConnectionPool()
    for _ in range(2):
        conn = pool.get("127.0.0.1", peer.port)
        conn.send("GET", "/", b"", timeout=60)
        with pytest.raises(BackendError):
            conn.response(5)
        conn.close()
