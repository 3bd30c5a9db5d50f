"""StatsD timings of the object server's verbs (operations 9.3, 9.4): a wrapper that exists only where StatsD is configured."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from swift.core import clock
from swift.telemetry.metrics import LabeledMetrics, Metrics, get_labeled_metrics
from swift.wire.storage import Environ, StartResponse

Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_SAMPLE_RATES = {"HEAD": 0.8}


def are_wanted(conf: Mapping[str, Any]) -> bool:
    """Returns True if there is anybody to send timings to."""
    return bool(conf.get("log_statsd_host"))


def timed(
    application: Application, verbs: Collection[str], conf: Mapping[str, Any], metrics: Metrics, logger: Any
) -> Application:
    """`application` with the duration of its answers sent.

    `<VERB>.timing`, of 5xx answers `<VERB>.errors.timing`, and the labelled one; only of `verbs`. Raises ValueError.
    """
    labeled: LabeledMetrics = get_labeled_metrics(conf, logger)

    def run(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method not in verbs:
            return application(environ, start_response)
        started = clock.time()
        status = "500"

        def note_status(line: str, headers: Any, exc_info: Any = None) -> Any:
            nonlocal status
            status = line[:3]
            return start_response(line, headers)

        try:
            return application(environ, note_status)
        finally:
            _send(metrics, labeled, environ, method, status, started)

    return run


def _send(
    metrics: Metrics, labeled: LabeledMetrics, environ: Environ, method: str, status: str, started: float
) -> None:
    name = f"{method}.timing" if status < "500" else f"{method}.errors.timing"
    metrics.timing_since(name, started, _SAMPLE_RATES.get(method))
    parts = environ["PATH_INFO"].split("/", 5)
    if method == "PUT" and status == "408":
        metrics.increment("PUT.timeouts")
    elif method == "PUT" and status == "201":
        size = environ.get("CONTENT_LENGTH") or "0"
        metrics.transfer_rate(
            f"PUT.{parts[1]}.timing", clock.time() - started, int(size) if size.isdecimal() else 0
        )
    if labeled.enabled:
        labels = {
            "method": method,
            "status": status,
            "account": parts[3] if len(parts) > 3 else None,
            "container": parts[4] if len(parts) > 4 else None,
            "policy": environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX") or "0",
        }
        labeled.timing_since("swift_object_server_request_timing", started, labels)
