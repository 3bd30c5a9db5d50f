"""What the object server's verbs share about a request: the object it names, and the headers to store."""

from __future__ import annotations

from swift.core.errors import BadRequest
from swift.core.names import wsgi_to_str
from swift.obj.store import ObjectStore, Place
from swift.obj.updates import UpdatedObject
from swift.wire.message import environ_key, header_name, title_case
from swift.wire.storage import Environ

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

    def for_update(self) -> UpdatedObject:
        """What container updates need to know of it."""
        return UpdatedObject(
            self.store.device,
            wsgi_to_str(self.account),
            wsgi_to_str(self.container),
            wsgi_to_str(self.obj),
            self.place.name_hash,
            self.store.policy.idx,
        )


class Malformed(BadRequest):
    """A bad request whose text the reference sends as HTML."""


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
