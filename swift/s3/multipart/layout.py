"""What open uploads and their parts are called, and the listings of them (spec s3.md 6.5).

An upload is a marker, an object without content, in the bucket's segments container; its parts lie below it. Never here: what a marker
says (`marker`), and what is done with parts.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import orjson

from swift.core import clock
from swift.core.constraints import limits
from swift.s3.errors import S3Error
from swift.s3.request import S3Request
from swift.wire.subanswer import Subanswer

SUFFIX = "+segments"
NEWEST = {"HTTP_X_NEWEST": "true"}
MOST_PARTS = 10_000
LARGEST = 2147483647
Row = dict[str, Any]
_PAGE = 10_000
_MOST_BYTES = 64 * 1024 * 1024
_LONGEST_BELOW = len("/") + 48 + len("/10000")
is_upload_id = re.compile(r"[A-Za-z0-9_-]{48}").fullmatch
is_uuid = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
is_part_number = re.compile(r"[1-9][0-9]{0,4}").fullmatch


def segments(bucket: str) -> str:
    """The container of a bucket's uploads."""
    return bucket + SUFFIX


def new_upload_id() -> str:
    """As the reference's: the text of a random UUID, encoded."""
    number = bytearray(clock.random_bytes(16))
    number[6] = number[6] & 0x0F | 0x40
    number[8] = number[8] & 0x3F | 0x80
    text = number.hex()
    made = "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
    return base64.urlsafe_b64encode(made.encode()).decode()


def is_made_upload_id(text: str) -> bool:
    """Returns True for an id as all servers of this API have made them: no other name of that length is taken for one."""
    try:
        made = base64.urlsafe_b64decode(text).decode("ascii")
    except ValueError:
        return False
    return is_uuid(made) is not None


def names_of(request: S3Request) -> tuple[str, str]:
    """(bucket, key) of a request that needs both. Raises S3Error."""
    if request.key is None or request.bucket is None:
        raise S3Error("InvalidRequest", "A key must be specified")
    return request.bucket, request.key


def check_key(key: str) -> None:
    """Raises S3Error for a key whose parts could not be named."""
    if len(key.encode()) + _LONGEST_BELOW > limits().max_object_name_length:
        raise S3Error("KeyTooLongError")


def upload_id_of(request: S3Request) -> str:
    """The upload id that a request names, as far as it can be one. Raises S3Error."""
    found = request.params["uploadId"]
    if not is_upload_id(found):
        raise S3Error("NoSuchUpload", UploadId=found)
    return found


def split_name(name: str) -> tuple[str, str, int | None] | None:
    """(key, upload id, number of the part or None for the marker) of a name in a segments container; None for what is neither."""
    rest, _, last = name.rpartition("/")
    if is_upload_id(last) and rest:
        return rest, last, None
    key, _, upload = rest.rpartition("/")
    if key and is_upload_id(upload) and is_part_number(last):
        return key, upload, int(last)
    return None


# -- parameters of listings ---------------------------------------------------------------------------------------------------


def encoding_of(request: S3Request) -> str | None:
    """How names are to be written, None for as they are. Raises S3Error."""
    encoding = request.params.get("encoding-type")
    if encoding is not None and encoding != "url":
        raise S3Error(
            "InvalidArgument",
            "Invalid Encoding Method specified in Request",
            ArgumentName="encoding-type",
            ArgumentValue=encoding,
        )
    return encoding


def number_of(request: S3Request, name: str, default: int) -> int:
    """A parameter that counts something. Raises S3Error."""
    text = request.params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > LARGEST:
        raise S3Error(
            "InvalidArgument",
            f"Argument {name} must be an integer between 0 and {LARGEST}",
            ArgumentName=name,
            ArgumentValue=text,
        )
    return int(text)


# -- listings -----------------------------------------------------------------------------------------------------------------


def page_size() -> int:
    """Rows that are asked for at a time."""
    return min(_PAGE, limits().container_listing_limit)


def page_of(
    request: S3Request, container: str, prefix: str = "", marker: str = "", end: str = "", limit: int = 0
) -> list[Row]:
    """Rows of a container with a prefix, behind `marker` and before `end`; none if there is no such container. Raises S3Error."""
    query = {"format": "json", "limit": str(limit or page_size())}
    for name, value in (("prefix", prefix), ("marker", marker), ("end_marker", end)):
        if value:
            query[name] = value
    return read_rows(request, request.ask("GET", container, query=query))


def read_rows(request: S3Request, answer: Subanswer) -> list[Row]:
    """The rows that a native listing answers. Raises S3Error."""
    if answer.status == 404:
        answer.close()
        return []
    if answer.status not in (200, 204):
        raise request.error_of(answer, request.bucket)
    data = answer.read(_MOST_BYTES)
    rows: list[Row] = orjson.loads(data) if data else []
    return rows


def rows_below(request: S3Request, container: str, prefix: str = "") -> Iterator[Row]:
    """All rows with a prefix, page by page. Raises S3Error."""
    marker = ""
    while True:
        rows = page_of(request, container, prefix, marker)
        yield from rows
        if len(rows) < page_size():
            return
        marker = rows[-1]["name"]


def parts_of(request: S3Request, bucket: str, key: str, upload: str) -> dict[int, Row]:
    """The rows of an upload's parts by their numbers, in order. Raises S3Error."""
    start = f"{key}/{upload}/"
    return _numbered(start, rows_below(request, segments(bucket), start))


def parts_behind(
    request: S3Request, bucket: str, key: str, upload: str, after: int, limit: int
) -> dict[int, Row]:
    """Those with numbers above `after`, in order; at least the next `limit` of them. Raises S3Error.

    Listings are in the order of the names, in which 10 comes before 2: only numbers of four digits lie together.
    """
    if after < 999:
        found = parts_of(request, bucket, key, upload)
        return {number: row for number, row in found.items() if number > after}
    start = f"{key}/{upload}/"
    container = segments(bucket)
    found = {}
    marker = f"{start}{after}" if after > 999 else f"{start}100"
    while after < 9999 and len(found) < limit:
        rows = page_of(request, container, start, marker, limit=min(limit + limit // 8 + 16, page_size()))
        if not rows:
            break
        marker = rows[-1]["name"]
        found.update(
            (number, row) for number, row in _numbered(start, rows).items() if after < number <= 9999
        )
    last = page_of(request, container, f"{start}{MOST_PARTS}", limit=1) if after < MOST_PARTS else []
    return {**dict(sorted(found.items())), **_numbered(start, last)}


def _numbered(start: str, rows: Iterator[Row] | list[Row]) -> dict[int, Row]:
    found = {}
    for row in rows:
        number = row["name"][len(start) :]
        if is_part_number(number):
            found[int(number)] = row
    return dict(sorted(found.items()))


def check_bucket(request: S3Request, bucket: str) -> dict[str, Any]:
    """What is known of a bucket. Raises S3Error if it is not there."""
    info = request.container_info(bucket)
    if info["status"] == 404:
        raise S3Error("NoSuchBucket", BucketName=bucket)
    if not 200 <= info["status"] < 300:
        raise S3Error("ServiceUnavailable")
    return dict(info)
