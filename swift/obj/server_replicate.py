"""REPLICATE: what this node has of a partition, as suffix hashes; and the word that somebody has put files into it (object-disk 16)."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from functools import partial

from swift.core import clock
from swift.core.errors import BadRequest
from swift.core.names import check_device_partition, is_partition, split_path
from swift.obj.server_inventory import answer_inventory
from swift.obj.service import ObjectService
from swift.obj.store import ObjectStore
from swift.wire.storage import Environ, StartResponse

COMPARE = "X-Backend-Compare-Partitions"
FRAGMENTS = "X-Backend-Compare-Fragments"
EQUAL = "X-Backend-Equal-Partitions"
MAX_COMPARED = 128  # partitions in one request
PER_TRIP = 16  # of those that are looked at together
COMPARE_SECONDS = (
    10.0  # then the answer is given for those that were looked at: whoever asks does not wait for ever
)


def target_of(server: ObjectService, environ: Environ) -> tuple[ObjectStore, str, str | None]:
    """(store, partition, the rest of the path or None) of a request about a partition. Raises RequestError, HTTPException, DeviceUnavailable."""
    try:
        device, partition, rest = split_path(environ["PATH_INFO"], 2, 3, True)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    check_device_partition(device, partition)
    if not is_partition(partition):
        raise BadRequest(f"Invalid partition: {partition[:64]!a}")
    policy = server.policy_of(environ)
    return server.stores.get(server.devices.get(device), policy), partition, rest


def replicate(server: ObjectService, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """REPLICATE. Without suffixes: their hashes, as a pickle. With suffixes: they are hashed anew when next asked for.

    A header may name more partitions with the digests that the sender has of them; an answer says which are the same here. With erasure
    coding a second one gives for each of them the index of the fragment that the digest is of.
    """
    store, partition, rest = target_of(server, environ)
    server.precedence.carried_out += 1
    if "HTTP_X_BACKEND_INVENTORY" in environ:
        return answer_inventory(environ, start_response, store, partition, rest, partial(log_damage, server))
    headers = []
    if rest:
        store.invalidate(partition, rest.split("-"))
        body = pickle.dumps(None, protocol=2)
    else:
        compared = environ.get("HTTP_X_BACKEND_COMPARE_PARTITIONS")
        if compared is not None:
            fragments = environ.get("HTTP_X_BACKEND_COMPARE_FRAGMENTS")
            headers.append((EQUAL, ",".join(_equal(server, store, compared, fragments))))
            hashes = {}
        else:
            found = store.suffix_hashes(partition)
            log_damage(server, found.damaged)
            hashes = found.hashes
        body = pickle.dumps(hashes, protocol=2)
    start_response(
        "200 OK",
        [("Content-Type", "text/html; charset=UTF-8"), ("Content-Length", str(len(body))), *headers],
    )
    return [body]


def _equal(server: ObjectService, store: ObjectStore, compared: str, fragments: str | None) -> list[str]:
    pairs = [pair.partition("=") for pair in compared.split(",")]
    if len(pairs) > MAX_COMPARED or not all(is_partition(p) and d for p, _, d in pairs):
        raise BadRequest(f"Invalid {COMPARE}")
    of_fragment = _fragments(fragments, len(pairs))
    equal = []
    until = clock.monotonic() + COMPARE_SECONDS
    for at in range(0, len(pairs), PER_TRIP):
        some = pairs[at : at + PER_TRIP]
        digests = store.digests([partition for partition, _, _ in some])
        for (partition, _, theirs), ours, index in zip(
            some, digests, of_fragment[at : at + PER_TRIP], strict=True
        ):
            if ours is None:
                continue
            log_damage(server, ours.damaged)
            if theirs == (ours.value if index is None else ours.of_fragment(index)):
                equal.append(partition)
        if clock.monotonic() >= until:
            break
    return equal


def _fragments(text: str | None, count: int) -> list[int | None]:
    """The index for each of `count` partitions; None where the digest is of all that is there."""
    if text is None:
        return [None] * count
    words = text.split(",")
    if len(words) != count or not all(w.isascii() and w.isdecimal() and len(w) < 10 for w in words):
        raise BadRequest(f"Invalid {FRAGMENTS}")
    return [int(word) for word in words]


def log_damage(server: ObjectService, damaged: Iterable[str]) -> None:
    """Log what hashing has set aside."""
    for text in damaged:
        server.logger.warning("%s", text)
        server.metrics.increment("quarantines")
