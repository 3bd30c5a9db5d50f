"""POST and DELETE of objects (object-disk 13.4, 13.5)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from swift.core import clock
from swift.core.constraints import check_metadata
from swift.core.errors import BadRequest
from swift.core.object_headers import update_overrides
from swift.core.timestamp import Timestamp, internal_timestamp, normalize_delete_at
from swift.obj.errors import SameTimeConflict
from swift.obj.layout import ObjectLocation
from swift.obj.metadata import BLOCK_CRC32
from swift.obj.reader import OpenObject, open_object
from swift.obj.request import Environ, Malformed, StartResponse, answer, is_true, stored_headers, timestamp_of
from swift.obj.server_put import next_part_power
from swift.obj.state import Refused, State, read_state
from swift.obj.updates import UpdateTarget
from swift.obj.writer import WriteRules, tombstone, write_file
from swift.wire.headers import head_headers
from swift.wire.status import HTML_TYPE, default_body

if TYPE_CHECKING:
    from swift.obj.server import ObjectServer

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
        "open_expired",
        "next_part_power",
    )

    def __init__(self, server: ObjectServer, environ: Environ) -> None:
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
        self.open_expired = is_true(environ, "HTTP_X_BACKEND_OPEN_EXPIRED") or is_true(
            environ, "HTTP_X_BACKEND_REPLICATION"
        )
        self.next_part_power = next_part_power(environ)


def post(server: ObjectServer, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """POST: new metadata for an object."""
    target = server.locate(environ, True)
    request = PostRequest(server, environ)
    try:
        found, metadata = target.device.run(_post_trip, target.where, server.rules, request)
    except Refused as refused:
        return answer(
            environ, start_response, refused.status, None, [("X-Backend-Timestamp", refused.timestamp)]
        )
    _send_post_updates(server, environ, request, target.for_update(), found, metadata)
    page = default_body(202)
    headers = [
        ("Content-Type", HTML_TYPE),
        ("Content-Length", str(len(page))),
        ("X-Backend-Content-Type", found.metadata.get("Content-Type", "")),
    ]
    headers += [
        (name, value)
        for name, value in found.metadata.items()
        if name.startswith("X-Object-Sysmeta-") and name != BLOCK_CRC32
    ]
    start_response("202 Accepted", headers)
    return [page]


def _post_trip(
    where: ObjectLocation, rules: WriteRules, request: PostRequest
) -> tuple[OpenObject, dict[str, str]]:
    """Look, decide, write: (the object as it was, the metadata written). Raises Refused, NotExist, as write_file."""
    names: list[str] = []
    found = open_object(where, request.now, request.open_expired, names=names)
    found.close()
    metadata = _stored_already(found, request) or new_metadata(found, request)
    write_file(where, rules, dict(metadata), ".meta", next_part_power=request.next_part_power, names=names)
    return found, metadata


def _stored_already(found: OpenObject, request: PostRequest) -> dict[str, str] | None:
    """What the .meta says if it is this very request's, sent again because its answer got lost; else None."""
    meta = found.meta_metadata
    if meta is None or request.timestamp != found.timestamp:
        return None
    metadata = {key: value for key, value in meta.items() if key != "name"}
    content_type = metadata.get("Content-Type"), metadata.get("Content-Type-Timestamp")
    if request.content_type and content_type != (request.content_type, request.ctype_timestamp):
        return None
    own = {key: value for key, value in metadata.items() if not key.startswith("Content-Type")}
    return metadata if own == request.headers else None


def new_metadata(found: OpenObject, request: PostRequest) -> dict[str, str]:
    """What the new .meta says. Raises Refused (409) when all that is known is as new as the request."""
    is_newer = request.timestamp > found.timestamp
    if not is_newer and request.ctype_timestamp <= found.ctype_timestamp:
        raise Refused(409, found.timestamp)
    if is_newer:
        metadata = dict(request.headers)
    else:
        # an older POST with a newer content type: only that is taken from it
        metadata = dict(found.meta_metadata or {"X-Timestamp": found.timestamp})
        metadata.pop("name", None)
        metadata.pop("Content-Type", None)
        metadata.pop("Content-Type-Timestamp", None)
    if request.ctype_timestamp > found.ctype_timestamp:
        metadata["Content-Type"] = request.content_type
        metadata["Content-Type-Timestamp"] = request.ctype_timestamp
    elif found.ctype_timestamp != found.data_timestamp:
        metadata["Content-Type"] = found.metadata["Content-Type"]
        metadata["Content-Type-Timestamp"] = found.ctype_timestamp
    return metadata


