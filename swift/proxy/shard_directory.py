"""Which containers have the names of a container in shards: asked of its servers, remembered briefly (spec proxy 9.6, 13.4, 17).

Before its servers stand the request's own memory, this process's, and memcached, in whose entries all proxies of a cluster
believe. Stale entries do no harm to updates: shards pass on what is no longer theirs. Never here: what is listed or told there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from swift.cache.local_cache import LocalCache
from swift.cache.memcache import MemcacheConnectionError
from swift.core import clock
from swift.core.concurrency import sleep
from swift.middleware.info import PROCESS_CACHE, Asked, asked_container
from swift.proxy import namespaces
from swift.proxy.listings import Listing, fetch
from swift.proxy.namespaces import BoundList, Namespace
from swift.proxy.routing import Place
from swift.proxy.services import Services
from swift.wire.client import BackendError
from swift.wire.message import wsgi_quote, wsgi_to_str
from swift.wire.subrequest import make_environ

_NAMESPACES: dict[str, str | None] = {
    "X-Backend-Record-Type": "shard",
    "X-Backend-Record-Shard-Format": "namespace",
}
MAX_BODY = 64 * 1024 * 1024  # bytes of a list of namespaces
_IN_PROCESS = 10.0  # seconds that this process believes a list without looking into memcached
_UNFINISHED = 30.0  # seconds that the list of a container with parts still to come is shared
_MOST_KNOWN = 100_000  # namespaces in this process's memory, of all containers together
_WAIT_FIRST, _WAIT_ALL = 1.5, 10.0  # of those who wait for another's answer: times the average fetch


def is_in_shards(state: str) -> bool:
    """Returns True if a container whose database is in that state lists what its shards have."""
    return state in ("sharding", "sharded")


class _Remembered:
    """Lists of this process, each for some seconds, and only as long as no process of this node changes its container."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[float, Asked, BoundList]] = OrderedDict()
        self._size = 0

    def get(self, key: str) -> BoundList | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, asked, found = entry
        if expires <= clock.monotonic() or not PROCESS_CACHE.is_current(asked):
            self.drop(key)
            return None
        return found

    def put(self, key: str, found: BoundList, asked: Asked, seconds: float) -> None:
        self.drop(key)
        if seconds <= 0 or len(found) > _MOST_KNOWN or not PROCESS_CACHE.is_current(asked):
            return
        self._entries[key] = clock.monotonic() + seconds, asked, found
        self._size += len(found)
        while self._size > _MOST_KNOWN:
            self.drop(next(iter(self._entries)))

    def drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= len(entry[2])


