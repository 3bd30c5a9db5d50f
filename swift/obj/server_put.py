"""PUT of objects (object-disk 13.3, proxy 15.2).

Two ways: a small body that is already there is checked and written in one trip to the disk; any other is taken in
pieces while it arrives. How a body comes in, plain or as a MIME document, is in `upload`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from hashlib import md5
from typing import Any

from swift.core import clock
from swift.core.checksum import crc32
from swift.core.constraints import check_object_creation, limits
from swift.core.errors import BadRequest
from swift.core.object_headers import EC_INDEX, IF_CURRENT, update_overrides
from swift.core.policy import ErasurePolicy
from swift.core.timestamp import internal_timestamp, parse
from swift.obj.blocks import BLOCK_CRC32, MIN_BLOCK, BlockCrcs, format_block_crcs
from swift.obj.errors import Refused
from swift.obj.listed import queue_fields
from swift.obj.replaced import replaced_headers
from swift.obj.request import Malformed, NamedObject, locking_of, stored_headers
from swift.obj.service import ObjectService
from swift.obj.store import NewObject, State, Write
from swift.obj.upload import Footers, MimeUpload, PlainUpload, open_upload
from swift.obj.verdicts import PutCheck
from swift.wire.errors import ClientError
from swift.wire.message import HTML_TYPE, Match, environ_key, head_headers
from swift.wire.storage import Environ, StartResponse, answer, is_true, timestamp_of

SMALL_BODY = MIN_BLOCK  # bytes; has one checksum block
PIECE = 1 << 20
FIRST_PIECE = 1 << 16

_CRC = "HTTP_X_BACKEND_BODY_CRC32"
_IF_CURRENT = environ_key(IF_CURRENT)
_NO_COMMIT = "HTTP_X_BACKEND_NO_COMMIT"


class PutRequest:
    """The checked head of a PUT."""

    __slots__ = (
        "target",
        "timestamp",
        "now",
        "length",
        "etag",
        "check",
        "is_fragment",
        "write",
    )

    def __init__(self, server: ObjectService, environ: Environ) -> None:
        """Raises RequestError, HTTPException, DeviceUnavailable."""
        self.timestamp = timestamp_of(environ)
        self.target: NamedObject = server.locate(environ)
        self.is_fragment = isinstance(self.target.store.policy, ErasurePolicy)
        timestamp = parse(self.timestamp)
        self.now = timestamp.timestamp
        self.length = check_object_creation(environ, self.target.obj, timestamp)
        self.etag = environ.get("HTTP_ETAG", "").strip().strip('"').lower()
        condition = environ.get("HTTP_IF_NONE_MATCH")
        locking = locking_of(environ, self.timestamp)
        match = Match(condition) if condition else None
        self.check = PutCheck(self.timestamp, match, seen_time(environ), locking)
        self.write = Write(
            self.now,
            next_part_power(environ),
            _integer(environ, "HTTP_X_BACKEND_SSYNC_FRAG_INDEX", "X-Backend-Ssync-Frag-Index"),
            is_exact=locking.word is not None,
        )

    def fragment_index(self, metadata: dict[str, str]) -> int:
        """Which fragment of its object it brings, by what is to be kept with it. Raises Malformed."""
        policy = self.target.store.policy
        assert isinstance(policy, ErasurePolicy)
        text = metadata.get(EC_INDEX, "")
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) < policy.codec.total):
            raise Malformed(f"Invalid {EC_INDEX}")
        return int(text)


def _integer(environ: Environ, key: str, name: str) -> int | None:
    text = environ.get(key)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise BadRequest(f"Invalid {name}")
    return int(text)


def next_part_power(environ: Environ) -> int | None:
    """X-Backend-Next-Part-Power, 1 to 32. Raises BadRequest."""
    power = _integer(environ, "HTTP_X_BACKEND_NEXT_PART_POWER", "X-Backend-Next-Part-Power")
    if power is not None and not 1 <= power <= 32:
        raise BadRequest("Invalid X-Backend-Next-Part-Power")
    return power


def seen_time(environ: Environ) -> str | None:
    """X-Backend-If-Current-Timestamp in internal form. Raises BadRequest."""
    text = environ.get(_IF_CURRENT)
    if text is None:
        return None
    try:
        return internal_timestamp(text)
    except ValueError:
        raise BadRequest(f"Invalid {IF_CURRENT}") from None


def put(server: ObjectService, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """PUT."""
    started = clock.time()
    request = PutRequest(server, environ)
    server.begin_write(environ, request.target)
    takes_commit = request.is_fragment or request.check.is_conditional
    upload = open_upload(environ, request.length, takes_commit)
    # with an Expect the sender wants to hear of a conflict before it sends anything
    small = (
        upload.length is not None
        and upload.length <= SMALL_BODY
        and "HTTP_EXPECT" not in environ
        and not isinstance(upload, MimeUpload)
        and not (upload.is_two_phase and (request.check.is_conditional or request.write.is_exact))
    )
    metadata: dict[str, str] = {
        "X-Timestamp": request.timestamp,
        "Content-Type": environ["CONTENT_TYPE"],
        "Content-Length": "",
        "ETag": "",
    }
    overrides = stored_headers(environ, metadata, server.allowed_keys, True)
    footers: Footers = {}
    try:
        if small:
            state = _put_small(environ, request, metadata, upload)
        else:
            state, footers = _put_large(server, environ, request, metadata, upload)
            overrides = overrides or bool(footers)
    except Refused as refused:
        headers = [("X-Backend-Timestamp", refused.timestamp)] if refused.timestamp else []
        return answer(environ, start_response, refused.status, refused.text, headers)
    _send_updates(server, environ, request, metadata, state, footers, overrides)
    server.at_least_slow(started)
    start_response(
        "201 Created",
        [
            ("Content-Type", HTML_TYPE),
            ("Content-Length", "0"),
            ("Etag", f'"{metadata["ETag"]}"'),
            *replaced_headers(state),
        ],
    )
    return [b""]


# ---------------------------------------------------------------- small


def _put_small(environ: Environ, request: PutRequest, metadata: dict[str, str], upload: PlainUpload) -> State:
    length = upload.length
    assert length is not None
    body = upload.source.read(length) if length else b""
    if len(body) != length:
        raise Refused(499)
    crc = crc32(body)
    promised = environ.get(_CRC)
    etag = request.etag
    if promised and len(etag) == 32:
        if promised != f"{crc:08x}":
            raise Refused(422)
    else:
        digest = md5(body, usedforsecurity=False).hexdigest()
        if etag and etag != digest:
            raise Refused(422)
        etag = digest
    metadata["Content-Length"] = str(length)
    metadata["ETag"] = etag
    metadata[BLOCK_CRC32] = format_block_crcs(etag, MIN_BLOCK, [crc] if length else [])
    target = request.target
    if not request.is_fragment:
        return target.store.put(target.place, metadata, body, request.check, request.write)
    index = request.fragment_index(metadata)
    state = target.store.put(target.place, metadata, body, request.check, request.write)
    upload.await_commit()
    if upload.is_two_phase or not is_true(environ, _NO_COMMIT):
        target.store.commit(target.place, request.timestamp, index, request.write.next_part_power)
    return state


# ---------------------------------------------------------------- large


class _Sums:
    """The checksums of a body that passes."""

    def __init__(self, length: int | None, with_md5: bool) -> None:
        self.blocks = BlockCrcs(length)
        self.digest: Any = md5(usedforsecurity=False) if with_md5 else None
        self.length = 0

    def take(self, data: memoryview) -> None:
        """The next bytes; not called in the event loop."""
        if self.digest is not None:
            self.digest.update(data)
        self.blocks.update(data)
        self.length += len(data)


def _put_large(
    server: ObjectService,
    environ: Environ,
    request: PutRequest,
    metadata: dict[str, str],
    upload: PlainUpload,
) -> tuple[State, Footers]:
    # the proxy takes the MD5 and promises it, with a CRC to check the body by
    promised = environ.get(_CRC)
    trusts = bool(promised) and (upload.has_footers if promised == "footer" else len(request.etag) == 32)
    target = request.target
    sums = _Sums(upload.length, not trusts)
    state, new = target.store.begin(target.place, upload.length, request.check, request.write, sums.take)
    try:
        _receive(server, upload, new, sums)
        if upload.length is not None and sums.length != upload.length:
            raise Refused(499)
        footers = upload.footers()
        etag = footers.get("Etag", request.etag).strip().strip('"').lower()
        if trusts:
            crc = footers.get("X-Backend-Body-Crc32", "") if promised == "footer" else promised
            if len(etag) != 32 or not crc:
                raise Malformed("Etag or X-Backend-Body-Crc32 missing in footer")
            if crc != f"{sums.blocks.total(sums.length):08x}":
                raise Refused(422)
        else:
            digest = sums.digest.hexdigest()
            if etag and etag != digest:
                raise Refused(422)
            etag = digest
        metadata["Content-Length"] = str(sums.length)
        metadata["ETag"] = etag
        metadata.update(upload.stored_footers())
        metadata[BLOCK_CRC32] = format_block_crcs(etag, sums.blocks.block_size, sums.blocks.finish())
        if request.is_fragment:
            request.fragment_index(metadata)
        server.beat(target.store.device)  # an upload may take longer than that lasts
        if upload.is_two_phase and request.check.is_conditional:
            state = _finish_reserved(server, request, upload, new, metadata)
        else:
            new.finish(metadata)
            if upload.is_two_phase:
                upload.await_commit()
                server.beat(target.store.device)
            if upload.is_two_phase or not is_true(environ, _NO_COMMIT):
                new.commit()
    finally:
        new.close()
    with contextlib.suppress(ClientError):
        upload.drain()  # the object is stored, and its container is to be told, whatever becomes of the connection
    return state, footers


def _finish_reserved(
    server: ObjectService,
    request: PutRequest,
    upload: PlainUpload,
    new: NewObject,
    metadata: dict[str, str],
) -> State:
    """The end of a write under a condition, once enough other nodes let it as well; no other one begins meanwhile. What was there before."""
    target = request.target
    if request.is_fragment:
        new.finish(metadata)
    held = server.reservations.take(target.store, target.place, request.timestamp)
    try:
        state = new.look(request.check)
        held.promise(request.timestamp)
        upload.await_commit()
        server.beat(target.store.device)
        if not request.is_fragment:
            new.finish(metadata)
        new.commit()
    finally:
        held.close()
    return state


def _receive(server: ObjectService, upload: PlainUpload, new: NewObject, sums: _Sums) -> None:
    """The body, in pieces as large as what arrives allows. Raises Refused, ClientError, NoSpace, OSError."""
    deadline = clock.monotonic() + server.max_upload_time
    longest = limits().max_file_size
    size = upload.length
    piece = PIECE if size is None else max(min(PIECE, size), 1)
    # Not more than has come: many who send nothing must not cost a piece each.
    buffer = memoryview(bytearray(min(piece, FIRST_PIECE)))
    filled = 0
    while True:
        count = upload.recv_into(buffer[filled:])
        filled += count
        if filled == len(buffer) or (not count and filled):
            new.write(buffer[:filled])
            filled = 0
            if len(buffer) < piece:
                buffer = memoryview(bytearray(piece))
            if sums.length > longest:
                raise Refused(413)
        if not count:
            return
        if clock.monotonic() > deadline:
            raise Refused(408)


# ---------------------------------------------------------------- updates


def _send_updates(
    server: ObjectService,
    environ: Environ,
    request: PutRequest,
    metadata: dict[str, str],
    state: State,
    footers: Footers,
    overrides: bool,
) -> None:
    new_delete_at = metadata.get("X-Delete-At")
    old_delete_at = state.metadata.get("X-Delete-At") if state.found is not None else None
    if "HTTP_X_CONTAINER_PARTITION" not in environ and not new_delete_at and not old_delete_at:
        return
    target = request.target.for_update()
    if new_delete_at:
        server.updates.update_expirer(
            "PUT",
            target,
            environ,
            int(new_delete_at),
            request.timestamp,
            queue_fields(metadata, request.timestamp),
        )
    if old_delete_at and int(old_delete_at) != int(new_delete_at or 0):
        server.updates.update_expirer("DELETE", target, environ, int(old_delete_at), request.timestamp)
    fields = {
        "X-Size": metadata["Content-Length"],
        "X-Content-Type": metadata["Content-Type"],
        "X-Timestamp": request.timestamp,
        "X-Etag": metadata["ETag"],
    }
    if overrides:
        fields.update(update_overrides(head_headers(environ), footers.items()))
    server.updates.update_container("PUT", target, environ, fields)
