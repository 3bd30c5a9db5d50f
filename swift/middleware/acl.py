"""Access control lists: their text forms, read, cleaned and written (spec proxy 18.2, 18.3); and sync keys, the other thing that
opens a container to strangers.

What an ACL *says* lives here. Who a requester is, and what is asked of the list, belongs to the auth middleware.
"""

import hmac
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from swift.wire.message import str_to_wsgi

_REFERRER_DESIGNATORS = frozenset((".r", ".ref", ".referer", ".referrer"))
ACCOUNT_ACL_SYSMETA = "core-access-control"


def clean_acl(name: str, value: str) -> str:
    """Return the container ACL `value` in its stored form; `name` is the header it came in.

    Raises ValueError, whose text is the client's 400 body, for an item that is not an ACL item.
    """
    items = []
    for item in value.split(","):
        item = item.strip()
        if not item:
            continue
        first, colon, second = item.partition(":")
        first, second = first.strip(), second.strip()
        if not colon or not first.startswith("."):
            items.append(item)
        elif first in _REFERRER_DESIGNATORS:
            items.append(_clean_referrer(name, item, second))
        else:
            raise ValueError(f"Unknown designator {first!r} in ACL: {item!r}")
    return ",".join(items)


def _clean_referrer(name: str, item: str, host: str) -> str:
    if "write" in name.lower():
        raise ValueError(f"Referrers not allowed in write ACL: {item!r}")
    negation = ""
    if host.startswith("-"):
        negation = "-"
        host = host[1:].strip()
    if host.startswith("*."):
        host = host[1:].strip()
    if not host or host == ".":
        raise ValueError(f"No host/domain value after referrer designation in ACL: {item!r}")
    return f".r:{negation}{host}"


def parse_acl(acl: str | None) -> tuple[list[str], list[str]]:
    """Return (referrers, groups) of a cleaned container ACL; groups are percent-decoded."""
    referrers: list[str] = []
    groups: list[str] = []
    for item in acl.split(",") if acl else ():
        if item.startswith(".r:"):
            referrers.append(item[3:])
        else:
            groups.append(unquote(item))
    return referrers, groups


def parse_pairs(acl: str) -> set[tuple[str, str]]:
    """The items `first:second` of a cleaned container ACL, percent-decoded. A colon in a name is `%3A`: the first one parts them."""
    pairs = set()
    for item in acl.split(","):
        if ":" not in item:
            item = unquote(item)
            first, colon, second = item.partition(":")
        else:
            first, colon, second = item.partition(":")
            first, second = unquote(first), unquote(second)
        if colon and not first.startswith("."):
            pairs.add((first, second))
    return pairs


def has_sync_key(environ: Mapping[str, Any]) -> bool:
    """Returns True if a request brings the key that its container is synchronized with, and a timestamp of its own."""
    key = environ.get("swift_sync_key")
    given = environ.get("HTTP_X_CONTAINER_SYNC_KEY")
    if not key or not given or "HTTP_X_TIMESTAMP" not in environ:
        return False
    return hmac.compare_digest(str_to_wsgi(key).encode("latin-1"), given.encode("latin-1"))


def referrer_allowed(referrer: str | None, referrers: Iterable[str] | None) -> bool:
    """Returns True if the Referer header's host may pass: the last matching item of the list decides."""
    try:
        host = urlsplit(referrer or "").hostname or "unknown"
    except ValueError:
        host = "unknown"
    allowed = False
    for item in referrers or ():
        denies = item.startswith("-")
        pattern = item[1:] if denies else item
        if pattern == "*" or pattern == host or (pattern.startswith(".") and host.endswith(pattern)):
            allowed = not denies
    return allowed


def parse_account_acl(text: str | None) -> dict[str, Any] | None:
    """Return the JSON object of an account ACL; {} for an empty text, None for anything that is no JSON object."""
    if text is None:
        return None
    if text == "":
        return {}
    try:
        acl = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return acl if isinstance(acl, dict) else None


def format_acl_v2(acl: Mapping[str, Any]) -> str:
    """Return an account ACL in its stored form: compact, ASCII, sorted keys."""
    return json.dumps(acl, separators=(",", ":"), sort_keys=True)


def acls_from_account_info(info: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """Return {"admin": [...], "read-write": [...], "read-only": [...]} of an account info, or None without an ACL."""
    acl = parse_account_acl(info.get("sysmeta", {}).get(ACCOUNT_ACL_SYSMETA))
    if not acl:
        return None
    return {level: acl.get(level, []) for level in ("admin", "read-write", "read-only")}
