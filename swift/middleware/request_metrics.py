"""What is measured of each proxied request: StatsD names and labelled metrics (spec middleware 4.4).

Never here: access lines, how a metric is sent (`swift.telemetry.metrics`), and the histogram that all servers keep of their requests.
"""

from __future__ import annotations

from typing import Any

from swift.core import clock
from swift.core.config import csv_list, truthy
from swift.core.constraints import limits
from swift.middleware.access_fields import LoggedRequest
from swift.telemetry.metrics import get_labeled_metrics, get_metrics
from swift.wire.message import parsed_path
from swift.wire.paths import ParsedPath, split

DEFAULT_METHODS = "GET,HEAD,POST,PUT,DELETE,COPY,OPTIONS,UPDATE"
_TAIL = "proxy-server"
_LABELLED = "swift_proxy_server_"
_REMEMBERED = 4096
_S3_QUERIES = ("AWSAccessKeyId=", "X-Amz-Credential=")

Names = tuple[str, ...]


class RequestMetrics:
    """``enabled``: there is somebody to send to; ``streams``: bytes are to be counted while they pass.

    Raises ValueError for bad statsd options.
    """

    def __init__(self, conf: dict[str, Any], metrics: Any = None, labeled: Any = None) -> None:
        if metrics is None and conf.get("log_statsd_host") and truthy(conf.get("statsd_emit_legacy", "true")):
            metrics = get_metrics(conf, _TAIL)
        self._legacy = metrics
        self._labeled = labeled or get_labeled_metrics(conf)
        self.enabled = self._legacy is not None or self._labeled.enabled
        interval = float(conf.get("statsd_emit_buffer_xfer_bytes_seconds", -1))
        self._interval = interval
        self.streams = self._labeled.enabled and interval >= 0
        methods = conf.get("access_log_statsd_valid_http_methods") or conf.get(
            "log_statsd_valid_http_methods"
        )
        self._methods = frozenset(method.upper() for method in csv_list(methods or DEFAULT_METHODS))
        self._storage_domains = tuple(
            f".{domain.lstrip('.')}" for domain in csv_list(conf.get("storage_domain", ""))
        )
        self._names: dict[tuple[str, str, int, str | None], Names] = {}

    def begin(self, environ: dict[str, Any]) -> None:
        """Leave the labels of a client's request to whoever else measures something on its behalf."""
        if self._labeled.enabled:
            environ.setdefault("swift.base_labels", self._base_labels(environ))

    def report(self, exchange: LoggedRequest) -> None:
        """Everything about a finished exchange."""
        if not self.enabled:
            return
        environ = exchange.environ
        method = environ.get("swift.orig_req_method") or environ["REQUEST_METHOD"]
        if method not in self._methods:
            method = "BAD_METHOD"
        policy = exchange.policy_index
        milliseconds = (exchange.end - exchange.start) * 1000
        if self._legacy is not None:
            self._report_legacy(exchange, method, policy, milliseconds)
        if self._labeled.enabled:
            self._report_labeled(exchange, milliseconds)

    def _report_legacy(
        self, exchange: LoggedRequest, method: str, policy: str | None, milliseconds: float
    ) -> None:
        kind = _kind(exchange.environ)
        if kind != "object":
            policy = None
        transferred = exchange.received + exchange.sent
        timing = self._legacy.timing
        if exchange.ttfb is not None:
            for name in self._names_of(kind, method, exchange.wire_status, policy)[2::3]:
                timing(name, exchange.ttfb * 1000)
        names = self._names_of(kind, method, exchange.status, policy)
        for start in range(0, len(names), 3):
            timing(names[start], milliseconds)
            self._legacy.update_stats(names[start + 1], transferred)

    def _names_of(self, kind: str, method: str, status: int, policy: str | None) -> Names:
        """timing, xfer and first byte of the request; once more for its policy, if there is one."""
        key = (kind, method, status, policy)
        names = self._names.get(key)
        if names is None:
            stems = [f"{kind}.{method}.{status}"]
            if policy is not None:
                stems.append(f"{kind}.policy.{policy}.{method}.{status}")
            names = tuple(
                f"{stem}.{what}" for stem in stems for what in ("timing", "xfer", "first-byte.timing")
            )
            if len(self._names) < _REMEMBERED:
                self._names[key] = names
        return names

    # -- labelled ------------------------------------------------------------------------------------------------------
    def _base_labels(self, environ: dict[str, Any]) -> dict[str, Any]:
        """What a client's request has in common with all that are made on its behalf."""
        is_s3 = _is_s3(environ)
        _, account, container, _ = self._s3_path(environ) if is_s3 else _swift_path(environ)
        labels = {"account": account, "api": "S3" if is_s3 else "swift"}
        if container is not None:
            labels["container"] = container
        return labels

    def _s3_path(self, environ: dict[str, Any]) -> ParsedPath:
        if "swift.backend_path" in environ:
            return _swift_path(environ)
        bucket = ""
        host = environ.get("HTTP_HOST", "").partition(":")[0]
        for domain in self._storage_domains:
            if host.endswith(domain):
                bucket = host[: -len(domain)]
        path = environ["PATH_INFO"].lstrip("/")
        if not bucket:
            bucket, _, path = path.partition("/")
        return None, None, bucket or None, path or None

    def _labels(self, exchange: LoggedRequest) -> dict[str, Any]:
        """Of a request: its own, and for what it has none those of the client's on whose behalf it is; no label for what there is not."""
        environ = exchange.environ
        base = environ.get("swift.base_labels")
        own = self._base_labels(environ)
        if base is not None:
            own = {**base, **{name: value for name, value in own.items() if value is not None}}
            own["api"] = base["api"]
        _, account, container, obj = self._s3_path(environ) if _is_s3(environ) else _swift_path(environ)
        resource = "object" if obj else "container" if container else "account" if account else None
        method = environ.get("swift.orig_req_method") or environ["REQUEST_METHOD"]
        if method not in self._methods:
            method = "BAD_METHOD"
        return {**own, "resource": resource, "method": method}

    def _answer_labels(self, exchange: LoggedRequest) -> dict[str, Any]:
        labels = self._labels(exchange)
        labels["status"] = exchange.status
        if labels["resource"] == "object" and exchange.policy_index is not None:
            labels["policy"] = exchange.policy_index
        return labels

    def _report_labeled(self, exchange: LoggedRequest, milliseconds: float) -> None:
        labels = self._answer_labels(exchange)
        labeled = self._labeled
        if exchange.ttfb is not None:
            first = {**labels, "status": exchange.wire_status}
            labeled.timing(f"{_LABELLED}request_ttfb", exchange.ttfb * 1000, first)
        labeled.timing(f"{_LABELLED}request_timing", milliseconds, labels)
        labeled.update_stats(f"{_LABELLED}request_body_bytes", exchange.received, labels)
        labeled.update_stats(f"{_LABELLED}response_body_bytes", exchange.sent, labels)

    def streamed(self, exchange: LoggedRequest, request: bool) -> StreamedBytes:
        """The counter of one body while it passes."""
        return StreamedBytes(self, exchange, request, self._interval)

    def emit_streamed(self, exchange: LoggedRequest, request: bool, count: int) -> None:
        """Only of what is an account, a container or an object."""
        labels = self._labels(exchange) if request else self._answer_labels(exchange)
        if labels["resource"] is None:
            return
        if request:
            self._labeled.update_stats(f"{_LABELLED}request_body_streaming_bytes", count, labels)
        else:
            self._labeled.update_stats(f"{_LABELLED}response_body_streaming_bytes", count, labels)


