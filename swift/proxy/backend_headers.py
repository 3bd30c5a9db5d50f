"""Which headers go to storage servers: tables by kind of request, and header blocks made of them (spec proxy 1.3, 5).

What a table does not name stays here: a header that nobody knows does not reach a storage server. Headers that the proxy says
itself, such as where updates go, are never taken from a request. A block is made once per request as bytes; what differs between
nodes is a few lines behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from swift.core.errors import BadRequest
from swift.core.object_headers import META, SYSMETA, TRANSIENT_SYSMETA
from swift.core.remembered import Remembered
from swift.telemetry.redaction import cut_parameters
from swift.wire.message import environ_key, header_name, host_url

_BACKEND = "X-Backend-"
_MAX_NAMES = 4096  # remembered names of a table
_MAX_PLANS = 256  # remembered forms of requests
_MAX_PLAN_LENGTH = 4096  # characters of the names in one
_MAX_MORE = 256  # names that X-Backend-Replication-Headers may list
# What a body's checksum and framing is, and whose row an object is, the proxy says itself or nobody.
_OWN = frozenset(
    environ_key(name)
    for name in (
        "X-Backend-Body-Crc32", "X-Backend-Quoted-Container-Path", "X-Backend-Container-Path",
        "X-Backend-Obj-Content-Length", "X-Backend-Obj-Metadata-Footer", "X-Backend-Obj-Multipart-Mime-Boundary",
        "X-Backend-Obj-Multiphase-Commit",
    )
)  # fmt: skip
# And these neither, whatever the options or X-Backend-Replication-Headers say: they would change what the request is.
_NEVER = frozenset(
    environ_key(name)
    for name in (
        "Authorization", "Connection", "Content-Length", "Content-Type-Timestamp", "Cookie", "Etag", "Expect", "Host", "Referer",
        "Transfer-Encoding", "User-Agent", "X-Auth-Token", "X-Service-Token", "X-Storage-Token", "X-Trans-Id",
        "Traceparent", "Tracestate",
        "X-Container-Partition", "X-Container-Host", "X-Container-Device", "X-Container-Root-Db-State",
        "X-Delete-At-Container", "X-Delete-At-Partition", "X-Delete-At-Host", "X-Delete-At-Device",
    )
)  # fmt: skip

_CONDITIONS = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range")


class BadHeader(BadRequest):
    """A value that would break the framing of a backend request."""


def as_block(lines: Sequence[str]) -> bytes:
    """The lines as they go on the wire. Raises BadHeader."""
    text = "".join(lines)
    if not text.count("\r") == text.count("\n") == len(lines) or "\0" in text:
        raise BadHeader("line break or NUL in a header")
    return text.encode("latin-1")


def closing_lines(environ: Mapping[str, Any], agent: str, path: str) -> list[str]:
    """The lines that nobody overrides; `path` is the client's, quoted."""
    query = environ.get("QUERY_STRING")
    # Storage servers log it: what opens something is none of their business.
    target = f"{path}?{cut_parameters(query, 0)}" if query else path
    lines = [
        f"X-Trans-Id: {environ.get('swift.trans_id') or '-'}\r\n",
        f"User-Agent: {agent}\r\n",
        f"Referer: {environ['REQUEST_METHOD']} {host_url(environ)}{target}\r\n",
    ]
    trace = environ.get("swift.trace")
    if trace is not None:
        lines.append(f"Traceparent: {trace.traceparent}\r\n")
        if trace.state:
            lines.append(f"Tracestate: {trace.state}\r\n")
    return lines


