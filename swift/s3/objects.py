"""Objects: GET, HEAD, PUT and DELETE (spec s3.md 7.4)."""

from __future__ import annotations

from swift.s3 import metadata
from swift.s3.answers import Answer, empty
from swift.s3.errors import S3Error
from swift.s3.request import S3Request
from swift.wire.subanswer import Subanswer

_CLIENT_TYPE = "binary/octet-stream"


def get(request: S3Request) -> Answer:
    """GetObject and HeadObject."""
    bucket, key = _names(request)
    headers = metadata.named_headers(request.environ, metadata.READ_HEADERS)
    answer = request.given(request.method, bucket, key, headers=headers)
    if answer.status not in (200, 206, 304):
        raise missing(request, answer)
    return request.passed(answer, metadata.shown_headers(answer.headers))


def put(request: S3Request) -> Answer:
    """PutObject."""
    bucket, key = _names(request)
    environ = request.environ
    length = environ.get("CONTENT_LENGTH")
    if length is None and "HTTP_TRANSFER_ENCODING" not in environ:
        raise S3Error("MissingContentLength")
    headers = {
        **metadata.named_headers(environ, metadata.STORED_HEADERS),
        **metadata.user_metadata(environ),
    }
    headers["CONTENT_TYPE"] = headers.get("CONTENT_TYPE") or _CLIENT_TYPE
    answer = request.given(
        "PUT",
        bucket,
        key,
        headers=headers,
        input=environ["wsgi.input"],
        length=None if length is None else int(length),
    )
    if answer.status not in (201, 202):
        raise request.error_of(answer, bucket, key)
    answer.drain()
    shown = [
        pair
        for pair in metadata.shown_headers(answer.headers)
        if pair[0] in ("ETag", "Last-Modified") or pair[0].startswith("x-amz-")
    ]
    return empty(200, shown)


def delete(request: S3Request) -> Answer:
    """DeleteObject."""
    bucket, key = _names(request)
    answer = request.ask("DELETE", bucket, key)
    if answer.status not in (200, 204, 404):
        raise request.error_of(answer, bucket, key)
    answer.drain()
    return empty(204)


def missing(request: S3Request, answer: Subanswer) -> S3Error:
    """The error of a read that failed: of no object, it may be the bucket that isn't there."""
    bucket, key = _names(request)
    error = request.error_of(answer, bucket, key)
    if error.code == "NoSuchKey" and request.container_info()["status"] == 404:
        return S3Error("NoSuchBucket", BucketName=bucket)
    return error


def _names(request: S3Request) -> tuple[str, str]:
    assert request.bucket is not None and request.key is not None
    return request.bucket, request.key
