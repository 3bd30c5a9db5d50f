"""GetBucketWebsite, PutBucketWebsite, DeleteBucketWebsite."""

from __future__ import annotations

from swift.s3 import bucket_documents
from swift.s3.answers import Answer, empty, xml_answer
from swift.s3.errors import S3Error
from swift.s3.request import S3Request
from swift.s3.website import document

_MOST_BYTES = 131_072


def get(request: S3Request) -> Answer:
    """GetBucketWebsite."""
    found = bucket_documents.current(request, document.NAME)
    if found is None:
        raise S3Error("NoSuchWebsiteConfiguration", BucketName=request.bucket)
    return xml_answer(document.shown(found))


def put(request: S3Request) -> Answer:
    """PutBucketWebsite."""
    found = document.parse(request.document_body(_MOST_BYTES))
    bucket_documents.store(request, document.NAME, found)
    return empty(200)


def delete(request: S3Request) -> Answer:
    """DeleteBucketWebsite."""
    bucket_documents.remove(request, document.NAME)
    return empty(204)
