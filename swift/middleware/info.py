"""What is known about accounts and containers: forms, caches, and how it is asked for (spec proxy 17, middleware 2.6).

Three caches stand in front of a HEAD: the request's own (`swift.infocache`), this process's (at most `MAX_AGE` old, emptied at
once by changes made here), and memcached where there is one, shared with every proxy of the cluster. Infos are read-only
mappings, shared between requests. Never here: policy decisions, ACL evaluation, or what a HEAD does on its way to the disks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from swift.cache.local_cache import LocalCache
from swift.core import clock
from swift.core.concurrency import Event, spawn_after
from swift.core.config import truthy
from swift.core.policy import policies
from swift.wire.message import wsgi_quote, wsgi_to_str, wsgi_unquote
from swift.wire.subrequest import make_pre_authed_environ

# Seconds that an answer is believed here. Another process's change is unseen for so long, and for _LATE_DELETE more where a
# question asked before the change was answered into the shared cache after it: less than a second together.
MAX_AGE = 0.7
DEFAULT_RECHECK = 60
NEGATIVE_SHARE = 0.1  # of the time that a positive answer is kept
_LATE_DELETE = 0.25  # seconds after a change
_SHAREABLE_WITHIN = 0.2  # an answer that took longer might come after the late delete, and stay for a minute
_MAX_ENTRIES = 20_000

Headers = Iterable[tuple[str, str]]


class Info(dict):
    """A mapping of what is known; shared between requests, so it refuses changes. Take `dict(info)` for a copy."""

    __slots__ = ()

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("infos are read-only; take dict(info)")

    __setitem__ = __delitem__ = __ior__ = update = pop = popitem = clear = setdefault = _refuse  # type: ignore[assignment]


def account_key(account: str) -> str:
    """The cache key of an account (native name)."""
    return f"account/{account}"


def container_key(account: str, container: str) -> str:
    return f"container/{account}/{container}"


def is_success(status: int) -> bool:
    return 200 <= status < 300


# -- forms -----------------------------------------------------------------------------------------------------------------


def _prefixed(headers: Mapping[str, str], *prefixes: str) -> list[dict[str, str]]:
    """For each prefix the headers under it, without it; values as native strings."""
    found: list[dict[str, str]] = [{} for _ in prefixes]
    for name, value in headers.items():
        for at, prefix in enumerate(prefixes):
            if name.startswith(prefix) and len(name) > len(prefix):
                found[at][wsgi_to_str(name[len(prefix) :])] = wsgi_to_str(value)
    return found


def _native(headers: Mapping[str, str], name: str) -> str | None:
    value = headers.get(name)
    return None if value is None else wsgi_to_str(value)


def account_info_from_headers(status: int, headers: Headers) -> dict[str, Any]:
    """The form that memcached holds (17.2): counts are text as received."""
    lower = {name.lower(): value for name, value in headers}
    meta, sysmeta = _prefixed(lower, "x-account-meta-", "x-account-sysmeta-")
    per_policy = {}
    for policy in policies():
        prefix = f"x-account-storage-policy-{policy.name}-".lower()
        per_policy[str(int(policy))] = {
            "container_count": _int(lower.get(prefix + "container-count")),
            "object_count": _int(lower.get(prefix + "object-count")),
            "bytes": _int(lower.get(prefix + "bytes-used")),
        }
    info: dict[str, Any] = {
        "status": status,
        "container_count": lower.get("x-account-container-count"),
        "total_object_count": lower.get("x-account-object-count"),
        "bytes": lower.get("x-account-bytes-used"),
        "storage_policies": per_policy,
        "meta": meta,
        "sysmeta": sysmeta,
    }
    if is_success(status):
        info["account_really_exists"] = not truthy(lower.get("x-backend-fake-account-listing"))
    return info


def container_info_from_headers(status: int, headers: Headers) -> dict[str, Any]:
    """The form that memcached holds (17.2): counts and policy index are text as received."""
    lower = {name.lower(): value for name, value in headers}
    meta, sysmeta = _prefixed(lower, "x-container-meta-", "x-container-sysmeta-")
    return {
        "status": status,
        "read_acl": _native(lower, "x-container-read"),
        "write_acl": _native(lower, "x-container-write"),
        "sync_to": _native(lower, "x-container-sync-to"),
        "sync_key": _native(lower, "x-container-sync-key"),
        "object_count": lower.get("x-container-object-count"),
        "bytes": lower.get("x-container-bytes-used"),
        "versions": _native(lower, "x-versions-location"),
        "storage_policy": lower.get("x-backend-storage-policy-index", "0"),
        "cors": {
            "allow_origin": meta.get("access-control-allow-origin"),
            "expose_headers": meta.get("access-control-expose-headers"),
            "max_age": meta.get("access-control-max-age"),
        },
        "meta": meta,
        "sysmeta": sysmeta,
        "sharding_state": lower.get("x-backend-sharding-state", "unsharded"),
        "created_at": lower.get("x-backend-timestamp"),
        "put_timestamp": lower.get("x-backend-put-timestamp"),
        "delete_timestamp": lower.get("x-backend-delete-timestamp"),
        "status_changed_at": lower.get("x-backend-status-changed-at"),
    }


def object_info_from_headers(status: int, headers: Headers) -> Info:
    """What is kept of an object, for the one request."""
    lower = {name.lower(): value for name, value in headers}
    meta, sysmeta, transient = _prefixed(
        lower, "x-object-meta-", "x-object-sysmeta-", "x-object-transient-sysmeta-"
    )
    return Info(
        status=status,
        length=lower.get("content-length"),
        type=lower.get("content-type"),
        etag=lower.get("etag"),
        meta=meta,
        sysmeta=sysmeta,
        transient_sysmeta=transient,
    )


def _int(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def usable_account_info(stored: Mapping[str, Any]) -> Info:
    """The form that callers get: counts are numbers, policies are keyed by number."""
    info = dict(stored)
    for name in ("container_count", "total_object_count", "bytes"):
        info[name] = _int(info.get(name))
    info["storage_policies"] = {int(index): v for index, v in (info.get("storage_policies") or {}).items()}
    return Info(info)


def usable_container_info(stored: Mapping[str, Any]) -> Info:
    """The form that callers get: counts and policy index are numbers."""
    info = dict(stored)
    if "object_count" not in info and "container_size" in info:
        info["object_count"] = info.pop("container_size")
    for name in ("storage_policy", "bytes", "object_count"):
        info[name] = _int(info.get(name))
    for name in ("meta", "sysmeta", "cors"):
        info.setdefault(name, {})
    info.setdefault("sharding_state", "unsharded")
    return Info(info)


NO_CONTAINER = usable_container_info(container_info_from_headers(0, ()))
UNREACHABLE_CONTAINER = usable_container_info(container_info_from_headers(503, ()))
_NO_ACCOUNT: dict[str, Any] = {
    "container_count": None,
    "total_object_count": None,
    "bytes": None,
    "storage_policies": {},
    "meta": {},
    "sysmeta": {},
}


def _account_without_answer(status: int) -> Info:
    return usable_account_info({"status": status, **_NO_ACCOUNT})


# -- this process's cache --------------------------------------------------------------------------------------------------


class ProcessCache:
    """Infos of this process, each believed for at most `max_age` seconds and never beyond a change made here."""

    def __init__(
        self,
        max_age: float = MAX_AGE,
        max_entries: int = _MAX_ENTRIES,
        clock: Callable[[], float] = clock.monotonic,
    ) -> None:
        self.max_age = max_age
        self.max_entries = max_entries
        self.clock = clock
        self._entries: OrderedDict[str, tuple[float, Info]] = OrderedDict()
        self._changes: OrderedDict[str, float] = OrderedDict()
        self._forgotten_change = float("-inf")
        self._shared_at: OrderedDict[str, float] = OrderedDict()
        self._flights: dict[str, tuple[float, Event]] = {}

    def get(self, key: str) -> Info | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self.clock():
            del self._entries[key]
            return None
        return entry[1]

    def put(self, key: str, info: Info, asked_at: float, ttl: float) -> bool:
        """Keep what was asked for at `asked_at` (of `clock`); False if something changed since then."""
        if self.changed_since(key, asked_at):
            return False
        self._entries[key] = (min(asked_at + self.max_age, self.clock() + ttl), info)
        if len(self._entries) > self.max_entries:
            self._entries.popitem(last=False)
        return True

    def shall_share(self, key: str) -> bool:
        """Whether to write to the shared cache as well: it is read by those who accept answers of that age anyway."""
        now = self.clock()
        if now - self._shared_at.get(key, float("-inf")) < self.max_age:
            return False
        self._shared_at[key] = now
        if len(self._shared_at) > self.max_entries:
            self._shared_at.popitem(last=False)
        return True

    def changed_since(self, key: str, moment: float) -> bool:
        return self._changes.get(key, self._forgotten_change) >= moment

    def forget(self, key: str) -> None:
        """Something changed here: no answer to a question that was asked before now is believed any more."""
        self._entries.pop(key, None)
        self._shared_at.pop(key, None)
        self._changes.pop(key, None)
        self._changes[key] = self.clock()
        if len(self._changes) > self.max_entries:
            _, self._forgotten_change = self._changes.popitem(last=False)

    def clear(self) -> None:
        """As in a new process."""
        self._entries.clear()
        self._shared_at.clear()
        self._changes.clear()
        self._forgotten_change = float("-inf")

    def once(self, key: str, fetch: Callable[[], Info]) -> Info:
        """`fetch()`; those who want the same key meanwhile wait for that answer instead of asking too."""
        flight = self._flights.get(key)
        if flight is not None and not self.changed_since(key, flight[0]):
            info = flight[1].wait()
            if info is not None:
                return info
            return fetch()
        mine = (self.clock(), Event())
        self._flights[key] = mine
        info = None
        try:
            info = fetch()
            return info
        finally:
            if self._flights.get(key) is mine:
                del self._flights[key]
            mine[1].send(info)


PROCESS_CACHE = ProcessCache()


def _shared(cache: Any) -> Any:
    """The part of `swift.cache` that other processes see too, or None: what is local, PROCESS_CACHE does better."""
    return None if isinstance(cache, LocalCache) else cache


# -- remembering and forgetting --------------------------------------------------------------------------------------------


def _remember(
    environ: dict[str, Any], key: str, stored: dict[str, Any], info: Info, asked_at: float, ttl: float
) -> None:
    environ.setdefault("swift.infocache", {})[key] = info
    status = stored["status"]
    if not (is_success(status) or status in (404, 410)):
        return
    if not is_success(status):
        ttl = int(ttl * NEGATIVE_SHARE)
    if not PROCESS_CACHE.put(key, info, asked_at, ttl):
        return
    cache = environ.get("swift.cache")
    if PROCESS_CACHE.clock() - asked_at > _SHAREABLE_WITHIN:
        return
    # For memcached no time means for ever.
    if ttl > 0 and cache is not None and _shared(cache) is not None and PROCESS_CACHE.shall_share(key):
        cache.set(key, stored, time=ttl)


def _ttl(headers: Headers, name: str) -> float:
    for header, value in headers:
        if header.lower() == name:
            return _int(value)
    return DEFAULT_RECHECK


def remember_account(
    environ: dict[str, Any], account: str, status: int, headers: Headers, asked_at: float
) -> Info:
    """Keep what a HEAD or GET of the account answered; `account` is native, `asked_at` the PROCESS_CACHE's clock before it."""
    headers = list(headers)
    stored = account_info_from_headers(status, headers)
    info = usable_account_info(stored)
    _remember(
        environ,
        account_key(account),
        stored,
        info,
        asked_at,
        _ttl(headers, "x-backend-recheck-account-existence"),
    )
    return info


