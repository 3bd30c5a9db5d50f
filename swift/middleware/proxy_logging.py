"""Filter `proxy_logging`: one access line and one set of metrics for each request (spec middleware 4.4, operations 8.5).

When a request counts as done, and with which status, is decided here; what a line shows in `access_fields`, what is measured in
`request_metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from swift.core import clock
from swift.core.config import csv_list, truthy
from swift.middleware.access_fields import AccessFields, LoggedRequest
from swift.middleware.request_metrics import RequestMetrics
from swift.telemetry.access_line import proxy_template
from swift.telemetry.log import INFO, get_logger
from swift.telemetry.redaction import register_sensitive_header
from swift.telemetry.served import Served
from swift.wire.call import first_chunk_taken
from swift.wire.errors import ClientError
from swift.wire.message import BodyFilter, InputFilter

# An operator may give each of these for the access log alone, with `access_` in front.
_LOG_OPTIONS = (
    "log_name", "log_facility", "log_level", "log_address", "log_udp_host", "log_udp_port", "log_max_line_length",
    "log_custom_handlers", "log_to", "log_file", "log_json", "log_to_console", "log_statsd_host", "log_statsd_port",
    "log_statsd_default_sample_rate", "log_statsd_sample_rate_factor", "log_statsd_metric_prefix",
)  # fmt: skip
_MADE = "swift.proxy_access_log_made"
_STATUS = "swift.proxy_logging_status"


class ProxyLoggingMiddleware:
    """Raises ValueError at once for a template that can't be rendered."""

    def __init__(self, app: Any, conf: dict[str, Any], logger: Any = None, metrics: Any = None) -> None:
        self.app = app
        access_conf = {**conf}
        for option in _LOG_OPTIONS:
            value = conf.get(f"access_{option}") or conf.get(option)
            if value is not None:
                access_conf[option] = value
        route = conf.get("access_log_route") or "proxy-access"
        self.logger = logger or get_logger(access_conf, "proxy-server", log_route=route)
        register_sensitive_header("x-auth-token")
        register_sensitive_header("x-storage-token")
        register_sensitive_header("x-service-token")
        self.template = proxy_template(conf)
        self.metrics = RequestMetrics(access_conf, metrics)
        self._field_options: dict[str, Any] = {
            "reveal": int(conf.get("reveal_sensitive_prefix", 16)),
            "log_headers": truthy(conf.get("access_log_headers", conf.get("log_headers", "no"))),
            "only_headers": csv_list(conf.get("access_log_headers_only", "")),
        }
        self._fields: AccessFields | None = None
        self._times_first_byte = "ttfb" in self.template.used or self.metrics.enabled

    @property
    def fields(self) -> AccessFields:
        # Made with the first line: filters further right register their sensitive names after this one is built.
        if self._fields is None:
            self._fields = AccessFields(self.template.used, **self._field_options)
        return self._fields

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if _MADE in environ:
            return self.app(environ, start_response)
        environ[_MADE] = True
        if not self.metrics.enabled and not (self.logger.isEnabledFor(INFO) and self.logger.sinks):
            if environ["REQUEST_METHOD"] == "HEAD":
                start_response = partial(_with_length, start_response)
            return self.app(environ, start_response)
        self.metrics.begin(environ)
        callbacks = environ.get("swift.on_response_done")
        if callbacks is None or self.metrics.streams:
            return self._watched(environ, start_response)
        exchange = LoggedRequest(environ)
        callbacks.append(partial(self._done, exchange))

        def respond(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            exchange.headers = headers
            if self._times_first_byte:
                exchange.ttfb = clock.time()
            if environ["REQUEST_METHOD"] == "HEAD":
                return _with_length(start_response, status, headers, exc_info)
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        return self.app(environ, respond)

    def _done(self, exchange: LoggedRequest, served: Served) -> None:
        """The server loop's word that the response is out, or broke."""
        exchange.wire_status = served.status
        exchange.status = served.environ.get(_STATUS) or _status_after(served.status, served.error)
        exchange.sent = served.sent
        exchange.received = served.received
        exchange.start = served.start
        exchange.end = served.end
        if exchange.ttfb is not None:
            exchange.ttfb -= served.start
        self.report(exchange)

    def report(self, exchange: LoggedRequest) -> None:
        """Write the line and emit the metrics of a finished exchange."""
        if exchange.environ["REQUEST_METHOD"] != "GET":
            exchange.ttfb = None
        if self.logger.isEnabledFor(INFO):
            self.logger.access(INFO, self.template.render(self.fields.values(exchange)))
        self.metrics.report(exchange)

    # -- without the server loop: subrequests and internal clients -----------------------------------------------------
    def _watched(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        watch = _Watch(self, environ, start_response)
        if environ.get("wsgi.input") is not None:
            environ["wsgi.input"] = _CountedInput(environ["wsgi.input"], watch.count_received)
        try:
            body = self.app(environ, watch.respond)
            if not watch.started:
                body = first_chunk_taken(body)
        except BaseException as error:
            watch.finish(error)
            raise
        if isinstance(body, list | tuple):
            watch.release(sum(map(len, body)))
            watch.count_sent(sum(map(len, body)))
            watch.finish()
            return body
        watch.release(None)
        return _WatchedBody(body, watch)


def _with_length(
    start_response: Callable[..., Any], status: str, headers: list[tuple[str, str]], exc_info: Any = None
) -> Any:
    """What is told of a body that a HEAD goes without."""
    if not _has_length(headers):
        headers = [*headers, ("Content-Length", "0")]
    if exc_info is None:
        return start_response(status, headers)
    return start_response(status, headers, exc_info)


def _has_length(headers: list[tuple[str, str]]) -> bool:
    return any(name.lower() == "content-length" for name, _ in headers)


def _status_after(status: int, error: BaseException | None) -> int:
    """The status to log when the exchange ended with `error`: 499 when the client left, 500 when we failed."""
    if error is None or status >= 400:
        return status
    return 499 if isinstance(error, ClientError) else 500


class _Watch:
    """What becomes of one exchange, counted along the way."""

    def __init__(
        self, filter_: ProxyLoggingMiddleware, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> None:
        self.exchange = LoggedRequest(environ, clock.time())
        self.started = False
        self._filter = filter_
        self._start_response = start_response
        self._held: tuple[str, list[tuple[str, str]]] | None = None
        self._released = self._finished = False
        metrics = filter_.metrics
        self._received = metrics.streamed(self.exchange, request=True) if metrics.streams else None
        self._sent = metrics.streamed(self.exchange, request=False) if metrics.streams else None

    def respond(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.started = True
        exchange = self.exchange
        exchange.headers = headers
        exchange.status = exchange.wire_status = int(status[:3])
        if exchange.ttfb is None:
            exchange.ttfb = clock.time() - exchange.start
        if exc_info is not None:
            self._held = None
            return self._start_response(status, headers, exc_info)
        if self._released:
            return self._start_response(status, headers)
        self._held = (status, headers)
        return None

    def release(self, length: int | None) -> None:
        """Start the response, which was held until it is known whether its body has a length."""
        self._released = True
        if self._held is None:
            return
        status, headers = self._held
        if length is not None and not _has_length(headers):
            headers = [*headers, ("Content-Length", str(length))]
        self._start_response(status, headers)

    def count_received(self, count: int) -> None:
        self.exchange.received += count
        if self._received is not None:
            self._received.add(count)

    def count_sent(self, count: int) -> None:
        self.exchange.sent += count
        if self._sent is not None:
            self._sent.add(count)

    def finish(self, error: BaseException | None = None, complete: bool = True) -> None:
        """Report once. Not `complete`: whoever read the body has closed it before its end."""
        if self._finished:
            return
        self._finished = True
        exchange = self.exchange
        environ = exchange.environ
        exchange.end = clock.time()
        if error is not None:
            exchange.status = _status_after(exchange.status, error) or 500
        elif not complete and not environ.get("swift.non_client_disconnect"):
            exchange.status = 499
        exchange.wire_status = exchange.wire_status or 500
        exchange.status = environ.get(_STATUS) or exchange.status
        for streamed in (self._received, self._sent):
            if streamed is not None:
                streamed.flush()
        self._filter.report(exchange)


class _WatchedBody(BodyFilter):
    """Counts what goes out, and tells when the body is done with."""

    def __init__(self, body: Iterable[bytes], watch: _Watch) -> None:
        super().__init__(body)
        self._watch = watch
        self._complete = False

    def pieces(self, below: Iterable[bytes]) -> Iterator[bytes]:
        watch = self._watch
        try:
            for chunk in below:
                watch.count_sent(len(chunk))
                yield chunk
        except GeneratorExit:
            watch.finish(complete=False)
            raise
        except BaseException as error:
            watch.finish(error)
            raise
        self._complete = True
        watch.finish()

    def ended(self) -> None:
        self._watch.finish(complete=self._complete)


class _CountedInput(InputFilter):
    """Tells how much came from the client, in whichever way it is read."""

    def __init__(self, below: Any, count: Callable[[int], None]) -> None:
        super().__init__(below)
        self._count = count

    def pull(self, size: int) -> bytes:
        data = super().pull(size)
        self._count(len(data))
        return data


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], ProxyLoggingMiddleware]:
    conf = {**global_conf, **local_conf}

    def factory(app: Any) -> ProxyLoggingMiddleware:
        return ProxyLoggingMiddleware(app, conf)

    return factory
