"""GET and HEAD of the container server (database.md 13.2, 13.3, 13.4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from swift.core.config import truthy
from swift.core.constraints import CONTAINER_LISTING_PARAMS, limits
from swift.core.errors import BadRequest
from swift.core.timestamp import Timestamp, http_date
from swift.db.errors import DatabaseMissing
from swift.db.listing import Listing, query_params
from swift.db.request import (
    FORMAT_PARAM,
    media_type,
    shown_metadata,
)
from swift.wire.storage import Environ, StartResponse, answer, is_true

from . import shard_ranges
from .broker import is_deleted
from .listing import object_listing, shard_listing
from .sharded import SHARDED, SHARDING, select_shard_ranges
from .snapshot import ContainerSnapshot

if TYPE_CHECKING:
    from .server import ContainerServer

_NOWHERE = [
    ("X-Backend-Timestamp", "0000000000.00000"),
    ("X-Backend-Put-Timestamp", "0000000000.00000"),
    ("X-Backend-Delete-Timestamp", "0000000000.00000"),
    ("X-Backend-Status-Changed-At", "0000000000.00000"),
    ("X-Backend-Storage-Policy-Index", "0"),
]


def head(server: ContainerServer, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """HEAD: totals and metadata."""
    place = server.container(environ)
    kind = media_type(environ, query_params(environ.get("QUERY_STRING", ""), FORMAT_PARAM))
    try:
        snapshot = server.snapshots.current(place.path)
    except DatabaseMissing:
        return answer(environ, start_response, 404, None, _NOWHERE)
    if is_deleted(snapshot.info):
        return answer(environ, start_response, 404, None, backend_headers(snapshot.info))
    return answer(environ, start_response, 204, b"", headers_of(snapshot), f"{kind}; charset=utf-8")


def get(server: ContainerServer, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """GET: a listing of objects, shard ranges or namespaces."""
    place = server.container(environ)
    params = query_params(environ.get("QUERY_STRING", ""), CONTAINER_LISTING_PARAMS)
    allow_reserved = "HTTP_X_BACKEND_ALLOW_RESERVED_NAMES" in environ and is_true(
        environ, "HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"
    )
    listing = Listing.from_params(params, limits().container_listing_limit, allow_reserved, paths=True)
    kind = media_type(environ, params)
    record_type = environ.get("HTTP_X_BACKEND_RECORD_TYPE", "").lower()
    policy = server.policy_index(environ)
    try:
        snapshot = server.snapshots.current(place.path)
    except DatabaseMissing:
        return answer(environ, start_response, 404, None, _NOWHERE)
    info = snapshot.info
    if record_type == "shard" or (record_type == "auto" and info["db_state"] in (SHARDING, SHARDED)):
        environ["swift.db.kind"] = "GET_shard"
        return _get_shards(environ, start_response, snapshot, params, kind)
    environ["swift.db.kind"] = "GET_object"
    if is_deleted(info):
        return answer(environ, start_response, 404, None, backend_headers(info))
    if policy is None:
        policy = info["storage_policy_index"]
    headers = [
        *headers_of(snapshot),
        ("X-Backend-Record-Type", "object"),
        ("X-Backend-Record-Storage-Policy-Index", str(policy)),
    ]
    body = object_listing(snapshot, listing, kind, policy)
    return answer(environ, start_response, 200 if body else 204, body, headers, f"{kind}; charset=utf-8")


def _get_shards(
    environ: Environ,
    start_response: StartResponse,
    snapshot: ContainerSnapshot,
    params: dict[str, str],
    kind: str,
) -> Iterable[bytes]:
    info, ranges = snapshot.info, snapshot.shard_ranges
    headers = headers_of(snapshot)
    if is_deleted(info) and not is_true(environ, "HTTP_X_BACKEND_OVERRIDE_DELETED"):
        return answer(environ, start_response, 404, None, backend_headers(info))
    headers.append(("X-Backend-Record-Type", "shard"))
    states, aliases = _states(params)
    include_deleted = is_true(environ, "HTTP_X_BACKEND_INCLUDE_DELETED")
    namespaces = environ.get("HTTP_X_BACKEND_RECORD_SHARD_FORMAT", "full").lower() == "namespace"
    if namespaces:
        if include_deleted:
            raise BadRequest("No include_deleted for namespace GET")
        if "auditing" in aliases:
            raise BadRequest("No auditing state for namespace GET")
    headers.append(("X-Backend-Record-Shard-Format", "namespace" if namespaces else "full"))
    query: dict[str, Any] = {
        "marker": params.get("marker", ""),
        "end_marker": params.get("end_marker", ""),
        "includes": params.get("includes", ""),
        "reverse": truthy(params.get("reverse")),
    }
    override = environ.get("HTTP_X_BACKEND_OVERRIDE_SHARD_NAME_FILTER", "")
    if override.lower() == SHARDED and info["db_state"] == SHARDED:
        query = {}
        headers.append(("X-Backend-Override-Shard-Name-Filter", "true"))
    found = select_shard_ranges(
        ranges,
        f"{info['account']}/{info['container']}",
        include_deleted=include_deleted,
        states=states,
        include_own="auditing" in aliases,
        fill_gaps=bool(aliases & {"listing", "updating"}),
        **query,
    )
    body = shard_listing(found, namespaces, kind, info["container"])
    return answer(environ, start_response, 200 if body else 204, body, headers, f"{kind}; charset=utf-8")


def _states(params: dict[str, str]) -> tuple[frozenset[int] | None, set[str]]:
    text = params.get("states")
    if not text:
        return None, set()
    try:
        states, aliases = shard_ranges.parse_states(text)
    except ValueError:
        raise BadRequest("Bad state") from None
    return states or None, aliases


def backend_headers(info: dict[str, Any]) -> list[tuple[str, str]]:
    """What lets the proxy compare replicas."""
    return [
        ("X-Backend-Timestamp", Timestamp(info["created_at"]).internal),
        ("X-Backend-Put-Timestamp", Timestamp(info["put_timestamp"]).internal),
        ("X-Backend-Delete-Timestamp", Timestamp(info["delete_timestamp"]).internal),
        ("X-Backend-Status-Changed-At", Timestamp(info["status_changed_at"]).internal),
        ("X-Backend-Storage-Policy-Index", str(info["storage_policy_index"])),
    ]


def headers_of(snapshot: ContainerSnapshot) -> list[tuple[str, str]]:
    """The headers of HEAD and GET, made once for each state of the container."""
    cached = snapshot.shown
    if cached is not None and cached[0] == snapshot.generation:
        return list(cached[1])
    info = snapshot.info
    headers = [
        *backend_headers(info),
        ("X-Container-Object-Count", str(info["object_count"])),
        ("X-Container-Bytes-Used", str(info["bytes_used"])),
        ("X-Timestamp", Timestamp(info["created_at"]).normal),
        ("X-Put-Timestamp", Timestamp(info["put_timestamp"]).normal),
        ("X-Backend-Sharding-State", info["db_state"]),
        *shown_metadata(snapshot.metadata),
        ("Last-Modified", http_date(info["put_timestamp"])),
    ]
    snapshot.shown = (snapshot.generation, headers)
    return list(headers)
