"""Answers of handlers, and what native statuses mean to a client of S3 (spec s3.md 5.4).

Never here: the headers that all answers get (`filter`), and the native requests themselves (`request`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from swift.core.object_lock import PROTECTED
from swift.s3.errors import S3Error
from swift.wire.subanswer import Subanswer

Headers = list[tuple[str, str]]
_SHOWN_BYTES = 4096  # of a native answer's body, at most, that a client is told


class Answer(NamedTuple):
    """What a handler answers. `headers` without those that all answers get; the body is handed to the server as it is."""

    status: int
    headers: Headers
    body: Iterable[bytes]


def empty(status: int = 200, headers: Headers | None = None) -> Answer:
    """An answer without a body."""
    length = [] if status == 204 else [("Content-Length", "0")]
    return Answer(status, [*(headers or ()), *length], [b""])


def xml_answer(data: bytes, headers: Headers | None = None, status: int = 200) -> Answer:
    """A whole document."""
    return Answer(
        status,
        [*(headers or ()), ("Content-Type", "application/xml"), ("Content-Length", str(len(data)))],
        [data],
    )


def native_text(answer: Subanswer) -> str:
    """The beginning of what a native answer says, as text; the answer is done with."""
    parts, size = [], 0
    try:
        for data in answer:
            parts.append(data)
            size += len(data)
            if size > _SHOWN_BYTES:
                break
    except Exception:  # what it would have said is lost; its status is not
        return ""
    finally:
        answer.close()
    if "html" in (answer.get("content-type") or ""):
        return ""
    return b"".join(parts)[:_SHOWN_BYTES].decode("utf-8", "replace").strip()


# Of objects and containers, by what was asked for; what is in both tables is the first one's.
_OBJECT_ERRORS = {
    404: "NoSuchKey",
    411: "MissingContentLength",
    412: "PreconditionFailed",
    413: "EntityTooLarge",
}
_PUT_ERRORS = {404: "NoSuchBucket", 408: "RequestTimeout", 422: "BadDigest", 499: "RequestTimeout"}
_CONTAINER_ERRORS = {404: "NoSuchBucket"}
_EVERYWHERE = {
    403: "AccessDenied",
    416: "InvalidRange",
    429: "SlowDown",
    498: "SlowDown",
    503: "ServiceUnavailable",
}


_TOO_LARGE = "Metadata too large for this server's disks"  # ext4, with its 4 KiB of attributes


def native_error(
    answer: Subanswer, method: str, *, bucket: str | None = None, key: str | None = None, slow_down: int = 503
) -> S3Error:
    """The error of a native answer of an unexpected status, which is read and done with here; 401 is the caller's.

    `method`: of the native request; `bucket`, `key`: what it was about, `key` None for a container; `slow_down`: the status of SlowDown.
    """
    status = answer.status
    text = native_text(answer)
    if key is not None:
        code = (_PUT_ERRORS if method == "PUT" else {}).get(status) or _OBJECT_ERRORS.get(status)
        if status == 409 and method in ("GET", "HEAD"):
            code = "BrokenMPU"
    else:
        code = _CONTAINER_ERRORS.get(status)
    code = code or _EVERYWHERE.get(status)
    if status == 409 and code is None:
        if key is None and method == "DELETE":
            code = "BucketNotEmpty"
        else:
            return S3Error("ServiceUnavailable", reason="conflict")
    if code is None:
        if status == 400:
            for name in ("X-Delete-At", "X-Delete-After"):
                if name in text:
                    return S3Error("InvalidArgument", text, ArgumentName=name)
            if text.startswith(_TOO_LARGE):
                return S3Error("MetadataTooLarge", text)
            return S3Error("InvalidRequest", text or None)
        return S3Error("InternalError", reason=f"unexpected status code {status}")
    if code == "EntityTooLarge" and "quota" in text:
        return S3Error(code, text)
    if code == "AccessDenied" and PROTECTED in text:
        return S3Error(code, PROTECTED)
    if code == "NoSuchKey":
        return S3Error(code, Key=key)
    if code in ("NoSuchBucket", "BucketNotEmpty"):
        return S3Error(code, BucketName=bucket)
    if code == "SlowDown":
        return S3Error(code, status=slow_down)
    if code == "RequestTimeout":
        return S3Error(code, headers=[("Connection", "close")])
    return S3Error(code)
