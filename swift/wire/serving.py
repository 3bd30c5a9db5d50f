"""What the connections of one server share: its application, what it allows them, and how it fares.

What never lives here: sockets, and who is let in when (`swift.wire.server`). Spec: proxy-and-backend.md 21; operations.md 2.1.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from swift.core import clock, constraints
from swift.core.config import truthy
from swift.telemetry import families
from swift.telemetry.metric_table import TABLE, Key, watch_weakly
from swift.telemetry.served import DoneCallback
from swift.telemetry.shared_tables import COMPONENT
from swift.wire.admission import Admission
from swift.wire.call import Application
from swift.wire.parser import HeadLimits

DEFAULT_MAX_CLIENTS = 4096
# Below what a proxy waits for an answer (node_timeout): it shall hear of a full server, not take it for a broken one.
DEFAULT_QUEUE_TIMEOUT = 2.0
DEFAULT_CLIENT_TIMEOUT = 60.0
_REPORT_SECONDS = 60.0
HEAD = "swift.head"
"""Where an application that `needs_head` finds the head of a request in the environ, as it came."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Serving:
    """One server as its connections see it. `conf`: see `swift.wire.server.Server`. Raises ValueError for bad values."""

    def __init__(
        self,
        app: Application,
        conf: Mapping[str, Any],
        logger: Any,
        on_done: DoneCallback | None = None,
        limits: HeadLimits | None = None,
    ) -> None:
        self.app = app
        # The application wants to see heads as they came (`swift.wire.signing`).
        self.keeps_head: bool = getattr(app, "needs_head", False)
        self.name = str(conf.get(COMPONENT) or TABLE.process)  # in metrics
        self.logger = logger
        self.on_done = on_done
        self.limits = limits or HeadLimits.of(constraints.limits())
        patience = _seconds(conf, "queue_timeout", DEFAULT_QUEUE_TIMEOUT)
        most_clients = _count("max_clients", conf.get("max_clients")) or DEFAULT_MAX_CLIENTS
        self.clients = Admission(most_clients, patience, make_room=self._make_room)
        most_requests = _count("max_requests", conf.get("max_requests"))
        self.requests = Admission(most_requests, patience, lends=True) if most_requests else None
        # What watches over a server wants to know how it is, above all when it is busy. Where it tells no metrics, that path is a client's.
        self.never_queued = frozenset(("/healthcheck", str(conf.get("metrics_path") or "")))
        self.client_timeout = _seconds(conf, "client_timeout", 0) or DEFAULT_CLIENT_TIMEOUT
        keepalive = _seconds(conf, "keepalive_timeout", self.client_timeout)
        self.keepalive = keepalive > 0
        self.keepalive_timeout = keepalive or self.client_timeout
        self.require_proxy_protocol = truthy(conf.get("require_proxy_protocol"))
        self.trans_id_suffix = str(conf.get("trans_id_suffix") or "")
        self.draining = False
        # From then on a connection without a request is closed.
        self.closing_idle = False
        # Connections without a request → since when, the longest idle first.
        self.idle: dict[Any, float] = {}
        # Those whose handshake or head has begun and is not at its end → since when; those with a body that still comes → (since when, the body).
        self.unfinished: dict[Any, float] = {}
        self.uploads: dict[Any, tuple[float, Any]] = {}
        watch_weakly(self, _look)
        _servers.add(self)
        self._next_report = 0.0
        self._reported = 0
        self._date_second = 0
        self._date_line = ""

    def _make_room(self) -> bool:
        """Close a connection that nobody needs; returns True if there was one."""
        return False

    def date_line(self) -> str:
        """The Date header line, made once a second."""
        now = int(clock.time())
        if now != self._date_second:
            self._date_second = now
            self._date_line = f"Date: {_http_date(now)}\r\n"
        return self._date_line

    def note_refusal(self) -> None:
        """Somebody was told to come back later: now and then the log says how often."""
        now = clock.monotonic()
        if now < self._next_report:
            return
        self._next_report = now + _REPORT_SECONDS
        requests = self.requests
        refused = self.clients.refused + (requests.refused if requests is not None else 0)
        self.logger.warning(
            "too busy: %d refused with 503 since the last such line; %d of %d connections, %d of %s requests, %d wait",
            refused - self._reported, self.clients.taken, self.clients.places,
            requests.taken if requests is not None else 0, requests.places if requests is not None else "any number of",
            self.clients.waiting + (requests.waiting if requests is not None else 0),
        )  # fmt: skip
        self._reported = refused


_servers: weakref.WeakSet[Serving] = weakref.WeakSet()


def is_stopping() -> bool:
    """Returns True once a server of this process was told to stop: it takes no new connections, and the open ones shall go elsewhere."""
    return any(server.draining for server in list(_servers))


def _look(server: Serving) -> Iterable[tuple[Key, float]]:
    """How full the server is, for metrics."""
    name = server.name
    for gate, in_hand, taken, places, what in (
        (server.clients, families.CONNECTIONS, "open", families.CONNECTION_PLACES, "connections"),
        (server.requests, families.REQUESTS_IN_HAND, "working", families.REQUEST_PLACES, "requests"),
    ):
        if gate is not None:
            yield (in_hand, name, taken), gate.taken
            yield (in_hand, name, "waiting"), gate.waiting
            yield (places, name), gate.places
            yield (families.REFUSED, name, what), gate.refused


def _seconds(conf: Mapping[str, Any], key: str, default: float) -> float:
    value = conf.get(key)
    if value is None or value == "":
        return default
    try:
        seconds = float(value)
    except ValueError:
        raise ValueError(f"{key} must be a number of seconds, not {value!r}")
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{key} must be a number of seconds, not {value!r}")
    return seconds


def _count(key: str, value: Any) -> int:
    try:
        count = int(value or 0)
    except ValueError:
        raise ValueError(f"{key} must be a number, not {value!r}")
    if count < 0:
        raise ValueError(f"{key} must not be negative")
    return count


def _http_date(second: int) -> str:
    when = clock.gmtime(second)
    return (
        f"{_DAYS[when.tm_wday]}, {when.tm_mday:02d} {_MONTHS[when.tm_mon - 1]} {when.tm_year} "
        f"{when.tm_hour:02d}:{when.tm_min:02d}:{when.tm_sec:02d} GMT"
    )
