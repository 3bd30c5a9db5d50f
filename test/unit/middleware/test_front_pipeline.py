"""The eight filters together, in front of a small application, behind the real server on a real socket."""

import contextlib
import http.client
import json
import re
import socket
import time

import pytest
from filter_stand_ins import memory_logger

from swift.cache.local_cache import LocalCache
from swift.core.concurrency import raw_threading, use_fast_hub
from swift.engine.sockets import listen
from swift.middleware.catch_errors import CatchErrorsMiddleware
from swift.middleware.gatekeeper import GatekeeperMiddleware
from swift.middleware.healthcheck import HealthCheckMiddleware
from swift.middleware.listing_formats import ListingFilter
from swift.middleware.memcache import MemcacheMiddleware
from swift.middleware.proxy_logging import ProxyLoggingMiddleware
from swift.middleware.tempauth import TempAuth
from swift.wire import server as server_module
from swift.wire.message import Request
from swift.wire.server import Server

LISTING = json.dumps(
    [{"name": "o", "hash": "h", "bytes": 5, "content_type": "t", "last_modified": "now"}]
).encode()


def backend(environ, start_response):
    """Stands for the proxy: objects echo their request, containers list, some paths misbehave."""
    path = environ["PATH_INFO"]
    denied = environ["swift.authorize"](Request(environ))
    if denied is not None:
        return denied(environ, start_response)
    if path.endswith("/raise"):
        raise KeyError("secret detail")
    if path.endswith("/short"):
        start_response("200 OK", [("Content-Length", "10")])
        return iter([b"abc"])
    if path.endswith("/endless"):
        start_response("200 OK", [("Content-Length", "100000000")])
        return (b"x" * 65536 for _ in range(2000))
    headers = [
        ("X-Backend-Storage-Policy-Index", "0"),
        ("X-Timestamp", environ.get("HTTP_X_BACKEND_FOO", "none")),
    ]
    if path.count("/") == 3:
        start_response(
            "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(LISTING))), *headers]
        )
        return [LISTING]
    body = environ["wsgi.input"].read()
    start_response("201 Created" if environ["REQUEST_METHOD"] == "PUT" else "200 OK", headers)
    return [body or b"hello"]


