"""AbortMultipartUpload, and the end of a bucket's segments container (spec s3.md 7.2, 7.5).

An upload that is being aborted says so in its marker before its parts go, so that a completion that comes at the same time either
finds it out or has the object that it made left alone (`complete`).
"""

from __future__ import annotations

from collections.abc import Iterable

from swift.middleware.parallel import in_parallel
from swift.s3.answers import Answer, empty
from swift.s3.errors import S3Error
from swift.s3.multipart import layout
from swift.s3.request import S3Request
from swift.wire.subanswer import Subanswer

_AT_A_TIME = 4


def abort(request: S3Request) -> Answer:
    """AbortMultipartUpload: the parts, then the marker."""
    bucket, key = layout.names_of(request)
    upload = layout.upload_id_of(request)
    container, name = layout.segments(bucket), f"{key}/{upload}"
    found = request.ask("HEAD", container, name, headers=layout.NEWEST)
    found.close()
    if found.status == 404:
        layout.check_bucket(request, bucket)
        raise S3Error("NoSuchUpload", UploadId=upload)
    if not found.is_success:
        raise request.error_of(found, bucket, key)
    told = request.ask("PUT", container, name, headers={layout.ABORTING_KEY: "yes"}, body=b"")
    if told.status != 201:
        raise request.error_of(told, bucket, key)
    told.drain()
    if layout.owner_of(request, bucket, key)[0] == upload:
        # It was completed meanwhile: the parts are the object's.
        request.ask("DELETE", container, name).drain()
        raise S3Error("NoSuchUpload", UploadId=upload)
    remove_parts(request, bucket, key, upload)
    last = request.ask("DELETE", container, name)
    if last.status not in (204, 404):
        raise request.error_of(last, bucket, key)
    last.drain()
    return empty(204)


def remove_parts(request: S3Request, bucket: str, key: str, upload: str) -> None:
    """Raises S3Error if one of an upload's parts can't be removed."""
    container = layout.segments(bucket)
    rows = layout.rows_below(request, container, f"{key}/{upload}/")
    _remove(request, container, (row["name"] for row in rows))


def clean_up(request: S3Request, bucket: str) -> None:
    """Remove a bucket's segments container with all that is in it, if there is one. Raises S3Error."""
    container = layout.segments(bucket)
    _remove(
        request, container, (row["name"] for row in layout.rows_below(request, container) if "name" in row)
    )
    answer = request.ask("DELETE", container)
    if answer.status not in (204, 404):
        answer.close()
        raise S3Error("ServiceUnavailable")
    answer.close()


def _remove(request: S3Request, container: str, names: Iterable[str]) -> None:
    def remove(name: str) -> Subanswer:
        answer = request.ask("DELETE", container, name)
        answer.drain()
        return answer

    for _, answer in in_parallel(remove, names, _AT_A_TIME, lambda found: found.status < 500):
        if answer.status not in (204, 404):
            raise S3Error("ServiceUnavailable")
