"""Whether an upload is open, and what was said when it was begun: its marker (spec s3.md 6.2, 6.5, 14).

An upload that is being aborted says so in its marker. Whoever has stored a part, or the object, looks at the marker again after that: so
one of two who change something at the same time sees the other. Uploads that were open a moment ago are remembered, so that a part is
asked about once, after it was stored.
"""

from __future__ import annotations

from collections import OrderedDict

from swift.core import clock
from swift.s3.errors import S3Error
from swift.s3.multipart import layout
from swift.s3.multipart.part_checksums import Announced
from swift.s3.request import S3Request
from swift.wire.subanswer import Subanswer

UPLOAD_ID = "x-object-sysmeta-s3api-upload-id"
OLD_UPLOAD_ID = "x-object-sysmeta-swift3-upload-id"
ABORTING = "x-object-transient-sysmeta-s3api-aborting"
ABORTING_KEY = "HTTP_X_OBJECT_TRANSIENT_SYSMETA_S3API_ABORTING"
ALGORITHM = "x-object-sysmeta-s3api-checksum-algorithm"
ALGORITHM_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_CHECKSUM_ALGORITHM"
TYPE = "x-object-sysmeta-s3api-checksum-type"
TYPE_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_CHECKSUM_TYPE"
_REMEMBERED = 60.0  # seconds
_MOST = 10_000

_Name = tuple[str, str, str, str]


_open: OrderedDict[_Name, tuple[float, Announced]] = OrderedDict()


def _name(request: S3Request, bucket: str, key: str, upload: str) -> _Name:
    user = request.credential.access_key if request.credential is not None else ""
    return user, bucket, key, upload


def forget(request: S3Request, bucket: str, key: str, upload: str) -> None:
    """It is open no longer."""
    _open.pop(_name(request, bucket, key, upload), None)


def look(request: S3Request, bucket: str, key: str, upload: str, newest: bool = True) -> Subanswer | None:
    """What a HEAD of the marker says; None if there is none. Raises S3Error."""
    headers = layout.NEWEST if newest else None
    answer = request.ask("HEAD", layout.segments(bucket), f"{key}/{upload}", headers=headers)
    answer.close()
    if answer.is_success:
        return answer
    if answer.status == 404:
        return None
    raise request.error_of(answer, bucket, key)


def is_aborting(answer: Subanswer) -> bool:
    return bool(answer.get(ABORTING))


def announced(answer: Subanswer) -> Announced:
    """The checksums that were announced when an upload was begun."""
    return Announced((answer.get(ALGORITHM) or "").lower(), answer.get(TYPE) or "")


def opened(request: S3Request, bucket: str, key: str, upload: str) -> Announced:
    """The checksums of an upload that is open now. Raises S3Error if it is not."""
    found = look(request, bucket, key, upload, newest=False)
    name = _name(request, bucket, key, upload)
    if found is None or is_aborting(found):
        _open.pop(name, None)
        raise missing(request, bucket, upload)
    made = announced(found)
    _open[name] = clock.monotonic() + _REMEMBERED, made
    _open.move_to_end(name)
    while len(_open) > _MOST:
        _open.popitem(last=False)
    return made


def lately_opened(request: S3Request, bucket: str, key: str, upload: str) -> Announced:
    """The checksums of one that was open a moment ago. Raises S3Error if it was not."""
    until, found = _open.get(_name(request, bucket, key, upload), (0.0, None))
    if found is None or until < clock.monotonic():
        return opened(request, bucket, key, upload)
    return found


def missing(request: S3Request, bucket: str, upload: str) -> S3Error:
    """The error of an upload that is not there: it may be the bucket that isn't."""
    layout.check_bucket(request, bucket)
    return S3Error("NoSuchUpload", UploadId=upload)


def owner_of(request: S3Request, bucket: str, key: str, version: str | None = None) -> tuple[str, Subanswer]:
    """(the upload that the object at a key was completed from, "" for none, what a HEAD says of the object)."""
    query = {"version-id": version} if version is not None else None
    answer = request.ask("HEAD", bucket, key, query, layout.NEWEST)
    answer.close()
    return upload_of(answer) if answer.is_success else "", answer


def upload_of(answer: Subanswer) -> str:
    """The upload that the object was completed from of which an answer tells, "" for none."""
    if (answer.get("x-static-large-object") or "").lower() != "true":
        return ""  # a copy of one has its sysmeta too
    return answer.get(UPLOAD_ID) or answer.get(OLD_UPLOAD_ID) or ""


def is_completed(request: S3Request, bucket: str, key: str, upload: str, begun: float) -> bool:
    """Returns True if an object, or an older version of one, is made of this upload's parts. Raises S3Error.

    `begun`: when, in seconds since the epoch.
    """
    since = clock.strftime("%Y-%m-%dT%H:%M:%S", clock.gmtime(begun))
    if owner_of(request, bucket, key)[0] == upload:
        return True
    if not request.container_info(bucket)["sysmeta"].get("versions-container"):
        return False
    marker = ""
    while True:
        query = {"versions": "", "format": "json", "prefix": key, "limit": "1000"}
        if marker:
            query.update(marker=key, version_marker=marker)
        rows = layout.read_rows(request, request.ask("GET", bucket, query=query))
        for row in rows:
            if row.get("name") != key or not _is_large(row) or row["last_modified"] < since:
                continue
            if owner_of(request, bucket, key, row.get("version_id", "null"))[0] == upload:
                return True
        if len(rows) < 1000 or rows[-1].get("name") != key or rows[-1]["last_modified"] < since:
            return False
        marker = rows[-1].get("version_id", "null")


def _is_large(row: layout.Row) -> bool:
    """Returns True if a row of a listing may be of a static large object: its hash says more than an ETag, or has said so."""
    return "slo_etag" in row or ";" in (row.get("hash") or "")
