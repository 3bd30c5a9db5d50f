"""GET of a container whose names are in shards: where its listing begins, from what the caches know or its servers say.

What clients may see is the container controller's business, how rows are put together `shard_listing`'s.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from swift.core.config import truthy
from swift.core.timestamp import Timestamp, http_date
from swift.middleware.info import Asked, Info, container_key, get_container_info, is_success
from swift.proxy.exchange import Exchange, Headers
from swift.proxy.listings import Listing
from swift.proxy.namespaces import BoundList, Namespace, arranged, select
from swift.proxy.routing import Place
from swift.proxy.services import Services
from swift.proxy.shard_directory import ShardDirectory, read_namespaces
from swift.proxy.shard_listing import Query, ShardListing, Unavailable, sums
from swift.wire.message import HTTPServiceUnavailable, str_to_wsgi, wsgi_to_str

_NEEDED = (
    "created_at", "put_timestamp", "delete_timestamp", "status_changed_at", "storage_policy", "object_count", "bytes",
    "sharding_state",
)  # fmt: skip
_TIMES = (
    ("X-Backend-Timestamp", "created_at"),
    ("X-Backend-Put-Timestamp", "put_timestamp"),
    ("X-Backend-Delete-Timestamp", "delete_timestamp"),
    ("X-Backend-Status-Changed-At", "status_changed_at"),
)
_SAVED = (
    ("X-Container-Read", "read_acl"),
    ("X-Container-Write", "write_acl"),
    ("X-Container-Sync-To", "sync_to"),
    ("X-Container-Sync-Key", "sync_key"),
    ("X-Versions-Location", "versions"),
)
_MOST_SEEN = 20_000
_COUNT, _BYTES = "x-container-object-count", "x-container-bytes-used"


class Known:
    """A sharded container as the caches know it: who lists it, and the headers and metadata of the answer."""

    def __init__(self, bounds: BoundList, info: Info) -> None:
        self.bounds = bounds
        self.policy = str(info["storage_policy"])
        self.read_acl: str | None = info["read_acl"]
        self.headers = _headers(info)
        self.metadata = [
            (f"X-Container-Meta-{str_to_wsgi(name).title()}", str_to_wsgi(value))
            for name, value in info["meta"].items()
        ]


class ShardedContainers:
    """Listings of containers in shards, for one proxy."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.directory = ShardDirectory(services)
        self._seen: OrderedDict[str, None] = OrderedDict()  # keys of containers that were sharded

    def wanted(self, exchange: Exchange) -> dict[str, str | None]:
        """Headers that ask a container's servers for its listing, or for the shards that have it."""
        headers: dict[str, str | None] = {
            "X-Backend-Record-Type": "auto",
            "X-Backend-Record-Shard-Format": "namespace",
            "X-Backend-Include-Deleted": "false",
        }
        if self.directory.caches_listings():
            headers["X-Backend-Override-Shard-Name-Filter"] = "sharded"
        return headers

    def known(self, exchange: Exchange) -> tuple[Known | None, str]:
        """(what the caches know of a container that is sharded, or None; then why they were of no use, for the metrics)."""
        environ = exchange.environ
        if not self.directory.caches_listings():
            return None, "disabled"
        if truthy(environ.get("HTTP_X_NEWEST")):
            return None, "force_skip"
        assert exchange.container is not None
        names = wsgi_to_str(exchange.account), wsgi_to_str(exchange.container)
        key = container_key(*names)
        if key not in self._seen and key not in environ.get("swift.infocache", ()):
            return (
                None,
                "bypass",
            )  # most containers are never sharded, and nobody waits for memcached to say so
        info = get_container_info(
            environ, self._services.application, exchange.account, exchange.container, cache_only=True
        )
        if (
            not is_success(info["status"])
            or info["sharding_state"] != "sharded"
            or any(info.get(name) is None for name in _NEEDED)
        ):
            return None, "bypass"
        found, why = self.directory.listing(environ, *names)
        if found is None:
            return None, why
        try:
            return Known(found, info), ""
        except (ValueError, TypeError, AttributeError):
            return None, "bypass"  # whoever put that into memcached meant something else

    def listed_by(
        self, exchange: Exchange, place: Place, found: Listing, asked: Asked, params: Mapping[str, str]
    ) -> tuple[Sequence[Namespace], int]:
        """(those namespaces in an answer of shard ranges that the listing needs, how many there are at all, 0 if it does not say).

        Raises HTTPServiceUnavailable.
        """
        items = read_namespaces(self._services, found, place)
        if items is None:
            raise HTTPServiceUnavailable(request=exchange.request)
        is_whole = truthy(found.get("x-backend-override-shard-name-filter"))
        if not is_whole:
            reverse = truthy(params.get("reverse"))
            pieces = arranged(items, reverse)
            return needed(pieces[::-1] if reverse else pieces, params), 0
        if found.get("x-backend-sharding-state") == "sharded":
            names = wsgi_to_str(exchange.account), wsgi_to_str(exchange.container or "")
            self._note(container_key(*names))
            self.directory.keep_listing(exchange.environ, *names, items, asked)
        return needed(arranged(items), params), len(items)

    def _note(self, key: str) -> None:
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > _MOST_SEEN:
            self._seen.popitem(last=False)

    def assemble(
        self,
        exchange: Exchange,
        items: Sequence[Namespace],
        policy: str,
        params: Mapping[str, str],
        limit: int,
        headers: Headers,
        shards: int,
    ) -> tuple[bytes, Headers]:
        """(the listing as JSON, `headers` with its figures if it holds everything). Raises Unavailable.

        `shards`: how many the container has at all, 0 if nobody knows.
        """
        environ = exchange.environ
        handed_on = {}
        if truthy(environ.get("HTTP_X_BACKEND_ALLOW_RESERVED_NAMES")):
            handed_on["X-Backend-Allow-Reserved-Names"] = "true"
        policy = environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX") or policy
        native = {name: wsgi_to_str(value) for name, value in params.items()}
        query = Query(native, limit, truthy(params.get("reverse")), policy, handed_on)
        newest = truthy(environ.get("HTTP_X_NEWEST"))
        rows = next((value for name, value in headers if name.lower() == _COUNT), "0")
        rows_each = int(rows) / shards if shards and rows.isdecimal() else 0.0
        listing = ShardListing(self._services, environ, query, exchange.use_replication, newest, rows_each)
        root = wsgi_to_str(f"{exchange.account}/{exchange.container}")
        body = listing.body(root, items)
        if query.is_everything and listing.count < limit:
            count, size = sums(body)
            headers = [pair for pair in headers if pair[0].lower() not in (_COUNT, _BYTES)]
            headers.append(("X-Container-Object-Count", str(count)))
            headers.append(("X-Container-Bytes-Used", str(size)))
        return body, headers

    def unavailable(self, exchange: Exchange, why: Unavailable) -> HTTPServiceUnavailable:
        """The answer to who wants a listing of which a part is missing."""
        self._services.logger.error("Listing of %s: %s", exchange.request.path, why)
        return HTTPServiceUnavailable(request=exchange.request)