class StreamedBytes:
    """Adds up bytes and emits them each `interval` seconds; 0: with every chunk."""

    def __init__(
        self, metrics: RequestMetrics, exchange: LoggedRequest, request: bool, interval: float
    ) -> None:
        self._metrics = metrics
        self._exchange = exchange
        self._request = request
        self._interval = interval
        self._count = 0
        self._next = clock.monotonic() + interval

    def add(self, count: int) -> None:
        self._count += count
        if clock.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        if self._count:
            self._metrics.emit_streamed(self._exchange, self._request, self._count)
            self._count = 0
        self._next = clock.monotonic() + self._interval


def _swift_path(environ: dict[str, Any]) -> ParsedPath:
    """The parts of the Swift path of a request; all None if it has none, or a version that is not ours."""
    backend_path = environ.get("swift.backend_path")
    parts = split(backend_path) if backend_path else parsed_path(environ)
    return parts if parts[0] in limits().valid_api_versions else (None, None, None, None)


def _kind(environ: dict[str, Any]) -> str:
    _version, account, container, obj = _swift_path(environ)
    if obj is not None:
        return "object"
    if container is not None:
        return "container"
    if account is not None:
        return "account"
    return environ.get("swift.source") or "UNKNOWN"


def _is_s3(environ: dict[str, Any]) -> bool:
    if environ.get("HTTP_AUTHORIZATION", "").startswith(("AWS ", "AWS4-HMAC-SHA256")):
        return True
    query = environ.get("QUERY_STRING", "")
    return any(name in query for name in _S3_QUERIES)
