"""Tags of objects and buckets (spec s3.md 15).

An object's tags are kept as a sorted query string in transient sysmeta, a marker's in sysmeta, a bucket's in its document. Never here:
how what is kept is changed (`object_changes`, `bucket_documents`), and what tags are asked for by (policies, lifecycle rules).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from swift.s3 import bucket_documents, metadata, object_changes
from swift.s3.answers import Answer, empty, xml_answer
from swift.s3.errors import S3Error
from swift.s3.notifications import events
from swift.s3.request import S3Request
from swift.s3.xml import Node, Text, document, element, many, node, one, read
from swift.wire.subanswer import Subanswer

NAME = "tagging"  # of the transient sysmeta; GET and HEAD count them in `metadata`
STORED = object_changes.TRANSIENT + NAME  # header of native answers, lower case
STORED_KEY = "HTTP_" + STORED.upper().replace("-", "_")  # environ key of native requests
MARKER_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_TAGGING"
MARKER = "x-object-sysmeta-s3api-tagging"
MOST_OF_OBJECT, MOST_OF_BUCKET = 10, 50
DOCUMENT_LIMIT = 65_536
_LONGEST_HEADER = 16_384
_LETTERS = re.compile(r"[\w\s+\-=.:/@]*")
_BAD_HEADER = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."
_TAG = Node({"Key": one(Text()), "Value": one(Text())})
SCHEMA = Node({"TagSet": one(Node({"Tag": many(_TAG)}))})

Tags = dict[str, str]


# -- forms ----------------------------------------------------------------------------------------------------------------


def checked(pairs: Iterable[tuple[str, str]], most: int = MOST_OF_OBJECT) -> Tags:
    """The tags, in their order. Raises S3Error for what no tag may be, and for too many."""
    tags: Tags = {}
    for key, value in pairs:
        if not 1 <= len(key) <= 128 or not _LETTERS.fullmatch(key) or key.lower().startswith("aws:"):
            raise S3Error("InvalidTag", "The TagKey you have provided is invalid", TagKey=key[:256])
        if len(value) > 256 or not _LETTERS.fullmatch(value):
            raise S3Error("InvalidTag", "The TagValue you have provided is invalid", TagKey=key)
        if key in tags:
            raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key", TagKey=key)
        tags[key] = value
    if len(tags) > most:
        what = "Object" if most == MOST_OF_OBJECT else "Bucket"
        raise S3Error("BadRequest", f"{what} tags cannot be greater than {most}")
    return tags


def parse_header(value: str) -> Tags:
    """The tags of an `x-amz-tagging` header (text). Raises S3Error."""
    if not value:
        return {}
    error = S3Error("InvalidArgument", _BAD_HEADER, ArgumentName="x-amz-tagging", ArgumentValue=value[:1024])
    if len(value) > _LONGEST_HEADER:
        raise error
    try:
        pairs = parse_qsl(
            value, keep_blank_values=True, strict_parsing=False, errors="strict", max_num_fields=100
        )
    except ValueError:
        raise error from None
    if len({key for key, _ in pairs}) != len(pairs) or any(not part for part in value.split("&")):
        raise error
    return checked(pairs)


def parse_document(data: bytes, most: int = MOST_OF_OBJECT) -> Tags:
    """The tags of a `Tagging` document. Raises S3Error."""
    found = read(data, "Tagging", SCHEMA)
    return checked(((tag["Key"], tag["Value"]) for tag in found["TagSet"]["Tag"]), most)


def stored(tags: Mapping[str, str]) -> str:
    """As they are kept with an object, in ASCII; "" for none."""
    return urlencode(sorted(tags.items()))


def of_stored(text: str | None) -> Tags:
    """The tags that are kept with an object; what can't be read is left out."""
    if not text:
        return {}
    return dict(parse_qsl(text, keep_blank_values=True, errors="replace"))


def stored_headers(tags: Mapping[str, str]) -> dict[str, str]:
    """Environ keys that a native PUT or POST of an object with these tags has."""
    return {STORED_KEY: stored(tags)} if tags else {}


def sent_headers(request: S3Request) -> dict[str, str]:
    """The same of a request's x-amz-tagging. Raises S3Error."""
    return stored_headers(parse_header(request.header("x-amz-tagging") or ""))


def copied_headers(request: S3Request, source: str | None) -> dict[str, str]:
    """The same of a copy, whose source has the tags that `source` says in their stored form. Raises S3Error."""
    directive = request.header("x-amz-tagging-directive") or "COPY"
    if directive not in ("COPY", "REPLACE"):
        raise S3Error(
            "InvalidArgument",
            "Unknown tagging directive.",
            ArgumentName="x-amz-tagging-directive",
            ArgumentValue=directive,
        )
    if directive == "COPY":
        return {STORED_KEY: source} if source else {}
    return {STORED_KEY: stored(parse_header(request.header("x-amz-tagging") or ""))}


def shown(tags: Mapping[str, str]) -> bytes:
    """The `Tagging` document."""
    inner = (node("Tag", element("Key", key), element("Value", value)) for key, value in tags.items())
    return document("Tagging", node("TagSet", *inner))


# -- of objects -----------------------------------------------------------------------------------------------------------


def get_of_object(request: S3Request) -> Answer:
    """GetObjectTagging."""
    found = object_changes.read(request)
    return xml_answer(shown(of_stored(found.get(STORED))), object_changes.version_headers(found))


def put_of_object(request: S3Request) -> Answer:
    """PutObjectTagging."""
    tags = parse_document(request.document_body(DOCUMENT_LIMIT))
    found = object_changes.change(request, {NAME: stored(tags) or None})
    _tell(request, events.TAGGED, found)
    return empty(200, object_changes.version_headers(found))


def delete_of_object(request: S3Request) -> Answer:
    """DeleteObjectTagging."""
    found = object_changes.change(request, {NAME: None})
    _tell(request, events.UNTAGGED, found)
    return empty(204, object_changes.version_headers(found))


def _tell(request: S3Request, event: str, found: Subanswer) -> None:
    request.tell(
        event,
        request.key or "",
        size=found.content_length,
        etag=found.get(metadata.ETAG) or found.etag,
        version_id=found.get("x-object-version-id"),
    )


# -- of buckets -----------------------------------------------------------------------------------------------------------


def get_of_bucket(request: S3Request) -> Answer:
    """GetBucketTagging."""
    found = bucket_documents.current(request, "Tagging")
    if found is None:
        raise S3Error("NoSuchTagSet", BucketName=request.bucket)
    return xml_answer(shown(_pairs(found)))


def put_of_bucket(request: S3Request) -> Answer:
    """PutBucketTagging."""
    store_for_bucket(request, parse_document(request.document_body(DOCUMENT_LIMIT), MOST_OF_BUCKET))
    return empty(204)


def store_for_bucket(request: S3Request, tags: Mapping[str, str]) -> None:
    """Keep a bucket's tags. Raises S3Error."""
    rows = [{"Key": key, "Value": value} for key, value in tags.items()]
    bucket_documents.store(request, "Tagging", {"TagSet": rows})


def delete_of_bucket(request: S3Request) -> Answer:
    """DeleteBucketTagging."""
    bucket_documents.remove(request, "Tagging")
    return empty(204)


def _pairs(found: Mapping[str, Any]) -> Tags:
    return {tag["Key"]: tag["Value"] for tag in found["TagSet"]}
