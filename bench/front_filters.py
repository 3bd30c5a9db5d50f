"""CPU time that the eight front filters add to one object GET with a known token, access line included, socket excluded.

python bench/front_filters.py
"""

import time
import timeit

from swift.cache.local_cache import LocalCache
from swift.middleware.catch_errors import CatchErrorsMiddleware
from swift.middleware.gatekeeper import GatekeeperMiddleware
from swift.middleware.healthcheck import HealthCheckMiddleware
from swift.middleware.listing_formats import ListingFilter
from swift.middleware.memcache import MemcacheMiddleware
from swift.middleware.proxy_logging import ProxyLoggingMiddleware
from swift.middleware.tempauth import TempAuth
from swift.telemetry.log import Logger
from swift.telemetry.served import Served

TOKEN = "AUTH_tk" + "0" * 32
HEADERS = [
    ("Content-Type", "application/octet-stream"), ("Etag", "5d41402abc4b2a76b9719d911017c592"),
    ("Last-Modified", "Sat, 21 Nov 2026 11:13:25 GMT"), ("X-Timestamp", "1795259604.97230"), ("Accept-Ranges", "bytes"),
    ("Content-Length", "5"), ("X-Backend-Storage-Policy-Index", "0"), ("X-Backend-Timestamp", "1795259604.97230"),
    ("X-Backend-Data-Timestamp", "1795259604.97230"), ("X-Object-Meta-A", "b"),
]  # fmt: skip
ENVIRON = {
    "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/v1/AUTH_test/container/object-000123", "QUERY_STRING": "",
    "RAW_PATH_INFO": "/v1/AUTH_test/container/object-000123", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8080",
    "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "4242", "GATEWAY_INTERFACE": "CGI/1.1",
    "HTTP_HOST": "127.0.0.1:8080", "HTTP_USER_AGENT": "python-swiftclient-4.4", "HTTP_ACCEPT": "*/*",
    "HTTP_ACCEPT_ENCODING": "identity", "HTTP_CONNECTION": "keep-alive", "HTTP_X_AUTH_TOKEN": TOKEN,
    "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": None, "wsgi.errors": None, "wsgi.multithread": True,
    "wsgi.multiprocess": True, "wsgi.run_once": False,
}  # fmt: skip
BODY = [b"hello"]


class Sink:
    def emit(self, *_line):
        pass


class Ask:
    __slots__ = ("environ",)

    def __init__(self, environ):
        self.environ = environ


def proxy(environ, start_response):
    assert environ["swift.authorize"](Ask(environ)) is None
    start_response("200 OK", list(HEADERS))
    return BODY


def pipeline(cache):
    logger = Logger("proxy-server", 20, [Sink()])
    app = ProxyLoggingMiddleware(proxy, {}, logger)
    app = TempAuth(app, {"user_test_tester": "testing .admin"}, logger)
    app = ListingFilter(app, {}, logger)
    app = MemcacheMiddleware(app, cache)
    app = ProxyLoggingMiddleware(app, {}, logger)
    app = HealthCheckMiddleware(app, {})
    app = GatekeeperMiddleware(app, {}, logger)
    return CatchErrorsMiddleware(app, {}, logger)


def main(requests=20_000):
    cache = LocalCache()
    cache.set(f"AUTH_/token/{TOKEN}", [time.time() + 3600, "test,test:tester,AUTH_test"])
    app = pipeline(cache)
    sent = []

    def start_response(status, headers, exc_info=None):
        sent[:] = headers

    def one_request():
        environ = dict(ENVIRON)
        callbacks = environ["swift.on_response_done"] = []
        app(environ, start_response)
        now = time.time()
        for callback in callbacks:
            callback(Served(environ, 200, sent, 5, 0, None, now, now))

    best = min(timeit.repeat(one_request, timer=time.process_time, number=requests, repeat=7)) / requests
    print(f"{best * 1e6:.1f} us a request")


if __name__ == "__main__":
    main()