class Front:
    def __init__(self):
        logger, self.lines = memory_logger(20)
        cache = LocalCache()

        def logging_filter(app):
            return ProxyLoggingMiddleware(
                app,
                {
                    "log_msg_template": "{method} {path} {status_int} {bytes_recvd} {bytes_sent} {policy_index} {access_user_id} {transaction_id}"
                },
                logger,
            )

        app = logging_filter(backend)
        app = TempAuth(app, {"user_test_tester": "testing .admin", "workers": "1"}, logger)
        app = ListingFilter(app, {}, logger)
        app = MemcacheMiddleware(app, cache)
        app = logging_filter(app)
        app = HealthCheckMiddleware(app, {})
        app = GatekeeperMiddleware(app, {}, logger)
        app = CatchErrorsMiddleware(app, {}, logger)
        listener = listen("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        self._listener = listener

        def run():
            use_fast_hub()
            Server(listener, app, {}, logger).run()

        self._thread = raw_threading.Thread(target=run, daemon=True)
        self._thread.start()
        self.token = None

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            own = {"X-Auth-Token": self.token} if self.token else {}
            connection.request(method, path, body, {**own, **(headers or {})})
            response = connection.getresponse()
            return response, response.read()

    def login(self):
        response, _ = self.ask(
            "GET", "/auth/v1.0", headers={"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}
        )
        self.token = response.headers["X-Auth-Token"]
        self.lines_so_far(1)
        self.lines.clear()

    def lines_so_far(self, count):
        limit = time.monotonic() + 60
        while len(self.lines) < count and time.monotonic() < limit:
            time.sleep(0.005)
        return self.lines

    def stop(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)


@pytest.fixture
def front(monkeypatch):
    monkeypatch.setattr(server_module, "DRAIN_GRACE", 0.01)
    front = Front()
    front.login()
    yield front
    front.stop()


def test_an_upload(front):
    response, body = front.ask("PUT", "/v1/AUTH_test/c/o", b"12345", {"X-Backend-Foo": "evil"})
    assert (response.status, body) == (201, b"12345")
    assert response.headers["X-Timestamp"] == "none"
    assert "X-Backend-Storage-Policy-Index" not in response.headers
    name = response.headers["X-Trans-Id"]
    assert re.fullmatch(r"tx[0-9a-f]{21}-[0-9a-f]{10}", name)
    assert response.headers["X-Openstack-Request-Id"] == name
    assert front.lines_so_far(1) == [f"PUT /v1/AUTH_test/c/o 201 5 5 0 test:tester {name}"]


def test_a_download_and_a_head(front):
    response, body = front.ask("GET", "/v1/AUTH_test/c/o")
    assert (response.status, body, response.headers["Content-Length"]) == (200, b"hello", "5")
    response, body = front.ask("HEAD", "/v1/AUTH_test/c/o")
    assert (response.status, body) == (200, b"")
    shown = [line.rsplit(" ", 1)[0] for line in front.lines_so_far(2)]
    assert shown == [
        "GET /v1/AUTH_test/c/o 200 - 5 0 test:tester",
        "HEAD /v1/AUTH_test/c/o 200 - - 0 test:tester",
    ]


def test_a_listing(front):
    response, body = front.ask("GET", "/v1/AUTH_test/c")
    assert (response.status, body, response.headers["Vary"]) == (200, b"o\n", "Accept")
    response, body = front.ask("GET", "/v1/AUTH_test/c?format=json")
    assert body == LISTING
    shown = [line.rsplit(" ", 1)[0] for line in front.lines_so_far(2)]
    assert shown[0] == "GET /v1/AUTH_test/c%3Fformat%3Djson 200 - 2 0 test:tester"


def test_strangers_and_health(front):
    front.token = None
    assert front.ask("GET", "/v1/AUTH_test/c/o")[0].status == 401
    response, body = front.ask("GET", "/healthcheck")
    assert (response.status, body) == (200, b"OK")
    assert "X-Trans-Id" in response.headers
    assert len(front.lines_so_far(1)) == 1


def test_an_error_inside_is_a_500_without_details(front):
    response, body = front.ask("GET", "/v1/AUTH_test/c/raise")
    assert (response.status, body) == (500, b"An error occurred")
    assert "X-Trans-Id" in response.headers
    access = [line for line in front.lines_so_far(2) if line.startswith("GET")]
    assert access[0].startswith("GET /v1/AUTH_test/c/raise 500 - 17 ")


def test_a_body_that_ends_early_breaks_the_connection_and_is_logged_as_500(front):
    with pytest.raises(http.client.IncompleteRead):
        front.ask("GET", "/v1/AUTH_test/c/short")
    access = [line for line in front.lines_so_far(2) if "short 5" in line]
    assert access[0].startswith("GET /v1/AUTH_test/c/short 500 - 3 ")


def test_a_client_that_leaves_during_the_download_is_logged_as_499(front):
    sock = socket.create_connection(("127.0.0.1", front.port), 10)
    sock.sendall(
        f"GET /v1/AUTH_test/c/endless HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {front.token}\r\n\r\n".encode()
    )
    assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    sock.close()
    assert front.lines_so_far(1)[0].startswith("GET /v1/AUTH_test/c/endless 499 - ")


def test_a_client_that_leaves_during_the_upload_is_logged_as_499(front):
    sock = socket.create_connection(("127.0.0.1", front.port), 10)
    sock.sendall(
        f"PUT /v1/AUTH_test/c/o HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {front.token}\r\nContent-Length: 10\r\n\r\nabc".encode()
    )
    sock.close()
    assert front.lines_so_far(1)[0].startswith("PUT /v1/AUTH_test/c/o 499 3 - ")
