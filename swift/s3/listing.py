"""Listings of a bucket: ListObjects, ListObjectsV2, ListObjectVersions (spec s3.md 7.3, 27).

Documents are written row by row as text. Never here: what the rows of a native listing carry behind their ETags (`listing_etag`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import orjson

from swift.core.config import truthy
from swift.core.constraints import limits
from swift.s3 import objects, storage_classes, times
from swift.s3.answers import Answer, xml_answer
from swift.s3.errors import S3Error
from swift.s3.listing_etag import etag_of
from swift.s3.request import S3Request, quoted
from swift.s3.service import owner
from swift.s3.xml import document, element, text_of

_MOST_BYTES = 64 * 1024 * 1024
_LARGEST = 2147483647
_MARKER_TYPE = "application/x-deleted;swift_versions_deleted=1"
_PLAIN_FIELDS = len(("bytes", "hash", "name", "content_type", "last_modified"))
Row = dict[str, Any]


class _Page:
    """What a listing's parameters say. Raises S3Error."""

    def __init__(self, request: S3Request) -> None:
        params = request.params
        self.request = request
        self.prefix = params.get("prefix", "")
        self.delimiter = params.get("delimiter", "")
        self.encoding = params.get("encoding-type")
        if self.encoding is not None and self.encoding != "url":
            raise _bad("encoding-type", self.encoding, "Invalid Encoding Method specified in Request")
        self.asked = _max_keys(params.get("max-keys"), request.options.max_bucket_listing)
        most = limits().container_listing_limit - 1  # one more is asked for
        self.limit = min(self.asked, request.options.max_bucket_listing, most)
        self.shown: Callable[[str], str] = quoted if self.encoding else str
        self.is_truncated = False

    def rows(self, query: dict[str, str]) -> list[Row]:
        """As many rows as are asked for; `is_truncated`: there are more. Raises S3Error."""
        request = self.request
        query = {"format": "json", "limit": str(self.limit + 1), **query}
        for name in ("prefix", "delimiter"):
            value = getattr(self, name)
            if value:
                query[name] = value
        answer = request.ask("GET", request.bucket, query=query)
        if answer.status not in (200, 204):
            raise request.error_of(answer, request.bucket)
        data = answer.read(_MOST_BYTES)
        rows = orjson.loads(data) if data else []
        self.is_truncated = 0 < self.limit < len(rows)
        return rows[: self.limit]  # type: ignore[no-any-return]

    def name_of(self, row: Row) -> str:
        return row["subdir"] if "subdir" in row else row["name"]  # type: ignore[no-any-return]

    def head(self, *between: str) -> list[str]:
        """The elements at the beginning; `between`: those that tell of the page's borders."""
        parts = [
            element("Name", self.request.bucket or ""),
            element("Prefix", self.shown(self.prefix)),
            *between,
        ]
        parts.append(element("MaxKeys", self.limit))
        if self.delimiter:
            parts.append(element("Delimiter", self.shown(self.delimiter)))
        if self.encoding:
            parts.append(element("EncodingType", self.encoding))
        parts.append(element("IsTruncated", "true" if self.is_truncated else "false"))
        return parts

    def body(self, rows: list[Row], with_owner: str) -> list[str]:
        """The keys, then the common prefixes."""
        shown = self.shown
        of_iso = times.of_iso
        kind = storage_classes.of_bucket(self.request)
        end = f"</Size>{with_owner}<StorageClass>{kind}</StorageClass></Contents>"
        keys: list[str] = []
        prefixes: list[str] = []
        for row in rows:
            if "subdir" in row:
                prefixes.append(
                    f"<CommonPrefixes><Prefix>{text_of(shown(row['subdir']))}</Prefix></CommonPrefixes>"
                )
            else:
                keys.append(
                    f"<Contents><Key>{text_of(shown(row['name']))}</Key><LastModified>{of_iso(row['last_modified'])}"
                    f"</LastModified><ETag>{_etag_text(row)}</ETag><Size>{row['bytes']}{end}"
                )
        return keys + prefixes


def _etag_text(row: Row) -> str:
    """As it stands in a document. Nearly all rows have nothing but an MD5."""
    plain = row["hash"]
    if plain and len(plain) == 32 and len(row) == _PLAIN_FIELDS and plain.isalnum():
        return f'"{plain}"'
    return text_of(etag_of(row))


def _bad(name: str, value: str, message: str) -> S3Error:
    return S3Error("InvalidArgument", message, ArgumentName=name, ArgumentValue=value)


def _max_keys(text: str | None, default: int) -> int:
    if text is None:
        return default
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 10 or int(digits) > _LARGEST:
        raise _bad("max-keys", text, "Provided max-keys not an integer or within integer range")
    if text[0] == "-" and int(digits):
        raise _bad("max-keys", text, f"Argument max-keys must be an integer between 0 and {_LARGEST}")
    return int(digits)


