"""Objects: GET, HEAD, PUT and DELETE (spec s3.md 7.4, 27)."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from swift.core.config import truthy
from swift.core.constraints import limits
from swift.core.object_headers import REPLACED_LARGE, UNLESS_LARGE
from swift.middleware.slo.deleting import MANIFEST_FIRST
from swift.s3 import (
    access,
    checksums,
    copying,
    customer_keys,
    manifests,
    metadata,
    payload,
    replaced,
    storage_classes,
    tagging,
    write_conditions,
)
from swift.s3.acl import native
from swift.s3.answers import Answer, Headers, empty
from swift.s3.conditions import with_native_values
from swift.s3.errors import S3Error
from swift.s3.lifecycle import handlers as lifecycle
from swift.s3.notifications import events
from swift.s3.object_lock import sent as lock
from swift.s3.request import S3Request
from swift.wire.errors import ResponseBroken
from swift.wire.message import environ_key, str_to_wsgi
from swift.wire.ranges import parse_range, ranges_for_length
from swift.wire.subanswer import Subanswer

_OVERRIDES = {
    "response-content-type": "Content-Type",
    "response-content-language": "Content-Language",
    "response-expires": "Expires",
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
}
_TOLD_OF_PUT = ("ETag", "Last-Modified", "x-amz-version-id", metadata.ENCRYPTION)
_VERSION_LIMIT = 1000
_OF_NULL = ("x-amz-version-id", "null")
_UNLESS_LARGE = environ_key(UNLESS_LARGE)
_MOST_BYTES = 16 * 1024 * 1024


class Gone(NamedTuple):
    """What a deletion did. `version`: that is gone, or that the new delete marker is; None in buckets without versions."""

    is_marker: bool
    version: str | None


def get(request: S3Request) -> Answer:
    """GetObject and HeadObject."""
    bucket, key = _names(request)
    params = request.params
    overrides = _overrides(params) if params else []
    secret = customer_keys.sent(request)
    headers = metadata.named_headers(request.environ, metadata.READ_HEADERS)
    if headers:
        headers = with_native_values(headers)
    headers.update(customer_keys.read(secret))
    query = _version_query(request) if params else None
    if "partNumber" in params:
        query = {**(query or {}), "part-number": _part_number(request, params["partNumber"])}
    answer = request.given(request.method, bucket, key, query, headers)
    access.check_object(request, answer, bucket, key, query)
    customer_keys.check(answer, secret)
    if answer.status not in (200, 206, 304):
        raise _missing(request, answer)
    shown = metadata.shown_headers(answer.headers)
    shown = customer_keys.with_told(shown, secret)
    if request.environ.get("HTTP_X_AMZ_CHECKSUM_MODE", "").upper() == "ENABLED":
        shown.extend(_checksum(request, answer, bucket, key, query))
    shown = lifecycle.with_expiration(request, shown, answer.headers)
    if request.options.class_policies:
        shown = storage_classes.with_told(request, shown)
    if overrides:
        replaced = {name for name, _ in overrides}
        shown = [*(pair for pair in shown if pair[0] not in replaced), *overrides]
    if "partNumber" in params and answer.status == 200 and answer.get("x-parts-count") is None:
        return _only_part(request, answer, shown)
    if request.method == "HEAD" and answer.status == 200 and "HTTP_RANGE" in request.environ:
        return _head_of_range(request, answer, shown)
    return request.passed(answer, shown)


def _only_part(request: S3Request, answer: Subanswer, shown: Headers) -> Answer:
    """An object that was not uploaded in parts is its own first one."""
    if int(request.params["partNumber"]) > 1:
        answer.close()
        raise S3Error("InvalidPartNumber")
    length = answer.content_length
    if not length:
        return request.passed(answer, shown)
    return request.passed(answer, [*shown, ("Content-Range", f"bytes 0-{length - 1}/{length}")], 206)


def _checksum(
    request: S3Request, answer: Subanswer, bucket: str, key: str, query: dict[str, str] | None
) -> Headers:
    """What a read tells of checksums: the object's of all of it, a part's of a part."""
    kept = answer.get(checksums.SYSMETA)
    if kept is None or "HTTP_RANGE" in request.environ:
        return []
    if answer.status == 200:
        return checksums.headers_of(kept)
    if answer.status != 206 or query is None or "part-number" not in query:
        return []
    if answer.get("x-parts-count") is None:
        return checksums.headers_of(kept)
    whole = {name: value for name, value in query.items() if name != "part-number"}
    try:
        items = manifests.items_of(request, bucket, key, whole)
        text = str(items[int(query["part-number"]) - 1].get(manifests.CHECKSUM, ""))
    except (S3Error, ResponseBroken, IndexError):
        return []  # the object has changed meanwhile
    return checksums.headers_of_part(text)


def _head_of_range(request: S3Request, answer: Subanswer, shown: Headers) -> Answer:
    """A HEAD with a Range, which native ones leave out of account."""
    length = answer.content_length
    specs = parse_range(request.environ["HTTP_RANGE"])
    if length is None or not specs or len(specs) > 1:
        return request.passed(answer, shown)
    ranges = ranges_for_length(specs, length)
    if not ranges:
        answer.close()
        raise S3Error("InvalidRange")
    start, stop = ranges[0]
    shown = [pair for pair in shown if pair[0] != "Content-Length"]
    shown += [("Content-Length", str(stop - start)), ("Content-Range", f"bytes {start}-{stop - 1}/{length}")]
    return request.passed(answer, shown, 206)


def _part_number(request: S3Request, text: str) -> str:
    most = request.options.max_upload_part_num
    if "HTTP_RANGE" in request.environ:
        raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or not 1 <= int(text) <= max(most, 10_000):
        raise S3Error(
            "InvalidArgument",
            f"Part number must be an integer between 1 and {most}, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text,
        )
    return text


def _version_query(request: S3Request) -> dict[str, str] | None:
    version = request.version_id
    if version is None:
        return None
    check_version(version)
    return {"version-id": version}


def check_version(version: str) -> None:
    """Raises S3Error for what can be no version's id."""
    whole, _, rest = version.partition(".")
    if version != "null" and not (
        version.isascii() and whole.isdigit() and rest.isdigit() and len(version) <= 17
    ):
        raise S3Error(
            "InvalidArgument", "Invalid version id specified", ArgumentName="versionId", ArgumentValue=version
        )


