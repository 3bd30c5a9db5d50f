"""RestoreObject (spec s3.md 29): nothing is ever archived here, so there is nothing to bring back."""

from __future__ import annotations

from swift.s3 import objects, storage_classes
from swift.s3.answers import Answer
from swift.s3.errors import S3Error
from swift.s3.request import S3Request

_NOT_ARCHIVED = "Restore is not allowed for the object's current storage class"


def restore(request: S3Request) -> Answer:
    """RestoreObject. Raises S3Error."""
    bucket, key, version = request.bucket, request.key, request.version_id
    if version is not None:
        objects.check_version(version)
    found = request.ask("HEAD", bucket, key, None if version is None else {"version-id": version})
    if not found.is_success:
        error = request.error_of(found, bucket, key)
        if error.code == "NoSuchKey" and request.container_info()["status"] == 404:
            raise S3Error("NoSuchBucket", BucketName=bucket)
        raise error
    found.close()
    kind = storage_classes.of_object(request, found)
    raise S3Error("InvalidObjectState", _NOT_ARCHIVED, StorageClass=kind)
