"""GET and HEAD of objects (object-disk 13.1, 13.2)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from swift.core.errors import BadRequest
from swift.core.timestamp import http_date, internal_timestamp
from swift.obj.blocks import BLOCK_CRC32, block_size_for, parse_block_crcs
from swift.obj.body import BodyDamaged, ObjectBody
from swift.obj.checks import PIECE
from swift.obj.errors import NotExist, Quarantined
from swift.obj.request import NamedObject
from swift.obj.service import ObjectService
from swift.obj.store import BODY, EXTENT, HEAD, OpenObject
from swift.wire.message import Request, Response, normalize_etag
from swift.wire.storage import Environ, StartResponse, is_true

MAX_PREFERENCES = 256
CHECKED_FROM = 65536  # bytes of a fragment archive; whoever gets a shorter one checks the object as a whole

_USER_PREFIXES = ("x-object-meta-", "x-object-sysmeta-", "x-object-transient-sysmeta-")
_CONDITIONS = (
    "HTTP_RANGE",
    "HTTP_IF_MATCH",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_UNMODIFIED_SINCE",
)


def get(server: ObjectService, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """GET and HEAD."""
    is_get = environ["REQUEST_METHOD"] == "GET"
    plain = True
    for key in _CONDITIONS:
        if key in environ:
            plain = False
            break
    target = server.locate(environ)
    text = environ.get("HTTP_X_TIMESTAMP")
    try:
        # absent: the clock decides
        now = float(internal_timestamp(text)[:16]) if text else None
    except ValueError:
        raise BadRequest(
            f"X-Timestamp should be a UNIX timestamp float value; was {str(text)[:64]!r}"
        ) from None
    open_expired = is_true(environ, "HTTP_X_BACKEND_OPEN_EXPIRED")
    if is_true(environ, "HTTP_X_BACKEND_REPLICATION"):
        open_expired = True
        server.precedence.carried_out += 1  # it is no client that replication has to make room for
    want = (BODY if plain or "HTTP_RANGE" in environ else EXTENT) if is_get else HEAD
    try:
        found = target.store.open(target.place, want, now, open_expired, None, _fragment_preferences(environ))
    except NotExist as error:
        if environ.get("HTTP_IF_MATCH", "").strip() == "*":
            return _precondition_failed(start_response, error)
        raise
    headers = _headers(server, environ, found)
    if found.size > CHECKED_FROM and found.fragments and _is_checked(server, environ, found):
        headers.append(("X-Backend-Fragments-Checked", "yes"))
    if not plain:
        return _conditional(server, target, environ, start_response, found, headers)
    headers.append(("Content-Length", str(found.size)))
    if not is_get:
        start_response("200 OK", headers)
        return [b""]
    body = found.body
    start_response("200 OK", headers)
    if body is not None:
        return [body]
    return _body(server, target, environ, found).as_needed()


def _precondition_failed(start_response: StartResponse, error: NotExist) -> Iterable[bytes]:
    headers = [("Content-Type", "text/html; charset=UTF-8"), ("Content-Length", "0")]
    timestamp = getattr(error, "timestamp", None)
    if timestamp:
        headers.append(("X-Backend-Timestamp", timestamp))
    start_response("412 Precondition Failed", headers)
    return [b""]


def _fragment_preferences(environ: Environ) -> list[dict[str, Any]] | None:
    """The parsed X-Backend-Fragment-Preferences; None when there are none or they make no sense."""
    text = environ.get("HTTP_X_BACKEND_FRAGMENT_PREFERENCES")
    if not text:
        return None
    if text == "[]":
        return []
    try:
        prefs = json.loads(text)
        return [
            {"timestamp": internal_timestamp(p["timestamp"]), "exclude": [int(i) for i in p["exclude"]]}
            for p in prefs[:MAX_PREFERENCES]
        ]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _is_shown(server: ObjectService, name: str) -> bool:
    """Returns True if a stored header is part of a response."""
    lower = name.lower()
    shown = name != BLOCK_CRC32 and (lower.startswith(_USER_PREFIXES) or lower in server.shown_headers)
    return server.shown.keep(name, shown)


def _headers(server: ObjectService, environ: Environ, found: OpenObject) -> list[tuple[str, str]]:
    """Response headers less Content-Length."""
    is_replication = is_true(environ, "HTTP_X_BACKEND_REPLICATION")
    if found.shown and not is_replication:
        return [*found.shown[0]]
    metadata = found.metadata
    timestamp = found.timestamp
    headers = [("Content-Type", metadata.get("Content-Type") or "application/octet-stream")]
    shown = server.shown
    for name, value in metadata.items():
        known = shown.get(name)
        if known or (known is None and _is_shown(server, name)):
            headers.append((name, value))
    headers += (
        ("Etag", f'"{metadata.get("ETag", "")}"'),
        ("Last-Modified", http_date(timestamp)),
        ("X-Timestamp", timestamp[:16]),
        ("X-Backend-Timestamp", timestamp),
        ("X-Backend-Data-Timestamp", found.data_timestamp),
    )
    if found.durable_timestamp is not None:
        headers.append(("X-Backend-Durable-Timestamp", found.durable_timestamp))
    fragments = found.fragments
    if fragments:
        headers.append(("X-Backend-Fragments", json.dumps(fragments)))
    if is_replication:
        if BLOCK_CRC32 in metadata:
            headers.append((BLOCK_CRC32, metadata[BLOCK_CRC32]))
    elif found.shown is not None:
        found.shown[:] = [[*headers]]
    return headers


def _is_checked(server: ObjectService, environ: Environ, found: OpenObject) -> bool:
    """True if no byte is sent whose block has not been checked (`swift.obj.body`)."""
    value = found.metadata.get(BLOCK_CRC32)
    if value is None or server.stores.options.validate_pct < 100:
        return False
    if "HTTP_RANGE" in environ and block_size_for(found.size) * 4 > PIECE:
        return False  # a part of a block is sent as it is
    return parse_block_crcs(value, found.metadata.get("ETag", ""), found.size) is not None


def _body(server: ObjectService, target: NamedObject, environ: Environ, found: OpenObject) -> ObjectBody:
    keep = found.size < server.keep_cache_size and (
        server.keep_cache_private
        or ("HTTP_X_AUTH_TOKEN" not in environ and "HTTP_X_STORAGE_TOKEN" not in environ)
        or (
            server.keep_cache_slo_manifest
            and found.metadata.get("X-Static-Large-Object", "").lower()
            in ("true", "1", "yes", "on", "t", "y")
        )
    )
    return ObjectBody(target.store, target.place, found, keep, server.disk_chunk_size, server.log_notes)


def _conditional(
    server: ObjectService,
    target: NamedObject,
    environ: Environ,
    start_response: StartResponse,
    found: OpenObject,
    headers: list[tuple[str, str]],
) -> Iterable[bytes]:
    """Answer a request with conditions or a Range (proxy 21.5, 21.6)."""
    metadata = found.metadata
    names = {name.lower() for name in metadata}
    ignore = environ.get("HTTP_X_BACKEND_IGNORE_RANGE_IF_METADATA_PRESENT")
    if ignore and "HTTP_RANGE" in environ and any(n.strip().lower() in names for n in ignore.split(",")):
        del environ["HTTP_RANGE"]
    etag = metadata.get("ETag", "")
    etag_is_at = environ.get("HTTP_X_BACKEND_ETAG_IS_AT")
    if etag_is_at:
        lower = {name.lower(): value for name, value in metadata.items()}
        for name in etag_is_at.split(","):
            value = lower.get(name.strip().lower())
            if value is not None:
                etag = normalize_etag(value) or ""
                break
    response = Response(
        body=found.body,
        app_iter=_body(server, target, environ, found) if found.body is None else None,
        request=Request(environ),
        headers=headers,
        conditional_response=True,
        conditional_etag=etag,
    )
    response.content_length = found.size
    try:
        return response(environ, start_response)
    except BodyDamaged as error:
        raise Quarantined(str(error)) from None