def _overrides(params: dict[str, str]) -> Headers:
    """What is told in place of the object's own headers. Raises S3Error: before anything is asked for, whose answer had to be closed."""
    found = []
    for name, header in _OVERRIDES.items():
        value = params.get(name)
        if value is None:
            continue
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise S3Error("InvalidArgument", ArgumentName=name, ArgumentValue=value)
        found.append((header, str_to_wsgi(value)))
    return found


def put(request: S3Request, copy_parts: copying.CopyParts | None = None) -> Answer:
    """PutObject, and CopyObject where a header names a source; `copy_parts` as there."""
    bucket, key = _names(request)
    environ = request.environ
    if len(key.encode()) > limits().max_object_name_length:
        raise S3Error("KeyTooLongError")
    check_headers(request)
    if "HTTP_X_AMZ_COPY_SOURCE" in environ:
        return copying.copy_object(request, copy_parts)
    if lock.is_said(request):
        lock.must_have_digest(request)
    locked = lock.headers_of(request)
    body = payload.prepared(request, checksums.ALGORITHMS.get(request.options.default_checksum))
    headers = {
        **body.object_headers(),
        **tagging.sent_headers(request),
        **access.object_headers(request),
        **locked,
    }
    condition = write_conditions.of_write(environ)
    headers.update(write_conditions.headers(request, bucket, key, condition))
    secret = customer_keys.sent(request)
    headers.update(customer_keys.written(secret))
    try:
        answer = body.put(request, bucket, key, headers)
    except S3Error as error:
        raise write_conditions.lost(request, bucket, key, condition, error) from None
    request.tell(
        events.CREATED_POST if request.method == "POST" else events.CREATED_PUT,
        key,
        size=body.length,
        etag=answer.etag,
        version_id=answer.get("x-object-version-id"),
        timestamp=answer.timestamp,
    )
    replaced.clean_up(request, answer)
    shown = [pair for pair in metadata.shown_headers(answer.headers) if pair[0] in _TOLD_OF_PUT]
    shown += of_suspended(request, answer)
    return empty(200, [*customer_keys.with_told(shown, secret), *body.told()])


