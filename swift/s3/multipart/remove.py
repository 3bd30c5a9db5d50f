"""AbortMultipartUpload, and the end of a bucket's segments container (spec s3.md 7.2, 7.5).

Whoever aborts an upload has it decided in its marker before the parts go (`marker`): who completes it at the same time stores nothing then,
or was faster. What was listed too late, or after a kill, nobody refers to: it is
the orphans' sweep that finds it.
"""

from __future__ import annotations

from collections.abc import Iterable

from swift.middleware.parallel import in_parallel
from swift.s3.answers import Answer, empty
from swift.s3.errors import S3Error
from swift.s3.multipart import layout, marker
from swift.s3.request import S3Request
from swift.wire.subanswer import Subanswer

_AT_A_TIME = 4


def abort(request: S3Request) -> Answer:
    """AbortMultipartUpload: the parts, then the marker."""
    bucket, key = layout.names_of(request)
    upload = layout.upload_id_of(request)
    container, name = layout.segments(bucket), f"{key}/{upload}"
    found = marker.decide(request, bucket, key, upload, marker.ABORTING_KEY).found
    if marker.is_completed(request, bucket, key, upload, marker.begun(found)):
        # The parts are the object's.
        request.ask("DELETE", container, name).drain()
        raise S3Error("NoSuchUpload", UploadId=upload)
    remove_parts(request, bucket, key, upload)
    last = request.ask("DELETE", container, name)
    if last.status not in (204, 404):
        raise request.error_of(last, bucket, key)
    last.drain()
    # Those that came while the others were removed: whoever stores one now finds no marker, and takes it back.
    remove_parts(request, bucket, key, upload)
    return empty(204)


def remove_parts(request: S3Request, bucket: str, key: str, upload: str) -> None:
    """Raises S3Error if one of an upload's parts can't be removed."""
    container = layout.segments(bucket)
    rows = layout.rows_below(request, container, f"{key}/{upload}/")
    _remove(request, container, (row["name"] for row in rows))


def clean_up(request: S3Request, bucket: str) -> None:
    """Remove a bucket's segments container with all that is in it, if there is one. Raises S3Error.

    Nothing goes while there are versions, which may be made of what lies there.
    """
    versions = request.container_info(bucket)["sysmeta"].get("versions-container")
    if versions:
        _check_no_versions(request, bucket)
    container = layout.segments(bucket)
    _remove(
        request, container, (row["name"] for row in layout.rows_below(request, container) if "name" in row)
    )
    answer = request.ask("DELETE", container)
    if answer.status not in (204, 404):
        answer.close()
        raise S3Error("ServiceUnavailable")
    answer.close()


def _check_no_versions(request: S3Request, bucket: str) -> None:
    answer = request.ask("GET", bucket, query={"versions": "", "format": "json", "limit": "1"})
    if layout.read_rows(request, answer):
        raise S3Error("BucketNotEmpty", BucketName=bucket)


def _remove(request: S3Request, container: str, names: Iterable[str]) -> None:
    def remove(name: str) -> Subanswer:
        answer = request.ask("DELETE", container, name)
        answer.drain()
        return answer

    for _, answer in in_parallel(remove, names, _AT_A_TIME, lambda found: found.status < 500):
        if answer.status not in (204, 404):
            raise S3Error("ServiceUnavailable")
