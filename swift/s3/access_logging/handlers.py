"""Operations on a bucket's logging configuration (spec s3.md 23)."""

from __future__ import annotations

from swift.s3 import access, bucket_documents, bucket_rules
from swift.s3.access_logging import document, watching
from swift.s3.access_logging.writing import lets_logs_in, takes_no_acls
from swift.s3.acl.forms import Acl, Grant
from swift.s3.answers import Answer, empty, xml_answer
from swift.s3.errors import S3Error
from swift.s3.names import is_bucket_name
from swift.s3.request import S3Request


def get(request: S3Request) -> Answer:
    """GetBucketLogging; of no logging, an empty document."""
    return xml_answer(document.shown(bucket_documents.current(request, watching.NAME)))


def put(request: S3Request) -> Answer:
    """PutBucketLogging."""
    found = document.parse(request.document_body(document.MOST_BYTES))
    if not found:
        bucket_documents.remove(request, watching.NAME)
        return empty(200)
    if not is_bucket_name(found["TargetBucket"], request.options.dns_compliant_bucket_names):
        raise S3Error("InvalidTargetBucketForLogging", TargetBucket=found["TargetBucket"])
    _check_target(request, found["TargetBucket"], document.grants_of(found))
    bucket_documents.store(request, watching.NAME, found)
    return empty(200)


def _check_target(request: S3Request, target: str, grants: tuple[Grant, ...]) -> None:
    """A bucket of the same account, into which who asks may write, and which lets logs in, with ACLs if something is granted on them. Raises
    S3Error."""
    if grants and not request.options.s3_acl:
        raise S3Error(
            "NotImplemented", "Grants on log objects are not supported: there are no ACLs of objects."
        )
    head = request.ask("HEAD", target, headers={"HTTP_X_NEWEST": "true"}, rights="own")
    head.close()
    if head.status == 404:
        raise S3Error("InvalidTargetBucketForLogging", TargetBucket=target)
    if not head.is_success:
        raise request.error_of(head, target)
    prefix = "x-container-sysmeta-"
    sysmeta = {
        name.lower()[len(prefix) :]: value for name, value in head.headers if name.lower().startswith(prefix)
    }
    if grants:
        rules = bucket_rules.of_bucket(request, {"sysmeta": sysmeta}, target)
        if rules.ownership == bucket_rules.ENFORCED:
            raise S3Error("AccessControlListNotSupported")
        if bucket_rules.BLOCK_ACLS in rules.blocks and Acl(None, grants).is_public:
            raise S3Error("AccessDenied", reason="public_acl")
    if not lets_logs_in(sysmeta, request.options):
        raise S3Error(
            "InvalidTargetBucketForLogging",
            "You must give the log-delivery group WRITE and READ_ACP permissions to the target bucket",
            TargetBucket=target,
        )
    if not request.options.s3_acl or takes_no_acls(sysmeta):
        access.require(request, "s3:PutObject", target, permission="OWNER")
