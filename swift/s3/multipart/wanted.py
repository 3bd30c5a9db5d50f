"""The parts that a completion names, and what a listing knows of them (spec s3.md 7.5, 14)."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from swift.core.timestamp import http_date
from swift.middleware.parallel import in_parallel
from swift.middleware.slo.upload import Head, Known, Wanted
from swift.s3 import checksums, times
from swift.s3.errors import S3Error
from swift.s3.multipart import layout
from swift.s3.multipart.part_checksums import Kept, Named
from swift.s3.multipart.parts import listed
from swift.s3.request import S3Request
from swift.s3.xml import Node, Text, many, maybe, one, read
from swift.wire.message import str_to_wsgi, wsgi_quote
from swift.wire.subanswer import Subanswer

_DOCUMENT_LIMIT = 2_097_152
_PART = Node(
    {
        "PartNumber": one(Text("[0-9]{1,9}")),
        "ETag": one(Text(most=128)),
        **{checksums.element_name(name): maybe(Text(most=128)) for name in checksums.ALGORITHMS},
    }
)
_SCHEMA = Node({"Part": many(_PART, 0, layout.MOST_PARTS)})
_ETAG = re.compile("[0-9a-f]{32}")
_AT_A_TIME = 8

Parts = list[Named]


class Found(NamedTuple):
    """The parts as items of a manifest, what is known of them by their numbers, and the names of those that nothing is made of."""

    manifest: Known
    kept: dict[int, Kept]
    unused: list[str]


def parts_in(request: S3Request, upload: str) -> Parts:
    """What the body of a completion names. Raises S3Error."""
    data = request.document_body(_DOCUMENT_LIMIT, required=False, is_described=False)
    if not data:
        raise S3Error("InvalidRequest", "You must specify at least one part")
    parts: Parts = []
    for found in read(data, "CompleteMultipartUpload", _SCHEMA)["Part"]:
        number, etag = int(found["PartNumber"]), found["ETag"].strip().strip('"')
        if parts and number <= parts[-1].number:
            raise S3Error("InvalidPartOrder", UploadId=upload)
        if not _ETAG.fullmatch(etag) or not 1 <= number <= layout.MOST_PARTS:
            raise S3Error("InvalidPart", UploadId=upload, PartNumber=number, ETag=etag)
        given = {name: found.get(checksums.element_name(name)) for name in checksums.ALGORITHMS}
        parts.append(Named(number, etag, {name: value for name, value in given.items() if value}))
    if not parts:
        raise S3Error("InvalidRequest", "You must specify at least one part")
    return parts


def etag_of(parts: Parts) -> str:
    """What S3 calls the object that is made of these parts."""
    digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(parts)}"


def find(request: S3Request, bucket: str, key: str, upload: str, parts: Parts, has_checksums: bool) -> Found:
    """What is stored of the parts; what is listed with another ETag, or not yet, is left to be looked at by who stores the manifest.

    `has_checksums`: parts without one in their rows are asked for it here. Raises S3Error.
    """
    rows = layout.parts_of(request, bucket, key, upload)
    start = f"/{layout.segments(bucket)}/{key}/{upload}/"
    native = str_to_wsgi(start)
    shown = str(wsgi_quote(native))
    items, heads, kept = [], {}, {}
    unknown = []
    for part in parts:
        number, etag, _ = part
        name = f"{native}{number}"
        items.append(Wanted(None, f"{shown}{number}", name, etag))
        row = rows.get(number)
        if row is None or listed(row) != etag:
            unknown.append(part)
            continue
        modified = http_date(times.seconds_of_iso(row["last_modified"]))
        kind, checksum = checksums.of_part(row["content_type"])
        heads[name] = Head("", row["bytes"], etag, str_to_wsgi(kind), modified)
        kept[number] = Kept(row["bytes"], checksum)
        if not checksum:
            unknown.append(part)
    if has_checksums:
        for part, answer in _looked_at(request, bucket, key, upload, unknown):
            if answer.is_success and answer.etag == part.etag:
                size, kind = answer.content_length or 0, answer.get("content-type") or ""
                modified = answer.get("last-modified") or ""
                heads.setdefault(f"{native}{part.number}", Head("", size, part.etag, kind, modified))
                kept[part.number] = Kept(size, _checksum_of(answer))
            elif answer.status >= 500:
                raise request.error_of(answer, bucket, key)
    wanted = {part.number for part in parts}
    unused = [row["name"] for number, row in rows.items() if number not in wanted]
    return Found(Known(items, heads), kept, unused)


def _looked_at(
    request: S3Request, bucket: str, key: str, upload: str, parts: Parts
) -> list[tuple[Named, Subanswer]]:
    container = layout.segments(bucket)

    def look(part: Named) -> Subanswer:
        found = request.ask("HEAD", container, f"{key}/{upload}/{part.number}", headers=layout.NEWEST)
        found.close()
        return found

    return list(in_parallel(look, parts, _AT_A_TIME, lambda found: found.status < 500))


def _checksum_of(answer: Subanswer) -> str:
    found = checksums.split(answer.get(checksums.SYSMETA))
    return f"{found[0]}:{found[1]}" if found is not None else ""
