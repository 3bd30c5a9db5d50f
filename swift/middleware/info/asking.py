"""What is known about accounts and containers, and how it is asked for (spec proxy 17, middleware 2.6).

Three caches stand in front of a HEAD: the request's own (`swift.infocache`), this process's, and memcached where there is one,
shared with every proxy of the cluster. None of them is believed against what a process of this node has changed since: what we
put into memcached carries the mark of its key (`swift.cache.changes`), and what others put there counts only once our own change
is a while ago. Never here: policy decisions, ACL evaluation, or what a HEAD does on its way to the disks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from swift.cache.local_cache import LocalCache
from swift.core import clock
from swift.core.concurrency import spawn_after
from swift.middleware.info.forms import (
    NO_CONTAINER,
    UNREACHABLE_CONTAINER,
    Headers,
    Info,
    account_info_from_headers,
    account_key,
    account_without_answer,
    checked_form,
    container_info_from_headers,
    container_key,
    is_success,
    object_info_from_headers,
    to_int,
    usable_account_info,
    usable_container_info,
)
from swift.middleware.info.process_cache import MAX_AGE, PROCESS_CACHE, SETTLED, Asked
from swift.wire.call import status_and_headers
from swift.wire.message import wsgi_quote, wsgi_to_str, wsgi_unquote
from swift.wire.subrequest import make_pre_authed_environ

DEFAULT_RECHECK = 60
NEGATIVE_SHARE = 0.1  # of the time that a positive answer is kept
# Seconds that this process believes its own answer without looking into memcached, where there is one: other nodes tell of their
# changes by deleting what stands there.
_BESIDE_MEMCACHED = 0.1
# The same for requests that change something below a container, with memcached or without: what is written into a container that
# another node has just deleted would bring it back.
_BEFORE_A_CHANGE = 0.05
_LATE_DELETES = (
    0.25,
    SETTLED,
)  # seconds after a change: who asked before it may answer into the shared cache after it
_SHAREABLE_WITHIN = 0.2  # an answer that took longer might come after the late delete, and stay for a minute
_FOUND_IN_REQUEST = {kind: f"{kind}.info.infocache.hit" for kind in ("account", "container")}
_FOUND = {kind: f"{kind}.info.cache.hit" for kind in ("account", "container")}
_MARK = "changes"  # in what memcached holds: [table of changes, mark]


def _shared(environ: dict[str, Any]) -> Any:
    """The cache that other nodes see too, or None: what is local, PROCESS_CACHE does better."""
    cache = environ.get("swift.cache")
    return None if isinstance(cache, LocalCache) else cache


# -- remembering and forgetting --------------------------------------------------------------------------------------------


def asked_account(account: str) -> Asked:
    """To be noted before an account (a native name) is asked about, for remember_account."""
    return PROCESS_CACHE.asked(account_key(account))


def asked_container(account: str, container: str) -> Asked:
    """To be noted before a container (native names) is asked about, for remember_container."""
    return PROCESS_CACHE.asked(container_key(account, container))


def remember_account(
    environ: dict[str, Any], account: str, status: int, headers: Headers, asked: Asked
) -> Info:
    """Keep what a HEAD or GET of the account answered; `account` is native, `asked` what asked_account gave before it."""
    headers = list(headers)
    stored = account_info_from_headers(status, headers)
    info = usable_account_info(stored)
    ttl = _ttl(headers, "x-backend-recheck-account-existence")
    _remember(environ, account_key(account), stored, info, asked, ttl)
    return info


def remember_container(
    environ: dict[str, Any], account: str, container: str, status: int, headers: Headers, asked: Asked
) -> Info:
    """Keep what a HEAD or GET of the container answered; arguments as of remember_account."""
    headers = list(headers)
    stored = container_info_from_headers(status, headers)
    info = usable_container_info(stored)
    ttl = _ttl(headers, "x-backend-recheck-container-existence")
    _remember(environ, container_key(account, container), stored, info, asked, ttl)
    return info


def _ttl(headers: Headers, name: str) -> float:
    for header, value in headers:
        if header.lower() == name:
            return to_int(value)
    return DEFAULT_RECHECK


def _remember(
    environ: dict[str, Any], key: str, stored: dict[str, Any], info: Info, asked: Asked, ttl: float
) -> None:
    environ.setdefault("swift.infocache", {})[key] = info
    status = stored["status"]
    if not (is_success(status) or status in (404, 410)):
        return
    PROCESS_CACHE.put(key, info, asked, ttl)
    if not is_success(status):
        ttl = int(ttl * NEGATIVE_SHARE)
    shared = _shared(environ)
    # For memcached no time means for ever.
    if shared is None or ttl <= 0 or PROCESS_CACHE.clock() - asked.moment > _SHAREABLE_WITHIN:
        return
    if PROCESS_CACHE.shall_share(key, asked):
        if PROCESS_CACHE.identity:
            stored[_MARK] = [PROCESS_CACHE.identity, asked.mark]
        shared.set(key, stored, time=ttl)


def forget_account(environ: dict[str, Any], account: str) -> None:
    """The account is being changed, or was. To be called before the change, and again once it is acknowledged."""
    _forget(environ, account_key(account))


def forget_container(environ: dict[str, Any], account: str, container: str) -> None:
    """As forget_account; the cached list of the container's shards goes too."""
    _forget(environ, container_key(account, container), f"shard-listing-v2/{account}/{container}")


def _forget(environ: dict[str, Any], *keys: str) -> None:
    cache = environ.get("swift.cache")
    infocache = environ.get("swift.infocache")
    for key in keys:
        PROCESS_CACHE.changed(key)
        if infocache is not None:
            infocache.pop(key, None)
        if cache is not None:
            cache.delete(key)
            if _shared(environ) is not None:
                for seconds in _LATE_DELETES:
                    spawn_after(seconds, cache.delete, key)


