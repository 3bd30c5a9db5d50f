"""Metrics: counters and timings that go to StatsD as they happen, and into this process's table for Prometheus.

What is counted is decided by each room; the table and its exposition are in `swift.telemetry.prometheus`.

Spec: operations.md section 9.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import raw_socket, spawn_after
from swift.core.config import truthy
from swift.engine.resolver import HostAddress
from swift.telemetry import metric_table
from swift.telemetry.metric_table import Table
from swift.telemetry.shared_tables import COMPONENT, NODE_TABLES

BATCH_BYTES = 1400
BATCH_SECONDS = 0.05

_unsafe_name = re.compile(r"[\x00-\x20\x7f:|@#]")
_control = re.compile(r"[\x00-\x1f\x7f]")
_LABEL_NAME = re.compile(r"[0-9A-Za-z_]+")
_LABEL_VALUE = re.compile(r"[0-9A-Za-z_.]+")
_random = clock.random


class StatsdClient:
    """Sends event texts to one host over one socket, each in its own datagram or joined by line ends (`batch`).

    The name of the host is resolved again after a minute or an error, never while anybody waits. What can't be sent is dropped
    and counted.
    """

    def __init__(self, host: str, port: int, batch: bool = False, logger: Any = None) -> None:
        self.host = host
        self.port = port
        self.dropped = 0
        self._batch = batch
        self._logger = logger
        self._address = HostAddress(host, port)
        self._sock: Any = None
        self._connected_to: Any = None
        self._warned_of: OSError | None = None
        self._pending: list[str] = []
        self._pending_bytes = 0
        self._flush_set = False

    def send(self, event: str) -> None:
        if not self._batch:
            self._send(event.encode("utf-8", "replace"))
            return
        size = len(event) + 1
        if self._pending_bytes + size > BATCH_BYTES and self._pending:
            self._send_pending()
        self._pending.append(event)
        self._pending_bytes += size
        if not self._flush_set:
            self._flush_set = True
            spawn_after(BATCH_SECONDS, self.flush)

    def flush(self) -> None:
        """Sends what was held back for a batch."""
        self._flush_set = False
        if self._pending:
            self._send_pending()

    def _send_pending(self) -> None:
        data = "\n".join(self._pending).encode("utf-8", "replace")
        self._pending.clear()
        self._pending_bytes = 0
        self._send(data)

    def _send(self, data: bytes) -> None:
        sock = self._socket()
        if sock is None:
            self.dropped += 1
            return
        try:
            sock.send(data)
            return
        except BlockingIOError:
            pass
        except OSError as err:
            self._address.ask_again()
            self._warn(err)
        self.dropped += 1

    def _socket(self) -> Any:
        """A socket connected to what the host's address is by now; None while that is not known."""
        found = self._address.get()
        if found is None or found == self._connected_to:
            if found is None and self._address.error is not self._warned_of:
                self._warned_of = self._address.error
                self._warn(self._address.error)
            return self._sock
        family, address = found
        try:
            sock = raw_socket.socket(family, raw_socket.SOCK_DGRAM | raw_socket.SOCK_CLOEXEC)
            sock.setblocking(False)
            sock.connect(address)
        except OSError as err:
            self._address.ask_again()
            self._warn(err)
            return self._sock
        if self._sock is not None:
            self._sock.close()
        self._sock, self._connected_to = sock, found
        return sock

    def _warn(self, err: OSError | None) -> None:
        if self._logger is not None:
            self._logger.warning("Error sending UDP message to %s:%s: %s", self.host, self.port, err)


_clients: dict[tuple[str, int, bool], StatsdClient] = {}


def _client_of(conf: Mapping[str, Any], logger: Any) -> StatsdClient | None:
    host = str(conf.get("log_statsd_host") or "")
    if not host:
        return None
    key = (host, int(conf.get("log_statsd_port") or 8125), truthy(conf.get("log_statsd_batch")))
    if key not in _clients:
        _clients[key] = StatsdClient(*key, logger=logger)
    return _clients[key]