def of_suspended(request: S3Request, answer: Subanswer) -> Headers:
    """What a write tells where versions are suspended: it has made the one without an id."""
    if answer.get("x-object-version-id") is not None:
        return []
    sysmeta = request.container_info()["sysmeta"]
    return [("x-amz-version-id", "null")] if sysmeta.get("versions-container") else []


def check_headers(request: S3Request) -> None:
    """What no object can be stored with. Raises S3Error."""
    environ = request.environ
    write_conditions.of_write(environ)
    if metadata.STORAGE_CLASS in environ:
        storage_classes.check(request)
    if lock.is_said(request):
        lock.check_expiry(request)
    encryption = environ.get("HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION")
    if encryption is not None:
        check_encryption(encryption)
        if customer_keys.ALGORITHM_KEY in environ:
            raise S3Error(
                "InvalidArgument",
                "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
                ArgumentName="x-amz-server-side-encryption",
                ArgumentValue=encryption,
            )
    native.check_object_acl(request)


def check_encryption(wanted: str) -> None:
    """Raises S3Error for an encryption that there isn't."""
    if wanted not in ("AES256", "aws:kms", "aws:kms:dsse"):
        raise S3Error(
            "InvalidArgument",
            "The encryption method specified is not supported",
            ArgumentName="x-amz-server-side-encryption",
            ArgumentValue=wanted,
        )
    if wanted != "AES256" or not metadata.is_encrypting():
        raise S3Error("NotImplemented", "Server-side encryption is not supported.")


def answer_gone(gone: Gone) -> Answer:
    """What DeleteObject tells."""
    shown = []
    if gone.is_marker:
        shown.append(("x-amz-delete-marker", "true"))
    if gone.version is not None:
        shown.append(("x-amz-version-id", gone.version))
    return empty(204, shown)


def delete_one(request: S3Request, key: str, version: str | None) -> Gone:
    """Delete one key of the request's bucket, or one version of it. Raises S3Error.

    What is deleted by its name alone is not looked at before: servers leave large objects alone, whose parts are to go first.
    """
    assert request.bucket is not None
    bucket = request.bucket
    if version is None:
        answer = request.ask("DELETE", bucket, key, headers={_UNLESS_LARGE: "true"})
        if answer.status != 412 or not answer.get(REPLACED_LARGE.lower()):
            return gone(request, answer, bucket, key)
        answer.drain()
    return _delete_looked_at(request, bucket, key, version)


def gone(request: S3Request, answer: Subanswer, bucket: str, key: str) -> Gone:
    """What became of a key. Raises S3Error."""
    if answer.status == 404 and request.container_info(bucket)["status"] == 404:
        answer.close()
        raise S3Error("NoSuchBucket", BucketName=bucket)
    if answer.status not in (204, 404):
        raise request.error_of(answer, bucket, key)
    answer.drain()
    return _told_of(request, answer, key)


