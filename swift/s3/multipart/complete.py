"""CompleteMultipartUpload: the parts become one object, a static large object (spec s3.md 6.5, 7.5).

The manifest is stored first, the marker removed after it; an abort that came in between is found in the marker, and the object is
taken back then. While it takes long, blanks are sent, and an error comes in a document with status 200.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from swift.core import clock
from swift.middleware.parallel import Meanwhile
from swift.s3 import metadata
from swift.s3.answers import Answer, xml_answer
from swift.s3.errors import S3Error
from swift.s3.multipart import layout
from swift.s3.multipart.remove import remove_parts
from swift.s3.request import S3Request
from swift.s3.xml import DECLARATION, Node, Text, document, element, many, maybe, one, read
from swift.wire.message import host_url
from swift.wire.subanswer import Subanswer

_DOCUMENT_LIMIT = 2_097_152
_PATIENCE = 10.0  # seconds, after which blanks are sent
_CHECKSUMS = ("ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256")
_PART = Node(
    {
        "PartNumber": one(Text("[0-9]{1,9}")),
        "ETag": one(Text(most=128)),
        **{name: maybe(Text()) for name in _CHECKSUMS},
    }
)
_SCHEMA = Node({"Part": many(_PART, 0, 10_000)})
_ETAG = re.compile("[0-9a-f]{32}")
_KEPT = ("Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires")
_OVERRIDE = "HTTP_X_OBJECT_SYSMETA_CONTAINER_UPDATE_OVERRIDE_ETAG"
Parts = list[tuple[int, str]]


def complete(request: S3Request) -> Answer:
    """CompleteMultipartUpload."""
    bucket, key = layout.names_of(request)
    metadata.no_conditions(request.environ, "Conditional uploads are not supported.")
    upload = layout.upload_id_of(request)
    marker = layout.marker_of(request, bucket, key, upload)
    parts = None if marker is None else _wanted(request, upload)
    if marker is None or parts is None:
        return _again(request, bucket, key, upload)
    if float(marker.get("x-timestamp") or 0) >= clock.time():
        raise S3Error("ServiceUnavailable", reason="mpu_clock_skew")
    work = _Completion(request, bucket, key, upload, marker, parts)
    doing = Meanwhile(work.document)
    if doing.is_done_within(_PATIENCE):
        return xml_answer(doing.wait())
    return Answer(200, [("Content-Type", "application/xml")], _told_at_length(request, doing))


def _wanted(request: S3Request, upload: str) -> Parts:
    """(number, ETag) of the parts that the client names. Raises S3Error."""
    data = request.document_body(_DOCUMENT_LIMIT, required=False)
    if not data:
        raise S3Error("InvalidRequest", "You must specify at least one part")
    parts: Parts = []
    for part in read(data, "CompleteMultipartUpload", _SCHEMA)["Part"]:
        number, etag = int(part["PartNumber"]), part["ETag"].strip().strip('"')
        if parts and number <= parts[-1][0]:
            raise S3Error("InvalidPartOrder", UploadId=upload)
        if not _ETAG.fullmatch(etag) or not 1 <= number <= 10_000:
            raise S3Error("InvalidPart", UploadId=upload, PartNumber=number, ETag=etag)
        parts.append((number, etag))
    if not parts:
        raise S3Error("InvalidRequest", "You must specify at least one part")
    return parts


def etag_of(parts: Parts) -> str:
    """What S3 calls the object that is made of these parts."""
    digest = hashlib.md5(b"".join(bytes.fromhex(etag) for _, etag in parts), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(parts)}"


def _again(request: S3Request, bucket: str, key: str, upload: str) -> Answer:
    """There is no such open upload: it may have been completed, by the same request sent twice. Raises S3Error."""
    owner, found = layout.owner_of(request, bucket, key)
    if owner != upload:
        layout.check_bucket(request, bucket)
        raise S3Error("NoSuchUpload", UploadId=upload)
    etag = etag_of(_wanted(request, upload))
    if etag != found.get(metadata.ETAG):
        raise S3Error("NoSuchUpload", UploadId=upload)
    return xml_answer(_result(request, bucket, key, etag))


def _result(request: S3Request, bucket: str, key: str, etag: str) -> bytes:
    return document(
        "CompleteMultipartUploadResult",
        element("Location", f"{host_url(request.environ)}{request.environ['RAW_PATH_INFO']}"),
        element("Bucket", bucket),
        element("Key", key),
        element("ETag", f'"{etag}"'),
    )


def _told_at_length(request: S3Request, doing: Meanwhile) -> Iterator[bytes]:
    yield DECLARATION.replace("'", '"').encode()
    while not doing.is_done_within(_PATIENCE):
        yield b" "
    request_id = request.environ.get("swift.trans_id", "")
    try:
        found = doing.wait()
    except S3Error as error:
        found = error.document(request_id, request.resource)
    except Exception:
        request.logger.exception("completing %s", request.resource)
        found = S3Error("InternalError").document(request_id, request.resource)
    yield found.partition(b"\n")[2]


class _Completion:
    def __init__(
        self, request: S3Request, bucket: str, key: str, upload: str, marker: Subanswer, parts: Parts
    ) -> None:
        self.request = request
        self.bucket = bucket
        self.key = key
        self.upload = upload
        self.marker = marker
        self.parts = parts
        self._is_too_small = False

    def document(self) -> bytes:
        """Store the object; what the client is told. Raises S3Error."""
        etag = etag_of(self.parts)
        self._store(etag)
        self._let_go()
        return _result(self.request, self.bucket, self.key, etag)

    def _store(self, etag: str) -> None:
        request = self.request
        container = layout.segments(self.bucket)
        start = f"/{container}/{self.key}/{self.upload}/"
        manifest = json.dumps([{"path": f"{start}{number}", "etag": part} for number, part in self.parts])
        headers = {
            **self._headers(),
            "HTTP_X_OBJECT_SYSMETA_S3API_ETAG": etag,
            "HTTP_X_OBJECT_SYSMETA_S3API_UPLOAD_ID": self.upload,
            _OVERRIDE: f"; s3_etag={etag}",
            "HTTP_ACCEPT": "application/json",
            "swift.callback.slo_manifest_hook": self._look_at,
        }
        if request.environ.get("HTTP_IF_NONE_MATCH"):
            headers["HTTP_IF_NONE_MATCH"] = "*"
        answer = request.ask(
            "PUT", self.bucket, self.key, {"multipart-manifest": "put"}, headers, manifest.encode()
        )
        if answer.status == 201:
            answer.drain()
            return
        if self._is_too_small:
            answer.close()
            raise S3Error("EntityTooSmall")
        if answer.status == 400:
            raise self._refused(answer.read(1 << 22))
        raise request.error_of(answer, self.bucket, self.key)

    def _headers(self) -> dict[str, Any]:
        """What the marker has kept for the object."""
        headers: dict[str, Any] = {}
        for name, value in self.marker.headers:
            if name.title() in _KEPT or name.lower().startswith("x-object-meta-"):
                headers["HTTP_" + name.upper().replace("-", "_")] = value
        get = self.marker.get
        kind = get("x-object-sysmeta-s3api-content-type")
        if get("x-object-sysmeta-s3api-has-content-type") == "yes" and kind:
            headers["CONTENT_TYPE"] = kind
        acl = get("x-object-sysmeta-s3api-tmpacl")
        if acl:
            headers["HTTP_X_OBJECT_SYSMETA_S3API_ACL"] = acl
        return headers

    def _look_at(self, stored: list[dict[str, Any]]) -> list[tuple[str, str]]:
        """The hook of the filter for large objects: each part but the last has its least size."""
        least = self.request.options.min_segment_size
        small = [(item["name"], "Too Small") for item in stored[:-1] if item["bytes"] < least]
        self._is_too_small = bool(small)
        return small

    def _refused(self, body: bytes) -> S3Error:
        try:
            problems = json.loads(body).get("Errors", [])
        except (ValueError, AttributeError):
            problems = []
        if any(text in ("Etag Mismatch", "404 Not Found") for _, text in problems):
            return S3Error("InvalidPart", UploadId=self.upload)
        return S3Error("InvalidRequest", "; ".join(f"{name}: {text}" for name, text in problems[:10]) or None)

    def _let_go(self) -> None:
        """Remove the marker. Raises S3Error if the upload was aborted meanwhile: then there is no object of it either."""
        request, container = self.request, layout.segments(self.bucket)
        name = f"{self.key}/{self.upload}"
        found = request.ask("HEAD", container, name, headers=layout.NEWEST)
        found.close()
        aborted = bool(found.get(layout.ABORTING)) if found.is_success else False
        if found.status == 404:
            # Somebody else has completed it too, or it was aborted and all of its parts are gone.
            last = request.ask("HEAD", container, f"{name}/{self.parts[-1][0]}", headers=layout.NEWEST)
            last.close()
            aborted = last.status == 404
        if aborted:
            self._take_back()
            raise S3Error("NoSuchUpload", UploadId=self.upload)
        if found.is_success:
            request.ask("DELETE", container, name).drain()

    def _take_back(self) -> None:
        """Remove the manifest, if it is still ours, and the parts."""
        request = self.request
        owner, found = layout.owner_of(request, self.bucket, self.key)
        if owner == self.upload:
            stamp = found.get("x-timestamp") or ""
            headers = {"HTTP_X_TIMESTAMP": f"{stamp}_0000000000000001"}
            request.ask("DELETE", self.bucket, self.key, headers=headers, rights="own").drain()
        remove_parts(request, self.bucket, self.key, self.upload)
