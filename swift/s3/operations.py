"""The table of operations: which handler answers which request, and under which names policies, ACLs and logs know it.

A feature has one module with its handlers and stands here with one row for each. What AWS knows and this table does not is
refused with 501 before anything is touched (spec s3.md 2.4, 13.6). Never here: what an operation does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from swift.s3 import (
    attributes,
    buckets,
    conditional_deletes,
    configurations,
    cors,
    listing,
    multi_delete,
    objects,
    payment,
    restoring,
    service,
    tagging,
)
from swift.s3.access_logging import handlers as access_logging
from swift.s3.acl import handlers as acl
from swift.s3.errors import S3Error
from swift.s3.lifecycle import handlers as lifecycle
from swift.s3.multipart import handlers as multipart
from swift.s3.notifications import handlers as notifications
from swift.s3.object_lock import handlers as object_lock
from swift.s3.policy import handlers as policy
from swift.s3.request import Handler, S3Request
from swift.s3.website import handlers as website

SERVICE, BUCKET, OBJECT = "service", "bucket", "object"


@dataclass(frozen=True)
class Operation:
    """`name`: S3's; `action`: policies' word for it; `permission`: what an ACL must grant, `""` for none, `OWNER` for nobody else;
    `checks_object`: the permission is asked of the object, by its handler, else of the bucket before it is called."""

    name: str
    method: str
    level: str
    handler: Handler
    subresource: str = ""
    action: str = ""
    permission: str = ""
    checks_object: bool = False


OPERATIONS = (
    Operation("ListBuckets", "GET", SERVICE, service.list_buckets, "", "s3:ListAllMyBuckets"),
    Operation("CreateBucket", "PUT", BUCKET, buckets.create, "", "s3:CreateBucket"),
    Operation("HeadBucket", "HEAD", BUCKET, buckets.head, "", "s3:ListBucket", "READ"),
    Operation("DeleteBucket", "DELETE", BUCKET, buckets.delete, "", "s3:DeleteBucket", "OWNER"),
    Operation("ListObjects", "GET", BUCKET, listing.list_objects, "", "s3:ListBucket", "READ"),
    Operation("ListObjectVersions", "GET", BUCKET, listing.list_versions, "versions", "s3:ListBucketVersions", "READ"),
    Operation("ListMultipartUploads", "GET", BUCKET, multipart.list_uploads, "uploads", "s3:ListBucketMultipartUploads", "READ"),
    Operation("DeleteObjects", "POST", BUCKET, multi_delete.delete_objects, "delete", "s3:DeleteObject", "WRITE"),
    Operation("GetBucketLocation", "GET", BUCKET, buckets.location, "location", "s3:GetBucketLocation", "OWNER"),
    Operation("GetBucketVersioning", "GET", BUCKET, buckets.get_versioning, "versioning", "s3:GetBucketVersioning"),
    Operation("PutBucketVersioning", "PUT", BUCKET, buckets.put_versioning, "versioning", "s3:PutBucketVersioning", "WRITE"),
    Operation("GetBucketAcl", "GET", BUCKET, acl.get, "acl", "s3:GetBucketAcl", "READ_ACP"),
    Operation("PutBucketAcl", "PUT", BUCKET, acl.put_bucket, "acl", "s3:PutBucketAcl", "WRITE_ACP"),
    Operation("GetBucketPolicy", "GET", BUCKET, policy.get_policy, "policy", "s3:GetBucketPolicy", "OWNER"),
    Operation("PutBucketPolicy", "PUT", BUCKET, policy.put_policy, "policy", "s3:PutBucketPolicy", "OWNER"),
    Operation("DeleteBucketPolicy", "DELETE", BUCKET, policy.delete_policy, "policy", "s3:DeleteBucketPolicy", "OWNER"),
    Operation("GetBucketPolicyStatus", "GET", BUCKET, policy.get_status, "policyStatus", "s3:GetBucketPolicyStatus", "OWNER"),
    Operation("GetBucketTagging", "GET", BUCKET, tagging.get_of_bucket, "tagging", "s3:GetBucketTagging", "OWNER"),
    Operation("PutBucketTagging", "PUT", BUCKET, tagging.put_of_bucket, "tagging", "s3:PutBucketTagging", "OWNER"),
    Operation("DeleteBucketTagging", "DELETE", BUCKET, tagging.delete_of_bucket, "tagging", "s3:PutBucketTagging", "OWNER"),
    Operation("GetObjectLockConfiguration", "GET", BUCKET, object_lock.get_configuration, "object-lock", "s3:GetBucketObjectLockConfiguration", "OWNER"),
    Operation("PutObjectLockConfiguration", "PUT", BUCKET, object_lock.put_configuration, "object-lock", "s3:PutBucketObjectLockConfiguration", "OWNER"),
    Operation("GetPublicAccessBlock", "GET", BUCKET, policy.get_block, "publicAccessBlock", "s3:GetBucketPublicAccessBlock", "OWNER"),
    Operation("PutPublicAccessBlock", "PUT", BUCKET, policy.put_block, "publicAccessBlock", "s3:PutBucketPublicAccessBlock", "OWNER"),
    Operation("DeletePublicAccessBlock", "DELETE", BUCKET, policy.delete_block, "publicAccessBlock", "s3:PutBucketPublicAccessBlock", "OWNER"),
    Operation("GetBucketOwnershipControls", "GET", BUCKET, policy.get_ownership, "ownershipControls", "s3:GetBucketOwnershipControls", "OWNER"),
    Operation("PutBucketOwnershipControls", "PUT", BUCKET, policy.put_ownership, "ownershipControls", "s3:PutBucketOwnershipControls", "OWNER"),
    Operation("DeleteBucketOwnershipControls", "DELETE", BUCKET, policy.delete_ownership, "ownershipControls", "s3:PutBucketOwnershipControls", "OWNER"),
    Operation("GetBucketLifecycleConfiguration", "GET", BUCKET, lifecycle.get, "lifecycle", "s3:GetLifecycleConfiguration", "OWNER"),
    Operation("PutBucketLifecycleConfiguration", "PUT", BUCKET, lifecycle.put, "lifecycle", "s3:PutLifecycleConfiguration", "OWNER"),
    Operation("DeleteBucketLifecycle", "DELETE", BUCKET, lifecycle.delete, "lifecycle", "s3:PutLifecycleConfiguration", "OWNER"),
    Operation("GetBucketCors", "GET", BUCKET, cors.get, "cors", "s3:GetBucketCORS", "OWNER"),
    Operation("PutBucketCors", "PUT", BUCKET, cors.put, "cors", "s3:PutBucketCORS", "OWNER"),
    Operation("DeleteBucketCors", "DELETE", BUCKET, cors.delete, "cors", "s3:PutBucketCORS", "OWNER"),
    Operation("GetBucketEncryption", "GET", BUCKET, configurations.get_encryption, "encryption", "s3:GetEncryptionConfiguration", "OWNER"),
    Operation("PutBucketEncryption", "PUT", BUCKET, configurations.put_encryption, "encryption", "s3:PutEncryptionConfiguration", "OWNER"),
    Operation("DeleteBucketEncryption", "DELETE", BUCKET, configurations.delete_encryption, "encryption", "s3:PutEncryptionConfiguration", "OWNER"),
    Operation("GetBucketWebsite", "GET", BUCKET, website.get, "website", "s3:GetBucketWebsite", "OWNER"),
    Operation("PutBucketWebsite", "PUT", BUCKET, website.put, "website", "s3:PutBucketWebsite", "OWNER"),
    Operation("DeleteBucketWebsite", "DELETE", BUCKET, website.delete, "website", "s3:DeleteBucketWebsite", "OWNER"),
    Operation("GetBucketLogging", "GET", BUCKET, access_logging.get, "logging", "s3:GetBucketLogging", "OWNER"),
    Operation("PutBucketLogging", "PUT", BUCKET, access_logging.put, "logging", "s3:PutBucketLogging", "OWNER"),
    Operation("GetBucketReplication", "GET", BUCKET, configurations.no_replication, "replication", "s3:GetReplicationConfiguration", "OWNER"),
    Operation("DeleteBucketReplication", "DELETE", BUCKET, configurations.removed, "replication", "s3:PutReplicationConfiguration", "OWNER"),
    Operation("GetBucketNotificationConfiguration", "GET", BUCKET, notifications.get, "notification", "s3:GetBucketNotification", "OWNER"),
    Operation("PutBucketNotificationConfiguration", "PUT", BUCKET, notifications.put, "notification", "s3:PutBucketNotification", "OWNER"),
    Operation("GetBucketAccelerateConfiguration", "GET", BUCKET, configurations.get_acceleration, "accelerate", "s3:GetAccelerateConfiguration", "OWNER"),
    Operation("GetBucketRequestPayment", "GET", BUCKET, payment.get, "requestPayment", "s3:GetBucketRequestPayment", "OWNER"),
    Operation("PutBucketRequestPayment", "PUT", BUCKET, payment.put, "requestPayment", "s3:PutBucketRequestPayment", "OWNER"),
    Operation("ListBucketInventoryConfigurations", "GET", BUCKET, configurations.list_inventory, "inventory", "s3:GetInventoryConfiguration", "OWNER"),
    Operation("ListBucketAnalyticsConfigurations", "GET", BUCKET, configurations.list_analytics, "analytics", "s3:GetAnalyticsConfiguration", "OWNER"),
    Operation("ListBucketMetricsConfigurations", "GET", BUCKET, configurations.list_metrics, "metrics", "s3:GetMetricsConfiguration", "OWNER"),
    Operation("ListBucketIntelligentTieringConfigurations", "GET", BUCKET, configurations.list_tiering, "intelligent-tiering", "s3:GetIntelligentTieringConfiguration", "OWNER"),
    Operation("GetObject", "GET", OBJECT, objects.get, "", "s3:GetObject", "READ", True),
    Operation("HeadObject", "HEAD", OBJECT, objects.get, "", "s3:GetObject", "READ", True),
    Operation("GetObjectAttributes", "GET", OBJECT, attributes.get, "attributes", "s3:GetObjectAttributes", "READ", True),
    Operation("RestoreObject", "POST", OBJECT, restoring.restore, "restore", "s3:RestoreObject", "READ", checks_object=True),
    Operation("PutObject", "PUT", OBJECT, multipart.put_object, "", "s3:PutObject", "WRITE"),
    Operation("DeleteObject", "DELETE", OBJECT, conditional_deletes.delete, "", "s3:DeleteObject", "WRITE"),
    Operation("GetObjectAcl", "GET", OBJECT, acl.get, "acl", "s3:GetObjectAcl", "READ_ACP", True),
    Operation("PutObjectAcl", "PUT", OBJECT, acl.put_object, "acl", "s3:PutObjectAcl", "WRITE_ACP", True),
    Operation("GetObjectTagging", "GET", OBJECT, tagging.get_of_object, "tagging", "s3:GetObjectTagging", "READ", True),
    Operation("PutObjectTagging", "PUT", OBJECT, tagging.put_of_object, "tagging", "s3:PutObjectTagging", "WRITE"),
    Operation("DeleteObjectTagging", "DELETE", OBJECT, tagging.delete_of_object, "tagging", "s3:DeleteObjectTagging", "WRITE"),
    Operation("GetObjectRetention", "GET", OBJECT, object_lock.get_retention, "retention", "s3:GetObjectRetention", "READ", True),
    Operation("PutObjectRetention", "PUT", OBJECT, object_lock.put_retention, "retention", "s3:PutObjectRetention", "WRITE"),
    Operation("GetObjectLegalHold", "GET", OBJECT, object_lock.get_legal_hold, "legal-hold", "s3:GetObjectLegalHold", "READ", True),
    Operation("PutObjectLegalHold", "PUT", OBJECT, object_lock.put_legal_hold, "legal-hold", "s3:PutObjectLegalHold", "WRITE"),
    Operation("CreateMultipartUpload", "POST", OBJECT, multipart.create, "uploads", "s3:PutObject", "WRITE"),
    Operation("UploadPart", "PUT", OBJECT, multipart.upload_part, "partNumber", "s3:PutObject", "WRITE"),
    Operation("ListParts", "GET", OBJECT, multipart.list_parts, "uploadId", "s3:ListMultipartUploadParts", "READ"),
    Operation("CompleteMultipartUpload", "POST", OBJECT, multipart.complete, "uploadId", "s3:PutObject", "WRITE"),
    Operation("AbortMultipartUpload", "DELETE", OBJECT, multipart.abort, "uploadId", "s3:AbortMultipartUpload", "WRITE"),
)  # fmt: skip

# Which subresource counts when a request has several; all that AWS has.
SUBRESOURCES = (
    "abac", "accelerate", "acl", "analytics", "attributes", "cors", "delete", "encryption", "intelligent-tiering", "inventory", "legal-hold",
    "lifecycle", "location", "logging", "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable", "metadataTable",
    "metrics", "notification", "object-lock", "ownershipControls", "partNumber", "policy", "policyStatus", "publicAccessBlock",
    "renameObject", "replication", "requestPayment", "restore", "retention", "select", "session", "tagging", "torrent", "uploadId",
    "uploads", "versioning", "versions", "website",
)  # fmt: skip
_RANK = {name: at for at, name in enumerate(SUBRESOURCES)}
# Parameters that choose no operation.
_ORDINARY = frozenset((
    "AWSAccessKeyId", "Expires", "Signature", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Security-Token",
    "X-Amz-Signature", "X-Amz-SignedHeaders", "allow-unordered", "bucket-region", "continuation-token", "delimiter", "encoding-type",
    "fetch-owner", "id", "key-marker", "list-type", "marker", "max-buckets", "max-keys", "max-parts", "max-uploads", "part-number-marker",
    "prefix", "start-after", "upload-id-marker", "version-id-marker", "versionId", "x-id",
))  # fmt: skip
_READS = ("GET", "HEAD")
_MULTIPART = ("partNumber", "uploadId", "uploads")
_RESOURCE_TYPES = {
    "acl": "ACL", "delete": "MULTI_OBJECT_DELETE", "location": "LOCATION", "logging": "LOGGING_STATUS", "object-lock": "OBJECT_LOCK",
    "partNumber": "PART", "tagging": "TAGGING", "uploadId": "UPLOAD", "uploads": "UPLOADS", "versioning": "VERSIONING",
}  # fmt: skip

Table = dict[tuple[str, str, str], Operation]


def table_of(operations: tuple[Operation, ...]) -> Table:
    """By level, subresource and method."""
    table: Table = {}
    for operation in operations:
        key = (operation.level, operation.subresource, operation.method)
        if key in table:
            raise ValueError(f"two operations for {key}")
        table[key] = operation
    return table


TABLE = table_of(OPERATIONS)
PUT_OBJECT = TABLE[OBJECT, "", "PUT"]
READS_OF_OBJECTS = {method: TABLE[OBJECT, "", method] for method in ("GET", "HEAD")}


def level_of(request: S3Request) -> str:
    return OBJECT if request.key is not None else BUCKET if request.bucket is not None else SERVICE


def subresource_of(params: Mapping[str, str], method: str) -> str:
    """The subresource that a request is about, "" for none. Raises S3Error for a change that nobody here understands."""
    found = ""
    for name in params:
        rank = _RANK.get(name)
        if rank is not None:
            if not found or rank < _RANK[found]:
                found = name
        elif method not in _READS and name not in _ORDINARY and not _is_ordinary(name):
            raise S3Error("NotImplemented", "The requested resource is not implemented")
    return found


def _is_ordinary(name: str) -> bool:
    return name.lower().startswith(("response-", "x-amz-"))


def find(request: S3Request, table: Table = TABLE) -> Operation:
    """The operation that a request is. Raises S3Error: 501 for what is not there, 405 for what can't be done with it."""
    level, method = level_of(request), request.method
    subresource = subresource_of(request.params, method) if request.params else ""
    if subresource in _MULTIPART and not request.options.allow_multipart_uploads:
        raise S3Error("NotImplemented", "Multi-part feature isn't support")
    if subresource == "partNumber" and method in _READS:
        subresource = ""
    operation = table.get((level, subresource, method))
    if operation is not None:
        return operation
    if subresource and subresource not in _RESOURCE_TYPES:
        raise S3Error("NotImplemented", "The requested resource is not implemented")
    if method == "POST" and not subresource:
        raise S3Error("NotImplemented")
    if subresource and not any(
        (level, subresource, other) in table for other in ("GET", "HEAD", "PUT", "POST", "DELETE")
    ):
        raise S3Error("NotImplemented", "The requested resource is not implemented")
    resource_type = _RESOURCE_TYPES.get(subresource) or level.upper()
    raise S3Error("MethodNotAllowed", Method=method, ResourceType=resource_type)
