"""The parts that a completion names, and what a listing knows of them (spec s3.md 7.5, 14)."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from swift.core.timestamp import http_date
from swift.middleware.slo.upload import Head, Known, Wanted
from swift.s3 import times
from swift.s3.errors import S3Error
from swift.s3.multipart import layout
from swift.s3.multipart.parts import listed
from swift.s3.request import S3Request
from swift.s3.xml import Node, Text, many, maybe, one, read
from swift.wire.message import str_to_wsgi, wsgi_quote

_DOCUMENT_LIMIT = 2_097_152
_CHECKSUMS = ("ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256")
_PART = Node(
    {
        "PartNumber": one(Text("[0-9]{1,9}")),
        "ETag": one(Text(most=128)),
        **{name: maybe(Text(most=128)) for name in _CHECKSUMS},
    }
)
_SCHEMA = Node({"Part": many(_PART, 0, layout.MOST_PARTS)})
_ETAG = re.compile("[0-9a-f]{32}")


class Part(NamedTuple):
    """`etag`: hex, without quotes."""

    number: int
    etag: str


Parts = list[Part]


def parts_in(request: S3Request, upload: str) -> Parts:
    """What the body of a completion names. Raises S3Error."""
    data = request.document_body(_DOCUMENT_LIMIT, required=False)
    if not data:
        raise S3Error("InvalidRequest", "You must specify at least one part")
    parts: Parts = []
    for found in read(data, "CompleteMultipartUpload", _SCHEMA)["Part"]:
        number, etag = int(found["PartNumber"]), found["ETag"].strip().strip('"')
        if parts and number <= parts[-1].number:
            raise S3Error("InvalidPartOrder", UploadId=upload)
        if not _ETAG.fullmatch(etag) or not 1 <= number <= layout.MOST_PARTS:
            raise S3Error("InvalidPart", UploadId=upload, PartNumber=number, ETag=etag)
        parts.append(Part(number, etag))
    if not parts:
        raise S3Error("InvalidRequest", "You must specify at least one part")
    return parts


def etag_of(parts: Parts) -> str:
    """What S3 calls the object that is made of these parts."""
    digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(parts)}"


def manifest_of(request: S3Request, bucket: str, key: str, upload: str, parts: Parts) -> Known:
    """The parts as items of a manifest; what is listed with another ETag, or not yet, is left to be looked at. Raises S3Error."""
    rows = layout.parts_of(request, bucket, key, upload)
    start = f"/{layout.segments(bucket)}/{key}/{upload}/"
    native = str_to_wsgi(start)
    shown = str(wsgi_quote(native))
    items, heads = [], {}
    for number, etag in parts:
        name = f"{native}{number}"
        items.append(Wanted(None, f"{shown}{number}", name, etag))
        row = rows.get(number)
        if row is not None and listed(row) == etag:
            modified = http_date(times.seconds_of_iso(row["last_modified"]))
            heads[name] = Head("", row["bytes"], etag, str_to_wsgi(row["content_type"]), modified)
    return Known(items, heads)
