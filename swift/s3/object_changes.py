"""Changes of what is kept with an object and is not its content: tags, locks (spec s3.md 13.1.3, 13.1.4).

A native POST replaces all user metadata, transient sysmeta and some system headers; so what is there is read and sent along. Its time is
that of what was read and a bit: so it does not hit an object that was written or changed meanwhile, and Last-Modified stays. Of two
changes at the same moment the later one counts, wholly, on all servers. Never here: what is changed, and who may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from swift.core import clock
from swift.core.object_lock import LEGAL_HOLD, RETENTION, Word
from swift.core.timestamp import MAX_OFFSET, Timestamp
from swift.middleware.locked_objects import WORD_KEY
from swift.s3 import metadata
from swift.s3.errors import S3Error
from swift.s3.request import S3Request
from swift.wire.message import environ_key
from swift.wire.subanswer import Subanswer

TRANSIENT = "x-object-transient-sysmeta-s3api-"
_KEPT_PREFIXES = ("x-object-meta-", "x-object-transient-sysmeta-")
_CRYPTO = "x-object-transient-sysmeta-crypto-"  # the encryption filter's own, made anew by it
_KEPT = frozenset((
    "content-disposition", "content-encoding", "cache-control", "content-language", "expires", "x-robots-tag", "x-delete-at",
))  # fmt: skip
_TRIES = 5
_STEP_BITS = 24


def read(request: S3Request, rights: str = "client") -> Subanswer:
    """What a HEAD says of the object, or the version of it, that a request names. Raises S3Error: no such key, version, or a delete marker."""
    assert request.bucket is not None
    bucket, key, version = request.bucket, request.key, request.version_id
    answer = request.ask(
        "HEAD",
        bucket,
        key,
        query={"version-id": version} if version is not None else None,
        headers={"HTTP_X_NEWEST": "true"},
        rights=rights,
    )
    answer.close()
    if answer.status == 404 and request.container_info(bucket)["status"] == 404:
        raise S3Error("NoSuchBucket", BucketName=bucket)
    if _is_marker(answer):
        raise S3Error(
            "MethodNotAllowed",
            Method=request.method,
            ResourceType="DeleteMarker",
            headers=[("x-amz-delete-marker", "true"), *version_headers(answer)],
        )
    if answer.is_success:
        return answer
    if version is not None and answer.status in (400, 404):
        raise S3Error("NoSuchVersion", Key=key, VersionId=version)
    raise request.error_of(answer, bucket, key)


def _is_marker(answer: Subanswer) -> bool:
    kinds = (answer.get("x-backend-content-type"), answer.get("content-type"))
    return metadata.DELETE_MARKER_TYPE in kinds


def version_headers(answer: Subanswer) -> list[tuple[str, str]]:
    """x-amz-version-id, if the answer is of a version."""
    version = answer.get("x-object-version-id")
    return [("x-amz-version-id", version)] if version else []


def change(
    request: S3Request,
    changes: Mapping[str, str | None],
    *,
    check: Callable[[Subanswer], None] | None = None,
    may_bypass: bool = False,
    is_lock: bool = False,
) -> Subanswer:
    """Change transient sysmeta (lower-case names behind TRANSIENT, None: without it) of the object that a request names.

    `check`: raises S3Error if what is there must not be changed so; `may_bypass`: who asks may end a retention of GOVERNANCE; `is_lock`:
    the object must not go at a time of its own any more. Returns what a HEAD said of it before. Raises S3Error.
    """
    for _ in range(_TRIES):
        before = read(request)
        if check is not None:
            check(before)
        container, obj = place(request, before)
        headers = _headers(before, changes)
        seen = before.get("x-backend-timestamp") or before.get("x-timestamp") or ""
        headers[WORD_KEY] = Word(seen, may_bypass).text()
        if is_lock:
            headers.pop("HTTP_X_DELETE_AT", None)
        if container != request.bucket:
            headers["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] = "true"
        answer = request.ask("POST", container, obj, headers=headers)
        if answer.is_success:
            answer.drain()
            return before
        if answer.status != 409:
            raise request.error_of(answer, request.bucket, request.key)
        answer.close()
    raise S3Error("ServiceUnavailable", reason="changed_meanwhile")


def place(request: S3Request, found: Subanswer) -> tuple[str, str]:
    """(container, object) of the data that a HEAD found: a version's own place."""
    assert request.bucket is not None and request.key is not None
    version = found.get("x-object-version-id")
    if not version or version == "null":
        return request.bucket, request.key
    raw = Timestamp(version).raw
    inverted = f"{(999999999999999 - raw) // 100000:010d}.{(999999999999999 - raw) % 100000:05d}"
    return f"\0versions\0{request.bucket}", f"\0{request.key}\0{inverted}"


def _headers(before: Subanswer, changes: Mapping[str, str | None]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in before.headers:
        lower = name.lower()
        if lower in _KEPT or (lower.startswith(_KEPT_PREFIXES) and not lower.startswith(_CRYPTO)):
            found[lower] = value
    for short, changed in changes.items():
        if changed is None:
            found.pop(TRANSIENT + short, None)
        else:
            found[TRANSIENT + short] = changed
    headers = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in found.items()}
    headers["HTTP_X_TIMESTAMP"] = after(before)
    return headers


def after(before: Subanswer) -> str:
    """The X-Timestamp of a change of what was read: it never hits what was written meanwhile."""
    text = before.get("x-backend-timestamp") or before.get("x-timestamp")
    if not text:
        return Timestamp.now().internal
    found = Timestamp(text)
    step = 1 + clock.getrandbits(_STEP_BITS)
    if found.offset + step > MAX_OFFSET:
        return Timestamp.now().internal
    return Timestamp(found, offset=step).internal


def rewritten(before: Subanswer) -> dict[str, str]:
    """The native headers (environ keys) of a PUT that writes an object onto itself: its lock stays what it is, and is no reason against it."""
    seen = before.get("x-backend-timestamp") or before.get("x-timestamp") or ""
    kept = {environ_key(name): before.get(name.lower()) for name in (RETENTION, LEGAL_HOLD)}
    return {WORD_KEY: Word(seen, is_kept=True).text(), **{key: value for key, value in kept.items() if value}}