# -- asking ----------------------------------------------------------------------------------------------------------------


def get_account_info(environ: dict[str, Any], app: Any, account: str) -> Info:
    """What is known about an account (a WSGI string). Status 503 when it cannot be found out."""
    native = account if account.isascii() else wsgi_to_str(account)
    key = account_key(native)
    info, why = _cached(environ, app, "account", key, usable_account_info)
    if info is not None:
        return info

    def fetch() -> Info:
        asked = PROCESS_CACHE.asked(key)
        status, headers = _head(environ, app, f"/v1/{account}", "GET_ACCOUNT_INFO")
        _count(app, f"account.info.cache.{why}.{status}")
        found = environ["swift.infocache"].get(key)
        if found is not None:
            return found
        if is_success(status) or status in (404, 410):
            return remember_account(environ, native, status, headers, asked)
        return account_without_answer(503)

    info = PROCESS_CACHE.once(key, fetch)
    environ["swift.infocache"][key] = info
    return info


def get_container_info(
    environ: dict[str, Any], app: Any, account: str, container: str, cache_only: bool = False
) -> Info:
    """What is known about a container (WSGI strings). Status 0: its account is missing, or nothing is cached and only the
    caches were to be asked; 503: cannot be found out. `cache_only`: without the bytes of old versions, too."""
    native = account, container
    if not (account.isascii() and container.isascii()):
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
            asked = PROCESS_CACHE.asked(key)
            path = f"/v1/{account}/{container}"
            status, headers = _head(environ, app, path, "GET_CONTAINER_INFO")
            _count(app, f"container.info.cache.{why}.{status}")
            found = environ["swift.infocache"].get(key)
            if found is not None:
                return found
            if is_success(status) or status in (404, 410):
                return remember_container(environ, *native, status, headers, asked)
            return UNREACHABLE_CONTAINER

        info = PROCESS_CACHE.once(key, fetch)
        environ["swift.infocache"][key] = info
    versions = info["sysmeta"].get("versions-container")
    if versions and not cache_only:
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
    if key not in infocache:
        sub = make_pre_authed_environ(environ, "HEAD", path, query="", source=source)
        infocache[key] = object_info_from_headers(*status_and_headers(app, sub))
    return infocache[key]


def _head(environ: dict[str, Any], app: Any, path: str, source: str) -> tuple[int, list[tuple[str, str]]]:
    """(status, headers) of a HEAD through the side pipeline; the path is a WSGI string."""
    app = getattr(app, "_pipeline_request_logging_app", app)
    sub = make_pre_authed_environ(environ, "HEAD", path, query="", source=source)
    sub.pop("HTTP_ORIGIN", None)
    sub["swift_owner"] = True
    sub["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] = "true"
    return status_and_headers(app, sub)


def _cached(
    environ: dict[str, Any], app: Any, kind: str, key: str, usable: Callable[[Mapping[str, Any]], Info]
) -> tuple[Info | None, str]:
    """(info or None, how the caches failed: miss, skip or disabled)."""
    infocache = environ.get("swift.infocache")
    if infocache is not None:
        info = infocache.get(key)
        if info is not None:
            _count(app, _FOUND_IN_REQUEST[kind])
            return info, ""
    else:
        infocache = environ["swift.infocache"] = {}
    shared = _shared(environ)
    info = PROCESS_CACHE.get(key, _believed_for(environ, shared))
    if info is not None:
        infocache[key] = info
        _count(app, _FOUND[kind])
        return info, ""
    if PROCESS_CACHE.problem:
        _tell(app)
    if shared is None:
        return None, "disabled"
    share = _skip_share(app, f"{kind}_existence_skip_cache_pct")
    if share and clock.random() * 100 < share:
        return None, "skip"
    asked = PROCESS_CACHE.asked(key)
    stored = shared.get(key)
    try:
        if not _counts(checked_form(stored), asked):
            return None, "miss"
        info = usable(stored)
    except (TypeError, ValueError, AttributeError):
        return None, "miss"  # whoever put that there meant something else
    PROCESS_CACHE.put(key, info, asked, MAX_AGE)
    infocache[key] = info
    _count(app, _FOUND[kind])
    return info, ""


def _believed_for(environ: dict[str, Any], shared: Any) -> float | None:
    """How old an answer of this process may be, in seconds."""
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return _BEFORE_A_CHANGE
    return None if shared is None else _BESIDE_MEMCACHED


def _counts(stored: dict[str, Any], asked: Asked) -> bool:
    """Returns False if what memcached holds may be from before a change that this node has acknowledged."""
    mark = stored.pop(_MARK, None)
    if isinstance(mark, list) and mark[:1] == [PROCESS_CACHE.identity]:
        return mark[1:] == [asked.mark]
    return PROCESS_CACHE.is_settled(asked)


def _tell(app: Any) -> None:
    """Once: why each request asks anew."""
    problem, PROCESS_CACHE.problem = PROCESS_CACHE.problem, ""
    logger = getattr(getattr(app, "_pipeline_final_app", app), "logger", None)
    if logger is not None and problem != PROCESS_CACHE.told:
        PROCESS_CACHE.told = problem
        logger.warning("What is known of accounts and containers is not remembered: %s", problem)


def _count(app: Any, name: str) -> None:
    metrics = getattr(getattr(app, "_pipeline_final_app", app), "metrics", None)
    if metrics is not None:
        metrics.increment(name)


def _skip_share(app: Any, name: str) -> float:
    return getattr(getattr(app, "_pipeline_final_app", app), name, 0.0) or 0.0
