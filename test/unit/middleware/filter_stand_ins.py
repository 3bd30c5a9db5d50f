"""Stand-ins for what surrounds a filter: an application that answers as told, a logger and metrics that remember."""

from swift.telemetry.log import Logger
from swift.wire.message import Request


class App:
    """Answers with the given response; keeps the environ and what the request looked like when it arrived."""

    def __init__(self, status="200 OK", headers=(), body=(b"",), error=None):
        self.status = status
        self.headers = list(headers)
        self.body = body
        self.error = error
        self.environ = None
        self.calls = 0

    def __call__(self, environ, start_response):
        self.calls += 1
        self.environ = environ
        self.arrived = dict(environ)
        if self.error is not None:
            raise self.error
        start_response(self.status, self.headers)
        return self.body


class Sink:
    def __init__(self):
        self.lines = []

    def emit(self, level, name, text, txn, client_ip):
        self.lines.append(text)


def memory_logger(level=10):
    """A logger of the house and the list of lines that it wrote."""
    sink = Sink()
    return Logger("proxy-server", level, [sink]), sink.lines


class Metrics:
    def __init__(self):
        self.events = []

    def increment(self, name, sample_rate=None):
        self.events.append(name)

    def update_stats(self, name, amount, sample_rate=None):
        self.events.append((name, amount))

    def timing(self, name, milliseconds, sample_rate=None):
        assert milliseconds >= 0
        self.events.append(name)


class Answer:
    def __init__(self, status, headers, body, raw_body):
        self.status = status
        self.status_int = int(status[:3])
        self.header_list = headers
        self.headers = dict(headers)
        self.body = body
        self.raw_body = raw_body


def call(app, path="/v1/AUTH_test/c/o", method="GET", headers=None, environ=None, read=True):
    """Send one request through `app`; with `read` the body is read and closed."""
    request = Request.blank(path, environ=environ, headers=headers)
    request.environ["REQUEST_METHOD"] = method
    status, header_list, body = request.call_application(app)
    data = b""
    if read:
        data = b"".join(body)
        if hasattr(body, "close"):
            body.close()
    return Answer(status, header_list, data, body)
