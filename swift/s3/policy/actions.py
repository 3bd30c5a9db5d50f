"""What policies call the operations, and what each action is about: buckets or objects (spec s3.md 16.3)."""

from __future__ import annotations

from typing import Protocol

from swift.s3.request import S3Request

OF_OBJECTS = frozenset((
    "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetObjectAcl",
    "s3:GetObjectVersionAcl", "s3:PutObjectAcl", "s3:PutObjectVersionAcl", "s3:GetObjectTagging", "s3:GetObjectVersionTagging",
    "s3:PutObjectTagging", "s3:PutObjectVersionTagging", "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging",
    "s3:GetObjectAttributes", "s3:GetObjectVersionAttributes", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
    "s3:GetObjectRetention", "s3:PutObjectRetention", "s3:GetObjectLegalHold", "s3:PutObjectLegalHold", "s3:BypassGovernanceRetention",
    "s3:RestoreObject", "s3:GetObjectTorrent", "s3:GetObjectVersionTorrent", "s3:GetObjectVersionForReplication", "s3:ReplicateObject",
    "s3:ReplicateDelete", "s3:ReplicateTags", "s3:ObjectOwnerOverrideToBucketOwner", "s3:InitiateReplication", "s3:UpdateObjectEncryption",
))  # fmt: skip
OF_BUCKETS = frozenset((
    "s3:CreateBucket", "s3:DeleteBucket", "s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:GetBucketLocation",
    "s3:GetBucketVersioning", "s3:PutBucketVersioning", "s3:GetBucketAcl", "s3:PutBucketAcl", "s3:GetBucketPolicy", "s3:PutBucketPolicy",
    "s3:DeleteBucketPolicy", "s3:GetBucketPolicyStatus", "s3:GetBucketTagging", "s3:PutBucketTagging", "s3:GetBucketCORS", "s3:PutBucketCORS",
    "s3:GetBucketWebsite", "s3:PutBucketWebsite", "s3:DeleteBucketWebsite", "s3:GetBucketLogging", "s3:PutBucketLogging",
    "s3:GetBucketNotification", "s3:PutBucketNotification", "s3:GetBucketRequestPayment", "s3:PutBucketRequestPayment",
    "s3:GetEncryptionConfiguration", "s3:PutEncryptionConfiguration", "s3:GetLifecycleConfiguration", "s3:PutLifecycleConfiguration",
    "s3:GetBucketObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration", "s3:GetBucketPublicAccessBlock",
    "s3:PutBucketPublicAccessBlock", "s3:GetBucketOwnershipControls", "s3:PutBucketOwnershipControls", "s3:GetReplicationConfiguration",
    "s3:PutReplicationConfiguration", "s3:GetAccelerateConfiguration", "s3:PutAccelerateConfiguration", "s3:GetInventoryConfiguration",
    "s3:PutInventoryConfiguration", "s3:GetAnalyticsConfiguration", "s3:PutAnalyticsConfiguration", "s3:GetMetricsConfiguration",
    "s3:PutMetricsConfiguration", "s3:GetIntelligentTieringConfiguration", "s3:PutIntelligentTieringConfiguration",
    "s3:ListenBucketNotification", "s3:ListenNotification", "s3:HeadBucket",
))  # fmt: skip
OF_ACCOUNTS = frozenset(
    ("s3:ListAllMyBuckets", "s3:GetAccountPublicAccessBlock", "s3:PutAccountPublicAccessBlock")
)
ALL = OF_OBJECTS | OF_BUCKETS | OF_ACCOUNTS
LOWER_OF_OBJECTS = frozenset(name.lower() for name in OF_OBJECTS)
LOWER_OF_BUCKETS = frozenset(name.lower() for name in OF_BUCKETS)
LOWER = frozenset(name.lower() for name in ALL)
_VERSIONED = {
    "s3:GetObject": "s3:GetObjectVersion",
    "s3:GetObjectAcl": "s3:GetObjectVersionAcl",
    "s3:PutObjectAcl": "s3:PutObjectVersionAcl",
    "s3:GetObjectTagging": "s3:GetObjectVersionTagging",
    "s3:PutObjectTagging": "s3:PutObjectVersionTagging",
    "s3:DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
    "s3:GetObjectAttributes": "s3:GetObjectVersionAttributes",
    "s3:DeleteObject": "s3:DeleteObjectVersion",
}
# Headers that let an object be made with more than its bytes, and what that needs beside s3:PutObject.
_WITH = (
    (("HTTP_X_AMZ_ACL",), "s3:PutObjectAcl"),
    (("HTTP_X_AMZ_TAGGING",), "s3:PutObjectTagging"),
    (("HTTP_X_AMZ_OBJECT_LOCK_MODE", "HTTP_X_AMZ_OBJECT_LOCK_RETAIN_UNTIL_DATE"), "s3:PutObjectRetention"),
    (("HTTP_X_AMZ_OBJECT_LOCK_LEGAL_HOLD",), "s3:PutObjectLegalHold"),
)
_MAKES = ("PutObject", "CreateMultipartUpload")


class Operation(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def action(self) -> str: ...


def versioned(action: str, version_id: str | None) -> str:
    """The action as it is called of a version, where that has a name of its own."""
    return _VERSIONED.get(action, action) if version_id is not None else action


def of(operation: Operation, request: S3Request) -> tuple[str, ...]:
    """All that must be allowed for an operation."""
    version = request.version_id
    action = versioned(operation.action, version)
    if operation.name == "GetObjectAttributes":
        return action, versioned("s3:GetObject", version)
    if operation.name not in _MAKES:
        return (action,)
    environ = request.environ
    found = [action]
    for keys, more in _WITH:
        if any(key in environ for key in keys):
            found.append(more)
    if "s3:PutObjectAcl" not in found and any(key.startswith("HTTP_X_AMZ_GRANT_") for key in environ):
        found.append("s3:PutObjectAcl")
    return tuple(found)