class HeaderTable:
    """The headers that one kind of request takes along: by name, by the beginning of their names, and `X-Backend-*`.

    `is_read`: say whether the client has a token, by which object servers decide what their page cache keeps; which token it is,
    is none of their business. `is_stored`: names in X-Backend-Replication-Headers are taken along, too.
    """

    def __init__(
        self,
        names: Iterable[str] = (),
        prefixes: Iterable[str] = (),
        is_read: bool = False,
        is_stored: bool = False,
    ) -> None:
        self._keys = frozenset(map(environ_key, ("X-Timestamp", *names))) - _NEVER
        self._prefixes = tuple(map(environ_key, (_BACKEND, *prefixes)))
        self._is_read = is_read
        self._is_stored = is_stored
        self._beginnings: Remembered[str, str] = Remembered(_MAX_NAMES)
        # Keys of an environ, in their order → those whose values go along, with the beginnings of their lines. Clients ask in the
        # same form again and again, and most of what they say stays here.
        self._plans: Remembered[tuple[str, ...], tuple[tuple[str, str], ...]] = Remembered(
            _MAX_PLANS, _MAX_PLAN_LENGTH
        )

    def _beginning(self, key: str) -> str:
        """`X-Foo: ` for an environ key whose value goes along, '' for any other."""
        goes = (
            key in self._keys
            or key.startswith(self._prefixes)
            and key not in self._prefixes
            and key not in _OWN
        )
        text = f"{header_name(key)}: " if goes else ""
        return self._beginnings.keep(key, text)

    def _plan(self, keys: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        beginnings = self._beginnings
        plan = []
        for key in keys:
            text = beginnings.get(key)
            if text is None:
                text = self._beginning(key)
            if text:
                plan.append((key, text))
        return self._plans.keep(keys, tuple(plan))

    def block(
        self, environ: Mapping[str, Any], agent: str, path: str, extra: Mapping[str, str | None] | None = None
    ) -> bytes:
        """The header block of a request for `path`, the client's, quoted. Raises BadHeader.

        `extra`: headers by title-cased name that replace the request's, or None for those to leave out.
        """
        keys = tuple(environ)
        plan = self._plans.get(keys)
        if plan is None:
            plan = self._plan(keys)
        lines = [f"{text}{environ[key]}\r\n" for key, text in plan if key != "CONTENT_TYPE" or environ[key]]
        if self._is_read and ("HTTP_X_AUTH_TOKEN" in environ or "HTTP_X_STORAGE_TOKEN" in environ):
            lines.append("X-Auth-Token: -\r\n")
        if self._is_stored and "HTTP_X_BACKEND_REPLICATION_HEADERS" in environ:
            lines += self._more(environ)
        if extra:
            lines = [line for line in lines if line.partition(":")[0] not in extra]
            lines += [f"{name}: {value}\r\n" for name, value in extra.items() if value is not None]
        lines += closing_lines(environ, agent, path)
        return as_block(lines)

    def _more(self, environ: Mapping[str, Any]) -> list[str]:
        names = environ["HTTP_X_BACKEND_REPLICATION_HEADERS"].split()[:_MAX_MORE]
        keys = dict.fromkeys(map(environ_key, names))
        return [
            f"{header_name(key)}: {environ[key]}\r\n"
            for key in keys
            if key in environ and not self._beginning(key) and key not in _NEVER and key not in _OWN
        ]


LISTING = HeaderTable()
"""GET and HEAD of accounts and containers."""


class HeaderTables:
    """The tables for objects. `allowed`: headers that object servers keep with an object."""

    def __init__(self, allowed: Iterable[str]) -> None:
        allowed = [name for name in allowed if name.lower() not in ("content-length", "deleted", "etag")]
        kept = (META, SYSMETA, TRANSIENT_SYSMETA)
        self.read = HeaderTable(("Range", *_CONDITIONS), is_read=True)
        # A PUT's ETag is the business of who knows the body.
        self.put = HeaderTable(
            ("Content-Type", "If-None-Match", "X-Delete-At", *allowed), kept, is_stored=True
        )
        self.post = HeaderTable(("Content-Type", "X-Delete-At", *allowed), kept, is_stored=True)
        self.delete = HeaderTable(("X-If-Delete-At",))


_TRANSFERRED = {
    "account": (),
    "container": (
        "x-container-read", "x-container-write", "x-container-sync-key", "x-container-sync-to", "x-versions-location",
    ),
}  # fmt: skip
_REMOVABLE = {
    "account": (),
    "container": (
        "x-remove-container-read", "x-remove-container-write", "x-remove-container-sync-key", "x-remove-container-sync-to",
        "x-remove-versions-location",
    ),
}  # fmt: skip


def transferred_headers(environ: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Headers of an account or container write: control headers, metadata, and what is to be removed as empty (spec 1.3)."""
    made: dict[str, str] = {}
    given: dict[str, str] = {}
    remove_meta = f"x-remove-{kind}-meta-"
    prefixes = (f"x-{kind}-meta-", f"x-{kind}-sysmeta-")
    for key, value in environ.items():
        name = header_name(key)
        if name is None:
            continue
        lower = name.lower()
        if lower.startswith("x-backend-") or lower == "x-timestamp":
            made[name] = value
        elif lower.startswith(remove_meta) and len(lower) > len(remove_meta) or lower in _REMOVABLE[kind]:
            made["X-" + name[len("x-remove-") :]] = ""
        elif lower.startswith(prefixes) or lower in _TRANSFERRED[kind]:
            given[name] = value
    made.update(given)
    return made


def block_of(headers: Mapping[str, str], closing: Sequence[str]) -> bytes:
    """A header block of `headers` and the closing lines. Raises BadHeader."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    lines += closing
    return as_block(lines)
