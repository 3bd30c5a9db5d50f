"""REPLICATE with X-Backend-Inventory: what a device holds, told to operators' commands, and bringing back what was set aside.

Ours alone: a reference server ignores the header and answers what it would without; by the same header in the answer who asks sees
that he was understood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import orjson

from swift.core.errors import BadRequest
from swift.obj import inventory
from swift.obj.directories import is_hash
from swift.obj.errors import Refused
from swift.obj.store import ObjectStore
from swift.wire.storage import Environ, StartResponse

INVENTORY = "X-Backend-Inventory"
ENTRY = "X-Backend-Inventory-Entry"
DEVICE, SUFFIXES, HASHES, OBJECTS = "device", "suffixes", "hashes", "objects"
SET_ASIDE, TAKE_BACK = "set-aside", "take-back"
_ENTRY_KEY = "HTTP_" + ENTRY.upper().replace("-", "_")

Log = Callable[["Iterable[str]"], None]
"""Called with what was moved away while looking."""
Answer = Callable[[Environ, ObjectStore, str, "str | None", Log], inventory.Document]


def answer_inventory(
    environ: Environ,
    start_response: StartResponse,
    store: ObjectStore,
    partition: str,
    rest: str | None,
    log: Log,
) -> Iterable[bytes]:
    """The answer to a question in that header. Raises BadRequest, and what the store raises."""
    word = environ["HTTP_X_BACKEND_INVENTORY"]
    question = _QUESTIONS.get(word)
    if question is None:
        raise BadRequest(f"Unknown question {word[:64]!a}")
    store.device.run(store.device.check)
    body = orjson.dumps(question(environ, store, partition, rest, log))
    start_response(
        "200 OK",
        [("Content-Type", "application/json"), ("Content-Length", str(len(body))), (INVENTORY, word)],
    )
    return [body]


def _device(
    environ: Environ, store: ObjectStore, partition: str, rest: str | None, log: Log
) -> inventory.Document:
    return inventory.device_document(store)


def _suffixes(
    environ: Environ, store: ObjectStore, partition: str, rest: str | None, log: Log
) -> inventory.Document:
    return inventory.suffixes_document(store, partition)


def _hashes(
    environ: Environ, store: ObjectStore, partition: str, rest: str | None, log: Log
) -> inventory.Document:
    found = store.suffix_hashes(partition, look_for_new=True)
    log(found.damaged)
    return inventory.hashes_document(found)


def _objects(
    environ: Environ, store: ObjectStore, partition: str, rest: str | None, log: Log
) -> inventory.Document:
    return inventory.objects_document(store, partition, rest.split("-") if rest else None)


def _hash(rest: str | None) -> str:
    if rest is None or not is_hash(rest):
        raise BadRequest("Invalid hash")
    return rest


def _set_aside(
    environ: Environ, store: ObjectStore, partition: str, rest: str | None, log: Log
) -> inventory.Document:
    return inventory.set_aside_document(store, _hash(rest))


def _take_back(
    environ: Environ, store: ObjectStore, partition: str, rest: str | None, log: Log
) -> inventory.Document:
    place = store.locate(partition, _hash(rest), None)
    try:
        return {"back": store.take_back(place, environ.get(_ENTRY_KEY, "")), "refused": None}
    except Refused as refused:
        return {"back": [], "refused": refused.text or str(refused)}


_QUESTIONS: dict[str, Answer] = {
    DEVICE: _device,
    SUFFIXES: _suffixes,
    HASHES: _hashes,
    OBJECTS: _objects,
    SET_ASIDE: _set_aside,
    TAKE_BACK: _take_back,
}