class Metrics:
    """Counters and timings under one prefix. Rates in 0..1; times in seconds unless a name says milliseconds.

    `component`: what they are called in `table`, this process's by default, if not `tail`.
    """

    def __init__(
        self,
        tail: str,
        client: StatsdClient | None = None,
        prefix: str = "",
        default_rate: float = 1.0,
        rate_factor: float = 1.0,
        component: str = "",
        table: Table | None = None,
    ) -> None:
        self.tail = tail
        self.component = component or tail
        self._client = client
        self._head = "".join(part + "." for part in (prefix, tail) if part)
        self._default_rate = default_rate
        self._factor = rate_factor
        self._table = table or metric_table.TABLE

    def increment(self, name: str, sample_rate: float | None = None) -> None:
        """Counts one event."""
        self._table.count(self.component, name, 1)
        if self._client is not None:
            self._send(name, "1|c", sample_rate)

    def decrement(self, name: str, sample_rate: float | None = None) -> None:
        self.update_stats(name, -1, sample_rate)

    def update_stats(self, name: str, amount: float, sample_rate: float | None = None) -> None:
        """Counts `amount` events at once."""
        self._table.count(self.component, name, amount)
        if self._client is not None:
            self._send(name, f"{amount}|c", sample_rate)

    def timing(self, name: str, milliseconds: float, sample_rate: float | None = None) -> None:
        """Notes a duration in milliseconds."""
        self._table.time(self.component, name, milliseconds / 1000)
        if self._client is not None:
            self._send(name, f"{round(milliseconds, 4)}|ms", sample_rate)

    def timing_since(self, name: str, start: float, sample_rate: float | None = None) -> None:
        """Notes the time since `start` (time.time())."""
        self.timing(name, (clock.time() - start) * 1000, sample_rate)

    def transfer_rate(
        self, name: str, seconds: float, byte_count: int, sample_rate: float | None = None
    ) -> None:
        """Notes milliseconds per kB; nothing for no bytes."""
        if byte_count:
            self.timing(name, seconds * 1000 / byte_count * 1000, sample_rate)

    def gauge(self, name: str, value: float) -> None:
        """Sets a level."""
        self._table.set(self.component, name, value)
        if self._client is not None:
            self._send(name, f"{value}|g", 1.0)

    def _send(self, name: str, value: str, sample_rate: float | None) -> None:
        rate = (self._default_rate if sample_rate is None else sample_rate) * self._factor
        if _unsafe_name.search(name):
            name = _unsafe_name.sub("_", name)
        if rate < 1:
            if _random() >= rate:
                return
            value = f"{value}|@{rate}"
        assert self._client is not None
        self._client.send(f"{self._head}{name}:{value}")


def get_metrics(conf: Mapping[str, Any] | None, tail: str | None = None, logger: Any = None) -> Metrics:
    """The metrics of a component: `[log_statsd_metric_prefix.]TAIL.name`.

    `conf`: log_statsd_host (unset: nothing is sent), log_statsd_port, log_statsd_default_sample_rate,
    log_statsd_sample_rate_factor, log_statsd_metric_prefix, statsd_emit_legacy; also log_statsd_batch and
    statsd_tail_prefix. `tail`: fixed tail; by default statsd_tail_prefix or log_name. Raises ValueError.
    """
    conf = conf or {}
    if tail is None:
        tail = str(conf.get("statsd_tail_prefix") or conf.get("log_name") or "swift")
    return Metrics(
        tail,
        _client_of(conf, logger) if truthy(conf.get("statsd_emit_legacy", "true")) else None,
        prefix=str(conf.get("log_statsd_metric_prefix") or ""),
        default_rate=float(conf.get("log_statsd_default_sample_rate", 1)),
        rate_factor=float(conf.get("log_statsd_sample_rate_factor", 1)),
        component=str(conf.get(COMPONENT) or ""),
        table=NODE_TABLES.of(conf),
    )


# -- labelled metrics

