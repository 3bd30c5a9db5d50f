"""POST and DELETE of objects (object-disk 13.4, 13.5)."""

from __future__ import annotations

from collections.abc import Iterable

from swift.core import clock
from swift.core.constraints import check_metadata
from swift.core.errors import BadRequest
from swift.core.object_headers import UNLESS_LARGE, update_overrides
from swift.core.timestamp import Timestamp, internal_timestamp, normalize_delete_at
from swift.obj.blocks import BLOCK_CRC32
from swift.obj.errors import Refused
from swift.obj.listed import listed_fields, queue_fields, stored_overrides
from swift.obj.replaced import replaced_headers
from swift.obj.request import Malformed, NamedObject, locking_of, stored_headers
from swift.obj.server_put import next_part_power, seen_time
from swift.obj.service import ObjectService
from swift.obj.store import OpenObject, State, Write
from swift.obj.updates import UpdatedObject
from swift.obj.verdicts import DeleteCheck, PostChange
from swift.wire.message import HTML_TYPE, default_body, environ_key, head_headers
from swift.wire.storage import Environ, StartResponse, answer, is_true, timestamp_of

# ---------------------------------------------------------------- POST


class PostRequest:
    """The checked head of a POST. `content_type` and `ctype_timestamp` are empty when it doesn't change that."""

    __slots__ = (
        "timestamp",
        "now",
        "content_type",
        "ctype_timestamp",
        "headers",
        "overrides",
        "change",
        "write",
    )

    def __init__(self, server: ObjectService, environ: Environ) -> None:
        """Raises BadRequest."""
        self.timestamp = timestamp_of(environ)
        self.now = float(self.timestamp[:16])
        delete_at = environ.get("HTTP_X_DELETE_AT")
        if delete_at:
            try:
                seconds = int(normalize_delete_at(int(delete_at)))
            except ValueError:
                raise BadRequest("Non-integer X-Delete-At") from None
            if seconds < self.now:
                raise BadRequest("X-Delete-At in past")
        elif delete_at is not None:
            del environ["HTTP_X_DELETE_AT"]
        check_metadata(environ, "object")
        self.content_type = environ.get("CONTENT_TYPE") or ""
        self.ctype_timestamp = ""
        if self.content_type:
            try:
                self.ctype_timestamp = internal_timestamp(
                    environ.get("HTTP_CONTENT_TYPE_TIMESTAMP") or self.timestamp
                )
            except ValueError:
                raise BadRequest("Invalid Content-Type-Timestamp header") from None
        self.headers: dict[str, str] = {"X-Timestamp": self.timestamp}
        self.overrides = stored_headers(environ, self.headers, server.allowed_keys, False)
        open_expired = is_true(environ, "HTTP_X_BACKEND_OPEN_EXPIRED") or is_true(
            environ, "HTTP_X_BACKEND_REPLICATION"
        )
        locking = locking_of(environ, self.timestamp)
        self.write = Write(
            self.now,
            next_part_power(environ),
            open_expired=open_expired,
            is_exact=locking.word is not None,
        )
        self.change = PostChange(
            self.timestamp, self.content_type, self.ctype_timestamp, self.headers, locking
        )