class ShardDirectory:
    """What is known of the shards of containers, for one proxy."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._remembered = _Remembered()

    # -- listings ----------------------------------------------------------------------------------------------------------

    def caches_listings(self) -> bool:
        """Returns True if lists for listings are kept at all."""
        return self._services.options.recheck_listing_shard_ranges > 0

    def listing(self, environ: dict[str, Any], account: str, container: str) -> tuple[BoundList | None, str]:
        """(what the caches say of who lists a container (native names) that is sharded, or None; how they failed)."""
        key = f"shard-listing-v2/{account}/{container}"
        skip = self._services.options.listing_ranges_skip_pct
        return self._cached(environ, "container.shard_listing", key, skip, account, container)

    def keep_listing(
        self, environ: dict[str, Any], account: str, container: str, items: list[Namespace], asked: Asked
    ) -> None:
        """Remember all namespaces that list a sharded container. Where they overlap or leave a gap nothing is remembered."""
        found = BoundList.of(items)
        if not items or found.namespaces() != items:
            return
        seconds = self._services.options.recheck_listing_shard_ranges
        self._keep(
            environ,
            "container.shard_listing",
            f"shard-listing-v2/{account}/{container}",
            found,
            asked,
            seconds,
        )

    def forget_listing(self, environ: dict[str, Any], account: str, container: str) -> None:
        """What the caches said of who lists a container was wrong."""
        key = f"shard-listing-v2/{account}/{container}"
        self._remembered.drop(key)
        environ.get("swift.infocache", {}).pop(key, None)
        shared = _shared(environ)
        if shared is not None:
            shared.delete(key)

    def count_listing(self, how: str, status: int) -> None:
        """A container's servers were asked who lists it, or for the listing; `how`: why no cache was."""
        self._services.metrics.increment(f"container.shard_listing.cache.{how}.{status}")

    # -- updates -----------------------------------------------------------------------------------------------------------

    def updating(
        self, environ: dict[str, Any], account: str, container: str, name: str, use_replication: bool = False
    ) -> str | None:
        """The `account/container` that is told of an object (WSGI names in, native text out); None: its own container."""
        if not self._services.options.recheck_updating_shard_ranges:
            return self._updating_one(environ, account, container, name, use_replication)
        found = self.updating_all(environ, account, container, use_replication)
        path = None if found is None else found.path_of(wsgi_to_str(name))
        return None if path == f"{wsgi_to_str(account)}/{wsgi_to_str(container)}" else path

    def updating_all(
        self, environ: dict[str, Any], account: str, container: str, use_replication: bool = False
    ) -> BoundList | None:
        """Who is told of which objects of a container (WSGI names); None: nobody knows, or nobody else."""
        native = wsgi_to_str(account), wsgi_to_str(container)
        key = "shard-updating-v2/{}/{}".format(*native)
        options = self._services.options
        metric = "object.shard_updating"
        found, why = self._cached(environ, metric, key, options.updating_ranges_skip_pct, *native)
        if found is not None:
            return found

        def ask() -> BoundList | None:
            asked = asked_container(*native)
            items = self._fetch(
                environ, account, container, "states=updating&format=json", use_replication, metric, why
            )
            if not items:
                return None
            made = BoundList.of(items)
            seconds = float(options.recheck_updating_shard_ranges)
            if any(item.path == "/".join(native) for item in items):
                seconds = min(seconds, _UNFINISHED)
            self._keep(environ, metric, key, made, asked, seconds)
            return made

        def once() -> Any:
            if why == "skip":
                return ask()
            return self._by_token(environ, key, native, ask)

        answer = PROCESS_CACHE.once(key, once)
        return answer if isinstance(answer, BoundList) else None

    def _updating_one(
        self, environ: dict[str, Any], account: str, container: str, name: str, use_replication: bool
    ) -> str | None:
        query = f"states=updating&includes={wsgi_quote(name, '')}&format=json"
        items = self._fetch(
            environ, account, container, query, use_replication, "object.shard_updating", "disabled"
        )
        return items[0].path if items else None

    def _by_token(
        self,
        environ: dict[str, Any],
        key: str,
        native: tuple[str, str],
        ask: Callable[[], BoundList | None],
    ) -> BoundList | None:
        """`ask`, unless enough other proxies are doing that: then what they put into memcached is waited for."""
        options = self._services.options
        shared = _shared(environ)
        most = options.namespace_cache_tokens_per_session
        if shared is None or most <= 0:
            return ask()
        fetch_time = options.namespace_avg_backend_fetch_time
        token = f"_cache_token/{key}"
        try:
            mine = shared.incr(token, time=max(1, int(_WAIT_ALL * fetch_time)))
        except MemcacheConnectionError:
            return ask()
        if mine <= most:
            found = ask()
            if found is not None:
                shared.delete(token)
            return found
        waited, pause = 0.0, _WAIT_FIRST * fetch_time
        while waited < _WAIT_ALL * fetch_time:
            sleep(pause)
            waited += pause
            pause *= 2
            found = self._from_shared(shared, key, native)[0]
            if found is not None:
                return found
        return ask()

    # -- caches ------------------------------------------------------------------------------------------------------------

    def _cached(
        self, environ: dict[str, Any], metric: str, key: str, skip_pct: float, account: str, container: str
    ) -> tuple[BoundList | None, str]:
        """(list or None, how the caches failed: miss, skip, error or disabled)."""
        metrics = self._services.metrics
        infocache = environ.setdefault("swift.infocache", {})
        found = infocache.get(key)
        if isinstance(found, BoundList):
            metrics.increment(f"{metric}.infocache.hit")
            return found, ""
        if skip_pct and clock.random() * 100 < skip_pct:
            return None, "skip"
        found = self._remembered.get(key)
        if found is None:
            shared = _shared(environ)
            if shared is None:
                return None, "miss"
            found, why = self._from_shared(shared, key, (account, container))
            if found is None:
                return None, why
        infocache[key] = found
        metrics.increment(f"{metric}.cache.hit")
        return found, ""

    def _from_shared(self, shared: Any, key: str, native: tuple[str, str]) -> tuple[BoundList | None, str]:
        asked = asked_container(*native)
        try:
            stored = shared.get(key, raise_on_error=True)
        except MemcacheConnectionError:
            return None, "error"
        if stored is None:
            return None, "miss"
        try:
            found = BoundList.of_cache(stored)
        except ValueError:
            return None, "miss"  # whoever put that there meant something else
        self._remembered.put(key, found, asked, _IN_PROCESS)
        return found, ""

    def _keep(
        self, environ: dict[str, Any], metric: str, key: str, found: BoundList, asked: Asked, seconds: float
    ) -> None:
        environ.setdefault("swift.infocache", {})[key] = found
        self._remembered.put(key, found, asked, min(seconds, _IN_PROCESS))
        shared = _shared(environ)
        if shared is None or seconds < 1:
            return
        try:
            shared.set(key, found.for_cache(), time=seconds, raise_on_error=True)
            self._services.metrics.increment(f"{metric}.cache.set")
        except MemcacheConnectionError:
            self._services.metrics.increment(f"{metric}.cache.set_error")

    # -- servers -----------------------------------------------------------------------------------------------------------

    def _fetch(
        self,
        environ: dict[str, Any],
        account: str,
        container: str,
        query: str,
        use_replication: bool,
        metric: str,
        why: str,
    ) -> list[Namespace] | None:
        """What the container's servers say; None, and a line in the log, if they say nothing of use."""
        place = self._services.containers.place(account, container)
        sub = sub_environ(environ, query, use_replication)
        found = fetch(self._services, sub, place, query, _NAMESPACES)
        if isinstance(found, list):
            status = found[0].status if found else 503
            self._services.metrics.increment(f"{metric}.cache.{why}.{status}")
            self._services.logger.error("Shards of %s could not be looked up: %s", place.tail, status)
            return None
        self._services.metrics.increment(f"{metric}.cache.{why}.{found.status}")
        return read_namespaces(self._services, found, place)


def sub_environ(environ: Mapping[str, Any], query: str, use_replication: bool = False) -> dict[str, Any]:
    """What a GET of a container that a request needs says of itself; none of the client's own X-Backend- headers."""
    sub = make_environ(environ, "GET", query=query, agent=None)
    if use_replication:
        sub["HTTP_X_BACKEND_USE_REPLICATION_NETWORK"] = "true"
    return sub


def read_namespaces(services: Services, found: Listing, place: Place) -> list[Namespace] | None:
    """The namespaces of an answer of shard ranges; None, and a line in the log, if there are none in it."""
    if found.get("x-backend-record-type") != "shard":
        found.close()
        services.logger.error("No shard ranges in an answer about those of %s", place.tail)
        return None
    try:
        return namespaces.parse(found.whole(MAX_BODY))
    except (BackendError, ValueError) as error:
        services.logger.error("Shard ranges of %s could not be read: %s", place.tail, error)
        return None


def _shared(environ: Mapping[str, Any]) -> Any:
    """The cache that other nodes see too, or None."""
    cache = environ.get("swift.cache")
    return None if isinstance(cache, LocalCache) else cache