def list_objects(request: S3Request) -> Answer:
    """ListObjects and ListObjectsV2."""
    kind = request.params.get("list-type")
    if kind is None:
        return _version_1(request)
    if re.fullmatch("[+-]?[0-9]{1,10}", kind) is None:
        raise _bad("list-type", kind, "Argument list-type must be an integer")
    return _version_2(request) if int(kind) == 2 else _version_1(request)


def _version_1(request: S3Request) -> Answer:
    page = _Page(request)
    marker = request.params.get("marker", "")
    rows = page.rows({"marker": marker} if marker else {})
    between = [element("Marker", page.shown(marker))]
    if page.is_truncated and page.delimiter:
        between.append(element("NextMarker", page.shown(page.name_of(rows[-1]))))
    return xml_answer(document("ListBucketResult", *page.head(*between), *page.body(rows, owner(request))))


def _version_2(request: S3Request) -> Answer:
    page = _Page(request)
    params = request.params
    token = params.get("continuation-token")
    start_after = params.get("start-after", "")
    marker = start_after
    if token is not None:
        marker = _name_of_token(token)
    rows = page.rows({"marker": marker} if marker else {})
    between = []
    if page.is_truncated:
        last = base64.b64encode(page.name_of(rows[-1]).encode()).decode()
        between.append(element("NextContinuationToken", last))
    if token is not None:
        between.append(element("ContinuationToken", token))
    if start_after:
        between.append(element("StartAfter", page.shown(start_after)))
    between.append(element("KeyCount", len(rows)))
    with_owner = owner(request) if truthy(params.get("fetch-owner", "")) else ""
    return xml_answer(document("ListBucketResult", *page.head(*between), *page.body(rows, with_owner)))


def _name_of_token(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), validate=True).decode()
    except ValueError:
        raise _bad(
            "continuation-token", quoted(token), "The continuation token provided is incorrect"
        ) from None


def list_versions(request: S3Request) -> Answer:
    """ListObjectVersions."""
    page = _Page(request)
    params = request.params
    marker = params.get("key-marker", "")
    version = params.get("version-id-marker", "")
    if version and not marker:
        raise _bad(
            "version-id-marker", version, "A version-id marker cannot be specified without a key marker."
        )
    query = {"versions": ""}
    if marker:
        query["marker"] = marker
    if version:
        if version != "null" and not _is_version(version):
            raise _bad("version-id-marker", version, "Invalid version id specified")
        query["version_marker"] = version
    rows = page.rows(query)
    between = [
        element("KeyMarker", page.shown(marker)),
        element("VersionIdMarker", version),
    ]
    if page.is_truncated:
        between.append(element("NextKeyMarker", page.shown(page.name_of(rows[-1]))))
        between.append(element("NextVersionIdMarker", rows[-1].get("version_id", "null")))
    return xml_answer(
        document(
            "ListVersionsResult", *page.head(*between), *_versions(page, rows, marker if version else None)
        )
    )


def _versions(page: _Page, rows: list[Row], before: str | None) -> list[str]:
    """`before`: the key that the page before has ended in the versions of. Where versions are suspended, a key that has some and nothing at its
    name has been deleted: that is its null delete marker, of which nothing else is stored."""
    who = owner(page.request)
    found, prefixes = [], []
    is_suspended = objects.is_suspended(page.request)
    kind = storage_classes.of_bucket(page.request)
    for row in rows:
        if "subdir" in row:
            prefixes.append(
                f"<CommonPrefixes><Prefix>{text_of(page.shown(row['subdir']))}</Prefix></CommonPrefixes>"
            )
            continue
        latest = "true" if row.get("is_latest", True) else "false"
        if is_suspended and latest == "false" and row["name"] != before:
            found.append(
                f"<DeleteMarker><Key>{text_of(page.shown(row['name']))}</Key><VersionId>null</VersionId><IsLatest>true</IsLatest>"
                f"<LastModified>{times.of_iso(row['last_modified'])}</LastModified>{who}</DeleteMarker>"
            )
        before = row["name"]
        start = (
            f"<Key>{text_of(page.shown(row['name']))}</Key><VersionId>{row.get('version_id', 'null')}</VersionId>"
            f"<IsLatest>{latest}</IsLatest><LastModified>{times.of_iso(row['last_modified'])}</LastModified>"
        )
        if row.get("content_type") == _MARKER_TYPE:
            found.append(f"<DeleteMarker>{start}{who}</DeleteMarker>")
        else:
            found.append(
                f"<Version>{start}<ETag>{text_of(etag_of(row))}</ETag><Size>{row['bytes']}</Size>{who}"
                f"<StorageClass>{kind}</StorageClass></Version>"
            )
    return found + prefixes


def _is_version(text: str) -> bool:
    whole, dot, rest = text.partition(".")
    return bool(dot) and text.isascii() and whole.isdigit() and rest.isdigit() and len(text) <= 17
