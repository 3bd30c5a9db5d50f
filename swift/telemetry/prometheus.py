"""What a server tells Prometheus: all tables that it can answer for as text, and the endpoint where that is read.

What lives here: the text and who may read it. What never does: counting (`swift.telemetry.metric_table`), where other processes' tables are
(`swift.telemetry.shared_tables`), what is only looked at when somebody asks (`swift.telemetry.node_metrics`). prometheus_client is
imported when somebody asks.

Spec: none (the reference has no such thing); insights of operations.md.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.core.concurrency import Timeout
from swift.core.config import csv_list
from swift.core.policy import policies
from swift.engine.threads import DeviceBusy, Shared, run_in_thread
from swift.telemetry.families import COUNTER, FAMILIES, HISTOGRAMS
from swift.telemetry.metric_table import TABLE, Table
from swift.telemetry.served import Served
from swift.telemetry.shared_tables import left_by_daemons

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ANSWER_SECONDS = 10
MAX_KNOWN = 1024  # remembered labels
KNOWN_METHODS = frozenset(
    ("GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "OPTIONS", "REPLICATE", "SSYNC", "UPDATE")
)
_KINDS = ("account", "container", "object", "proxy")
# Daemons whose names don't say whose node they are on, and what runs all of them.
_LIKE = {"s3": "container", "daemons": "object"}

State = Callable[[], Iterable[Any]]


class RequestMeter:
    """A completion callback of the server loop that counts requests by method, status and policy."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._known: dict[str, str] = {"": ""}  # labels of policies as requests name them; grows to a bound

    def on_done(self, served: Served) -> None:
        environ = served.environ
        method = environ["REQUEST_METHOD"]
        policy = environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX", "")
        label = self._known.get(policy)
        if label is None:
            label = _known(policy)
            if len(self._known) < MAX_KNOWN:
                self._known[policy] = label
        TABLE.request(
            self._server,
            method if method in KNOWN_METHODS else "BAD_METHOD",
            str(served.status),
            label,
            served.end - served.start,
            served.received,
            served.sent,
        )


def _known(policy: str) -> str:
    """The label of a policy that a request names: what was refused at the door may name anything."""
    found = policies().get_by_index(policy)
    return "other" if found is None else str(found.idx)


def shows(section: str, name: str) -> bool:
    """Returns True if the server `section` answers for the component or process `name`: of several servers and daemons on a node each is
    shown by one. What has no kind is shown by all that know of it."""
    kind = name.partition("-")[0]
    kind = _LIKE.get(kind, kind)
    return kind not in _KINDS or not section or section.partition("-")[0] == kind


def exposition(
    state: State | None = None,
    own: Mapping[str, Any] | None = None,
    section: str = "",
    daemons_at: str | None = None,
) -> bytes:
    """All counts of this server as Prometheus text.

    `state`: further families, made anew each time. `own`: `TABLE.as_json()`, where this is not the thread of the hub. `section`: what server
    asks; other kinds' counts are left out. `daemons_at`: the recon_cache_path of daemons whose counts are shown too.
    """
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import Metric

    total = TABLE.merged(own)
    if daemons_at is not None:
        for process, table, is_over in left_by_daemons(daemons_at):
            if shows(section, process):
                total.add_json(table, counts_only=is_over)

    class Collector:
        def collect(self) -> Iterable[Metric]:
            yield from _events(total, section)
            yield from _histograms(total, section)
            yield from _values(total, section)
            if state is not None:
                yield from state()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())  # type: ignore[arg-type]
    return generate_latest(registry)


