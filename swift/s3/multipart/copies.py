"""CopyObject of an object that was made of an upload's parts: its copy is made of as many, of its own (spec s3.md 26).

So its ETag, its parts and its checksum are those of the source, and it may have any size. The parts are copied first, under the id of
an upload that nobody else knows; what a copy that breaks off leaves of them, nobody refers to, and the orphans' sweep finds. Never here:
copies of the bytes of one object (`copying`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.names import wsgi_quote
from swift.core.timestamp import http_date
from swift.middleware.parallel import in_parallel
from swift.middleware.slo.upload import Head, Known, Wanted
from swift.s3 import checksums, copying, manifests, metadata, objects, patience, replaced, write_conditions
from swift.s3.answers import Answer
from swift.s3.errors import S3Error
from swift.s3.multipart import layout, marker
from swift.s3.multipart.create import make_container
from swift.s3.multipart.remove import remove_parts
from swift.s3.request import S3Request
from swift.wire.message import str_to_wsgi
from swift.wire.subanswer import Subanswer

_AT_A_TIME = 4
_MOST_AT_A_TIME = 8


class _Part(NamedTuple):
    """A part of the source. `path`: text, /container/object; `checksum`: as its item says, "" for none."""

    number: int
    path: str
    size: int
    etag: str
    kind: str
    checksum: str


def put_object(request: S3Request) -> Answer:
    """PutObject, and CopyObject where a header names a source."""
    return objects.put(request, copy_parts)


def copy_parts(
    request: S3Request, source: copying.Source, found: Subanswer, headers: dict[str, Any]
) -> Callable[[], patience.Told] | None:
    """What makes the copy; None if the source has parts that are more than objects. Raises S3Error, now or then."""
    bucket, key = layout.names_of(request)
    try:
        layout.check_key(key)
    except S3Error:
        return None
    query = {"version-id": source.version} if source.version is not None else {}
    told, data = manifests.read(request, source.bucket, source.key, query)
    if _etag(told) != _etag(found):
        raise S3Error("ServiceUnavailable", reason="changed_meanwhile")
    parts = _parts(manifests.items_in(data))
    if parts is None:
        return None
    own = f"/{layout.segments(bucket)}/{key}/{marker.upload_of(found)}/"
    is_rewritten = (
        source[:3] == (bucket, key, None)
        and all(part.path.startswith(own) for part in parts)  # not those of what a link leads to
        and not _has_versions(request)
    )
    return _Copying(request, bucket, key, found, parts, headers, is_rewritten).done


def rewrite(request: S3Request, found: Subanswer, container: str, name: str, headers: dict[str, Any]) -> None:
    """Store what a HEAD found anew where it is, of the same parts, with its metadata and `headers`: environ keys. Raises S3Error."""
    bucket, key = layout.names_of(request)
    query = {} if request.version_id is None else {"version-id": request.version_id}
    told, data = manifests.read(request, bucket, key, query)
    parts = _parts(manifests.items_in(data))
    if parts is None or not _etag(found):
        raise S3Error("NotImplemented", "This is not possible of objects that are made of other objects.")
    if _etag(told) != _etag(found):
        raise S3Error("ServiceUnavailable", reason="changed_meanwhile")
    kept = {**metadata.copied_headers(found.headers), **metadata.system_headers(found.headers), **headers}
    answer = _Copying(request, bucket, key, found, parts, {}, True).stored(container, name, kept)
    if answer.status not in (201, 202):
        raise request.error_of(answer, bucket, key)
    answer.drain()


def _has_versions(request: S3Request) -> bool:
    info = request.container_info()
    return bool(info["sysmeta"].get("versions-container")) or replaced.is_archived(info)


def _etag(answer: Subanswer) -> str:
    return answer.get(metadata.ETAG) or answer.get(metadata.OLD_ETAG) or ""


def _parts(items: manifests.Items) -> list[_Part] | None:
    parts = []
    for number, item in enumerate(items, 1):
        if "data" in item or "range" in item or item.get("sub_slo"):
            return None
        try:
            path, size, etag, kind = item["name"], int(item["bytes"]), item["hash"], item["content_type"]
        except (KeyError, ValueError, TypeError):
            return None
        parts.append(_Part(number, path, size, etag, kind, str(item.get(manifests.CHECKSUM, ""))))
    return parts if 0 < len(parts) <= layout.MOST_PARTS else None


class _Copying:
    """One copy. `headers`: environ keys of the PUT of the object; `is_rewritten`: it is the object itself, which keeps its parts."""

    def __init__(
        self,
        request: S3Request,
        bucket: str,
        key: str,
        found: Subanswer,
        parts: list[_Part],
        headers: dict[str, Any],
        is_rewritten: bool,
    ) -> None:
        self._request = request
        self._bucket = bucket
        self._key = key
        self._found = found
        self._parts = parts
        self._headers = headers
        self._is_rewritten = is_rewritten
        self._upload = marker.upload_of(found) if is_rewritten else layout.new_upload_id()

    def done(self) -> patience.Told:
        """What the client is told. Raises S3Error."""
        request, bucket, key, etag = self._request, self._bucket, self._key, _etag(self._found)
        kept = self._found.get(checksums.SYSMETA)
        headers = self._headers if kept is None else {**self._headers, checksums.SYSMETA_KEY: kept}
        if self._is_rewritten:
            # What came meanwhile would be lost, and if that was deleted or replaced, its parts are about to go.
            headers = {**headers, **write_conditions.instead_of(marker.time_of(self._found))}
        else:
            make_container(request, bucket)
            self._copy_parts()
        answer = self.stored(bucket, key, headers)
        if self._is_rewritten and answer.status in (202, 409, 412):
            answer.close()
            raise S3Error("ServiceUnavailable", reason="changed_meanwhile")
        if answer.status != 201:
            error = request.error_of(answer, bucket, key)
            if answer.status < 500:
                self._clean_up()  # else it may be stored all the same
            raise error
        answer.drain()
        copying.tell(request, answer, self._found, etag, self._upload)
        version = self._found.get("x-object-version-id")
        more = [("x-amz-copy-source-version-id", version)] if version else []
        return copying.result_of(answer, "CopyObjectResult", kept, more, etag)

    def stored(self, container: str, name: str, headers: dict[str, Any]) -> Subanswer:
        """The answer to the PUT of the manifest."""
        return manifests.store(
            self._request,
            container,
            name,
            self._manifest(),
            self._upload,
            _etag(self._found),
            headers,
            self._tell_checksums,
        )

    def _copy_parts(self) -> None:
        request, container = self._request, layout.segments(self._bucket)

        def copy(part: _Part) -> Subanswer:
            headers = {
                "HTTP_X_COPY_FROM": wsgi_quote(str_to_wsgi(part.path)),
                "HTTP_X_FRESH_METADATA": "True",
            }
            answer = request.ask("PUT", container, self._name(part.number), headers=headers, body=b"")
            answer.drain()
            return answer

        for part, answer in in_parallel(
            copy, self._parts, _AT_A_TIME, lambda answer: answer.is_success, _MOST_AT_A_TIME
        ):
            if answer.status not in (201, 202) or answer.etag != part.etag:
                self._clean_up()
                raise self._failed(answer)

    def _failed(self, answer: Subanswer) -> S3Error:
        if answer.status == 404 or answer.is_success:
            # Whoever has removed the source, or written it anew, has done so after it was looked at.
            return S3Error("ServiceUnavailable", reason="changed_meanwhile")
        return self._request.error_of(answer, self._bucket, self._key)

    def _name(self, number: int) -> str:
        return f"{self._key}/{self._upload}/{number}"

    def _manifest(self) -> Known:
        items, heads = [], {}
        modified = http_date(clock.time())
        for part in self._parts:
            path = f"/{layout.segments(self._bucket)}/{self._name(part.number)}"
            name = str_to_wsgi(part.path if self._is_rewritten else path)
            items.append(Wanted(None, str(wsgi_quote(name)), name, part.etag))
            heads[name] = Head("", part.size, part.etag, str_to_wsgi(part.kind), modified)
        return Known(items, heads)

    def _tell_checksums(self, stored: manifests.Items) -> list[tuple[str, str]]:
        for part, item in zip(self._parts, stored, strict=True):
            if part.checksum:
                item[manifests.CHECKSUM] = part.checksum
        return []

    def _clean_up(self) -> None:
        if self._is_rewritten:
            return
        try:
            remove_parts(self._request, self._bucket, self._key, self._upload)
        except S3Error:
            self._request.logger.warning("parts of a copy are left: %s/%s", self._bucket, self._name(1))
