"""What the proxy's access line tells of a request: the values of the template's fields (spec middleware 4.4, operations 8.5).

The template, its quoting and its time forms are `swift.telemetry.access_line`'s. Never here: when a line is written, and where it goes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from swift.core.constraints import limits
from swift.telemetry.redaction import cut_parameters, sensitive_headers
from swift.wire.message import head_headers, parsed_path, wsgi_quote

POLICY_HEADER = "X-Backend-Storage-Policy-Index"

_path_needs_no_quoting = re.compile(r"[A-Za-z0-9_.\-~/]+").fullmatch


class LoggedRequest:
    """One request and its response, as far as logs and metrics tell of them. Times are seconds since the epoch."""

    __slots__ = ("end", "environ", "headers", "received", "sent", "start", "status", "ttfb", "wire_status")

    def __init__(self, environ: dict[str, Any], start: float = 0.0) -> None:
        self.environ = environ
        self.start = self.end = start
        self.headers: list[tuple[str, str]] = []
        self.status = self.wire_status = 0
        self.sent = self.received = 0
        self.ttfb: float | None = None

    @property
    def policy_index(self) -> str | None:
        for name, value in self.headers:
            if name == POLICY_HEADER:
                return value
        return self.environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX")


Getter = Callable[[LoggedRequest], Any]


class AccessFields:
    """``values(exchange)`` → name → raw value of the ``used`` fields.

    ``reveal``: how many characters of a sensitive value are shown. ``log_headers``: whether the `headers` field is filled at
    all; ``only_headers`` restricts it, empty for all headers.
    """

    def __init__(
        self,
        used: Collection[str],
        *,
        reveal: int = 16,
        log_headers: bool = False,
        only_headers: Iterable[str] = (),
    ) -> None:
        self._reveal = max(reveal, 0)
        self._only_headers = frozenset(name.title() for name in only_headers)
        self._sensitive_headers = frozenset(name.title() for name in sensitive_headers())
        known: dict[str, Getter] = {
            **_FIELDS,
            "path": self._path,
            "referer": lambda x: self._cut_query(x.environ.get("HTTP_REFERER")),
            "auth_token": lambda x: self._cut(x.environ.get("HTTP_X_AUTH_TOKEN")),
            "headers": self._headers if log_headers else lambda x: None,
        }
        self._getters = [(name, known[name]) for name in known if name in used]

    def values(self, exchange: LoggedRequest) -> Mapping[str, Any]:
        return {name: get(exchange) for name, get in self._getters}

    def _cut(self, value: str | None) -> str | None:
        if value and len(value) > self._reveal:
            return f"{value[: self._reveal]}..."
        return value

    def _path(self, exchange: LoggedRequest) -> str:
        environ = exchange.environ
        path = environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"]
        if not _path_needs_no_quoting(path):
            path = wsgi_quote(path)
        query = environ.get("QUERY_STRING")
        if not query:
            return path
        return f"{path}?{cut_parameters(query, self._reveal)}"

    def _cut_query(self, url: str | None) -> str | None:
        return url and cut_parameters(url, self._reveal)

    def _headers(self, exchange: LoggedRequest) -> str:
        lines = []
        for name, value in head_headers(exchange.environ):
            if not self._only_headers or name in self._only_headers:
                shown = self._cut(value) if name in self._sensitive_headers else value
                if name in _KEYS:
                    shown = "..."
                elif name == "Referer":
                    shown = self._cut_query(value)
                lines.append(f"{name}: {shown}")
        return "\n".join(lines)


# Passwords and keys, which may be short: not even their beginning is shown.
_KEYS = frozenset(
    (
        "Authorization", "Cookie", "Proxy-Authorization", "X-Account-Meta-Temp-Url-Key", "X-Account-Meta-Temp-Url-Key-2",
        "X-Auth-Key", "X-Container-Meta-Temp-Url-Key", "X-Container-Meta-Temp-Url-Key-2", "X-Container-Sync-Key",
        "X-Storage-Pass",
    )
)  # fmt: skip


def _environ_field(key: str) -> Getter:
    return lambda exchange: exchange.environ.get(key)


def client_address(environ: Mapping[str, Any]) -> str | None:
    """The client's address: as proxies before us tell, else the peer's; None for requests of our own."""
    get = environ.get
    if "HTTP_X_CLUSTER_CLIENT_IP" not in environ and "HTTP_X_FORWARDED_FOR" not in environ:
        return get("REMOTE_ADDR")
    forwarded = get("HTTP_X_CLUSTER_CLIENT_IP") or get("HTTP_X_FORWARDED_FOR", "").split(",", 1)[0].strip()
    return forwarded or get("REMOTE_ADDR")


def _client_ip(exchange: LoggedRequest) -> Any:
    return client_address(exchange.environ)


def _domain(exchange: LoggedRequest) -> str:
    host = exchange.environ.get("HTTP_HOST") or ""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _method(exchange: LoggedRequest) -> Any:
    return exchange.environ.get("swift.orig_req_method") or exchange.environ["REQUEST_METHOD"]


def _trace(exchange: LoggedRequest, part: str) -> str | None:
    return getattr(exchange.environ.get("swift.trace"), part, None)


def _log_info(exchange: LoggedRequest) -> str | None:
    words = exchange.environ.get("swift.log_info")
    return ",".join(words) if words else None


def _access_user_id(exchange: LoggedRequest) -> Any:
    who = exchange.environ.get("swift.access_logging")
    return who.get("user_id") if who else None


def _path_part(index: int) -> Getter:
    def part(exchange: LoggedRequest) -> str | None:
        parts = parsed_path(exchange.environ)
        if parts[0] not in limits().valid_api_versions:
            return None
        found = parts[index]
        return found and wsgi_quote(found)

    return part


_FIELDS: dict[str, Getter] = {
    "client_ip": _client_ip,
    "remote_addr": _environ_field("REMOTE_ADDR"),
    "domain": _domain,
    "method": _method,
    "protocol": _environ_field("SERVER_PROTOCOL"),
    "status_int": lambda x: x.status,
    "wire_status_int": lambda x: x.wire_status,
    "user_agent": _environ_field("HTTP_USER_AGENT"),
    "bytes_recvd": lambda x: x.received,
    "bytes_sent": lambda x: x.sent,
    "client_etag": _environ_field("HTTP_ETAG"),
    "transaction_id": _environ_field("swift.trans_id"),
    "request_time": lambda x: x.end - x.start,
    "source": _environ_field("swift.source"),
    "log_info": _log_info,
    "start_time": lambda x: x.start,
    "end_time": lambda x: x.end,
    "policy_index": lambda x: x.policy_index,
    "access_user_id": _access_user_id,
    "account": _path_part(1),
    "container": _path_part(2),
    "object": _path_part(3),
    "ttfb": lambda x: x.ttfb,
    "pid": lambda x: os.getpid(),
    "trace_id": lambda x: _trace(x, "trace_id"),
    "span_id": lambda x: _trace(x, "span_id"),
}