def _told_of(request: S3Request, answer: Subanswer, key: str) -> Gone:
    """Of a key that was deleted by its name alone."""
    made = answer.get("x-object-version-id")
    is_marker = made is not None and made != "null"
    if made is None and is_suspended(request):
        is_marker, made = True, "null"
    event = events.MARKED_DELETED if is_marker else events.REMOVED
    request.tell(event, key, version_id=made, timestamp=answer.timestamp)
    if made is None and request.container_info()["sysmeta"].get("versions-container"):
        made = "null"
    return Gone(is_marker, made)


def is_suspended(request: S3Request) -> bool:
    """Returns True if the bucket has, or had, versions and makes none now."""
    sysmeta = request.container_info()["sysmeta"]
    return bool(sysmeta.get("versions-container")) and not truthy(sysmeta.get("versions-enabled") or "")


def _delete_looked_at(request: S3Request, bucket: str, key: str, version: str | None) -> Gone:
    """As `delete_one`, with a look at what it is: of versions, and of large objects."""
    query = {}
    if version is not None:
        check_version(version)
        query["version-id"] = version
    found = request.ask("HEAD", bucket, key, {"symlink": "get", **query}, {"HTTP_X_NEWEST": "true"})
    found.close()
    was_marker = _is_marker(found)
    if found.status == 404 and not was_marker:
        error = _missing_of(request, found, bucket, key)
        if error.code != "NoSuchKey":
            raise error
        if version == "null" and _OF_NULL in _of_marker(request, bucket, key):
            bring_back(request, bucket, key)
            return Gone(True, version)
        if version is not None:
            return Gone(False, version)
    elif found.status == 404:
        pass
    elif not found.is_success:
        raise request.error_of(found, bucket, key)
    is_large = (found.get("x-static-large-object") or "").lower() == "true"
    if is_large and not (version is None and _keeps_versions(request)):
        query["multipart-manifest"] = "delete"
        if found.get(metadata.ETAG) or found.get(metadata.OLD_ETAG):
            query["async"] = "on"
    headers = {
        "HTTP_ACCEPT": "application/json",
        MANIFEST_FIRST: "yes",
        **lock.removal_headers(request, key, version),
    }
    answer = request.ask("DELETE", bucket, key, query, headers)
    if answer.status not in (200, 204, 404):
        raise request.error_of(answer, bucket, key)
    if answer.status == 200:
        _check_summary(answer)
    answer.drain()
    if version is None:
        return _told_of(request, answer, key)
    request.tell(events.REMOVED, key, version_id=version)
    current = answer.get("x-object-current-version-id")
    if current == "null" or (answer.status == 200 and _is_nothing_current(request, bucket, key)):
        bring_back(request, bucket, key)
    return Gone(was_marker, version)


def _keeps_versions(request: S3Request) -> bool:
    """Returns True if what is deleted stays as a version: an object from before there were any is made one, and needs its parts.

    Raises S3Error if that is not known.
    """
    info = request.container_info()
    if not 200 <= info["status"] < 300:
        raise S3Error("ServiceUnavailable")
    sysmeta = info["sysmeta"]
    return truthy(sysmeta.get("versions-enabled")) or sysmeta.get("versions-mode") == "history"


def _is_nothing_current(request: S3Request, bucket: str, key: str) -> bool:
    """What the summary of a large object's deletion does not tell."""
    found = request.ask("HEAD", bucket, key, {"symlink": "get"}, {"HTTP_X_NEWEST": "true"})
    found.close()
    return found.status == 404


def _is_marker(answer: Subanswer) -> bool:
    """Returns True if it is a delete marker that was read, or removed."""
    return metadata.DELETE_MARKER_TYPE in (answer.get("x-backend-content-type"), answer.get("content-type"))


def _check_summary(answer: Subanswer) -> None:
    """What became of an object's segments. Raises S3Error."""
    try:
        summary = orjson.loads(answer.read(_MOST_BYTES))
    except ValueError:
        return
    if summary.get("Errors"):
        raise S3Error("InternalError", reason="segments of a large object could not be deleted")