def _events(total: Table, section: str) -> Iterable[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

    labels = ["component", "event"]
    counts = CounterMetricFamily("swift_events", "Events, by the name that StatsD knows.", labels=labels)
    caches = CounterMetricFamily(
        "swift_cache_lookups",
        "What was asked of caches: info of accounts and containers, shard ranges; by cache and what came of it.",
        labels=["kind", "what", "cache", "result"],
    )
    found: dict[tuple[str, ...], float] = {}
    for key, value in sorted(total.counts.items()):
        if shows(section, key[0]):
            counts.add_metric(key, value)
            cache = _CACHE_EVENT.fullmatch(key[1])
            if cache:
                found[cache.groups()] = found.get(cache.groups(), 0) + value
    for groups, value in sorted(found.items()):
        caches.add_metric(groups, value)
    levels = GaugeMetricFamily("swift_level", "Levels, summed over workers.", labels=labels)
    for key, value in sorted(total.levels.items()):
        if shows(section, key[0]):
            levels.add_metric(key, value)
    times = SummaryMetricFamily(
        "swift_timing_seconds", "Durations, by the name that StatsD knows.", labels=labels
    )
    for key, (count, seconds) in sorted(total.times.items()):
        if shows(section, key[0]):
            times.add_metric(key, count_value=int(count), sum_value=seconds)
    yield from (counts, caches, levels, times)


_CACHE_EVENT = re.compile(
    r"(account|container)\.(info|shard_listing|shard_updating)\.(infocache|cache)\.([a-z_]+)(?:\..*)?"
)


def _histograms(total: Table, section: str) -> Iterable[Any]:
    from prometheus_client.core import HistogramMetricFamily

    made = {
        name: HistogramMetricFamily(name, family.text, labels=list(family.labels))
        for name, family in HISTOGRAMS.items()
    }
    for key, entry in sorted(total.histograms.items()):
        family = HISTOGRAMS.get(key[0])
        if (
            family is None
            or len(key) != len(family.labels) + 1
            or len(entry) != len(family.bounds) + 3
            or not shows(section, key[1])
        ):
            continue
        running = 0.0
        buckets = []
        for bound, count in zip((*map(str, family.bounds), "+Inf"), entry, strict=False):
            running += count
            buckets.append((bound, running))
        made[key[0]].add_metric(key[1:], buckets, sum_value=entry[-1])
    yield from made.values()


def _values(total: Table, section: str) -> Iterable[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    made: dict[str, Any] = {}
    for name, family in FAMILIES.items():
        make = CounterMetricFamily if family.kind == COUNTER else GaugeMetricFamily
        made[name] = make(name, family.text, labels=list(family.labels))
    for key, value in sorted(total.values.items()):
        known = FAMILIES.get(key[0])
        if known is not None and len(key) == len(known.labels) + 1 and shows(section, key[1]):
            made[key[0]].add_metric(key[1:], value)
    yield from made.values()


_PATH = re.compile(r"/[A-Za-z0-9_./-]+")


class Readers:
    """Who may read metrics. `allowed`: addresses and networks as an option has them; blank: whoever reaches the port. Raises ValueError."""

    def __init__(self, allowed: str) -> None:
        try:
            self._networks = [ipaddress.ip_network(text, strict=False) for text in csv_list(allowed)]
        except ValueError as error:
            raise ValueError(f"metrics_allow must have addresses or networks: {error}") from None

    def include(self, environ: Mapping[str, Any]) -> bool:
        """Returns True if whoever sent this request is one of them."""
        if not self._networks:
            return True
        try:
            address = ipaddress.ip_address(environ.get("REMOTE_ADDR") or "")
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self._networks)


def with_endpoint(
    app: Callable,
    path: str = "/metrics",
    state: Any = None,
    allowed: str = "",
    section: str = "",
    daemons_at: str | None = None,
) -> Callable:
    """`app`, with the exposition answered at `path`, in a thread, to those whom `allowed` names; to others as if it were not there.

    `state`: `swift.telemetry.node_metrics.NodeState`; the rest as for `exposition`. Raises ValueError for what is no plain path, or no addresses.
    """
    if not _PATH.fullmatch(path):
        raise ValueError(f"metrics_path must be a plain path, not {path!r}")
    readers = Readers(allowed)

    def made() -> bytes:
        with Timeout(ANSWER_SECONDS):
            own = TABLE.as_json()
            if state is not None:
                state.prepare()
            return run_in_thread(exposition, state, own, section, daemons_at)

    made_once = Shared(made)

    def endpoint(environ: dict[str, Any], start_response: Callable) -> Any:
        if environ["PATH_INFO"] != path or not readers.include(environ):
            return app(environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")])
            return [b""]
        try:
            body = made_once.ask()
        except (Timeout, DeviceBusy):
            text = b"A disk does not answer."
            start_response(
                "503 Service Unavailable",
                [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))],
            )
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else text]
        start_response("200 OK", [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return endpoint
