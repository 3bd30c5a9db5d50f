"""ListMultipartUploads (spec s3.md 7.5, 27).

Uploads and parts lie in one container, those of objects that are complete among them: what is behind a page's end is skipped upload
by upload, not read part by part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from swift.s3 import times
from swift.s3.answers import Answer, xml_answer
from swift.s3.errors import S3Error
from swift.s3.multipart import layout
from swift.s3.request import S3Request, quoted
from swift.s3.service import owner
from swift.s3.xml import document, element, node

_MOST = 1000
_PAGE = 1000
_BEHIND_NUMBERS = ":"  # sorts behind all digits


def list_uploads(request: S3Request) -> Answer:
    """ListMultipartUploads."""
    if request.key is not None or request.bucket is None:
        raise S3Error("InvalidRequest", "A key must not be specified")
    bucket, params = request.bucket, request.params
    layout.check_bucket(request, bucket)
    encoding = params.get("encoding-type")
    if encoding is not None and encoding != "url":
        raise _bad("encoding-type", encoding, "Invalid Encoding Method specified in Request")
    shown = quoted if encoding else str
    limit = _limit(params.get("max-uploads"))
    prefix, delimiter = params.get("prefix", ""), params.get("delimiter", "")
    after, after_id = params.get("key-marker", ""), params.get("upload-id-marker", "")
    uploads: list[str] = []
    prefixes: list[str] = []
    last = ("", "")
    truncated = False
    for key, upload, row in _found(request, layout.segments(bucket), prefix, after, after_id):
        common = _common(key, prefix, delimiter)
        if common is not None and (common in prefixes or (after and common <= after)):
            continue
        if len(uploads) + len(prefixes) >= limit:
            truncated = limit > 0
            break
        last = (key, upload)
        if common is not None:
            prefixes.append(common)
            last = (common, "")
            continue
        uploads.append(
            node(
                "Upload",
                element("Key", shown(key)),
                element("UploadId", upload),
                owner(request, "Initiator"),
                owner(request),
                element("StorageClass", "STANDARD"),
                element("Initiated", times.of_iso(row["last_modified"])),
            )
        )
    parts = [
        element("Bucket", bucket),
        element("KeyMarker", shown(after)),
        element("UploadIdMarker", after_id),
        element("NextKeyMarker", shown(last[0]) if truncated else ""),
        element("NextUploadIdMarker", last[1] if truncated else ""),
    ]
    if delimiter:
        parts.append(element("Delimiter", shown(delimiter)))
    if prefix:
        parts.append(element("Prefix", shown(prefix)))
    parts.append(element("MaxUploads", limit))
    if encoding:
        parts.append(element("EncodingType", encoding))
    parts.append(element("IsTruncated", "true" if truncated else "false"))
    parts.extend(uploads)
    parts.extend(node("CommonPrefixes", element("Prefix", shown(common))) for common in prefixes)
    return xml_answer(document("ListMultipartUploadsResult", *parts))


def _bad(name: str, value: str, message: str) -> S3Error:
    return S3Error("InvalidArgument", message, ArgumentName=name, ArgumentValue=value)


def _limit(text: str | None) -> int:
    if text is None:
        return _MOST
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > 2147483647:
        raise _bad("max-uploads", text, "Argument max-uploads must be an integer between 0 and 2147483647")
    return min(int(text), _MOST)


def _common(key: str, prefix: str, delimiter: str) -> str | None:
    if not delimiter:
        return None
    at = key.find(delimiter, len(prefix))
    return None if at < 0 else key[: at + len(delimiter)]


def _found(
    request: S3Request, container: str, prefix: str, after: str, after_id: str
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(key, upload id, row) of the open uploads behind a place, in the order of their markers' names."""
    marker = f"{after}/{after_id}" if after and after_id else after
    while True:
        skip = ""
        count = 0
        for row in layout.rows_below(request, container, prefix, marker, _PAGE):
            count += 1
            marker = row["name"]
            parts = layout.split_name(marker)
            if parts is not None:
                key, upload, number = parts
                if number is not None:
                    skip = f"{key}/{upload}/{_BEHIND_NUMBERS}"
                elif key.startswith(prefix) and not (after and not after_id and key <= after):
                    yield key, upload, row
            if count == _PAGE:
                break
        if count < _PAGE:
            return
        if skip and marker < skip:
            marker = skip
