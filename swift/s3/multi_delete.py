"""DeleteObjects: many keys in one request (spec s3.md 7.4, 27)."""

from __future__ import annotations

from typing import NamedTuple

from swift.core.concurrency import Timeout
from swift.core.constraints import limits
from swift.middleware.parallel import in_parallel
from swift.s3 import access, objects
from swift.s3.answers import Answer, xml_answer
from swift.s3.conditional_deletes import delete_one
from swift.s3.errors import S3Error
from swift.s3.request import S3Request
from swift.s3.write_conditions import of_deletion
from swift.s3.xml import Node, Text, document, element, many, maybe, node, one, read

_LARGEST = 10 * 1024 * 1024
_SCHEMA = Node(
    {
        "Quiet": maybe(Text("(?i)true|false")),
        "Object": many(
            Node(
                {
                    "Key": one(Text()),
                    "VersionId": maybe(Text()),
                    "ETag": maybe(Text()),
                    "LastModifiedTime": maybe(Text()),
                    "Size": maybe(Text()),
                }
            ),
            1,
        ),
    }
)


class _Doomed(NamedTuple):
    key: str
    version: str | None
    etag: str | None = None
    modified: str | None = None
    size: str | None = None


def delete_objects(request: S3Request) -> Answer:
    """DeleteObjects; the answer is in the order of the request."""
    assert request.bucket is not None
    bucket = request.bucket
    most = request.options.max_multi_delete_objects
    if request.header("content-md5") is None and not _has_checksum(request):
        raise S3Error(
            "InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
        )
    data = request.document_body(min(2 * most * limits().max_object_name_length, _LARGEST))
    found = read(data, "Delete", _SCHEMA)
    if len(found["Object"]) > most:
        raise S3Error("MalformedXML")
    doomed = [
        _Doomed(item["Key"], *map(item.get, ("VersionId", "ETag", "LastModifiedTime", "Size")))
        for item in found["Object"]
    ]
    if any(not item.key for item in doomed):
        raise S3Error("UserKeyMustBeSpecified")
    status = request.container_info()["status"]
    if status in (0, 404):
        raise S3Error("NoSuchBucket", BucketName=bucket)
    if not 200 <= status < 300:
        raise S3Error("ServiceUnavailable")
    unique = list(dict.fromkeys(doomed))

    def delete(item: _Doomed) -> str:
        try:
            access.require(
                request, "s3:DeleteObject", bucket, item.key, version_id=item.version, permission="WRITE"
            )
            condition = of_deletion(*item[2:])
            gone = delete_one(request, item.key, item.version, condition)
        except S3Error as error:
            return _told(item, error)
        except (Exception, Timeout):
            # Of the others' keys the client is told what became of them.
            request.logger.exception("deleting %s of %s", item.key, request.resource)
            return _told(item, S3Error("InternalError"))
        return _gone(item, gone)

    results = dict(
        in_parallel(
            delete, unique, request.options.multi_delete_concurrency, lambda text: text.startswith("<Deleted")
        )
    )
    is_quiet = found.get("Quiet", "").lower() == "true"
    shown = [results[item] for item in unique if not (is_quiet and results[item].startswith("<Deleted"))]
    return xml_answer(document("DeleteResult", *shown))


def _has_checksum(request: S3Request) -> bool:
    return any(key.startswith("HTTP_X_AMZ_CHECKSUM_") for key in request.environ) or bool(
        request.header("x-amz-trailer")
    )


def _gone(item: _Doomed, gone: objects.Gone) -> str:
    parts = [element("Key", item.key)]
    if item.version is not None:
        parts.append(element("VersionId", item.version))
    if gone.is_marker:
        parts.append(element("DeleteMarker", "true"))
        parts.append(element("DeleteMarkerVersionId", gone.version or item.version or "null"))
    return node("Deleted", *parts)


def _told(item: _Doomed, error: S3Error) -> str:
    parts = [element("Key", item.key)]
    if item.version is not None:
        parts.append(element("VersionId", item.version))
    return node("Error", *parts, element("Code", error.code), element("Message", error.message))
