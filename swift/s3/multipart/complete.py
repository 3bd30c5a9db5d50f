"""CompleteMultipartUpload: the parts become one object, a static large object (spec s3.md 6.5, 7.5).

Which of several completions and aborts it is, is decided in the marker just before the manifest is stored; the marker is removed after it.
While it takes long, blanks are sent, and an error comes in a document with status 200.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from swift.core import clock
from swift.core.concurrency import Timeout, sleep
from swift.core.timestamp import Timestamp
from swift.middleware.parallel import in_parallel
from swift.s3 import (
    checksums,
    customer_keys,
    manifests,
    metadata,
    objects,
    patience,
    replaced,
    tagging,
    write_conditions,
)
from swift.s3.answers import Answer, Headers, xml_answer
from swift.s3.errors import S3Error
from swift.s3.multipart import layout, marker, part_checksums
from swift.s3.multipart.wanted import Found, Parts, etag_of, find, parts_in
from swift.s3.notifications import events
from swift.s3.request import S3Request
from swift.s3.xml import document, element
from swift.wire.message import host_url
from swift.wire.subanswer import Subanswer

_KEPT = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")
# What the marker keeps for the object, and under which name that has it.
_MOVED = {
    "x-object-sysmeta-s3api-tmpacl": "HTTP_X_OBJECT_SYSMETA_S3API_ACL",
    "x-object-sysmeta-swift3-tmpacl": "HTTP_X_OBJECT_SYSMETA_S3API_ACL",
    "x-object-sysmeta-s3api-owner-ids": "HTTP_X_OBJECT_SYSMETA_S3API_OWNER_IDS",
    tagging.MARKER: tagging.STORED_KEY,
    "x-object-sysmeta-s3api-storage-class": metadata.STORAGE_CLASS_KEY,
    "x-object-sysmeta-s3api-website-redirect": metadata.REDIRECT_KEY,
    customer_keys.SEAL: customer_keys.SEAL_KEY,
    "x-object-sysmeta-s3api-retention": "HTTP_X_OBJECT_TRANSIENT_SYSMETA_S3API_RETENTION",
    "x-object-sysmeta-s3api-legal-hold": "HTTP_X_OBJECT_TRANSIENT_SYSMETA_S3API_LEGAL_HOLD",
}
_LOOKS = 240  # at an upload that somebody else has taken over to abort it, until it is known how that ends
_BETWEEN_LOOKS = 0.25  # seconds
_AT_A_TIME = 8
_MOST_BYTES = 1 << 22


def complete(request: S3Request) -> Answer:
    """CompleteMultipartUpload."""
    bucket, key = layout.names_of(request)
    condition = write_conditions.of_write(request.environ)
    upload = layout.upload_id_of(request)
    kept = marker.look(request, bucket, key, upload)
    if kept is None or marker.is_aborting(kept):
        return xml_answer(_again(request, bucket, key, upload, parts_in))
    parts = parts_in(request, upload)
    size = _size_promised(request)
    secret = customer_keys.sent(request)
    if secret is not None:
        customer_keys.check_part(marker.announced(kept).seal, secret)
    if float((kept.get("x-timestamp") or "0").partition("_")[0]) >= clock.time():
        raise S3Error("ServiceUnavailable", reason="mpu_clock_skew")
    work = _Completion(request, bucket, key, upload, kept, parts, size, condition)
    return patience.answer_of(request, work.done)


def _size_promised(request: S3Request) -> int | None:
    text = request.header("x-amz-mp-object-size")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise S3Error("InvalidRequest", "Value for x-amz-mp-object-size header is invalid.")
    return int(text)


def _again(
    request: S3Request, bucket: str, key: str, upload: str, named: Callable[[S3Request, str], Parts]
) -> bytes:
    """There is no such open upload: it may have been completed, by the same request sent twice. Raises S3Error.

    `named`: gives the parts that the request names.
    """
    owner, found = marker.owner_of(request, bucket, key)
    if owner != upload:
        raise marker.missing(request, bucket, upload)
    etag = etag_of(named(request, upload))
    if etag != (found.get(metadata.ETAG) or found.get(metadata.OLD_ETAG)):
        raise S3Error("NoSuchUpload", UploadId=upload)
    return _result(request, bucket, key, etag, found.get(checksums.SYSMETA))


def _result(request: S3Request, bucket: str, key: str, etag: str, checksum: str | None) -> bytes:
    return document(
        "CompleteMultipartUploadResult",
        element("Location", f"{host_url(request.environ)}{request.environ['RAW_PATH_INFO']}"),
        element("Bucket", bucket),
        element("Key", key),
        element("ETag", f'"{etag}"'),
        *checksums.elements_of(checksum),
    )


class _Completion:
    """One completion of an open upload."""

    def __init__(
        self,
        request: S3Request,
        bucket: str,
        key: str,
        upload: str,
        kept: Subanswer,
        parts: Parts,
        size: int | None,
        condition: write_conditions.Condition | None = None,
    ) -> None:
        self.request = request
        self.bucket = bucket
        self.key = key
        self.upload = upload
        self.kept = kept
        self.parts = parts
        self.size = size
        self.condition = condition
        self._shown: Headers = []
        self._found: Found | None = None
        self._wrong: S3Error | None = None
        self._total: int | None = None
        self._decided: marker.Decided | None = None

    def done(self) -> patience.Told:
        """Store the object; what the client is told. Raises S3Error."""
        request = self.request
        etag = etag_of(self.parts)
        announced = marker.announced(self.kept)
        has_checksums = bool(announced.algorithm or any(part.given for part in self.parts))
        self._found = find(request, self.bucket, self.key, self.upload, self.parts, has_checksums)
        checksum = part_checksums.of_whole(announced, self.parts, self._found.kept)
        part_checksums.check_whole(request, announced, checksum)
        try:
            stored = self._store(etag, checksum)
        except (Exception, Timeout) as error:
            if self._decided is not None:
                marker.reopen(request, self.bucket, self.key, self.upload, self._decided)
            elif isinstance(error, S3Error) and error.code == "NoSuchUpload":
                parts = self.parts
                return _again(request, self.bucket, self.key, self.upload, lambda *_: parts), []
            raise
        is_first = self._let_go(stored)
        request.tell(
            events.CREATED_BY_PARTS,
            self.key,
            size=self._total,
            etag=etag,
            version_id=stored.get("x-object-version-id"),
            timestamp=stored.timestamp,
        )
        if is_first:
            replaced.remove(request, self._found.unused, stored.timestamp)
        replaced.clean_up(request, stored, self.upload)
        return _result(request, self.bucket, self.key, etag, checksum), self._shown

    def _store(self, etag: str, checksum: str | None) -> Subanswer:
        request, found = self.request, self._found
        assert found is not None
        headers = self._headers()
        if checksum is not None:
            headers[checksums.SYSMETA_KEY] = checksum
        headers.update(write_conditions.headers(request, self.bucket, self.key, self.condition))
        answer = manifests.store(
            request, self.bucket, self.key, found.manifest, self.upload, etag, headers, self._look_at
        )
        if answer.status == 201:
            answer.drain()
            shown = metadata.shown_headers(answer.headers)
            self._shown = [pair for pair in shown if pair[0] in ("x-amz-version-id", metadata.ENCRYPTION)]
            return answer
        if self._wrong is not None:
            answer.close()
            raise self._wrong
        if answer.status == 400:
            raise self._refused(answer.read(_MOST_BYTES))
        error = request.error_of(answer, self.bucket, self.key)
        raise write_conditions.lost(request, self.bucket, self.key, self.condition, error)

    def _headers(self) -> dict[str, Any]:
        """What the marker has kept for the object."""
        headers: dict[str, Any] = {}
        for name, value in self.kept.headers:
            lower = name.lower()
            if lower in _KEPT or lower.startswith("x-object-meta-"):
                headers["HTTP_" + name.upper().replace("-", "_")] = value
            elif lower in _MOVED:
                headers[_MOVED[lower]] = value
        get = self.kept.get
        kind = get("x-object-sysmeta-s3api-content-type")
        if get("x-object-sysmeta-s3api-has-content-type") == "yes" and kind:
            headers["CONTENT_TYPE"] = kind
        return headers

    def _look_at(self, stored: list[dict[str, Any]]) -> list[tuple[str, str]]:
        """The hook of the filter for large objects: each part but the last has its least size, and all together the promised one."""
        least = self.request.options.min_segment_size
        small = [(item["name"], "Too Small") for item in stored[:-1] if item["bytes"] < least]
        if small:
            self._wrong = S3Error("EntityTooSmall")
            return small
        self._total = sum(item["bytes"] for item in stored)
        if self.size is not None and self._total != self.size:
            self._wrong = S3Error(
                "InvalidRequest",
                "The provided 'x-amz-mp-object-size' header value does not match what was computed.",
            )
            return [(self.key, "Size Mismatch")]
        self._tell_checksums(stored)
        try:
            self._decide()
        except S3Error as error:
            self._wrong = error
            return [(self.key, "Aborted")]
        return []

    def _tell_checksums(self, stored: list[dict[str, Any]]) -> None:
        assert self._found is not None
        for part, item in zip(self.parts, stored, strict=True):
            kept = self._found.kept.get(part.number)
            if kept is not None and kept.checksum:
                item[manifests.CHECKSUM] = kept.checksum

    def _refused(self, body: bytes) -> S3Error:
        try:
            problems = json.loads(body).get("Errors", [])
        except (ValueError, AttributeError):
            problems = []
        if any(text in ("Etag Mismatch", "404 Not Found") for _, text in problems):
            return S3Error("InvalidPart", UploadId=self.upload)
        return S3Error("InvalidRequest", "; ".join(f"{name}: {text}" for name, text in problems[:10]) or None)

    def _decide(self) -> None:
        """Just before the object is stored. Raises S3Error if it is not to be."""
        request, bucket, key, upload = self.request, self.bucket, self.key, self.upload
        decided = marker.decide(request, bucket, key, upload, marker.COMPLETING_KEY)
        if decided.is_takeover and marker.is_completed(
            request, bucket, key, upload, marker.begun(decided.found)
        ):
            self._remove_marker()
            raise S3Error("NoSuchUpload", UploadId=upload)
        self._decided = decided

    def _let_go(self, stored: Subanswer) -> bool:
        """Remove the marker. Returns True if that was done. Raises S3Error if somebody has taken the upload over, as this has lasted too long."""
        found = marker.look(self.request, self.bucket, self.key, self.upload)
        assert self._decided is not None
        if (
            found is not None
            and marker.time_of(found) == self._decided.time
            and not marker.is_aborting(found)
        ):
            return self._remove_marker()
        for _ in range(_LOOKS):
            if found is None or not marker.is_aborting(found) or not self._has_all_parts():
                break
            sleep(_BETWEEN_LOOKS)
            found = marker.look(self.request, self.bucket, self.key, self.upload)
        if not self._has_all_parts():
            self._take_back(stored)
            raise S3Error("NoSuchUpload", UploadId=self.upload)
        # Whoever it was has found the object, and left it; or has stored another one. Asked once more, there is an answer.
        raise S3Error("ServiceUnavailable", reason="upload_was_taken_over")

    def _remove_marker(self) -> bool:
        gone = self.request.ask("DELETE", layout.segments(self.bucket), f"{self.key}/{self.upload}")
        gone.drain()
        return gone.status == 204

    def _has_all_parts(self) -> bool:
        request, container = self.request, layout.segments(self.bucket)

        def look(number: int) -> bool:
            name = f"{self.key}/{self.upload}/{number}"
            found = request.ask("HEAD", container, name, headers=layout.NEWEST)
            found.close()
            return found.status != 404

        numbers = [part.number for part in self.parts]
        return all(is_there for _, is_there in in_parallel(look, numbers, _AT_A_TIME, bool))

    def _take_back(self, stored: Subanswer) -> None:
        """Remove the manifest, if it is still the one that was stored."""
        request = self.request
        version = stored.get("x-object-version-id")
        if version is not None and version != "null":
            gone = request.ask("DELETE", self.bucket, self.key, {"version-id": version})
            gone.drain()
            if gone.is_success and gone.get("x-object-current-version-id") == "null":
                objects.bring_back(request, self.bucket, self.key)
            return
        owner, found = marker.owner_of(request, self.bucket, self.key)
        if owner == self.upload and marker.time_of(found) == Timestamp(stored.timestamp or "0").internal:
            # Just above what was seen: what is stored after this look stays.
            headers = {"HTTP_X_TIMESTAMP": Timestamp(marker.time_of(found), offset=1).internal}
            request.ask("DELETE", self.bucket, self.key, headers=headers).drain()
