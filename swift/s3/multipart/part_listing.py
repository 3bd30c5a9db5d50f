"""ListParts (spec s3.md 7.5, 27)."""

from __future__ import annotations

from swift.s3 import checksums, storage_classes, times
from swift.s3.answers import Answer, xml_answer
from swift.s3.multipart import layout, marker, part_checksums
from swift.s3.multipart.parts import listed
from swift.s3.request import S3Request, quoted
from swift.s3.service import owner
from swift.s3.xml import document, element, text_of

_DEFAULT = 1000


def list_parts(request: S3Request) -> Answer:
    """ListParts, in the order of their numbers."""
    bucket, key = layout.names_of(request)
    encoding = layout.encoding_of(request)
    most = request.options.max_parts_listing
    limit = min(layout.number_of(request, "max-parts", min(_DEFAULT, most)), most)
    after = layout.number_of(request, "part-number-marker", 0)
    upload = layout.upload_id_of(request)
    found = marker.look(request, bucket, key, upload)
    if found is None or marker.is_aborting(found):
        owned, found = marker.owner_of(request, bucket, key)
        if owned != upload:
            raise marker.missing(request, bucket, upload)
        announced = part_checksums.of_object(found.get(checksums.SYSMETA))
    else:
        announced = marker.announced(found)
    rows = list(layout.parts_behind(request, bucket, key, upload, after, limit + 1).items())
    page = rows[:limit]
    parts = [
        element("Bucket", bucket),
        element("Key", quoted(key) if encoding else key),
        element("UploadId", upload),
        owner(request, "Initiator"),
        owner(request),
        element("StorageClass", storage_classes.of_bucket(request)),
        element("PartNumberMarker", after),
        element("NextPartNumberMarker", page[-1][0] if page else 0),
        element("MaxParts", limit),
    ]
    if encoding:
        parts.append(element("EncodingType", encoding))
    parts.append(element("IsTruncated", "true" if len(rows) > limit and limit else "false"))
    parts.extend(announced.elements())
    for number, row in page:
        parts.append(
            f"<Part><PartNumber>{number}</PartNumber><LastModified>{times.of_iso(row['last_modified'])}</LastModified>"
            f"<ETag>{text_of(listed(row)).join(_QUOTES)}</ETag><Size>{row['bytes']}</Size>"
            f"{part_checksums.element_of(checksums.of_part(row['content_type'])[1])}</Part>"
        )
    return xml_answer(document("ListPartsResult", *parts))


_QUOTES = '""'