def bring_back(request: S3Request, bucket: str, key: str) -> None:
    """The newest version that is left becomes the current one, unless it says that there is none. Raises S3Error.

    What has the version "null" is at the object's name itself, and so is current already.
    """
    query = {"versions": "", "format": "json", "prefix": key, "limit": str(_VERSION_LIMIT)}
    answer = request.ask("GET", bucket, query=query)
    if not answer.is_success:
        raise request.error_of(answer, bucket)
    data = answer.read(_MOST_BYTES)
    for row in orjson.loads(data) if data else []:
        if row.get("name") != key:
            continue
        if row.get("version_id") in (None, "null") or row.get("content_type") == metadata.DELETE_MARKER_TYPE:
            return
        back = request.ask("PUT", bucket, key, {"version-id": row["version_id"]}, body=b"")
        if back.status == 404:
            back.close()
            continue
        if not back.is_success:
            # An older one would be taken for the newest from now on.
            raise request.error_of(back, bucket, key)
        back.drain()
        return


def _missing(request: S3Request, answer: Subanswer) -> S3Error:
    """The error of a read that failed."""
    bucket, key = _names(request)
    if answer.status == 416 and "partNumber" in request.params:
        answer.close()
        return S3Error("InvalidPartNumber")
    return _missing_of(request, answer, bucket, key, request.version_id)


def _missing_of(
    request: S3Request, answer: Subanswer, bucket: str, key: str, version: str | None = None
) -> S3Error:
    """Of no object, it may be the bucket that isn't there."""
    is_marker = _is_marker(answer)
    shown = [
        pair
        for pair in metadata.shown_headers(answer.headers)
        if pair[0] in ("x-amz-version-id", "x-amz-delete-marker", "Last-Modified")
    ]
    error = request.error_of(answer, bucket, key)
    if error.code != "NoSuchKey":
        return error
    if is_marker:
        shown = [
            *(pair for pair in shown if pair[0] != "x-amz-delete-marker"),
            ("x-amz-delete-marker", "true"),
        ]
    if is_marker and version is not None:
        return _of_version(shown)
    if is_marker:
        return S3Error("NoSuchKey", headers=shown, Key=key)
    info = request.container_info(bucket)
    if info["status"] == 404:
        return S3Error("NoSuchBucket", BucketName=bucket)
    if version is None and info["sysmeta"].get("versions-container"):
        return S3Error("NoSuchKey", headers=_of_marker(request, bucket, key), Key=key)
    if version == "null" and _OF_NULL in (of_marker := _of_marker(request, bucket, key)):
        return _of_version(of_marker)
    if version is not None and version != "null":
        return S3Error("NoSuchVersion", Key=key, VersionId=version)
    return error


def _of_version(shown: Headers) -> S3Error:
    """The error of a read of a delete marker by its version."""
    headers = [*shown, ("Allow", "DELETE")]
    return S3Error("MethodNotAllowed", headers=headers, Method="GET", ResourceType="DeleteMarker")


def _of_marker(request: S3Request, bucket: str, key: str) -> Headers:
    """What is told of the delete marker at a key, if there is one: natively the name is gone."""
    query = {"versions": "", "format": "json", "prefix": key, "limit": "1"}
    answer = request.ask("GET", bucket, query=query)
    if not answer.is_success:
        answer.close()
        return []
    data = answer.read(_MOST_BYTES)
    for row in orjson.loads(data) if data else []:
        if row.get("name") != key or row.get("version_id") in (None, "null"):
            continue
        if row.get("content_type") == metadata.DELETE_MARKER_TYPE:
            return [("x-amz-version-id", row["version_id"]), ("x-amz-delete-marker", "true")]
        # What is not at the name has been deleted since.
        if is_suspended(request) and not row.get("is_latest", True):
            return [_OF_NULL, ("x-amz-delete-marker", "true")]
    return []


def _names(request: S3Request) -> tuple[str, str]:
    assert request.bucket is not None and request.key is not None
    return request.bucket, request.key
