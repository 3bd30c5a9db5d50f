"""An object kept under another name, by a filter and with the filter's rights: the subrequests for it, and what of it is carried over.

The client's right to what it asked for is the filter's matter and must be settled before. Never here: names, and why one copies.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from swift.core.constraints import limits
from swift.core.object_lock import WORD
from swift.middleware.customer_keys import RAW
from swift.wire.body_input import BodyInput
from swift.wire.call import Application, call_app, status_and_headers
from swift.wire.message import (
    HTTPException,
    HTTPPreconditionFailed,
    HTTPRequestEntityTooLarge,
    HTTPServiceUnavailable,
    Request,
    close_if_possible,
    environ_key,
)
from swift.wire.subrequest import make_pre_authed_environ

EMPTY_ETAG = "d41d8cd98f00b204e9800998ecf8427e"
OVERRIDE_ETAG = "x-object-sysmeta-container-update-override-etag"

# What belongs to the answer that an object came in, not to the object.
_LEFT_BEHIND = frozenset((
    "x-timestamp", "date", "last-modified", "accept-ranges", "connection", "transfer-encoding", "server", "vary", "content-location",
    "x-trans-id", "x-openstack-request-id", "x-put-timestamp",
))  # fmt: skip


class Opened(NamedTuple):
    """The answer to a GET or HEAD; `headers` by lower-case name. Its body must be read or closed."""

    status: int
    headers: dict[str, str]
    body: Iterable[bytes]

    @property
    def found(self) -> bool:
        return 200 <= self.status < 300

    def close(self) -> None:
        close_if_possible(self.body)


def own_environ(
    environ: dict[str, Any], method: str, path: str, source: str | None, query: str = "", **more: str | None
) -> dict[str, Any]:
    """The environ of a subrequest with the filter's rights; reserved names are allowed in it.

    `path`: a WSGI string, unquoted; `more`: environ keys, None for no such.
    """
    made = make_pre_authed_environ(environ, method, path, query=query, agent="%(orig)s", source=source)
    made["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] = "true"
    made.pop("HTTP_ORIGIN", None)
    for key, value in more.items():
        if value is not None:
            made[key] = value
    return made


def head_object(app: Application, environ: dict[str, Any], path: str, source: str) -> Opened:
    """The newest of what is at `path`, a link as such."""
    sub = own_environ(environ, "HEAD", path, source, "symlink=get", HTTP_X_NEWEST="True")
    status, headers = status_and_headers(app, sub)
    return Opened(status, {name.lower(): value for name, value in headers}, ())


def open_object(app: Application, environ: dict[str, Any], path: str, source: str) -> Opened:
    """As head_object, with the body as it is stored: what is encrypted with a key of its owner's stays so."""
    sub = own_environ(environ, "GET", path, source, "symlink=get", HTTP_X_NEWEST="True")
    sub[RAW] = True
    status, headers, body = call_app(app, sub)
    return Opened(int(status[:3]), {name.lower(): value for name, value in headers}, body)


def check_opened(request: Request, opened: Opened) -> None:
    """Raises the answer that a client gets when an object cannot be carried over, and lets go of its body."""
    length = opened.headers.get("content-length", "")
    refusal: type[HTTPException] | None = None
    if not opened.found:
        refusal = HTTPPreconditionFailed if opened.status < 500 else HTTPServiceUnavailable
    elif length.isdigit() and int(length) > limits().max_file_size:
        refusal = HTTPRequestEntityTooLarge
    if refusal is not None:
        opened.close()
        raise refusal(request=request)


def store_copy(
    app: Application, environ: dict[str, Any], opened: Opened, path: str, source: str, word: str | None = None
) -> int:
    """The status of the PUT that stores what was opened at `path`, with all its metadata. `word`: what it says of locks.

    202 means that there is something newer already, and that nothing was stored.
    """
    try:
        sub = own_environ(environ, "PUT", path, source)
        sub.update(_carried(opened.headers))
        if word is not None:
            sub[environ_key(WORD)] = word
        length = opened.headers.get("content-length", "")
        sub["wsgi.input"] = BodyInput(opened.body, int(length) if length.isdigit() else None)
        sub["swift.content_type_overridden"] = True  # of a manifest: what it stands for in listings
        sub["swift.symlink_override"] = True  # a link is kept as it is, also when its target is gone
        return status_and_headers(app, sub)[0]
    finally:
        opened.close()


def _carried(headers: dict[str, str]) -> dict[str, str]:
    kept = {
        environ_key(name): value
        for name, value in headers.items()
        if name not in _LEFT_BEHIND and not name.startswith("x-backend-")
    }
    if "x-static-large-object" in headers and "swift_bytes=" not in headers.get("content-type", ""):
        size = headers.get("x-object-sysmeta-slo-size")
        if size is not None:
            kept["CONTENT_TYPE"] = f"{headers.get('content-type', '')}; swift_bytes={size}"
    return kept
