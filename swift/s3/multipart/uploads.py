"""ListMultipartUploads (spec s3.md 7.5, 27).

Uploads and parts lie in one container, those of objects that are complete among them: what is behind a page's end is skipped upload
by upload, not read part by part, and an answer ends after so many rows, to be gone on with from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from swift.s3 import storage_classes, times
from swift.s3.answers import Answer, xml_answer
from swift.s3.errors import S3Error
from swift.s3.multipart import layout, part_checksums
from swift.s3.request import S3Request, quoted
from swift.s3.service import owner
from swift.s3.xml import document, element, node

_MOST = 1000
_PAGE = 1000
_MOST_PAGES = 200
_BEHIND_NUMBERS = ":"  # sorts behind all digits
_LAST_LETTER = "\U0010ffff"


class _Found(NamedTuple):
    """An open upload, or with `row` None a place up to which there is none."""

    key: str
    upload: str
    row: layout.Row | None


class _Scan:
    """The open uploads of a bucket behind a place, in the order of their markers' names."""

    def __init__(self, request: S3Request, bucket: str, prefix: str, after: str, after_id: str) -> None:
        self._request = request
        self._container = layout.segments(bucket)
        self._prefix = prefix
        self._after = "" if after_id else after
        self._marker = f"{after}/{after_id}" if after_id else after

    def jump(self, name: str) -> None:
        """Nothing up to a name is wanted."""
        self._marker = max(self._marker, name)

    def __iter__(self) -> Iterator[_Found]:
        """Raises S3Error."""
        size = min(_PAGE, layout.page_size())
        last: tuple[str, str] | None = None
        for _ in range(_MOST_PAGES):
            rows = layout.page_of(self._request, self._container, self._prefix, self._marker, limit=size)
            number = None
            for row in rows:
                name = row["name"]
                if name <= self._marker:
                    continue
                self._marker = name
                parts = layout.split_name(name)
                if parts is None:
                    continue
                key, upload, number = parts
                last = key, upload
                if (
                    number is None
                    and key.startswith(self._prefix)
                    and not (self._after and key <= self._after)
                ):
                    yield _Found(key, upload, row)
            if len(rows) < size:
                return
            if number is not None and last is not None:
                self.jump("/".join((*last, _BEHIND_NUMBERS)))
        if last is not None:
            yield _Found(*last, None)


def list_uploads(request: S3Request) -> Answer:
    """ListMultipartUploads."""
    if request.key is not None or request.bucket is None:
        raise S3Error("InvalidRequest", "A key must not be specified")
    bucket, params = request.bucket, request.params
    layout.check_bucket(request, bucket)
    encoding = layout.encoding_of(request)
    shown = quoted if encoding else str
    limit = min(layout.number_of(request, "max-uploads", _MOST), _MOST)
    prefix, delimiter = params.get("prefix", ""), params.get("delimiter", "")
    after, after_id = params.get("key-marker", ""), params.get("upload-id-marker", "")
    if not after or (after_id and not layout.is_upload_id(after_id)):
        after_id = ""
    uploads: list[str] = []
    prefixes: list[str] = []
    told = _common(after, prefix, delimiter)
    last = ("", "")
    truncated = False
    scan = _Scan(request, bucket, prefix, after, after_id)
    for key, upload, row in scan:
        common = _common(key, prefix, delimiter)
        if row is not None and common is not None and common == told:
            last = key, upload
            scan.jump(common + _LAST_LETTER)
            continue
        if row is None or len(uploads) + len(prefixes) >= limit:
            truncated = limit > 0
            last = last if row is not None else (key, upload)
            break
        last = key, upload
        if common is not None:
            prefixes.append(common)
            told = common
        else:
            uploads.append(_shown(request, key if not encoding else quoted(key), upload, row))
    parts = [
        element("Bucket", bucket),
        element("KeyMarker", shown(after)),
        element("UploadIdMarker", params.get("upload-id-marker", "")),
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


def _shown(request: S3Request, key: str, upload: str, row: layout.Row) -> str:
    return node(
        "Upload",
        element("Key", key),
        element("UploadId", upload),
        owner(request, "Initiator"),
        owner(request),
        element("StorageClass", storage_classes.of_bucket(request)),
        element("Initiated", times.of_iso(row["last_modified"])),
        *part_checksums.of_row(row["content_type"]).elements(),
    )


def _common(key: str, prefix: str, delimiter: str) -> str | None:
    if not delimiter or not key.startswith(prefix):
        return None
    at = key.find(delimiter, len(prefix))
    return None if at < 0 else key[: at + len(delimiter)]
