"""UploadPart, UploadPartCopy and ListParts (spec s3.md 7.5)."""

from __future__ import annotations

from swift.s3 import copying, payload, times
from swift.s3.answers import Answer, empty, xml_answer
from swift.s3.errors import S3Error
from swift.s3.multipart import layout
from swift.s3.request import S3Request, quoted
from swift.s3.service import owner
from swift.s3.xml import document, element, text_of

_AWS_MOST = 10_000


def upload_part(request: S3Request) -> Answer:
    """UploadPart, and UploadPartCopy where a header names a source."""
    bucket, key = layout.names_of(request)
    if "uploadId" not in request.params:
        raise S3Error(
            "InvalidArgument",
            "Unexpected query string parameter",
            ArgumentName="ResourceType",
            ArgumentValue="partNumber",
        )
    number = part_number(request, request.params["partNumber"])
    upload = layout.upload_id_of(request)
    layout.check_upload(request, bucket, key, upload)
    container, name = layout.segments(bucket), f"{key}/{upload}/{number}"
    if request.header("x-amz-copy-source") is not None:
        return copying.copy_part(request, container, name)
    body = payload.prepared(request)
    answer = body.put(request, container, name, body.headers())
    return empty(200, [("ETag", f'"{answer.etag}"'), *body.told()])


def part_number(request: S3Request, text: str) -> int:
    """Raises S3Error for what is no number of a part."""
    most = request.options.max_upload_part_num
    if not layout.is_part_number(text) or int(text) > most:
        raise S3Error(
            "InvalidArgument",
            f"Part number must be an integer between 1 and {most}, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text,
        )
    return int(text)


def list_parts(request: S3Request) -> Answer:
    """ListParts, in the order of their numbers."""
    bucket, key = layout.names_of(request)
    params = request.params
    encoding = params.get("encoding-type")
    if encoding is not None and encoding != "url":
        raise S3Error(
            "InvalidArgument",
            "Invalid Encoding Method specified in Request",
            ArgumentName="encoding-type",
            ArgumentValue=encoding,
        )
    most = _number(params, "max-parts", _AWS_MOST if request.options.max_parts_listing > 1000 else 1000)
    limit = min(most, request.options.max_parts_listing)
    after = _number(params, "part-number-marker", 0)
    upload = layout.upload_id_of(request)
    layout.check_upload(request, bucket, key, upload)
    rows = [item for item in layout.parts_of(request, bucket, key, upload).items() if item[0] > after]
    page = rows[:limit]
    parts = [
        element("Bucket", bucket),
        element("Key", quoted(key) if encoding else key),
        element("UploadId", upload),
        owner(request, "Initiator"),
        owner(request),
        element("StorageClass", "STANDARD"),
        element("PartNumberMarker", after),
        element("NextPartNumberMarker", page[-1][0] if page else 0),
        element("MaxParts", limit),
    ]
    if encoding:
        parts.append(element("EncodingType", encoding))
    parts.append(element("IsTruncated", "true" if len(rows) > limit and limit else "false"))
    for number, row in page:
        parts.append(
            f"<Part><PartNumber>{number}</PartNumber><LastModified>{times.of_iso(row['last_modified'])}</LastModified>"
            f"<ETag>{text_of(_quoted_etag(row['hash']))}</ETag><Size>{row['bytes']}</Size></Part>"
        )
    return xml_answer(document("ListPartsResult", *parts))


def _quoted_etag(text: str) -> str:
    return '"' + text.partition(";")[0].strip().strip('"') + '"'


def _number(params: dict[str, str], name: str, default: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > 2147483647:
        raise S3Error(
            "InvalidArgument",
            f"Argument {name} must be an integer between 0 and 2147483647",
            ArgumentName=name,
            ArgumentValue=text,
        )
    return int(text)
