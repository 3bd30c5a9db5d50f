"""What requests say of locks: of what they make, and of the right to end one (spec s3.md 18).

Never here: the retention that a bucket gives to what says nothing (`native`, which sees native requests, too).
"""

from __future__ import annotations

import calendar
import re

from swift.core import clock
from swift.core.object_lock import COMPLIANCE, GOVERNANCE, LEGAL_HOLD, RETENTION, Word, stored_retention
from swift.middleware.locked_objects import WORD_KEY
from swift.s3 import access, bucket_documents
from swift.s3.errors import S3Error
from swift.s3.object_lock.document import NAME
from swift.s3.request import S3Request
from swift.wire.message import environ_key

RETENTION_KEY, LEGAL_HOLD_KEY = environ_key(RETENTION), environ_key(LEGAL_HOLD)
_MARKER_KEYS = {
    RETENTION_KEY: "HTTP_X_OBJECT_SYSMETA_S3API_RETENTION",
    LEGAL_HOLD_KEY: "HTTP_X_OBJECT_SYSMETA_S3API_LEGAL_HOLD",
}
_SENT = (
    "HTTP_X_AMZ_OBJECT_LOCK_MODE", "HTTP_X_AMZ_OBJECT_LOCK_RETAIN_UNTIL_DATE", "HTTP_X_AMZ_OBJECT_LOCK_LEGAL_HOLD",
)  # fmt: skip
_BYPASS_KEY = "HTTP_X_AMZ_BYPASS_GOVERNANCE_RETENTION"
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:Z|\+00:00)", re.ASCII)
_BOTH = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
_LAST_YEAR = 9000


def is_said(request: S3Request) -> bool:
    """Returns True if a request's headers say anything of a lock."""
    environ = request.environ
    mode, date, hold = _SENT
    return mode in environ or date in environ or hold in environ


def check_expiry(request: S3Request) -> None:
    """Raises S3Error for what is to be locked and to go at a time of its own."""
    environ = request.environ
    if any(environ.get(key) for key in ("HTTP_X_DELETE_AT", "HTTP_X_DELETE_AFTER")):
        raise S3Error("InvalidRequest", "What is locked can't have an X-Delete-At.")


def must_be_configured(request: S3Request) -> None:
    """Raises S3Error unless the objects of the request's bucket can be locked."""
    if not request.options.object_lock:
        raise S3Error("NotImplemented", "Object lock is not supported.")
    if bucket_documents.load(request, NAME) is None and bucket_documents.current(request, NAME) is None:
        raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")


def must_have_digest(request: S3Request) -> None:
    """Raises S3Error for a request whose body nothing vouches for."""
    environ = request.environ
    if "HTTP_CONTENT_MD5" in environ or "HTTP_X_AMZ_TRAILER" in environ:
        return
    if not any(key.startswith("HTTP_X_AMZ_CHECKSUM_") for key in environ):
        raise S3Error(
            "InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests "
            "with Object Lock parameters"
        )  # fmt: skip


def headers_of(request: S3Request) -> dict[str, str]:
    """The native headers (environ keys) of what a request makes, empty if it says nothing of locks. Raises S3Error."""
    if not is_said(request):
        return {}
    must_be_configured(request)
    assert request.bucket is not None and request.key is not None
    mode = request.header("x-amz-object-lock-mode")
    date = request.header("x-amz-object-lock-retain-until-date")
    hold = request.header("x-amz-object-lock-legal-hold")
    headers = {}
    if (mode is None) != (date is None):
        raise S3Error("InvalidArgument", _BOTH)
    if mode is not None and date is not None:
        if mode not in (GOVERNANCE, COMPLIANCE):
            raise S3Error(
                "InvalidArgument",
                "Unknown wormMode directive.",
                ArgumentName="x-amz-object-lock-mode",
                ArgumentValue=mode,
            )
        until = parse_date(date)
        if until is None:
            raise S3Error(
                "InvalidArgument",
                "The retain until date must be provided in ISO 8601 format",
                ArgumentName="x-amz-object-lock-retain-until-date",
                ArgumentValue=date,
            )
        check_future(until)
        access.require(request, "s3:PutObjectRetention", request.bucket, request.key, permission="WRITE")
        headers[RETENTION_KEY] = stored_retention(mode, until)
    if hold is not None:
        if hold not in ("ON", "OFF"):
            raise S3Error(
                "InvalidArgument",
                "Legal Hold must be either of 'ON' or 'OFF'",
                ArgumentName="x-amz-object-lock-legal-hold",
                ArgumentValue=hold,
            )
        access.require(request, "s3:PutObjectLegalHold", request.bucket, request.key, permission="WRITE")
        headers[LEGAL_HOLD_KEY] = hold
    return headers


def parse_date(text: str) -> int | None:
    """Seconds since the epoch, None for what is no time in UTC."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups())
    if not (1970 <= year <= _LAST_YEAR and 1 <= month <= 12 and hour < 24 and minute < 60 and second < 61):
        return None
    if not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    return calendar.timegm((year, month, day, hour, minute, second))


def check_future(until: int) -> None:
    """Raises S3Error."""
    if until <= clock.time():
        raise S3Error("InvalidArgument", "The retain until date must be in the future!")


def marker_headers(request: S3Request) -> dict[str, str]:
    """The same for the marker of an upload, whose object will have them. Raises S3Error."""
    return {_MARKER_KEYS[key]: value for key, value in headers_of(request).items()}


def copied(headers: dict[str, str]) -> dict[str, str]:
    """Those of a copy, which has nothing of its source's lock."""
    return {RETENTION_KEY: "", LEGAL_HOLD_KEY: "", **headers}


def may_bypass(request: S3Request, key: str | None = None, version: str | None = None) -> bool:
    """Returns True if a request asks to end a retention of GOVERNANCE. Raises S3Error if it may not."""
    if request.environ.get(_BYPASS_KEY, "").lower() != "true" or not request.options.object_lock:
        return False
    assert request.bucket is not None
    access.require(
        request,
        "s3:BypassGovernanceRetention",
        request.bucket,
        key if key is not None else request.key,
        version_id=version,
        permission="OWNER",
    )
    return True


def removal_headers(request: S3Request, key: str, version: str | None) -> dict[str, str]:
    """The native headers (environ keys) of a DELETE of a version by who may end its retention. Raises S3Error."""
    if version is None or _BYPASS_KEY not in request.environ or not may_bypass(request, key, version):
        return {}
    return {WORD_KEY: Word(may_bypass=True).text()}
