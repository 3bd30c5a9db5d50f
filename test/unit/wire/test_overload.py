"""More connections and requests than a server takes: who waits, who is told to come back later, who gets his place back."""

import errno
import re
import ssl
import threading

import pytest
from running_server import read_all, read_until, wait_for

from swift.core.concurrency import sleep
from swift.engine.sockets import Listener
from swift.wire import connection, server
from test import certificate

GET = b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n"


def slow_until(release):
    """An application that answers /slow only once `release` has something in it."""

    def app(environ, start_response):
        while environ["PATH_INFO"] == "/slow" and not release:
            sleep(0.01)
        start_response("200 OK", [("Content-Length", "5")])
        return [b"hello"]

    return app


def ask(running, path=b"", body=b"hello"):
    """A connection that has sent one request."""
    sock = running.connect()
    sock.sendall(GET % path)
    return sock


def is_busy_answer(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    return (
        head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        and re.search(rb"^Retry-After: [1-9]\d*\r$", head, re.MULTILINE) is not None
        and re.search(rb"^X-Trans-Id: tx", head, re.MULTILINE) is not None
        and b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"
    )


# --- connections


def test_an_idle_connection_gives_way(start, monkeypatch):
    monkeypatch.setattr(server, "LEAST_IDLE_SECONDS", 0.0)
    running = start(slow_until([1]), max_clients="2", queue_timeout="10")
    first, second = ask(running), ask(running)
    for sock in (first, second):
        read_until(sock, b"hello")
    with ask(running) as third:
        assert read_until(third, b"hello")
    assert first.recv(1) == b""  # the longest idle one
    second.sendall(GET % b"")
    assert read_until(second, b"hello")
    first.close()
    second.close()


def test_whoever_waits_gets_the_place_of_one_who_stays_silent(start, monkeypatch):
    monkeypatch.setattr(server, "LEAST_IDLE_SECONDS", 0.3)
    running = start(slow_until([1]), max_clients="1", queue_timeout="30")
    silent = running.connect()
    assert wait_for(lambda: running.server.clients.taken == 1)
    with ask(running) as other:
        assert read_until(other, b"hello").endswith(b"hello")
    assert silent.recv(1) == b""
    silent.close()


def test_a_connection_that_has_just_come_does_not_give_way(start):
    """Its request may be on its way; one that waits for its place has it after the answer."""
    running = start(slow_until([1]), max_clients="1", queue_timeout="10")
    first = running.connect()
    assert wait_for(lambda: running.server.clients.taken == 1)
    second = ask(running)
    assert wait_for(lambda: running.server.clients.waiting == 1)
    first.sendall(GET % b"")
    assert read_all(first).endswith(b"hello") and read_until(second, b"hello").endswith(b"hello")
    second.close()


def test_connections_beyond_the_limit_wait_and_then_have_their_turn(start):
    release = []
    running = start(slow_until(release), max_clients="2", queue_timeout="30")
    busy = [ask(running, b"slow") for _ in range(2)]
    assert wait_for(lambda: running.server.clients.taken == 2)
    waiting = [ask(running) for _ in range(5)]
    assert wait_for(lambda: running.server.clients.waiting == 5)
    release.append(1)
    answers = [read_until(sock, b"hello") for sock in busy + waiting]
    assert all(answer.endswith(b"hello") for answer in answers)
    # Who has a place is told that its connection ends while somebody waits for it: each of the five was let in by another's end, and who was
    # answered last ends for nobody. Which these are is told by how soon each of the slow ones goes on.
    ends = [b"Connection: close" in answer for answer in answers]
    assert 5 <= sum(ends) <= 6
    for sock, end in zip(busy + waiting, ends, strict=True):
        assert not end or read_all(sock) == b""
        sock.close()
    assert wait_for(lambda: running.server.clients.taken == 0)


def test_a_connection_that_would_wait_too_long_hears_503(start):
    release = []
    running = start(slow_until(release), max_clients="1", queue_timeout="0.2")
    busy = ask(running, b"slow")
    assert wait_for(lambda: running.server.clients.taken == 1)
    answers = [read_all(sock) for sock in [ask(running) for _ in range(3)]]
    assert all(is_busy_answer(answer) and b"Connection: close" in answer for answer in answers)
    head = running.connect()
    head.sendall(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert read_all(head).endswith(b"\r\n\r\n")
    release.append(1)
    assert read_until(busy, b"hello").endswith(b"hello")
    busy.close()
    assert wait_for(lambda: running.server.clients.taken == 0 and running.server.active == 0)
    with ask(running) as sock:
        assert read_until(sock, b"hello")
    assert sum("too busy" in line for line in running.logged) == 1


def test_accept_errors_take_no_places(start, monkeypatch):
    errors = [errno.EMFILE, errno.ECONNRESET, errno.ENOBUFS, errno.EMFILE]
    accept = Listener.accept

    def failing(self):
        if errors:
            raise OSError(errors.pop(), "no")
        return accept(self)

    monkeypatch.setattr(Listener, "accept", failing)
    monkeypatch.setattr(server, "_ACCEPT_RETRY_SECONDS", 0.01)
    release = []
    running = start(slow_until(release), max_clients="2", queue_timeout="30")
    busy = [ask(running, b"slow") for _ in range(2)]
    assert wait_for(lambda: running.server.clients.taken == 2) and not errors
    release.append(1)
    assert all(read_until(sock, b"hello") for sock in busy)
    for sock in busy:
        sock.close()
    assert wait_for(lambda: running.server.clients.taken == 0 and running.server.active == 0)


def test_places_come_back_from_clients_that_leave(start):
    running = start(slow_until([]), max_clients="50", max_requests="10", queue_timeout="30")
    for _ in range(4):
        socks = [running.connect() for _ in range(50)]
        for number, sock in enumerate(socks):
            sock.sendall([b"", b"GET /fast HT", GET % b"fast", b"\x16\x03\x01", GET % b"x" * 30][number % 5])
        for sock in socks:
            sock.close()
    server_ = running.server
    assert wait_for(
        lambda: not (server_.clients.taken or server_.requests.taken or server_.active or server_.idle)
    )


# --- requests


def test_requests_beyond_the_limit_wait_in_the_order_of_their_arrival(start):
    release, served = [], []

    def app(environ, start_response):
        served.append(environ["PATH_INFO"])
        return slow_until(release)(environ, start_response)

    running = start(app, max_requests="1", queue_timeout="30")
    socks = [ask(running, b"slow")]
    for number in range(5):
        assert wait_for(lambda wanted=number: running.server.requests.waiting == wanted and served)
        socks.append(ask(running, b"%d" % number))
    assert wait_for(lambda: running.server.requests.waiting == 5)
    release.append(1)
    assert all(read_until(sock, b"hello").endswith(b"hello") for sock in socks)
    assert served == ["/slow", "/0", "/1", "/2", "/3", "/4"]
    for sock in socks:
        sock.close()


def test_a_request_that_would_wait_too_long_hears_503_and_keeps_its_connection(start, monkeypatch):
    monkeypatch.setattr(connection, "REFUSAL_PAUSE", 0.01)
    release = []
    running = start(slow_until(release), max_requests="1", queue_timeout="0.2")
    busy = ask(running, b"slow")
    assert wait_for(lambda: running.server.requests.taken == 1)
    other = running.connect()
    other.sendall(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000)
    answer = read_until(other, connection.BUSY_BODY)
    assert is_busy_answer(answer) and b"Connection: close" not in answer
    assert wait_for(lambda: len(running.done) == 1) and running.done[0][1] == 503
    other.sendall(GET % b"healthcheck")  # always answered
    assert read_until(other, b"hello").endswith(b"hello")
    release.append(1)
    read_until(busy, b"hello")
    other.sendall(GET % b"x")
    assert read_until(other, b"hello").endswith(b"hello")
    busy.close()
    other.close()


@pytest.mark.parametrize(("path", "asked"), [("", b"x"), ("", b"metrics"), ("/told", b"metrics")])
def test_only_what_is_watched_is_never_made_to_wait(start, path, asked):
    """Where a proxy tells no metrics, `metrics` is a bucket like any other."""
    release = []
    running = start(slow_until(release), max_requests="1", queue_timeout="0.2", metrics_path=path)
    busy = ask(running, b"slow")
    assert wait_for(lambda: running.server.requests.taken == 1)
    for watched in (b"healthcheck", path[1:].encode()):
        with running.connect() as sock:
            sock.sendall(GET % (watched or b"healthcheck"))
            assert read_until(sock, b"hello").endswith(b"hello")
    with running.connect() as sock:
        sock.sendall(GET % asked)
        assert is_busy_answer(read_until(sock, connection.BUSY_BODY))
    release.append(1)
    busy.close()


def test_an_upload_that_waits_for_its_100_continue_hears_503_instead(start):
    release = []
    running = start(slow_until(release), max_requests="1", queue_timeout="0.2")
    busy = ask(running, b"slow")
    assert wait_for(lambda: running.server.requests.taken == 1)
    with running.connect() as sock:
        sock.sendall(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        answer = read_until(sock, connection.BUSY_BODY)
        assert is_busy_answer(answer) and b"100 Continue" not in answer and b"Connection: close" in answer
    release.append(1)
    busy.close()


def test_who_has_given_up_waiting_is_not_worked_for(start):
    release, served = [], []

    def app(environ, start_response):
        served.append(environ["PATH_INFO"])
        return slow_until(release)(environ, start_response)

    running = start(app, max_requests="1", queue_timeout="30")
    busy = ask(running, b"slow")
    assert wait_for(lambda: running.server.requests.taken == 1)
    ask(running, b"gone").close()
    assert wait_for(lambda: running.server.requests.waiting == 1)
    release.append(1)
    read_until(busy, b"hello")
    assert wait_for(lambda: running.server.active == 1)
    assert served == ["/slow"]
    busy.close()


def test_a_place_is_free_while_the_answer_goes_out(start):
    """A client that reads slowly holds a connection, not a place among the requests."""

    def app(environ, start_response):
        size = 50_000_000 if environ["PATH_INFO"] == "/large" else 5
        start_response("200 OK", [("Content-Length", str(size))])
        return [b"hello" * (size // 5)]

    running = start(app, max_requests="1", queue_timeout="30")
    slow = ask(running, b"large")
    assert slow.recv(100)
    with ask(running) as quick:
        assert read_until(quick, b"hello").endswith(b"hello")
    slow.close()


def test_many_clients_hear_nothing_but_success_and_503(start, monkeypatch):
    monkeypatch.setattr(connection, "REFUSAL_PAUSE", 0.05)

    def app(environ, start_response):
        sleep(0.02)
        start_response("200 OK", [("Content-Length", "5")])
        return [b"hello"]

    running = start(app, max_clients="150", max_requests="4", queue_timeout="0.4")
    statuses = []

    def client():
        for _ in range(3):
            with ask(running) as sock:
                statuses.append(sock.makefile("rb").readline()[:12])

    threads = [threading.Thread(target=client) for _ in range(300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(statuses) == 900 and set(statuses) == {b"HTTP/1.1 200", b"HTTP/1.1 503"}
    server_ = running.server
    assert wait_for(lambda: not (server_.clients.taken or server_.requests.taken or server_.active))


def answered(running, seconds=10):
    with running.connect() as sock:
        sock.settimeout(seconds)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        return read_all(sock)


def test_who_does_not_come_to_the_end_of_a_head_gives_way(start, monkeypatch):
    monkeypatch.setattr(server, "LEAST_UNFINISHED_SECONDS", 0.2)
    running = start(slow_until([1]), max_clients="3", queue_timeout="10")
    slow = [running.connect() for _ in range(3)]
    for sock in slow:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nX-A: ")
    for _ in range(5):
        assert answered(running).startswith(b"HTTP/1.1 200 ")
    for sock in slow:
        sock.close()
    assert wait_for(lambda: running.server.active == 0)
    assert not running.server.unfinished


def test_who_does_not_come_to_the_end_of_a_handshake_gives_way(start, monkeypatch, tmp_path):
    monkeypatch.setattr(server, "LEAST_UNFINISHED_SECONDS", 0.2)
    cert_file, key_file = certificate.make(tmp_path)
    running = start(
        slow_until([1]), max_clients="2", queue_timeout="10", cert_file=cert_file, key_file=key_file
    )
    slow = [running.connect() for _ in range(2)]
    slow[0].sendall(b"\x16\x03\x01")
    context = ssl.create_default_context(cafile=cert_file)
    with context.wrap_socket(running.connect(), server_hostname="localhost") as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 200 ")
    for sock in slow:
        sock.close()
    assert wait_for(lambda: running.server.active == 0)
    assert not running.server.unfinished


def test_a_body_that_crawls_gives_way_and_one_that_runs_does_not(start, monkeypatch):
    monkeypatch.setattr(server, "LEAST_UPLOAD_SECONDS", 0.3)

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", str(len(environ["wsgi.input"].read())))])
        return [b"x" * 0] if environ["REQUEST_METHOD"] == "GET" else [b"x" * int(environ["CONTENT_LENGTH"])]

    running = start(app, max_clients="3", queue_timeout="10")
    head = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n"
    crawling = [running.connect() for _ in range(2)]
    for sock in crawling:
        sock.sendall(head + b"y" * 10)
    quick = running.connect()
    quick.sendall(head + b"y" * 99_000)
    for _ in range(2):
        assert answered(running).startswith(b"HTTP/1.1 200 ")
    quick.sendall(b"y" * 1000)
    assert read_all(quick).endswith(b"x" * 1000)
    for sock in [*crawling, quick]:
        sock.close()
    assert wait_for(lambda: running.server.active == 0)
    assert not running.server.uploads
