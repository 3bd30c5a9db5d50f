"""What the object server's verbs share about a request: its target, its timestamp, the headers to store, short answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from swift.core.errors import BadRequest
from swift.core.names import wsgi_to_str
from swift.core.timestamp import internal_timestamp
from swift.obj.store import ObjectStore, Place
from swift.obj.updates import UpdateTarget
from swift.wire.message import HTML_TYPE, default_body, environ_key, header_name, status_line, title_case

StartResponse = Callable[..., Any]
Environ = dict[str, Any]

MAX_REPLICATION_HEADERS = 256


class NamedObject:
    """The object that a request names, and where it is. `account`, `container`, `obj`: WSGI strings."""

    __slots__ = ("store", "place", "account", "container", "obj")

    def __init__(self, store: ObjectStore, place: Place, account: str, container: str, obj: str) -> None:
        self.store = store
        self.place = place
        self.account = account
        self.container = container
        self.obj = obj

    def for_update(self) -> UpdateTarget:
        """What container updates need to know of it."""
        return UpdateTarget(
            self.store.device,
            wsgi_to_str(self.account),
            wsgi_to_str(self.container),
            wsgi_to_str(self.obj),
            self.place.name_hash,
            self.store.policy.idx,
        )


def timestamp_of(environ: Environ) -> str:
    """The request's X-Timestamp in internal form. Raises BadRequest."""
    text = environ.get("HTTP_X_TIMESTAMP")
    if not text:
        raise BadRequest("Missing X-Timestamp header")
    try:
        return internal_timestamp(text)
    except ValueError:
        raise BadRequest("Invalid X-Timestamp header") from None


class Malformed(BadRequest):
    """A bad request whose text the reference sends as HTML."""


def answer(
    environ: Environ,
    start_response: StartResponse,
    status: int,
    text: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    html: bool = False,
) -> Iterable[bytes]:
    """A short answer: `text` as text/plain (or `html`), or the status's standard page."""
    if text is None:
        body, kind = default_body(status), HTML_TYPE
    else:
        body, kind = text.encode("utf-8", "replace"), HTML_TYPE if html else "text/plain"
    if environ["REQUEST_METHOD"] == "HEAD":
        start_response(status_line(status), [("Content-Type", kind), *headers])
        return [b""]
    start_response(
        status_line(status), [("Content-Type", kind), ("Content-Length", str(len(body))), *headers]
    )
    return [body]


def is_true(environ: Environ, key: str) -> bool:
    """Whether a header says yes."""
    value = environ.get(key)
    return value is not None and value.lower() in ("true", "1", "yes", "on", "t", "y")


_META, _TRANSIENT, _SYSMETA = (
    "HTTP_X_OBJECT_META_",
    "HTTP_X_OBJECT_TRANSIENT_SYSMETA_",
    "HTTP_X_OBJECT_SYSMETA_",
)


def stored_headers(
    environ: Environ, metadata: dict[str, str], allowed_keys: list[tuple[str, str]], with_sysmeta: bool
) -> bool:
    """Add to `metadata` the request headers that are kept with an object (proxy 15.1).

    `allowed_keys`: (title-cased name, environ key) of the allowed headers. Returns whether there are any that override
    fields of the container update.
    """
    overrides = False
    for key, value in environ.items():
        if not key.startswith("HTTP_X_"):
            continue
        if key.startswith("HTTP_X_OBJECT_"):
            if (
                (key.startswith(_META) and len(key) > len(_META))
                or (key.startswith(_TRANSIENT) and len(key) > len(_TRANSIENT))
                or (with_sysmeta and key.startswith(_SYSMETA) and len(key) > len(_SYSMETA))
            ):
                metadata[header_name(key) or key] = value
                if "_CONTAINER_UPDATE_OVERRIDE_" in key:
                    overrides = True
        elif key.startswith("HTTP_X_BACKEND_CONTAINER_UPDATE_OVERRIDE_"):
            overrides = True
    more = environ.get("HTTP_X_BACKEND_REPLICATION_HEADERS")
    if more:
        for name in more.split()[:MAX_REPLICATION_HEADERS]:
            value = environ.get(environ_key(name))
            if value is not None:
                metadata[title_case(name)] = value
    for name, key in allowed_keys:
        value = environ.get(key)
        if value is not None:
            metadata[name] = value
    return overrides