_LABEL_FORMS = {
    # mode: (between name and labels, between labels, between key and value, labels behind the value)
    "librato": ("#", ",", "=", False),
    "influxdb": (",", ",", "=", False),
    "graphite": (";", ";", "=", False),
    "dogstatsd": ("|#", ",", ":", True),
}


class LabeledMetrics:
    """Events with labels instead of names that hold them; without a label mode nothing is sent."""

    def __init__(
        self,
        client: StatsdClient | None,
        mode: str,
        user_labels: Mapping[str, str],
        default_rate: float = 1.0,
        rate_factor: float = 1.0,
    ) -> None:
        self.enabled = client is not None and mode != "disabled"
        self._client = client
        self._form = _LABEL_FORMS.get(mode)
        self._user_labels = {f"user_{name}": value for name, value in user_labels.items()}
        self._default_rate = default_rate
        self._factor = rate_factor

    def increment(self, metric: str, labels: Mapping[str, Any], sample_rate: float | None = None) -> None:
        self.update_stats(metric, 1, labels, sample_rate)

    def update_stats(
        self, metric: str, amount: float, labels: Mapping[str, Any], sample_rate: float | None = None
    ) -> None:
        if self.enabled:
            self._send(metric, f"{amount}|c", labels, sample_rate)

    def timing(
        self, metric: str, milliseconds: float, labels: Mapping[str, Any], sample_rate: float | None = None
    ) -> None:
        if self.enabled:
            self._send(metric, f"{round(milliseconds, 4)}|ms", labels, sample_rate)

    def timing_since(
        self, metric: str, start: float, labels: Mapping[str, Any], sample_rate: float | None = None
    ) -> None:
        self.timing(metric, (clock.time() - start) * 1000, labels, sample_rate)

    def transfer_rate(
        self,
        metric: str,
        seconds: float,
        byte_count: int,
        labels: Mapping[str, Any],
        sample_rate: float | None = None,
    ) -> None:
        if byte_count:
            self.timing(metric, seconds * 1000 / byte_count * 1000, labels, sample_rate)

    def _send(self, metric: str, value: str, labels: Mapping[str, Any], sample_rate: float | None) -> None:
        rate = (self._default_rate if sample_rate is None else sample_rate) * self._factor
        if rate < 1:
            if _random() >= rate:
                return
            value = f"{value}|@{rate}"
        assert self._form is not None and self._client is not None
        lead, between, assign, behind = self._form
        shown = {**labels, **self._user_labels}
        pairs = [f"{key}{assign}{'' if shown[key] is None else shown[key]}" for key in sorted(shown)]
        text = _control.sub("_", lead + between.join(pairs)) if pairs else ""
        self._client.send(f"{metric}:{value}{text}" if behind else f"{metric}{text}:{value}")


def get_labeled_metrics(conf: Mapping[str, Any] | None, logger: Any = None) -> LabeledMetrics:
    """Labelled metrics by statsd_label_mode and statsd_user_label_NAME. Raises ValueError."""
    conf = conf or {}
    mode = str(conf.get("statsd_label_mode") or "disabled").lower()
    if mode != "disabled" and mode not in _LABEL_FORMS:
        known = ", ".join(["disabled", *sorted(_LABEL_FORMS)])
        raise ValueError(f"unknown statsd_label_mode {mode!r}; choose one of {known}")
    user_labels = {}
    for option, value in conf.items():
        if not option.startswith("statsd_user_label_"):
            continue
        name = option[len("statsd_user_label_") :]
        if not _LABEL_NAME.fullmatch(name):
            raise ValueError(f"invalid character in statsd user label configuration {option!r}")
        if not _LABEL_VALUE.fullmatch(value):
            raise ValueError(f"invalid character in configuration {option} = {value!r}")
        user_labels[name] = value
    return LabeledMetrics(
        _client_of(conf, logger),
        mode,
        user_labels,
        default_rate=float(conf.get("log_statsd_default_sample_rate", 1)),
        rate_factor=float(conf.get("log_statsd_sample_rate_factor", 1)),
    )