def needed(items: list[Namespace] | BoundList, params: Mapping[str, str]) -> Sequence[Namespace]:
    """Of all namespaces of a container those that a listing needs, in its order. `params`: WSGI strings."""
    marker, end_marker = (wsgi_to_str(params.get(name, "")) for name in ("marker", "end_marker"))
    reverse = truthy(params.get("reverse"))
    if isinstance(items, BoundList):
        return items.between(marker, end_marker, reverse)
    return select(items, marker, end_marker, reverse)


def _headers(info: Mapping[str, Any]) -> Headers:
    headers: Headers = [(name, Timestamp(info[key]).internal) for name, key in _TIMES]
    headers += [
        ("X-Backend-Storage-Policy-Index", str(info["storage_policy"])),
        ("X-Container-Object-Count", str(info["object_count"])),
        ("X-Container-Bytes-Used", str(info["bytes"])),
        ("X-Timestamp", Timestamp(info["created_at"]).normal),
        ("X-Backend-Sharding-State", info["sharding_state"]),
        ("X-Backend-Cached-Results", "true"),
        ("Last-Modified", http_date(info["put_timestamp"])),
        ("Accept-Ranges", "bytes"),
    ]
    headers += [(name, str_to_wsgi(info[key])) for name, key in _SAVED if info.get(key) is not None]
    headers += [
        (f"X-Container-Sysmeta-{str_to_wsgi(name).title()}", str_to_wsgi(value))
        for name, value in info["sysmeta"].items()
    ]
    return headers