def remember_container(
    environ: dict[str, Any], account: str, container: str, status: int, headers: Headers, asked_at: float
) -> Info:
    """Keep what a HEAD or GET of the container answered; arguments as of remember_account."""
    headers = list(headers)
    stored = container_info_from_headers(status, headers)
    info = usable_container_info(stored)
    ttl = _ttl(headers, "x-backend-recheck-container-existence")
    _remember(environ, container_key(account, container), stored, info, asked_at, ttl)
    return info


def _forget(environ: dict[str, Any], keys: Iterable[str]) -> None:
    cache = environ.get("swift.cache")
    infocache = environ.get("swift.infocache")
    for key in keys:
        PROCESS_CACHE.forget(key)
        if infocache is not None:
            infocache.pop(key, None)
        if cache is not None:
            cache.delete(key)
            if _shared(cache) is not None:
                spawn_after(_LATE_DELETE, cache.delete, key)


def forget_account(environ: dict[str, Any], account: str) -> None:
    """The account is being changed, or was."""
    _forget(environ, (account_key(account),))


def forget_container(environ: dict[str, Any], account: str, container: str) -> None:
    """The container is being changed, or was; the cached list of its shards goes too."""
    _forget(environ, (container_key(account, container), f"shard-listing-v2/{account}/{container}"))


