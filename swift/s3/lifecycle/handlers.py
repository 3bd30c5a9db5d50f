"""Operations on a bucket's lifecycle document, and what answers tell of its rules (spec s3.md 17.1, 17.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from swift.core import clock
from swift.core.timestamp import Timestamp, http_date
from swift.s3 import bucket_documents, tagging
from swift.s3.answers import Answer, Headers, empty, xml_answer
from swift.s3.errors import S3Error
from swift.s3.lifecycle import document
from swift.s3.lifecycle.rules import Due, Item, Rules
from swift.s3.request import S3Request

NAME = "Lifecycle"
_EXPIRATION = "x-amz-expiration"
_MOST_KEPT = 64
_rules_of: dict[int, tuple[dict[str, Any], Rules]] = {}


def get(request: S3Request) -> Answer:
    """GetBucketLifecycleConfiguration."""
    found = bucket_documents.current(request, NAME)
    if found is None:
        raise S3Error("NoSuchLifecycleConfiguration", BucketName=request.bucket)
    return xml_answer(document.shown(found))


def put(request: S3Request) -> Answer:
    """PutBucketLifecycleConfiguration."""
    bucket_documents.store(request, NAME, document.parse(request.document_body(document.MOST_BYTES)))
    return empty(200)


def delete(request: S3Request) -> Answer:
    """DeleteBucketLifecycle."""
    bucket_documents.remove(request, NAME)
    return empty(204)


def _rules(request: S3Request) -> Rules | None:
    """Those of the request's bucket. What only tells of them never fails a request."""
    if request.account is None or request.bucket is None:
        return None
    try:
        found = bucket_documents.load(request, NAME)
    except S3Error:
        return None
    return None if found is None else _made(found, request.options.lifecycle_day_seconds)


def _made(found: dict[str, Any], day: float) -> Rules:
    """A document that is remembered has its rules made once."""
    kept = _rules_of.get(id(found))
    if kept is None or kept[0] is not found or kept[1].day != day:
        kept = _rules_of[id(found)] = found, Rules(found, day)
        while len(_rules_of) > _MOST_KEPT:
            _rules_of.pop(next(iter(_rules_of)))
    return kept[1]


def with_expiration(
    request: S3Request, headers: Headers, native: Iterable[tuple[str, str]], size: int | None = None
) -> Headers:
    """`headers` with x-amz-expiration if a rule is about the current version that a native answer is of.

    `size`: in bytes, None if the native answer's Content-Length (or Content-Range) says it. A native expiry that comes earlier stays.
    """
    if request.key is None or request.version_id is not None:
        return headers
    rules = _rules(request)
    if rules is None:
        return headers
    found = {name.lower(): value for name, value in native}
    if size is None:
        whole = found.get("content-range", "").rpartition("/")[2] or found.get("content-length", "")
        if not whole.isdigit():
            return headers
        size = int(whole)
    written = found.get("x-backend-data-timestamp") or found.get("x-timestamp")
    created = float(Timestamp(written)) if written else clock.time()
    due = rules.expiry(Item(request.key, size, created, tagging.of_stored(found.get(tagging.STORED))))
    if due is None:
        return headers
    delete_at = found.get("x-delete-at", "")
    if delete_at.isdigit() and int(delete_at) <= due.time:
        return headers
    kept = [pair for pair in headers if pair[0] != _EXPIRATION]
    return [*kept, (_EXPIRATION, f'expiry-date="{_date(due)}", rule-id="{quote(due.rule, safe="")}"')]


def abort_headers(request: S3Request, started: float) -> Headers:
    """x-amz-abort-date and its rule, of the upload of the request's key that was started then (seconds since the epoch)."""
    rules = _rules(request)
    due = rules.abort(request.key or "", started) if rules is not None else None
    if due is None:
        return []
    return [("x-amz-abort-date", _date(due)), ("x-amz-abort-rule-id", quote(due.rule, safe=""))]


def _date(due: Due) -> str:
    return http_date(min(int(due.time), 253402300799))
