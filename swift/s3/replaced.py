"""Parts of a multipart object in whose place something else was written: the expirer is to remove them (spec s3.md 27).

Object servers tell what a write has replaced, so nobody need look before. What could not be queued is an orphan, which the sweep finds.
Never here: deletions, which queue an object's parts themselves (`objects`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from swift.core.config import truthy
from swift.core.object_headers import REPLACED_LARGE
from swift.core.timestamp import Timestamp
from swift.middleware.slo import queue
from swift.s3.errors import S3Error
from swift.s3.multipart import layout, marker
from swift.s3.request import SOURCE, S3Request
from swift.wire.subanswer import Subanswer

_REPLACED = REPLACED_LARGE.lower()


def clean_up(request: S3Request, answer: Subanswer, kept: str = "") -> None:
    """Have the parts removed of what a write to the request's key has replaced. `kept`: the upload whose parts the new object is made of."""
    assert request.bucket is not None and request.key is not None
    container = layout.segments(request.bucket)
    try:
        for upload in uploads_gone(request, request.bucket, request.key, answer) - {kept}:
            rows = layout.rows_below(request, container, f"{request.key}/{upload}/")
            remove(request, [row["name"] for row in rows if "name" in row], answer.timestamp)
    except S3Error as error:
        _log(request, error)


def uploads_gone(request: S3Request, bucket: str, key: str, answer: Subanswer) -> set[str]:
    """The uploads of which nothing is made any more after a write or deletion. `answer`: to that. Raises S3Error."""
    told = answer.get(_REPLACED)
    if told is None:
        return set()
    uploads = {unquote(item.partition(";")[2]) for item in told.split(",")}
    uploads = {upload for upload in uploads if layout.is_upload_id(upload)}
    if not uploads or _may_be_kept(request, answer):
        return set()
    if request.container_info(bucket)["sysmeta"].get("versions-container"):
        # A server that was away may tell of what has become a version long ago.
        return {upload for upload in uploads if not marker.is_completed(request, bucket, key, upload, 0.0)}
    return uploads


def remove(request: S3Request, names: list[str], written: str | None) -> None:
    """Have parts removed that nothing is made of, as far as they are not written after a time. Raises nothing."""
    if not names:
        return
    assert request.bucket is not None and request.account is not None
    container, timestamp = layout.segments(request.bucket), Timestamp(written) if written else Timestamp.now()
    account = request.options.expirer_account
    if not queue.send(
        request.app, request.environ, account, timestamp, request.account, container, names, SOURCE
    ):
        _log(request, S3Error("ServiceUnavailable"))


def _log(request: S3Request, error: S3Error) -> None:
    request.logger.error("parts that %s was made of are left: %s", request.resource, error)


def is_archived(info: Mapping[str, Any]) -> bool:
    """Returns True if what is replaced in a container goes to another one, as Swift's older versions do."""
    return bool(info["sysmeta"].get("versions-location") or info.get("versions"))


def _may_be_kept(request: S3Request, answer: Subanswer) -> bool:
    if answer.get("x-object-version-id") not in (None, "null"):
        return (
            True  # of a bucket that keeps versions since a moment ago, only who has made one may have heard
        )
    info = request.container_info()
    return (
        not 200 <= info["status"] < 300
        or truthy(info["sysmeta"].get("versions-enabled"))
        or is_archived(info)
    )