# -- asking ----------------------------------------------------------------------------------------------------------------


def _checked(stored: Any) -> dict[str, Any]:
    """What the shared cache holds, if it has the form that this module relies on. Raises ValueError."""
    if not isinstance(stored, dict) or type(stored.get("status")) is not int:
        raise ValueError("no info")
    for name in ("meta", "sysmeta", "cors", "storage_policies"):
        if not isinstance(stored.get(name, {}), dict):
            raise ValueError(name)
    return stored


def _count(app: Any, name: str) -> None:
    metrics = getattr(getattr(app, "_pipeline_final_app", app), "metrics", None)
    if metrics is not None:
        metrics.increment(name)


def _skip_share(app: Any, name: str) -> float:
    return getattr(getattr(app, "_pipeline_final_app", app), name, 0.0) or 0.0


def _cached(
    environ: dict[str, Any], app: Any, kind: str, key: str, usable: Callable[[Mapping[str, Any]], Info]
) -> tuple[Info | None, str]:
    """(info or None, how the caches failed: miss, skip or disabled)."""
    infocache = environ.get("swift.infocache")
    if infocache is not None:
        info = infocache.get(key)
        if info is not None:
            _count(app, f"{kind}.info.infocache.hit")
            return info, ""
    else:
        infocache = environ["swift.infocache"] = {}
    info = PROCESS_CACHE.get(key)
    if info is not None:
        infocache[key] = info
        _count(app, f"{kind}.info.cache.hit")
        return info, ""
    shared = _shared(environ.get("swift.cache"))
    if shared is None:
        return None, "disabled"
    share = _skip_share(app, f"{kind}_existence_skip_cache_pct")
    if share and clock.random() * 100 < share:
        return None, "skip"
    asked_at = PROCESS_CACHE.clock()
    stored = shared.get(key)
    try:
        info = usable(_checked(stored))
    except (TypeError, ValueError, AttributeError):
        return None, "miss"  # whoever put that there meant something else
    PROCESS_CACHE.put(key, info, asked_at, MAX_AGE)
    infocache[key] = info
    _count(app, f"{kind}.info.cache.hit")
    return info, ""