def post(server: ObjectService, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """POST: new metadata for an object."""
    target = server.locate(environ)
    request = PostRequest(server, environ)
    server.begin_write(environ, target)
    try:
        found, metadata = target.store.post(target.place, request.change, request.write)
    except Refused as refused:
        return answer(
            environ,
            start_response,
            refused.status,
            refused.text,
            [("X-Backend-Timestamp", refused.timestamp), *refused.kept.items()],
        )
    _send_post_updates(server, environ, request, target.for_update(), found, metadata)
    page = default_body(202)
    headers = [
        ("Content-Type", HTML_TYPE),
        ("Content-Length", str(len(page))),
        # the type that the object has now
        ("X-Backend-Content-Type", metadata.get("Content-Type") or found.metadata.get("Content-Type", "")),
    ]
    headers += [
        (name, value)
        for name, value in found.metadata.items()
        if name.startswith("X-Object-Sysmeta-") and name != BLOCK_CRC32
    ]
    start_response("202 Accepted", headers)
    return [page]


def _send_post_updates(
    server: ObjectService,
    environ: Environ,
    request: PostRequest,
    about: UpdatedObject,
    found: OpenObject,
    metadata: dict[str, str],
) -> None:
    updates = server.updates
    data = found.data_metadata
    if request.timestamp >= found.timestamp:
        new, old = metadata.get("X-Delete-At"), found.metadata.get("X-Delete-At")
        if new:
            updates.update_expirer(
                "PUT",
                about,
                environ,
                int(new),
                request.timestamp,
                queue_fields(data, found.data_timestamp),
            )
        if old and int(old) != int(new or 0):
            updates.update_expirer("DELETE", about, environ, int(old), request.timestamp)
    content_type = metadata.get("Content-Type")
    ctype_timestamp = metadata.get("Content-Type-Timestamp", found.ctype_timestamp)
    if content_type is None:
        content_type = found.metadata.get("Content-Type", "")
    fields = {
        **listed_fields(data, found.data_timestamp, content_type),
        "X-Content-Type-Timestamp": ctype_timestamp,
        "X-Meta-Timestamp": metadata["X-Timestamp"],
    }
    stored = stored_overrides(data)
    if request.overrides or stored:
        fields.update(update_overrides(stored, head_headers(environ) if request.overrides else ()))
    updates.update_container("PUT", about, environ, fields)


# ---------------------------------------------------------------- DELETE

_UNLESS_LARGE = environ_key(UNLESS_LARGE)


class DeleteRequest:
    """The checked head of a DELETE."""

    __slots__ = ("check", "timestamp", "write")

    def __init__(self, environ: Environ) -> None:
        """Raises BadRequest."""
        self.timestamp = timestamp_of(environ)
        if_delete_at = None
        condition = environ.get("HTTP_X_IF_DELETE_AT")
        if condition is not None:
            try:
                if_delete_at = int(Timestamp(condition))
            except ValueError:
                raise Malformed("Bad X-If-Delete-At header value") from None
        locking = locking_of(environ, self.timestamp)
        self.write = Write(
            float(self.timestamp[:16]), next_part_power(environ), is_exact=locking.word is not None
        )
        unless_large = is_true(environ, _UNLESS_LARGE)
        self.check = DeleteCheck(self.timestamp, if_delete_at, unless_large, seen_time(environ), locking)


def _deleted(server: ObjectService, target: NamedObject, request: DeleteRequest) -> tuple[State, bool]:
    """(what was there, if there is a tombstone now). Who writes under a condition excludes others that do."""
    held = None
    if request.check.is_conditional:
        held = server.reservations.take(target.store, target.place, request.timestamp)
    try:
        return target.store.delete(target.place, request.timestamp, request.check, request.write)
    finally:
        if held is not None:
            held.close()


def delete(server: ObjectService, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """DELETE: a tombstone, also for an object that isn't here."""
    started = clock.time()
    request = DeleteRequest(environ)
    target = server.locate(environ)
    server.begin_write(environ, target)
    timestamp = request.timestamp
    try:
        state, written = _deleted(server, target, request)
    except Refused as refused:
        headers = [("X-Backend-Timestamp", refused.timestamp)] if refused.timestamp else []
        return answer(environ, start_response, refused.status, refused.text, headers)
    verdict = request.check.verdict(state)
    on_disk = clock.time()
    if written:
        update = target.for_update()
        delete_at = state.metadata.get("X-Delete-At")
        if delete_at:
            server.updates.update_expirer("DELETE", update, environ, int(delete_at), timestamp)
        server.updates.update_container("DELETE", update, environ, {"X-Timestamp": timestamp})
    server.at_least_slow(started)
    ended = clock.time()
    if 0 <= server.slow_delete_threshold < ended - started:
        server.logger.warning(
            "Slow DELETE detected: %s disk:%.3f updates:%.3f total:%.3f",
            environ["PATH_INFO"],
            on_disk - started,
            ended - on_disk,
            ended - started,
        )
    headers = [
        ("X-Backend-Timestamp", max(state.timestamp, timestamp)),
        ("X-Backend-Content-Type", state.metadata.get("Content-Type", "")),
        *(replaced_headers(state) if verdict.status != 409 else ()),
    ]
    if verdict.status == 204:
        start_response("204 No Content", [("Content-Type", HTML_TYPE), *headers])
        return [b""]
    return answer(environ, start_response, verdict.status, verdict.text, headers)