def _send_post_updates(
    server: ObjectServer,
    environ: Environ,
    request: PostRequest,
    target: UpdateTarget,
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
                target,
                environ,
                int(new),
                request.timestamp,
                {
                    "X-Content-Type": f"text/plain;swift_expirer_bytes={data.get('Content-Length', '0')}",
                    "X-Content-Type-Timestamp": found.data_timestamp,
                },
            )
        if old and int(old) != int(new or 0):
            updates.update_expirer("DELETE", target, environ, int(old), request.timestamp)
    content_type = metadata.get("Content-Type")
    ctype_timestamp = metadata.get("Content-Type-Timestamp", found.ctype_timestamp)
    if content_type is None:
        content_type = found.metadata.get("Content-Type", "")
    fields = {
        "X-Size": data.get("X-Object-Sysmeta-Ec-Content-Length") or data.get("Content-Length", "0"),
        "X-Content-Type": with_swift_bytes(content_type, data.get("Content-Type", "")),
        "X-Timestamp": found.data_timestamp,
        "X-Content-Type-Timestamp": ctype_timestamp,
        "X-Meta-Timestamp": metadata["X-Timestamp"],
        "X-Etag": data.get("X-Object-Sysmeta-Ec-Etag") or data.get("ETag", ""),
    }
    stored = [item for item in data.items() if item[0].startswith("X-Object-Sysmeta-")]
    if request.overrides or stored:
        fields.update(update_overrides(stored, head_headers(environ) if request.overrides else ()))
    updates.update_container("PUT", target, environ, fields)


def with_swift_bytes(content_type: str, data_type: str) -> str:
    """`content_type` with the swift_bytes parameter that the data's own content type has."""
    if content_type == data_type:
        return content_type
    for parameter in data_type.split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name == "swift_bytes":
            return f"{content_type};swift_bytes={value}"
    return content_type


# ---------------------------------------------------------------- DELETE


class DeleteOutcome:
    """What a DELETE found and did. `timestamp`: what is known afterwards; `metadata`: of the object before."""

    __slots__ = ("status", "text", "timestamp", "metadata", "written")

    def __init__(self, status: int, timestamp: str, metadata: dict[str, str]) -> None:
        self.status = status
        self.text: str | None = None
        self.timestamp = timestamp
        self.metadata = metadata
        self.written = False


def delete(server: ObjectServer, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """DELETE: a tombstone, also for an object that isn't here."""
    started = clock.time()
    timestamp = timestamp_of(environ)
    target = server.locate(environ, True)
    condition = environ.get("HTTP_X_IF_DELETE_AT")
    if_delete_at = None
    if condition is not None:
        try:
            if_delete_at = int(Timestamp(condition))
        except ValueError:
            raise Malformed("Bad X-If-Delete-At header value") from None
    power = next_part_power(environ)
    outcome = target.device.run(_delete_trip, target.where, server.rules, timestamp, if_delete_at, power)
    on_disk = clock.time()
    if outcome.written:
        update = target.for_update()
        delete_at = outcome.metadata.get("X-Delete-At")
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
        ("X-Backend-Timestamp", outcome.timestamp),
        ("X-Backend-Content-Type", outcome.metadata.get("Content-Type", "")),
    ]
    if outcome.status == 204:
        start_response("204 No Content", [("Content-Type", HTML_TYPE), *headers])
        return [b""]
    return answer(environ, start_response, outcome.status, outcome.text, headers, html=True)


def _delete_trip(
    where: ObjectLocation, rules: WriteRules, timestamp: str, if_delete_at: int | None, power: int | None
) -> DeleteOutcome:
    """Look, decide, write the tombstone. Raises as read_state and write_file."""
    state = read_state(where, float(timestamp[:16]))
    outcome = DeleteOutcome(404, max(state.timestamp, timestamp), state.metadata)
    if state.found is not None:
        outcome.status = 204 if state.timestamp < timestamp else 409
    if if_delete_at is not None:
        refused = _check_if_delete_at(state, timestamp, if_delete_at, outcome)
        if refused:
            return outcome
    if state.timestamp < timestamp:
        tombstone(where, rules, timestamp, power, state.names)
        outcome.written = True
    elif state.timestamp == timestamp and state.found is None and not state.expired:
        # This very DELETE came before, and nobody heard of what became of it: its tombstone may not be synced, its
        # container not told.
        with contextlib.suppress(SameTimeConflict):
            tombstone(where, rules, timestamp, power, state.names)
        outcome.written = True
    return outcome


def _check_if_delete_at(state: State, timestamp: str, if_delete_at: int, outcome: DeleteOutcome) -> bool:
    """Whether the expirer's condition forbids the DELETE; sets the outcome either way."""
    if not state.timestamp:
        outcome.status = 404
        return True
    if state.timestamp >= timestamp:
        outcome.status = 409
        return True
    stored = state.metadata.get("X-Delete-At")
    if stored is None or int(stored) != if_delete_at:
        outcome.status, outcome.text = 412, "X-If-Delete-At and X-Delete-At do not match"
        return True
    outcome.status = 204
    return False