def _head(environ: dict[str, Any], app: Any, path: str, source: str) -> tuple[int, list[tuple[str, str]]]:
    """(status, headers) of a HEAD through the side pipeline; the path is a WSGI string."""
    app = getattr(app, "_pipeline_request_logging_app", app)
    sub = make_pre_authed_environ(environ, "HEAD", path, "", "Swift", source)
    sub.pop("HTTP_ORIGIN", None)
    sub["swift_owner"] = True
    sub["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] = "true"
    answered: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        answered[:] = [int(status.split(" ", 1)[0]), headers]

    body = app(sub, start_response)
    try:
        for _ in body:
            pass
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()
    return answered[0], answered[1]


def get_account_info(environ: dict[str, Any], app: Any, account: str) -> Info:
    """What is known about an account (a WSGI string). Status 503 when it cannot be found out."""
    native = wsgi_to_str(account)
    key = account_key(native)
    info, why = _cached(environ, app, "account", key, usable_account_info)
    if info is not None:
        return info

    def fetch() -> Info:
        asked_at = PROCESS_CACHE.clock()
        status, headers = _head(environ, app, f"/v1/{account}", "GET_ACCOUNT_INFO")
        _count(app, f"account.info.cache.{why}.{status}")
        found = environ["swift.infocache"].get(key)
        if found is not None:
            return found
        if is_success(status) or status in (404, 410):
            return remember_account(environ, native, status, headers, asked_at)
        return _account_without_answer(503)

    info = PROCESS_CACHE.once(key, fetch)
    environ["swift.infocache"][key] = info
    return info


def get_container_info(
    environ: dict[str, Any], app: Any, account: str, container: str, cache_only: bool = False
) -> Info:
    """What is known about a container (WSGI strings). Status 0: its account is missing, or nothing is cached and only the
    caches were to be asked; 503: cannot be found out."""
    native = wsgi_to_str(account), wsgi_to_str(container)
    key = container_key(*native)
    info, why = _cached(environ, app, "container", key, usable_container_info)
    if info is None:
        if cache_only:
            return NO_CONTAINER
        if not account.startswith("."):
            account_status = get_account_info(environ, app, account)["status"]
            if not is_success(account_status):
                return UNREACHABLE_CONTAINER if account_status >= 500 else NO_CONTAINER

        def fetch() -> Info:
            asked_at = PROCESS_CACHE.clock()
            path = f"/v1/{account}/{container}"
            status, headers = _head(environ, app, path, "GET_CONTAINER_INFO")
            _count(app, f"container.info.cache.{why}.{status}")
            found = environ["swift.infocache"].get(key)
            if found is not None:
                return found
            if is_success(status) or status in (404, 410):
                return remember_container(environ, *native, status, headers, asked_at)
            return UNREACHABLE_CONTAINER

        info = PROCESS_CACHE.once(key, fetch)
        environ["swift.infocache"][key] = info
    versions = info["sysmeta"].get("versions-container")
    if versions:
        return _with_versions(environ, app, account, info, versions)
    return info


def _with_versions(environ: dict[str, Any], app: Any, account: str, info: Info, versions: str) -> Info:
    """Count the bytes of the hidden container of old versions, too."""
    container = wsgi_unquote(wsgi_quote(versions, "/%")).split("/", 1)[0]
    hidden = get_container_info(environ, app, account, container)
    return Info({**info, "bytes": info["bytes"] + hidden["bytes"]})


def get_object_info(environ: dict[str, Any], app: Any, path: str, source: str | None = None) -> Info | None:
    """What a HEAD of `path` (`/v1/a/c/o`, a WSGI string) through `app` tells; kept for this client request only."""
    infocache = environ.setdefault("swift.infocache", {})
    parts = wsgi_to_str(path).split("/", 2)
    key = f"object/{parts[2]}" if len(parts) == 3 else f"object{path}"
    if key in infocache:
        return infocache[key]
    sub = make_pre_authed_environ(environ, "HEAD", path, "", "Swift", source)
    answered: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        answered[:] = [int(status.split(" ", 1)[0]), headers]

    body = app(sub, start_response)
    try:
        for _ in body:
            pass
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()
    info = infocache[key] = object_info_from_headers(*answered)
    return info
