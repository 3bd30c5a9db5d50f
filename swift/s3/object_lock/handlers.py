"""The operations of object lock: a bucket's configuration, retention and legal holds of objects (spec s3.md 18)."""

from __future__ import annotations

from swift.core import clock
from swift.core.config import truthy
from swift.core.object_lock import (
    COMPLIANCE,
    GOVERNANCE,
    LEGAL_HOLD,
    PROTECTED,
    RETENTION,
    Lock,
    lock_of,
    stored_retention,
)
from swift.s3 import access, bucket_documents, object_changes, times
from swift.s3.answers import Answer, empty, xml_answer
from swift.s3.errors import S3Error
from swift.s3.object_lock import document as documents
from swift.s3.object_lock import sent
from swift.s3.object_lock.document import NAME
from swift.s3.request import S3Request
from swift.s3.xml import document, element, read
from swift.wire.subanswer import Subanswer

_ENABLED = "x-container-sysmeta-versions-enabled"


# -- of buckets -----------------------------------------------------------------------------------------------------------


def get_configuration(request: S3Request) -> Answer:
    """GetObjectLockConfiguration."""
    found = bucket_documents.current(request, NAME)
    if found is None:
        raise S3Error("ObjectLockConfigurationNotFoundError", BucketName=request.bucket)
    return xml_answer(documents.shown(found))


def put_configuration(request: S3Request) -> Answer:
    """PutObjectLockConfiguration."""
    if not request.options.object_lock:
        raise S3Error("NotImplemented", "The requested resource is not implemented")
    _must_have_digest(request)
    made = documents.parse(request.document_body(documents.LARGEST))
    answer = request.ask("HEAD", request.bucket, headers={"HTTP_X_NEWEST": "true"})
    answer.close()
    if not answer.is_success:
        raise request.error_of(answer, request.bucket)
    if not truthy(answer.get(_ENABLED)):
        raise S3Error(
            "InvalidBucketState",
            "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
            BucketName=request.bucket,
        )
    bucket_documents.store(request, NAME, made)
    return empty(200)


def wants_lock(request: S3Request) -> bool:
    """Returns True for a CreateBucket whose objects can be locked. Raises S3Error."""
    text = request.header("x-amz-bucket-object-lock-enabled")
    if text is None or text.lower() == "false":
        return False
    if text.lower() != "true":
        raise S3Error("InvalidArgument", ArgumentName="x-amz-bucket-object-lock-enabled", ArgumentValue=text)
    if not request.options.object_lock:
        raise S3Error("NotImplemented", "Object lock is not supported.")
    return True


def enable(request: S3Request) -> None:
    """Let the objects of a bucket that was made just now have locks. Raises S3Error."""
    assert request.bucket is not None
    answer = request.ask("POST", request.bucket, headers={"HTTP_X_VERSIONS_ENABLED": "true"})
    if not answer.is_success:
        raise request.error_of(answer, request.bucket)
    answer.drain()
    bucket_documents.store(request, NAME, {"ObjectLockEnabled": "Enabled"})


def check_versioning(request: S3Request) -> None:
    """Raises S3Error for a bucket whose versions must go on."""
    if bucket_documents.load(request, NAME) is not None:
        raise S3Error(
            "InvalidBucketState",
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
            BucketName=request.bucket,
        )


# -- of objects -----------------------------------------------------------------------------------------------------------


def get_retention(request: S3Request) -> Answer:
    """GetObjectRetention."""
    lock, found = _lock(request)
    if lock is None or not lock.until:
        raise S3Error("NoSuchObjectLockConfiguration")
    return xml_answer(
        document(
            "Retention", element("Mode", lock.mode), element("RetainUntilDate", times.of_epoch(lock.until))
        ),
        object_changes.version_headers(found),
    )


def put_retention(request: S3Request) -> Answer:
    """PutObjectRetention."""
    sent.must_be_configured(request)
    _must_have_digest(request)
    wanted = read(request.document_body(documents.LARGEST), "Retention", documents.RETENTION_SCHEMA)
    if len(wanted) == 1:
        raise S3Error("MalformedXML")
    mode, until = wanted.get("Mode", GOVERNANCE), 0
    if wanted:
        parsed = sent.parse_date(wanted["RetainUntilDate"])
        if parsed is None:
            raise S3Error("MalformedXML")
        sent.check_future(parsed)
        until = parsed
    bypass = sent.may_bypass(request, version=request.version_id)

    def check(found: Subanswer) -> None:
        old = _of(found)
        now = clock.time()
        if old is None or old.until <= now:
            return
        is_weaker = until < old.until or (old.mode, mode) == (COMPLIANCE, GOVERNANCE)
        if is_weaker and (old.mode == COMPLIANCE or not bypass):
            raise S3Error("AccessDenied", PROTECTED)

    found = object_changes.change(
        request,
        {"retention": stored_retention(mode, until)},
        check=check,
        may_bypass=bypass,
        is_lock=bool(until),
    )
    return empty(200, object_changes.version_headers(found))


def get_legal_hold(request: S3Request) -> Answer:
    """GetObjectLegalHold."""
    _, found = _lock(request)
    hold = found.get(LEGAL_HOLD.lower())
    if not hold:
        raise S3Error("NoSuchObjectLockConfiguration")
    status = "OFF" if hold == "OFF" else "ON"
    return xml_answer(document("LegalHold", element("Status", status)), object_changes.version_headers(found))


def put_legal_hold(request: S3Request) -> Answer:
    """PutObjectLegalHold."""
    sent.must_be_configured(request)
    _must_have_digest(request)
    status = read(request.document_body(documents.LARGEST), "LegalHold", documents.HOLD_SCHEMA)["Status"]
    if status == "OFF":
        # Who may write may hold; to let go is for the owner, and whom a policy lets.
        assert request.bucket is not None
        access.require(
            request,
            "s3:PutObjectLegalHold",
            request.bucket,
            request.key,
            version_id=request.version_id,
            permission="OWNER",
        )
    found = object_changes.change(request, {"legal-hold": status}, is_lock=status == "ON")
    return empty(200, object_changes.version_headers(found))


def _must_have_digest(request: S3Request) -> None:
    """Raises S3Error for a document that nothing vouches for (13.2)."""
    if "HTTP_CONTENT_MD5" not in request.environ and not any(
        key.startswith("HTTP_X_AMZ_CHECKSUM_") or key == "HTTP_X_AMZ_TRAILER" for key in request.environ
    ):
        raise S3Error(
            "InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
        )


def _lock(request: S3Request) -> tuple[Lock | None, Subanswer]:
    sent.must_be_configured(request)
    found = object_changes.read(request)
    return _of(found), found


def _of(found: Subanswer) -> Lock | None:
    return lock_of(found.get(RETENTION.lower()), found.get(LEGAL_HOLD.lower()))
