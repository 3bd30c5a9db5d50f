"""Whether an upload is open, and what was said when it was begun: its marker (spec s3.md 6.2, 6.5, 14).

What becomes of an upload is decided here: whoever completes or aborts it writes so into the marker, in the place of what he has seen of it
(a compare-and-swap, doc/durability.md), before he stores or removes anything. Of several at once one does, and the others wait for what
comes of it. A completion of which nothing has been heard for a minute may be taken over; who does that looks for its object, and it looks at
the marker once more when that is stored, so that one of the two sees the other. Uploads that were open a moment ago are remembered, so that
a part is asked about once, after it was stored.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from swift.core import clock
from swift.core.concurrency import Timeout, sleep
from swift.core.object_headers import UNMETERED
from swift.core.timestamp import Timestamp
from swift.s3 import checksums, customer_keys, metadata
from swift.s3.errors import S3Error
from swift.s3.multipart import layout
from swift.s3.multipart.part_checksums import Announced
from swift.s3.request import S3Request
from swift.s3.write_conditions import IF_CURRENT_KEY
from swift.wire.subanswer import Subanswer

UPLOAD_ID = "x-object-sysmeta-s3api-upload-id"
OLD_UPLOAD_ID = "x-object-sysmeta-swift3-upload-id"
ABORTING = "x-object-transient-sysmeta-s3api-aborting"
ABORTING_KEY = "HTTP_X_OBJECT_TRANSIENT_SYSMETA_S3API_ABORTING"
COMPLETING = "x-object-sysmeta-s3api-completing"
COMPLETING_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_COMPLETING"
BEGUN = "x-object-sysmeta-s3api-begun"
BEGUN_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_BEGUN"
MEDIA_TYPE = "application/directory"
ALGORITHM = "x-object-sysmeta-s3api-checksum-algorithm"
ALGORITHM_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_CHECKSUM_ALGORITHM"
TYPE = "x-object-sysmeta-s3api-checksum-type"
TYPE_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_CHECKSUM_TYPE"
_REMEMBERED = 60.0  # seconds
_MOST = 10_000
_LONGEST = 60.0  # seconds, after which nobody waits any more for who completes an upload
_BETWEEN_LOOKS = 0.25  # seconds
_SOME_LOOKS, _ALL_LOOKS = 40, 280

_Name = tuple[str, str, str, str]


class Told(Protocol):
    """Headers of an answer, by their lower-case names."""

    def get(self, name: str, /) -> str | None: ...


class Decided(NamedTuple):
    """`found`: what the marker said before; `time`: of the marker as it is now; `is_takeover`: somebody had begun to complete the upload."""

    found: Subanswer
    time: str
    is_takeover: bool = False


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


def is_aborting(answer: Told) -> bool:
    return bool(answer.get(ABORTING))


def is_completing(answer: Told) -> bool:
    """Returns True if somebody completes the upload, as far as is known."""
    return bool(answer.get(COMPLETING)) and float(Timestamp(time_of(answer))) > clock.time() - _LONGEST


def time_of(answer: Told) -> str:
    """When a marker was written, in internal form."""
    return Timestamp(answer.get("x-backend-data-timestamp") or answer.get("x-timestamp") or "0").internal


def begun(answer: Told) -> float:
    """When an upload was begun, in seconds since the epoch."""
    return float(Timestamp(answer.get(BEGUN) or time_of(answer)))


def rewritten(
    answer: Told, headers: Iterable[tuple[str, str]], said: str = "", written: str | None = None
) -> dict[str, str]:
    """The headers (environ keys) of the PUT that writes a marker anew, of which an answer told. `said`: the key of what it says then, "" for
    that it is open; `written`: when it was written last, if not what the answer says."""
    made = {**metadata.copied_headers(headers), **metadata.system_headers(headers)}
    for key in (COMPLETING_KEY, ABORTING_KEY):
        made.pop(key, None)
    seen = Timestamp(written or time_of(answer))
    now = Timestamp.now()
    made["CONTENT_TYPE"] = MEDIA_TYPE
    made.setdefault(BEGUN_KEY, time_of(answer))
    kept = announced(answer)
    if kept.algorithm:
        made[checksums.ROW_TYPE_KEY] = checksums.in_row(MEDIA_TYPE, kept.algorithm, kept.kind)
    if said:
        made[said] = "yes"
    made[IF_CURRENT_KEY] = seen.internal
    made["HTTP_X_TIMESTAMP"] = (now if now > seen else Timestamp(seen.normal, delta=1)).internal
    return made


def decide(request: S3Request, bucket: str, key: str, upload: str, said: str) -> Decided:
    """Complete an upload (`said` is COMPLETING_KEY), or abort it (ABORTING_KEY): who comes back from here is the one who does. Raises S3Error:
    NoSuchUpload if somebody else was faster."""
    forget(request, bucket, key, upload)
    for _ in range(_ALL_LOOKS if said == COMPLETING_KEY else _SOME_LOOKS):
        found = look(request, bucket, key, upload)
        if found is None:
            raise missing(request, bucket, upload)
        if is_aborting(found):
            if said != ABORTING_KEY:
                raise S3Error("NoSuchUpload", UploadId=upload)
            return Decided(found, time_of(found))
        if not is_completing(found):
            headers = rewritten(found, found.headers, said)
            answer = _written(request, bucket, key, upload, headers)
            if answer.status == 201:
                answer.drain()
                return Decided(found, headers["HTTP_X_TIMESTAMP"], bool(found.get(COMPLETING)))
            if answer.status not in (202, 409, 412):
                raise request.error_of(answer, bucket, key)
            answer.close()
        sleep(_BETWEEN_LOOKS)
    raise S3Error("ServiceUnavailable", reason="upload_is_being_completed")


def reopen(request: S3Request, bucket: str, key: str, upload: str, decided: Decided) -> None:
    """Nothing came of a completion, and others may go on. If this fails they wait. Raises nothing."""
    headers = rewritten(decided.found, decided.found.headers, written=decided.time)
    try:
        _written(request, bucket, key, upload, headers).drain()
    except (Exception, Timeout):
        request.logger.exception("%s: an upload waits for its completion", request.resource)


def _written(request: S3Request, bucket: str, key: str, upload: str, headers: dict[str, str]) -> Subanswer:
    # Who is to be rid of something can't do so by a quota.
    made = {**headers, UNMETERED: "yes"}
    return request.ask("PUT", layout.segments(bucket), f"{key}/{upload}", headers=made, body=b"")


def announced(answer: Told) -> Announced:
    """The checksums that were announced when an upload was begun."""
    seal = answer.get(customer_keys.SEAL) or ""
    return Announced((answer.get(ALGORITHM) or "").lower(), answer.get(TYPE) or "", seal)


def opened(request: S3Request, bucket: str, key: str, upload: str) -> Announced:
    """The checksums of an upload that is open now. Raises S3Error if it is not."""
    found = look(request, bucket, key, upload, newest=False)
    for _ in range(_SOME_LOOKS):
        if found is None or is_aborting(found) or not is_completing(found):
            break
        sleep(_BETWEEN_LOOKS)
        found = look(request, bucket, key, upload)
    else:
        raise S3Error("ServiceUnavailable", reason="upload_is_being_completed")
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
