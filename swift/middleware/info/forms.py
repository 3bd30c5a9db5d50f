"""The forms in which accounts, containers and objects are known (spec proxy 17.2): from headers, for memcached, for callers.

Infos are read-only through and through: they are shared between requests. Never here: where they are kept and who is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from swift.core.config import truthy
from swift.core.policy import policies
from swift.wire.message import wsgi_to_str

Headers = Iterable[tuple[str, str]]


class Info(dict):
    """A mapping of what is known, which refuses changes, as do the mappings in it. `copy.deepcopy` makes one to be changed."""

    __slots__ = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, value in self.items():
            if type(value) is dict or type(value) is list:
                super().__setitem__(name, _frozen(value))

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("infos are read-only; take copy.deepcopy(info)")

    __setitem__ = __delitem__ = __ior__ = update = pop = popitem = clear = setdefault = _refuse  # type: ignore[assignment]

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return _thawed(self)

    def __reduce__(self) -> Any:
        return dict, (_thawed(self),)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return Info(value)
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _thawed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _thawed(inner) for name, inner in value.items()}
    return [_thawed(inner) for inner in value] if isinstance(value, tuple) else value


def account_key(account: str) -> str:
    """The cache key of an account (native name)."""
    return f"account/{account}"


def container_key(account: str, container: str) -> str:
    return f"container/{account}/{container}"


def is_success(status: int) -> bool:
    return 200 <= status < 300


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
            "container_count": to_int(lower.get(prefix + "container-count")),
            "object_count": to_int(lower.get(prefix + "object-count")),
            "bytes": to_int(lower.get(prefix + "bytes-used")),
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


def to_int(value: Any) -> int:
    """A count, 0 for what is none."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def usable_account_info(stored: Mapping[str, Any]) -> Info:
    """The form that callers get: counts are numbers, policies are keyed by number."""
    info = dict(stored)
    for name in ("container_count", "total_object_count", "bytes"):
        info[name] = to_int(info.get(name))
    info["storage_policies"] = {int(index): v for index, v in (info.get("storage_policies") or {}).items()}
    return Info(info)


def usable_container_info(stored: Mapping[str, Any]) -> Info:
    """The form that callers get: counts and policy index are numbers."""
    info = dict(stored)
    if "object_count" not in info and "container_size" in info:
        info["object_count"] = info.pop("container_size")
    for name in ("storage_policy", "bytes", "object_count"):
        info[name] = to_int(info.get(name))
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


def account_without_answer(status: int) -> Info:
    return usable_account_info({"status": status, **_NO_ACCOUNT})


def checked_form(stored: Any) -> dict[str, Any]:
    """What the shared cache holds, if it has the form that this module relies on. Raises ValueError."""
    if not isinstance(stored, dict) or type(stored.get("status")) is not int:
        raise ValueError("no info")
    for name in ("meta", "sysmeta", "cors", "storage_policies"):
        if not isinstance(stored.get(name, {}), dict):
            raise ValueError(name)
    return stored
