"""What the object server's verbs share about a request: the object it names, and the headers to store."""

from __future__ import annotations

from swift.core import clock
from swift.core.errors import BadRequest
from swift.core.object_lock import WORD, word_of
from swift.obj.store import ObjectStore, Place
from swift.obj.updates import UpdatedObject
from swift.obj.verdicts import Locking
from swift.wire.message import environ_key, header_name, title_case
from swift.wire.storage import Environ, is_true

MAX_REPLICATION_HEADERS = 256
_WORD_KEY = environ_key(WORD)


class NamedObject:
    """The object that a request names, and where it is. `obj`: its own name, a WSGI string."""

    __slots__ = ("store", "place", "obj")

    def __init__(self, store: ObjectStore, place: Place, obj: str) -> None:
        self.store = store
        self.place = place
        self.obj = obj

    def for_update(self) -> UpdatedObject:
        """What container updates need to know of it."""
        store, place = self.store, self.place
        assert place.name is not None
        return UpdatedObject(store.device, place.name, place.name_hash, store.policy.idx)


def locking_of(environ: Environ, timestamp: str) -> Locking:
    """What a write says of locks of objects. `timestamp`: of the request, internal form. Raises Malformed.

    One with an offset is no clock's, but that of what is changed: then our own clock alone can say what is over.
    """
    now = clock.time()
    try:
        word = word_of(environ.get(_WORD_KEY))
    except ValueError as error:
        raise Malformed(str(error)) from None
    return Locking(
        min(now, float(timestamp)) if len(timestamp) == 16 else now,
        word,
        is_true(environ, "HTTP_X_BACKEND_REPLICATION"),
        is_true(environ, "HTTP_X_BACKEND_KEEP_S3API"),
    )


class Malformed(BadRequest):
    """A bad request whose text the reference sends as HTML."""


_META, _TRANSIENT, _SYSMETA = (
    "HTTP_X_OBJECT_META_",
    "HTTP_X_OBJECT_TRANSIENT_SYSMETA_",
    "HTTP_X_OBJECT_SYSMETA_",
)
_OVERRIDE = "HTTP_X_BACKEND_CONTAINER_UPDATE_OVERRIDE_"


def stored_headers(
    environ: Environ, metadata: dict[str, str], allowed_keys: dict[str, str], with_sysmeta: bool
) -> bool:
    """Add to `metadata` the request headers that are kept with an object (proxy 15.1).

    `allowed_keys`: {environ key: title-cased name} of the allowed headers. Returns whether there are any that override
    fields of the container update.
    """
    overrides = False
    names = "\n".join(environ)
    if "HTTP_X_OBJECT_" in names or _OVERRIDE in names:
        overrides = _store_own_headers(environ, metadata, with_sysmeta)
    more = environ.get("HTTP_X_BACKEND_REPLICATION_HEADERS")
    if more:
        for name in more.split()[:MAX_REPLICATION_HEADERS]:
            value = environ.get(environ_key(name))
            if value is not None:
                metadata[title_case(name)] = value
    if not allowed_keys.keys().isdisjoint(environ.keys()):
        for key, name in allowed_keys.items():
            value = environ.get(key)
            if value is not None:
                metadata[name] = value
    return overrides


def _store_own_headers(environ: Environ, metadata: dict[str, str], with_sysmeta: bool) -> bool:
    overrides = False
    for key, value in environ.items():
        if key.startswith("HTTP_X_OBJECT_"):
            if (
                (key.startswith(_META) and len(key) > len(_META))
                or (key.startswith(_TRANSIENT) and len(key) > len(_TRANSIENT))
                or (with_sysmeta and key.startswith(_SYSMETA) and len(key) > len(_SYSMETA))
            ):
                metadata[header_name(key) or key] = value
                if "_CONTAINER_UPDATE_OVERRIDE_" in key:
                    overrides = True
        elif key.startswith(_OVERRIDE):
            overrides = True
    return overrides
