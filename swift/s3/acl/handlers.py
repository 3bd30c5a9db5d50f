"""The operations of ?acl: by which ACLs count (spec s3.md 8)."""

from __future__ import annotations

from swift.s3.acl import native, own
from swift.s3.answers import Answer
from swift.s3.request import S3Request


def get(request: S3Request) -> Answer:
    """GetBucketAcl and GetObjectAcl."""
    return own.get(request) if request.options.s3_acl else native.get(request)


def put_bucket(request: S3Request) -> Answer:
    """PutBucketAcl."""
    return own.put_bucket(request) if request.options.s3_acl else native.put_bucket(request)


def put_object(request: S3Request) -> Answer:
    """PutObjectAcl."""
    return own.put_object(request) if request.options.s3_acl else native.put_object(request)
