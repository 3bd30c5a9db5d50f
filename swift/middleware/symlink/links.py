"""What makes an object a link: the headers of clients, the system metadata that is kept, and what a listing is told.

Pure functions and records. Never here: requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from swift.core.config import truthy
from swift.core.errors import BadRequest, PreconditionFailed
from swift.core.names import check_proxy_path
from swift.middleware.listing_hash import make_hash, parse_hash
from swift.wire.message import environ_key, normalize_etag, wsgi_quote, wsgi_unquote

EMPTY_ETAG = "d41d8cd98f00b204e9800998ecf8427e"
TYPE = "application/symlink"
TARGET, ACCOUNT = "X-Symlink-Target", "X-Symlink-Target-Account"
ETAG, BYTES = "X-Symlink-Target-Etag", "X-Symlink-Target-Bytes"
_KEPT = "X-Object-Sysmeta-"
KEPT_TARGET = f"{_KEPT}Symlink-Target"
EXTEND, RESERVED_NAMES = f"{_KEPT}Symloop-Extend", f"{_KEPT}Allow-Reserved-Names"
OVERRIDE_ETAG = f"{_KEPT}Container-Update-Override-Etag"
MARKS = frozenset((KEPT_TARGET, KEPT_TARGET.lower()))
"""The name by which a link is known among the headers of an object."""

_CLIENTS_NAME = {f"{_KEPT}{name[2:]}".lower(): name for name in (TARGET, ACCOUNT, ETAG, BYTES)}
_RESERVED = "%00"  # what a target in the reserved namespace begins with, quoted
_BAD_ETAG = re.compile(r'[;"\\]')
_FORM = f"{TARGET} header must be of the form <container name>/<object name>"


class Link(NamedTuple):
    """Where a link leads: `target` is `container/object`, quoted, `account` quoted, None: the link's own. `etag` of static ones only.

    `extends`: a step that does not count; `is_internal`: it may lead into the reserved namespace, with the right of who made the link.
    """

    target: str
    account: str | None = None
    etag: str | None = None
    bytes: str | None = None
    extends: bool = False
    is_internal: bool = False

    def path(self, version: str, account: str) -> str:
        """The target's path, quoted. `account`: the link's, quoted."""
        return f"/{version}/{self.account or account}/{self.target}"


def link_of(headers: Iterable[tuple[str, str]]) -> Link | None:
    """What an object's headers say of where it leads; None: it is no link."""
    found = {name.lower(): value for name, value in headers}
    target = found.get(KEPT_TARGET.lower())
    if target is None:
        return None
    account, etag, size = (found.get(f"{_KEPT}{name[2:]}".lower()) or None for name in (ACCOUNT, ETAG, BYTES))
    extends, internal = (truthy(found.get(name.lower())) for name in (EXTEND, RESERVED_NAMES))
    return Link(target, account, etag, size, extends, internal and target.startswith(_RESERVED))


def shown(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers of a link as clients are shown them."""
    return [(_CLIENTS_NAME.get(name.lower(), name), value) for name, value in headers]


def link_wanted(environ: Mapping[str, Any], own_path: str, allow_reserved: bool) -> Link:
    """The link that a PUT asks for. `own_path`: where it is to be, a WSGI string. Raises RequestError."""
    target = wsgi_unquote(environ[environ_key(TARGET)])
    if target.startswith("/"):
        raise PreconditionFailed(_FORM)
    container, _, obj = target.partition("/")
    if not container or not obj:
        raise PreconditionFailed(_FORM)
    account = None
    _, version, own_account, _ = own_path.split("/", 3)
    if environ_key(ACCOUNT) in environ:
        account = wsgi_unquote(environ[environ_key(ACCOUNT)])
        if not account or "/" in account:
            what = "contain slashes" if account else "be empty"
            raise PreconditionFailed(f"Account name cannot {what}")
    path = f"/{version}/{account or own_account}/{target}"
    check_proxy_path(path, allow_reserved)
    etag = normalize_etag(environ.get(environ_key(ETAG)))
    if etag and _BAD_ETAG.search(etag):
        raise BadRequest(f"Bad {ETAG} format")
    if path == own_path:
        raise BadRequest("Symlink cannot target itself")
    size = environ.get(environ_key(BYTES)) or None
    is_number = size is None or (size.isascii() and size.isdigit() and len(size) <= 20)
    if not is_number and environ.get("swift.symlink_override"):  # else it is found out
        raise BadRequest(f"Bad {BYTES} format")
    return Link(wsgi_quote(target), account and wsgi_quote(account), etag or None, size)


def keep(environ: dict[str, Any], link: Link, slo_etag: str | None) -> None:
    """Make a PUT's environ that of a link, as it is stored and listed.

    `slo_etag`: of a static large object that a static link leads to.
    """
    kept = {ACCOUNT: link.account, ETAG: link.etag, BYTES: link.bytes if link.etag else None}
    for name, value in ((TARGET, link.target), *kept.items()):
        environ.pop(environ_key(name), None)
        key = environ_key(f"{_KEPT}{name[2:]}")
        environ.pop(key, None)
        if value is not None:
            environ[key] = value
    if not environ.get("swift.symlink_override"):
        # A copied link brings along what was allowed to whoever made that one, and this one leads elsewhere.
        for name in (EXTEND, RESERVED_NAMES):
            environ.pop(environ_key(name), None)
    key = environ_key(OVERRIDE_ETAG)
    etag, before = parse_hash(environ.get(key) or EMPTY_ETAG)
    # those of a link that was copied are of that link
    parameters = [(name, value) for name, value in before if not name.startswith("symlink_target")]
    if slo_etag is not None and "slo_etag" not in dict(parameters):
        parameters.append(("slo_etag", slo_etag))
    parameters.append(("symlink_target", link.target))
    if link.account is not None:
        parameters.append(("symlink_target_account", link.account))
    if link.etag is not None:
        parameters += [("symlink_target_etag", link.etag), ("symlink_target_bytes", link.bytes or "0")]
    environ[key] = make_hash(etag, parameters)


def show_row(row: dict[str, Any], version: str, account: str) -> bool:
    """Bring what a row's hash says of a link to where clients look for it; returns True if it said anything. `account`: quoted."""
    etag, parameters = parse_hash(row["hash"])
    said = dict(parameters)
    target = said.get("symlink_target")
    if target is None:
        return False
    ours = ("symlink_target", "symlink_target_account", "symlink_target_etag", "symlink_target_bytes")
    row["hash"] = make_hash(etag, [pair for pair in parameters if pair[0] not in ours])
    if "symlink_target_etag" in said:
        row["symlink_etag"] = said["symlink_target_etag"]
    size = said.get("symlink_target_bytes", "")
    if size.isascii() and size.isdigit():
        row["symlink_bytes"] = int(size[:20])
    row["symlink_path"] = f"/{version}/{said.get('symlink_target_account') or account}/{target}"
    return True
