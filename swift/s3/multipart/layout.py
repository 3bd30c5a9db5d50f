"""What open uploads and their parts are called, and whether an upload is there (spec s3.md 6.5).

An upload is a marker, an object without content, in the bucket's segments container; its parts lie below it. Never here: what is done
with them.
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
UPLOAD_ID_KEY = "x-object-sysmeta-s3api-upload-id"
OLD_UPLOAD_ID_KEY = "x-object-sysmeta-swift3-upload-id"
ABORTING_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_ABORTING"
ABORTING = "x-object-sysmeta-s3api-aborting"
NEWEST = {"HTTP_X_NEWEST": "true"}
PAGE = 10_000
_MOST_BYTES = 64 * 1024 * 1024
_LONGEST_BELOW = len("/") + 48 + len("/10000")
is_upload_id = re.compile(r"[A-Za-z0-9_-]{48}").fullmatch
is_part_number = re.compile(r"[1-9][0-9]{0,4}").fullmatch


def segments(bucket: str) -> str:
    """The container of a bucket's uploads."""
    return bucket + SUFFIX


def new_upload_id() -> str:
    """48 characters, in the reference's form: those of a random UUID's text."""
    digits = f"{clock.getrandbits(122):032x}"
    made = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[int(digits[16], 16) & 3]}{digits[17:20]}-{digits[20:]}"
    return base64.urlsafe_b64encode(made.encode()).decode()


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


def marker_of(request: S3Request, bucket: str, key: str, upload: str) -> Subanswer | None:
    """What a HEAD of an upload's marker says; None if there is none, or it is being aborted. Raises S3Error."""
    answer = request.ask("HEAD", segments(bucket), f"{key}/{upload}", headers=NEWEST)
    answer.close()
    if answer.is_success:
        return None if answer.get(ABORTING) else answer
    if answer.status == 404:
        return None
    raise request.error_of(answer, bucket, key)


def owner_of(request: S3Request, bucket: str, key: str) -> tuple[str, Subanswer]:
    """(the upload that the object at a key was completed from, "" for none, what a HEAD says of the object)."""
    answer = request.ask("HEAD", bucket, key, headers=NEWEST)
    answer.close()
    if not answer.is_success:
        return "", answer
    return answer.get(UPLOAD_ID_KEY) or answer.get(OLD_UPLOAD_ID_KEY) or "", answer


def check_upload(request: S3Request, bucket: str, key: str, upload: str) -> None:
    """Raises S3Error if an upload is neither open nor completed."""
    if marker_of(request, bucket, key, upload) is not None:
        return
    if owner_of(request, bucket, key)[0] == upload:
        return
    check_bucket(request, bucket)
    raise S3Error("NoSuchUpload", UploadId=upload)


def check_bucket(request: S3Request, bucket: str) -> dict[str, Any]:
    """What is known of a bucket. Raises S3Error if it is not there."""
    info = request.container_info(bucket)
    if info["status"] == 404:
        raise S3Error("NoSuchBucket", BucketName=bucket)
    if not 200 <= info["status"] < 300:
        raise S3Error("ServiceUnavailable")
    return dict(info)


def rows_below(
    request: S3Request, container: str, prefix: str = "", marker: str = "", page: int = PAGE
) -> Iterator[dict[str, Any]]:
    """The rows of a container with a prefix, after `marker`, page by page; none if there is no such container. Raises S3Error."""
    while True:
        query = {"format": "json", "limit": str(page), "prefix": prefix, "marker": marker}
        answer = request.ask("GET", container, query=query)
        if answer.status == 404:
            answer.close()
            return
        if answer.status not in (200, 204):
            raise request.error_of(answer, container)
        data = answer.read(_MOST_BYTES)
        rows = orjson.loads(data) if data else []
        yield from rows
        if len(rows) < page:
            return
        marker = rows[-1]["name"]


def parts_of(request: S3Request, bucket: str, key: str, upload: str) -> dict[int, dict[str, Any]]:
    """The rows of an upload's parts by their numbers, in order."""
    start = f"{key}/{upload}/"
    found = {}
    for row in rows_below(request, segments(bucket), start):
        number = row["name"][len(start) :]
        if is_part_number(number):
            found[int(number)] = row
    return dict(sorted(found.items()))
