"""Requests to servers elsewhere: names, TLS, proxies, connections that are used again, bodies that are not wanted or break off."""

import contextlib
import ssl

import pytest

from swift.core.concurrency import raw_socket, raw_threading, spawn
from swift.wire.body_input import BodyInput, SourceBroken
from swift.wire.client import BackendError, ConnectError
from swift.wire.remote import SMALL_BODY, Remote
from test import certificate

LONG = bytes(range(256)) * 1024


@pytest.fixture
def seen():
    return []


@pytest.fixture
def running(start, seen):
    def app(environ, start_response):
        wanted = environ["REQUEST_METHOD"] != "PUT" or environ["PATH_INFO"] != "/refused"
        body = environ["wsgi.input"].read() if wanted else b""
        seen.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["REMOTE_PORT"], body))
        headers = [
            ("Content-Length", "2"),
            ("X-Method", environ["REQUEST_METHOD"]),
            ("X-Host", environ["HTTP_HOST"]),
        ]
        start_response("200 OK" if wanted else "401 Unauthorized", headers)
        return [b"ok"]

    return start(app)


def ask(remote, method, url, *args):
    """From a green thread, as a daemon asks."""
    return spawn(remote.request, method, url, {"X-A": "b"}, *args).wait()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_requests_by_number_and_by_name(running, seen, host):
    remote = Remote(5)
    for method in ("HEAD", "DELETE", "GET"):
        answer = ask(remote, method, f"http://{host}:{running.port}/v1/a/c/%C3%A9%20")
        assert (answer.status, answer.headers["x-method"]) == (200, method)
        assert answer.headers["x-host"] == f"{host}:{running.port}"
    assert {path for _, path, _, _ in seen} == {"/v1/a/c/\xc3\xa9 "}
    assert len({port for _, _, port, _ in seen}) == 1  # one connection for all
    remote.close()


@pytest.mark.parametrize("body", [b"", b"x", LONG])
def test_bodies(running, seen, body):
    remote = Remote(5)
    for _ in range(2):
        pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
        answer = ask(
            remote, "PUT", f"http://127.0.0.1:{running.port}/o", BodyInput(pieces, len(body)), len(body)
        )
        assert answer.status == 200
    assert [body for _, _, _, body in seen] == [body, body]


def test_a_long_body_that_is_not_wanted_is_not_read(running):
    body = BodyInput([LONG], len(LONG))
    answer = ask(Remote(5), "PUT", f"http://127.0.0.1:{running.port}/refused", body, len(LONG))
    assert answer.status == 401 and body.received == 0


@pytest.mark.parametrize("size", [100, SMALL_BODY + 100])
def test_a_body_that_breaks_off_is_not_taken_for_whole(running, seen, size):
    with pytest.raises(SourceBroken):
        ask(Remote(5), "PUT", f"http://127.0.0.1:{running.port}/o", BodyInput([b"x" * 50], size), size)
    assert not any(method == "PUT" for method, *_ in seen)


def test_a_kept_connection_that_was_closed_is_no_failure(start):
    def app(environ, start_response):
        start_response("204 No Content", [("Connection", "keep-alive")])
        return []

    running = start(app)
    remote = Remote(5)
    url = f"http://127.0.0.1:{running.port}/"
    assert ask(remote, "DELETE", url).status == 204
    (kept,) = remote._kept.values()
    for conn in kept.idle:
        with contextlib.suppress(OSError):
            raw_socket.fromfd(conn.stream.fileno(), raw_socket.AF_INET, raw_socket.SOCK_STREAM).shutdown(2)
    assert ask(remote, "DELETE", url).status == 204


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://name.invalid/", "http://[::1]:1/"])
def test_where_nobody_is(url):
    with pytest.raises(ConnectError):
        ask(Remote(2), "HEAD", url)


@pytest.mark.parametrize(
    "url", ["ftp://a/b", "http:///b", "a/b", "http://a/ b", "http://a/\r\nX: y", "http://a:x/"]
)
def test_what_is_no_url(url):
    with pytest.raises((ValueError, BackendError)):
        ask(Remote(1), "HEAD", url)


def test_a_header_that_would_break_out(running, seen):
    with pytest.raises(ValueError):
        spawn(Remote(5).request, "HEAD", f"http://127.0.0.1:{running.port}/", {"X": "a\r\nY: b"}).wait()
    assert seen == []


def test_tls_checks_whom_it_speaks_to(start, tmp_path):
    cert, key = certificate.make(tmp_path)

    def app(environ, start_response):
        start_response("200 OK", [("X-Scheme", environ["wsgi.url_scheme"]), ("Content-Length", "0")])
        return [environ["wsgi.input"].read()[:0]]

    running = start(app, cert_file=cert, key_file=key)
    remote = Remote(5)
    with pytest.raises(ConnectError, match="certificate"):
        ask(remote, "HEAD", f"https://localhost:{running.port}/")
    remote._context = ssl.create_default_context(cafile=cert)
    for body in (b"x", LONG):
        answer = ask(
            remote, "PUT", f"https://localhost:{running.port}/", BodyInput([body], len(body)), len(body)
        )
        assert answer.headers["x-scheme"] == "https"
    with pytest.raises(ConnectError):
        ask(Remote(5), "HEAD", f"https://127.0.0.1:{running.port}/")


def proxy_of(answers):
    """A proxy that notes what it is asked, and answers as told; (its address, what it saw)."""
    listener = raw_socket.create_server(("127.0.0.1", 0))
    noted = []

    def serve():
        sock, _ = listener.accept()
        with sock:
            for answer in answers:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += sock.recv(4096)
                noted.append(head.decode())
                sock.sendall(answer)

    thread = raw_threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}", noted


def test_a_proxy_is_asked_for_the_whole_url():
    proxy, noted = proxy_of([b"HTTP/1.1 204 No Content\r\n\r\n"])
    assert ask(Remote(5, proxies=[proxy]), "DELETE", "http://away.example/v1/a/c/o").status == 204
    assert noted[0].startswith("DELETE http://away.example/v1/a/c/o HTTP/1.1\r\nHost: away.example:80\r\n")


def test_a_proxy_that_makes_no_tunnel():
    proxy, noted = proxy_of([b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"])
    with pytest.raises(ConnectError, match="403"):
        ask(Remote(5, proxies=[proxy]), "DELETE", "https://away.example/v1/a/c/o")
    assert noted[0].startswith("CONNECT away.example:443 HTTP/1.1\r\n")


def test_a_small_answer_is_taken_whole(running, seen):
    remote = Remote(5)
    for _ in range(2):
        answer, body = spawn(
            remote.whole, "POST", f"http://127.0.0.1:{running.port}/a", {"X-A": "b"}, b"asked"
        ).wait()
        assert (answer.status, body) == (200, b"ok")
    assert [body for *_, body in seen] == [b"asked", b"asked"]
    assert len({port for _, _, port, _ in seen}) == 1


def test_an_answer_that_is_too_large_is_not_taken(start, monkeypatch):
    monkeypatch.setattr("swift.wire.remote.MOST_WHOLE", 1000)

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "1001")])
        return [b"x" * 1001]

    url = f"http://127.0.0.1:{start(app).port}/a"
    with pytest.raises(BackendError):
        spawn(Remote(5).whole, "GET", url, {}).wait()
