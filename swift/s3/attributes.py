"""GetObjectAttributes: what is known of an object, without its bytes (spec s3.md 14).

Never here: how checksums are taken and kept (`checksums`).
"""

from __future__ import annotations

from typing import Any

from swift.s3 import checksums, customer_keys, manifests, metadata, storage_classes
from swift.s3.answers import Answer, Headers, xml_answer
from swift.s3.errors import S3Error
from swift.s3.multipart import part_checksums
from swift.s3.objects import check_version
from swift.s3.request import S3Request
from swift.s3.xml import document, element, node
from swift.wire.subanswer import Subanswer

_NAMES = frozenset(("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"))
_NUMBERS = ("x-amz-max-parts", "x-amz-part-number-marker")
_MOST_PARTS = 1000
_TOLD = ("Last-Modified", "x-amz-version-id", "x-amz-delete-marker")


def get(request: S3Request) -> Answer:
    """Raises S3Error."""
    bucket, key = request.bucket, request.key
    assert bucket is not None and key is not None
    wanted = _wanted(request)
    query = {}
    version = request.version_id
    if version is not None:
        check_version(version)
        query["version-id"] = version
    secret = customer_keys.sent(request)
    answer = request.ask("HEAD", bucket, key, query, customer_keys.read(secret))
    answer.close()
    customer_keys.check(answer, secret)
    if answer.status != 200:
        raise _missing(request, answer, bucket, key)
    shown = metadata.shown_headers(answer.headers)
    inner = []
    if "ETag" in wanted:
        inner.append(element("ETag", dict(shown).get("ETag", "").strip('"')))
    kept = checksums.split(answer.get(checksums.SYSMETA))
    if "Checksum" in wanted and kept is not None:
        name, value, kind = kept
        inner.append(
            node(
                "Checksum",
                element(checksums.element_name(name), value.partition("-")[0]),
                element("ChecksumType", kind),
            )
        )
    if "ObjectParts" in wanted and (answer.get("x-static-large-object") or "").lower() == "true":
        inner.append(_parts(request, manifests.items_of(request, bucket, key, query)))
    if "StorageClass" in wanted:
        inner.append(element("StorageClass", storage_classes.of_object(request, answer)))
    if "ObjectSize" in wanted:
        inner.append(element("ObjectSize", answer.get("content-length") or 0))
    told: Headers = [pair for pair in shown if pair[0] in _TOLD]
    return xml_answer(document("GetObjectAttributesResponse", *inner), told)


def _wanted(request: S3Request) -> set[str]:
    """What is asked for. Raises S3Error."""
    text = request.header("x-amz-object-attributes") or ""
    names = {part.strip() for part in text.split(",") if part.strip()}
    if not names or names - _NAMES:
        raise S3Error(
            "InvalidArgument",
            "Invalid attribute name specified.",
            ArgumentName="x-amz-object-attributes",
            ArgumentValue=text,
        )
    for name in _NUMBERS:
        number = request.header(name)
        if number is not None and not (number.isascii() and number.isdigit() and len(number) < 10):
            raise S3Error("InvalidArgument", ArgumentName=name, ArgumentValue=number)
    return names


def _parts(request: S3Request, items: list[dict[str, Any]]) -> str:
    """The parts, a page of them if they have checksums; the number of one is its place in the manifest."""
    most = min(int(request.header(_NUMBERS[0]) or _MOST_PARTS), _MOST_PARTS)
    after = int(request.header(_NUMBERS[1]) or 0)
    page = items[after : after + most]
    last = after + len(page)
    inner = [element("PartsCount", len(items))]
    if items and all(item.get(manifests.CHECKSUM) for item in items):
        inner += [
            element("PartNumberMarker", after),
            element("NextPartNumberMarker", last),
            element("MaxParts", most),
            element("IsTruncated", "true" if last < len(items) and most else "false"),
        ]
        for number, item in enumerate(page, after + 1):
            checksum = part_checksums.element_of(str(item[manifests.CHECKSUM]))
            inner.append(
                node("Part", element("PartNumber", number), element("Size", item.get("bytes", 0)), checksum)
            )
    return node("ObjectParts", *inner)


def _missing(request: S3Request, answer: Subanswer, bucket: str, key: str) -> S3Error:
    error = request.error_of(answer, bucket, key)
    if error.code != "NoSuchKey":
        return error
    if request.container_info(bucket)["status"] == 404:
        return S3Error("NoSuchBucket", BucketName=bucket)
    version = request.version_id
    is_marker = answer.get("x-backend-content-type") == metadata.DELETE_MARKER_TYPE or (
        answer.get("content-type") == metadata.DELETE_MARKER_TYPE
    )
    if is_marker and version is not None:
        return S3Error(
            "MethodNotAllowed",
            headers=[("x-amz-delete-marker", "true"), ("Allow", "DELETE")],
            Method="GET",
            ResourceType="DeleteMarker",
        )
    if is_marker:
        return S3Error("NoSuchKey", headers=[("x-amz-delete-marker", "true")], Key=key)
    if version is not None and version != "null":
        return S3Error("NoSuchVersion", Key=key, VersionId=version)
    return error
