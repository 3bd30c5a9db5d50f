"""UploadPart and UploadPartCopy (spec s3.md 7.5, 14).

A part whose number is new is stored without asking first; for one that replaces another, or is copied, the upload is looked at once more just
before its last byte is handed on, so that a completion that came meanwhile keeps what it was made of.
"""

from __future__ import annotations

from typing import Any

from swift.core.object_headers import UNRESERVED
from swift.s3 import checksums, copying, customer_keys, metadata, patience, payload
from swift.s3.answers import Answer, empty
from swift.s3.errors import S3Error
from swift.s3.multipart import layout, marker, part_checksums
from swift.s3.request import S3Request
from swift.wire.message import InputFilter
from swift.wire.subanswer import Subanswer

PART_TYPE = "application/octet-stream"
_KEPT_BYTES = 65536  # as many as the proxy takes for a small body


def upload_part(request: S3Request) -> Answer:
    """UploadPart, and UploadPartCopy where a header names a source."""
    bucket, key = layout.names_of(request)
    if "uploadId" not in request.params:
        raise S3Error(
            "InvalidArgument",
            "Unexpected query string parameter",
            ArgumentName="ResourceType",
            ArgumentValue="partNumber",
        )
    number = _part_number(request, request.params["partNumber"])
    upload = layout.upload_id_of(request)
    container, name = layout.segments(bucket), f"{key}/{upload}/{number}"
    is_copy = request.header("x-amz-copy-source") is not None
    announced = (marker.opened if is_copy else marker.lately_opened)(request, bucket, key, upload)
    wanted = checksums.ALGORITHMS.get(announced.algorithm or request.options.default_checksum)
    secret = customer_keys.sent(request)
    customer_keys.check_part(announced.seal, secret)
    if is_copy:

        def check() -> None:
            marker.opened(request, bucket, key, upload)

        keys = copying.keys_of(request)
        copy = copying.copy_part(request, container, name, wanted, PART_TYPE, check, keys)

        def work() -> patience.Told:
            told = copy()
            check()
            return told

        return patience.answer_of(request, work)
    body = payload.prepared(request, wanted)
    part_checksums.check_part(announced, body.check.algorithm if body.is_promised else None)
    body.row_type = PART_TYPE
    stored = _stored(request, body, container, name, customer_keys.written(secret))
    _check_again(request, bucket, key, upload, name, stored)
    shown = [pair for pair in metadata.shown_headers(stored.headers) if pair[0] == metadata.ENCRYPTION]
    shown = customer_keys.with_told(shown, secret)
    return empty(200, [("ETag", f'"{stored.etag}"'), *body.told(), *shown])


def _part_number(request: S3Request, text: str) -> int:
    most = request.options.max_upload_part_num
    if not layout.is_part_number(text) or int(text) > most:
        raise S3Error(
            "InvalidArgument",
            f"Part number must be an integer between 1 and {most}, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text,
        )
    return int(text)


def _stored(
    request: S3Request, body: payload.Payload, container: str, name: str, more: dict[str, Any] | None = None
) -> Subanswer:
    """The PUT of a part, acknowledged. `more`: environ keys. Raises S3Error."""
    headers = {**body.headers(), **(more or {})}
    kept = None
    if body.length is not None and body.length <= _KEPT_BYTES:
        kept = body.input = _Kept(body.input)
    try:
        return body.put(request, container, name, {**headers, "HTTP_IF_NONE_MATCH": "*", UNRESERVED: True})
    except S3Error as error:
        if error.code != "PreconditionFailed":
            raise
    # There is one of this number. Nothing of the body has been read, but of a small one.
    if kept is not None:
        kept.rewind()
    body.input = _LookedAtLast(request, body, name)
    return body.put(request, container, name, headers)


def _check_again(
    request: S3Request, bucket: str, key: str, upload: str, name: str, stored: Subanswer
) -> None:
    """A part is stored: its upload must still be open. Raises S3Error if it is not, and then the part goes if nothing is made of it."""
    try:
        marker.opened(request, bucket, key, upload)
    except S3Error as error:
        if error.code == "NoSuchUpload":
            _take_back(request, bucket, key, upload, name, stored)
        raise


def _take_back(request: S3Request, bucket: str, key: str, upload: str, name: str, stored: Subanswer) -> None:
    # While the marker is there, who aborts the upload removes the parts; with versions, an older one may be made of them.
    if marker.look(request, bucket, key, upload) is not None:
        return
    if request.container_info(bucket)["sysmeta"].get("versions-container"):
        return
    if marker.owner_of(request, bucket, key)[0] == upload:
        return
    container = layout.segments(bucket)
    found = request.ask("HEAD", container, name, headers=layout.NEWEST)
    found.close()
    stamp = found.get("x-timestamp")
    if found.is_success and stamp and found.etag == stored.etag:
        # Just above the time that was seen: what is stored after this look stays.
        headers = {"HTTP_X_TIMESTAMP": f"{stamp}_0000000000000001"}
        request.ask("DELETE", container, name, headers=headers).drain()


class _Kept(InputFilter):
    """A small body, which the proxy reads before it asks any server: it can be read once more."""

    def __init__(self, below: Any) -> None:
        super().__init__(below)
        self._pieces: list[bytes] = []
        self._again: list[bytes] = []

    def pull(self, size: int) -> bytes:
        if self._again:
            return self._again.pop(0)
        data = super().pull(size)
        if data:
            self._pieces.append(data)
        return data

    def rewind(self) -> None:
        self._again, self._ahead, self._ended = list(self._pieces), b"", False


class _LookedAtLast(InputFilter):
    """A body whose last piece is handed on if the upload is still open then."""

    def __init__(self, request: S3Request, body: payload.Payload, name: str) -> None:
        super().__init__(body.input)
        self._request = request
        self._body = body
        self._name = name
        self._left = body.length
        self._is_looked_at = False

    def pull(self, size: int) -> bytes:
        data = super().pull(size)
        if data:
            if self._left is None:
                return data
            self._left -= len(data)
            if self._left > 0:
                return data
        if not self._is_looked_at:
            self._is_looked_at = True
            found = layout.split_name(self._name)
            assert found is not None and self._request.bucket is not None
            try:
                marker.opened(self._request, self._request.bucket, *found[:2])
            except S3Error as error:
                raise self._body.failed(error) from None
        return data


def listed(row: dict[str, Any]) -> str:
    """The ETag of a part, without what else stands in a row."""
    return str(row["hash"]).partition(";")[0].strip().strip('"')
