"""GET and HEAD of the container server (database.md 13.2, 13.3, 13.4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from swift.core.config import truthy
from swift.core.constraints import CONTAINER_LISTING_PARAMS, limits
from swift.core.errors import BadRequest
from swift.core.timestamp import Timestamp, http_date
from swift.db.errors import DatabaseMissing
from swift.db.listing import Listing, query_params
from swift.db.reader import Source
from swift.db.request import FORMAT_PARAM, Place, media_type, shown_metadata
from swift.db.snapshots import Snapshots
from swift.wire.storage import Environ, StartResponse, answer, is_true

from . import shard_ranges
from .broker import is_deleted
from .listing import object_listing, shard_listing
from .sharded import SHARDED, SHARDING, select_shard_ranges
from .snapshot import ContainerSnapshot

_Answer = tuple[int, "bytes | None", list[tuple[str, str]]]
"""(status, body, headers)."""

_NOWHERE = [
    ("X-Backend-Timestamp", "0000000000.00000"),
    ("X-Backend-Put-Timestamp", "0000000000.00000"),
    ("X-Backend-Delete-Timestamp", "0000000000.00000"),
    ("X-Backend-Status-Changed-At", "0000000000.00000"),
    ("X-Backend-Storage-Policy-Index", "0"),
]


def head(
    environ: Environ, start_response: StartResponse, place: Place, snapshots: Snapshots[ContainerSnapshot]
) -> Iterable[bytes]:
    """HEAD: totals and metadata."""
    kind = media_type(environ, query_params(environ.get("QUERY_STRING", ""), FORMAT_PARAM))
    try:
        snapshot = snapshots.current(place.path)
    except DatabaseMissing:
        return answer(environ, start_response, 404, None, _NOWHERE)
    if is_deleted(snapshot.info):
        return answer(environ, start_response, 404, None, backend_headers(snapshot.info))
    return answer(environ, start_response, 204, b"", headers_of(snapshot), f"{kind}; charset=utf-8")


def get(
    environ: Environ,
    start_response: StartResponse,
    place: Place,
    snapshots: Snapshots[ContainerSnapshot],
    policy: int | None,
) -> Iterable[bytes]:
    """GET: a listing of objects (of one storage policy; None: the container's), shard ranges or namespaces."""
    params = query_params(environ.get("QUERY_STRING", ""), CONTAINER_LISTING_PARAMS)
    allow_reserved = "HTTP_X_BACKEND_ALLOW_RESERVED_NAMES" in environ and is_true(
        environ, "HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"
    )
    listing = Listing.from_params(params, limits().container_listing_limit, allow_reserved, paths=True)
    kind = media_type(environ, params)
    record_type = environ.get("HTTP_X_BACKEND_RECORD_TYPE", "").lower()

    def shown(source: Source[ContainerSnapshot]) -> _Answer:
        info = source.snapshot.info
        if record_type == "shard" or (record_type == "auto" and info["db_state"] in (SHARDING, SHARDED)):
            environ["swift.db.kind"] = "GET_shard"
            return _ShardQuery(environ, params).answer(source, kind)
        environ["swift.db.kind"] = "GET_object"
        if is_deleted(info):
            return 404, None, backend_headers(info)
        wanted = info["storage_policy_index"] if policy is None else policy
        headers = [
            *headers_of(source.snapshot),
            ("X-Backend-Record-Type", "object"),
            ("X-Backend-Record-Storage-Policy-Index", str(wanted)),
        ]
        body = object_listing(source, listing, kind, wanted)
        return 200 if body else 204, body, headers

    try:
        status, body, headers = snapshots.answer(place.path, shown)
    except DatabaseMissing:
        return answer(environ, start_response, 404, None, _NOWHERE)
    content_type = None if status == 404 else f"{kind}; charset=utf-8"
    return answer(environ, start_response, status, body, headers, content_type)


class _ShardQuery:
    """What a GET of shard ranges asks for."""

    def __init__(self, environ: Environ, params: dict[str, str]) -> None:
        self._params = params
        self._deleted_too = is_true(environ, "HTTP_X_BACKEND_OVERRIDE_DELETED")
        self._include_deleted = is_true(environ, "HTTP_X_BACKEND_INCLUDE_DELETED")
        self._namespaces = environ.get("HTTP_X_BACKEND_RECORD_SHARD_FORMAT", "full").lower() == "namespace"
        self._all_if_sharded = environ.get("HTTP_X_BACKEND_OVERRIDE_SHARD_NAME_FILTER", "").lower() == SHARDED

    def answer(self, source: Source[ContainerSnapshot], kind: str) -> _Answer:
        """The answer from a snapshot. Raises BadRequest."""
        info = source.snapshot.info
        if is_deleted(info) and not self._deleted_too:
            return 404, None, backend_headers(info)
        states, aliases = _states(self._params)
        if self._namespaces and self._include_deleted:
            raise BadRequest("No include_deleted for namespace GET")
        if self._namespaces and "auditing" in aliases:
            raise BadRequest("No auditing state for namespace GET")
        headers = [
            *headers_of(source.snapshot),
            ("X-Backend-Record-Type", "shard"),
            ("X-Backend-Record-Shard-Format", "namespace" if self._namespaces else "full"),
        ]
        query: dict[str, Any] = {
            "marker": self._params.get("marker", ""),
            "end_marker": self._params.get("end_marker", ""),
            "includes": self._params.get("includes", ""),
            "reverse": truthy(self._params.get("reverse")),
        }
        if self._all_if_sharded and info["db_state"] == SHARDED:
            query = {}
            headers.append(("X-Backend-Override-Shard-Name-Filter", "true"))

        def make() -> bytes:
            stored = source.snapshot.stored
            if query.get("includes") and states == shard_ranges.UPDATING and not self._include_deleted:
                one = stored.updating.including(query["includes"])
                return shard_listing([one] if one else [], self._namespaces, kind, info["container"])
            found = select_shard_ranges(
                stored.ranges,
                f"{info['account']}/{info['container']}",
                include_deleted=self._include_deleted,
                states=states,
                include_own="auditing" in aliases,
                fill_gaps=bool(aliases & {"listing", "updating"}),
                **query,
            )
            return shard_listing(found, self._namespaces, kind, info["container"])

        if query.get("includes"):
            body = make()
        else:
            key = (states, frozenset(aliases), self._include_deleted, self._namespaces, *query.values())
            body = source.body(("shards", kind, *key), make)
        return 200 if body else 204, body, headers


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
    if snapshot.headers is not None:
        return list(snapshot.headers)
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
    snapshot.headers = headers
    return list(headers)
