"""Copies on the server's side: CopyObject and UploadPartCopy (spec s3.md 7.4, 7.5, 26)."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

from swift.core.constraints import limits
from swift.core.names import wsgi_quote
from swift.middleware.copy import READ_HEADERS, WRITE_HEADERS
from swift.s3 import (
    access,
    bucket_owner,
    checksums,
    customer_keys,
    metadata,
    names,
    patience,
    replaced,
    streamed_copies,
    tagging,
    times,
    write_conditions,
)
from swift.s3.answers import Answer
from swift.s3.bucket_names import resolving
from swift.s3.checksums import ALGORITHMS, SYSMETA_KEY, Algorithm
from swift.s3.conditions import COPY_CONDITIONS, with_native_values
from swift.s3.errors import S3Error
from swift.s3.notifications import events
from swift.s3.object_lock import sent as lock
from swift.s3.request import S3Request
from swift.s3.xml import document, element
from swift.wire.message import str_to_wsgi
from swift.wire.subanswer import Subanswer

_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})")
_TOLD = ("x-amz-version-id", "x-amz-copy-source-version-id", metadata.ENCRYPTION)
_SELF = (
    "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, "
    "storage class, website redirect location or encryption attributes."
)
# What a copy of an object to itself may change, beside its metadata.
_CHANGES = (
    "HTTP_X_AMZ_STORAGE_CLASS",
    "HTTP_X_AMZ_WEBSITE_REDIRECT_LOCATION",
    "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION",
    customer_keys.ALGORITHM_KEY,
)
_LISTED_ETAG_KEY = "HTTP_X_OBJECT_SYSMETA_CONTAINER_UPDATE_OVERRIDE_ETAG"
_ENDS = ("HTTP_X_DELETE_AT", "HTTP_X_DELETE_AFTER")
# What a whole multipart object is, and a copy of its bytes is not.
_NOT_THE_COPYS = {
    "HTTP_X_OBJECT_SYSMETA_S3API_ETAG": "",
    "HTTP_X_OBJECT_SYSMETA_S3API_UPLOAD_ID": "",
    "HTTP_X_OBJECT_SYSMETA_SWIFT3_ETAG": "",
    "HTTP_X_OBJECT_SYSMETA_SWIFT3_UPLOAD_ID": "",
    SYSMETA_KEY: "",
}


class Keys(NamedTuple):
    """The customer's keys that a source is read with and its copy is written with."""

    source: customer_keys.CustomerKey | None
    target: customer_keys.CustomerKey | None


NO_KEYS = Keys(None, None)


class Source(NamedTuple):
    """What is copied. Text. `account`: None for that of the request."""

    bucket: str
    key: str
    version: str | None
    account: str | None = None


# Makes the copy of an object that was made of parts; None if its parts can't be copied as such.
CopyParts = Callable[[S3Request, Source, Subanswer, dict[str, Any]], Callable[[], patience.Told] | None]


def source_of(request: S3Request) -> Source:
    """What x-amz-copy-source names. Raises S3Error."""
    given = request.environ["HTTP_X_AMZ_COPY_SOURCE"]
    path, mark, query = given.partition("?")
    try:
        text = unquote_to_bytes(path.encode("latin-1")).decode()
    except UnicodeError:
        text = ""
    if text.startswith("arn:"):
        raise S3Error("NotImplemented", "Sources that are named by an ARN are not supported.")
    bucket, _, key = text.removeprefix("/").partition("/")
    if not bucket or not key:
        raise S3Error(
            "InvalidArgument",
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            ArgumentName="x-amz-copy-source",
            ArgumentValue=given,
        )
    version = None
    if mark:
        name, _, version = query.partition("=")
        if name != "versionId" or not version or "&" in version:
            raise S3Error(
                "InvalidArgument",
                "Unsupported copy source parameter.",
                ArgumentName="x-amz-copy-source",
                ArgumentValue=given,
            )
        version = unquote(version)
    account, bucket = names.qualified(bucket, request.options)
    if "\0" in text or not (
        bucket == request.bucket or names.is_bucket_name(bucket, request.options.dns_compliant_bucket_names)
    ):
        raise S3Error("InvalidBucketName", BucketName=bucket)
    if account is None and request.options.has_global_buckets and bucket != request.bucket:
        own = request.identity.account
        found = resolving.account_of(request, bucket, own) or own or None
        account = None if found == request.account else found
    bucket_owner.check(request, bucket_owner.EXPECTED_OF_SOURCE, account)
    return Source(bucket, key, version, account)


def keys_of(request: S3Request) -> Keys:
    """Raises S3Error."""
    return Keys(customer_keys.sent_for_source(request), customer_keys.sent(request))


def _look(request: S3Request, source: Source, key_of_source: customer_keys.CustomerKey | None) -> Subanswer:
    """What a HEAD says of the source, under the copy's conditions. Raises S3Error."""
    bucket, key, version, account = source
    access.require(
        request, "s3:GetObject", bucket, key, version_id=version, permission="READ", account=account
    )
    headers: dict[str, Any] = {"HTTP_X_NEWEST": "true"}
    for given, native in COPY_CONDITIONS.items():
        if given in request.environ:
            headers[native] = request.environ[given]
    if len(headers) > 1:
        headers = with_native_values(headers)
    headers.update(customer_keys.read(key_of_source))
    query = {"version-id": source.version} if source.version is not None else {}
    found = request.ask("HEAD", bucket, key, query, headers, account=account)
    found.close()
    access.check_object(request, found, bucket, key, query, account=account)
    customer_keys.check(found, key_of_source)
    if found.status in (304, 412):
        raise S3Error("PreconditionFailed")
    if found.status != 200:
        raise missing_source(request, found, source)
    return found


def missing_source(request: S3Request, found: Subanswer, source: Source) -> S3Error:
    is_marker = metadata.DELETE_MARKER_TYPE in (
        found.get("x-backend-content-type"),
        found.get("content-type"),
    )
    if found.status == 404 and source.version is not None and is_marker:
        found.close()
        return S3Error(
            "InvalidRequest",
            "The source of a copy request may not specifically refer to a delete marker by version id.",
        )
    error = request.error_of(found, source.bucket, source.key)
    if error.code == "NoSuchKey":
        if request.container_info(source.bucket, source.account)["status"] == 404:
            return S3Error("NoSuchBucket", BucketName=source.bucket)
        if source.version is not None:
            return S3Error("NoSuchVersion", Key=source.key, VersionId=source.version)
    return error


def _headers(source: Source) -> tuple[dict[str, Any], dict[str, str]]:
    """(headers, query) that make a native PUT a copy."""
    headers = {"HTTP_X_COPY_FROM": wsgi_quote(str_to_wsgi(f"/{source.bucket}/{source.key}"))}
    if source.account is not None:
        headers["HTTP_X_COPY_FROM_ACCOUNT"] = wsgi_quote(str_to_wsgi(source.account))
    return headers, {"version-id": source.version} if source.version is not None else {}


def copy_object(request: S3Request, copy_parts: CopyParts | None = None) -> Answer:
    """CopyObject. `copy_parts`: copies an object that was made of an upload's parts."""
    assert request.bucket is not None and request.key is not None
    environ = request.environ
    for key, message in (
        ("HTTP_X_AMZ_COPY_SOURCE_RANGE", "Illegal copy header"),
        ("HTTP_RANGE", "RANGE is not supported in Copy!"),
    ):
        if key in environ:
            raise S3Error("InvalidArgument", message, ArgumentName=key[5:].lower().replace("_", "-"))
    source = source_of(request)
    is_fresh = environ.get("HTTP_X_AMZ_METADATA_DIRECTIVE", "COPY") == "REPLACE"
    kept = metadata.kept_sysmeta(environ)
    changes = is_fresh or any(kept.values()) or any(map(environ.get, _CHANGES))
    if source == (request.bucket, request.key, None, None) and not changes:
        raise S3Error("InvalidRequest", _SELF)
    keys = keys_of(request)
    found = _look(request, source, keys.source)
    wanted = _wanted(request)
    headers: dict[str, Any] = {}
    if is_fresh:
        headers.update(metadata.named_headers(environ, metadata.STORED_HEADERS))
        headers.update(metadata.user_metadata(environ))
        headers["CONTENT_TYPE"] = headers.get("CONTENT_TYPE") or "binary/octet-stream"
    headers.update(kept)
    tags = tagging.copied_headers(request, found.get(tagging.STORED))
    if tags and (request.header("x-amz-tagging-directive") or "COPY") == "COPY":
        _check_tags(request, source)
    headers.update(tags)
    headers.update(access.object_headers(request))
    headers.update(lock.copied(lock.headers_of(request)))
    condition = write_conditions.of_write(environ)
    guards = write_conditions.headers(request, request.bucket, request.key, condition)
    is_large = (found.get("x-static-large-object") or "").lower() == "true"
    of_parts = found.get(metadata.ETAG) or found.get(metadata.OLD_ETAG)
    is_here = source.account in (None, request.account)
    has_keys = keys.source is not None or keys.target is not None  # what is encrypted anew has other ETags
    if copy_parts is not None and is_large and of_parts and wanted is None and is_here and not has_keys:
        work = copy_parts(request, source, found, {**_described(found, is_fresh, headers), **guards})
        if work is not None:
            return patience.answer_of(request, functools.partial(_told, request, condition, work))
    _check_size(found.content_length or 0)
    copy = functools.partial(
        _copied, request, source, found, is_fresh, is_large, wanted, headers, guards, keys
    )
    return patience.answer_of(request, functools.partial(_told, request, condition, copy))


def _check_tags(request: S3Request, source: Source) -> None:
    """Raises S3Error if who asks may not read the source's tags, or give them to the target: whom a policy lets do the rest, it must let."""
    assert request.bucket is not None and request.key is not None
    bucket, key, version, account = source
    for action, *place, of, id_ in (
        ("s3:GetObjectTagging", bucket, key, account, version),
        ("s3:PutObjectTagging", request.bucket, request.key, None, None),
    ):
        is_granted = request.granted.has(of or request.account or "", *place)
        permission = "OWNER" if is_granted else ""
        access.require(request, action, *place, version_id=id_, permission=permission, account=of)


def _told(
    request: S3Request, condition: write_conditions.Condition | None, work: Callable[[], patience.Told]
) -> patience.Told:
    """What a copy under a condition of its target is answered. Raises S3Error."""
    assert request.bucket is not None and request.key is not None
    try:
        return work()
    except S3Error as error:
        raise write_conditions.lost(request, request.bucket, request.key, condition, error) from None


def _check_size(size: int) -> None:
    if size > limits().max_file_size:
        raise S3Error(
            "InvalidRequest",
            "The specified copy source is larger than the maximum allowable size for a copy source: "
            f"{limits().max_file_size}",
        )


def _wanted(request: S3Request) -> Algorithm | None:
    """The checksum that is asked for. Raises S3Error."""
    name = request.header("x-amz-checksum-algorithm")
    if name is None:
        return None
    if name.lower() not in ALGORITHMS:
        raise checksums.unsupported()
    return ALGORITHMS[name.lower()]


def _described(found: Subanswer, is_fresh: bool, headers: dict[str, Any]) -> dict[str, Any]:
    """Headers of a PUT, with what is copied of the source's metadata."""
    return headers if is_fresh else {**metadata.copied_headers(found.headers), **headers}


def _copied(
    request: S3Request,
    source: Source,
    found: Subanswer,
    is_fresh: bool,
    is_large: bool,
    wanted: Algorithm | None,
    headers: dict[str, Any],
    guards: dict[str, str],
    keys: Keys,
) -> patience.Told:
    """A copy of an object's bytes, if it still is what was found. `guards`: of the target. Raises S3Error."""
    assert request.bucket is not None and request.key is not None
    named, query = _headers(source)
    kept = None if is_large else found.get(checksums.SYSMETA)
    if wanted is not None and (checksums.split(kept) or ("",))[0] != wanted.name:
        place = streamed_copies.Place(source.bucket, source.key, query, source.account)
        target = streamed_copies.Place(request.bucket, request.key, {})
        answer, kept = streamed_copies.copy(
            request,
            place,
            target,
            {**_described(found, is_fresh, headers), **guards, **customer_keys.written(keys.target)},
            wanted,
            found=found,
            reading=customer_keys.written(keys.source),
        )
        tell(request, answer, found)
        return result_of(answer, "CopyObjectResult", kept, _versions(found), key=keys.target)
    # The end of an object is nothing that S3 knows of, and a copy does not share it.
    end = {key: headers.get(key) for key in _ENDS}
    headers = {**named, **headers, **in_copy(found, keys, {**end, **guards})}
    if is_fresh:
        headers["HTTP_X_FRESH_METADATA"] = "True"
    if is_large:
        headers.update(_NOT_THE_COPYS)
    answer = request.ask("PUT", request.bucket, request.key, query, headers, b"")
    if answer.status not in (201, 202):
        check_read(answer)
        raise request.error_of(answer, request.bucket, request.key)
    answer.drain()
    tell(request, answer, found)
    return result_of(answer, "CopyObjectResult", kept, key=keys.target)


def in_copy(found: Subanswer, keys: Keys, written: dict[str, Any]) -> dict[str, Any]:
    """For the environ of a native copy, whose source must still be what was found: the conditions have been decided on that. `written`: of the
    write alone."""
    read = {"HTTP_IF_MATCH": f'"{found.etag or ""}"', **customer_keys.written(keys.source)}
    written = {**written, **customer_keys.written(keys.target)}
    if keys.source is not None or keys.target is not None:
        written[_LISTED_ETAG_KEY] = None  # the copy has another one
    if keys.source is not None:
        written["HTTP_ETAG"] = None  # that of the source is of what is stored of it
    return {READ_HEADERS: read, WRITE_HEADERS: written}


def check_read(answer: Subanswer) -> None:
    """Raises S3Error if a copy's source was replaced since it was looked at: the conditions might not hold any more."""
    if answer.status == 412 and answer.get("etag"):
        answer.close()
        raise S3Error("ServiceUnavailable", reason="changed_meanwhile")


def tell(
    request: S3Request, answer: Subanswer, found: Subanswer, etag: str | None = None, upload: str = ""
) -> None:
    """There is a copy, of what `found` tells of; made of the parts of an upload, or not."""
    assert request.key is not None
    request.tell(
        events.CREATED_COPY,
        request.key,
        size=found.content_length,
        etag=etag or answer.etag,
        version_id=answer.get("x-object-version-id"),
        timestamp=answer.timestamp,
    )
    replaced.clean_up(request, answer, upload)


def _versions(found: Subanswer) -> list[tuple[str, str]]:
    """What is told of the source's version where the answer to a PUT does not tell it."""
    version = found.get("x-object-version-id")
    return [("x-amz-copy-source-version-id", version)] if version else []


def copy_part(
    request: S3Request,
    container: str,
    name: str,
    wanted: Algorithm | None,
    row_type: str,
    check: Callable[[], None],
    keys: Keys = NO_KEYS,
) -> Callable[[], patience.Told]:
    """UploadPartCopy, into the part `name` of a segments container: what does it. `wanted`: the checksum that is taken of it.

    `check`: called as late as can be before the part takes the place of another one, raises S3Error. Raises S3Error, now or then.
    """
    source = source_of(request)
    found = _look(request, source, keys.source)
    size = found.content_length or 0
    extent = None
    given = request.header("x-amz-copy-source-range")
    if given is not None:
        first, last = _range(given, size)
        extent = f"bytes={first}-{last}"
        size = last - first + 1
    if size > limits().max_file_size:
        raise S3Error("EntityTooLarge")
    named, query = _headers(source)
    if wanted is not None:
        place = streamed_copies.Place(source.bucket, source.key, query, source.account)
        target = streamed_copies.Place(container, name, {})

        def stream() -> patience.Told:
            answer, kept = streamed_copies.copy(
                request,
                place,
                target,
                customer_keys.written(keys.target),
                wanted,
                extent,
                row_type,
                found=found,
                check=check,
                reading=customer_keys.written(keys.source),
            )
            more = _versions(found)
            return result_of(answer, "CopyPartResult", kept, more, has_type=False, key=keys.target)

        return stream
    # A part has no metadata of its source's, above all no end of its own: the object that it becomes part of would end with it.
    headers = {**named, **_NOT_THE_COPYS, tagging.STORED_KEY: "", "HTTP_X_FRESH_METADATA": "True"}
    headers.update(lock.copied({}))
    if extent is not None:
        headers["HTTP_RANGE"] = extent

    def copy() -> patience.Told:
        check()
        answer = request.ask("PUT", container, name, query, {**headers, **in_copy(found, keys, {})}, b"")
        if answer.status not in (201, 202):
            check_read(answer)
            raise request.error_of(answer, request.bucket, request.key)
        answer.drain()
        return result_of(answer, "CopyPartResult", None, key=keys.target)

    return copy


def _range(text: str, size: int) -> tuple[int, int]:
    match = _RANGE.fullmatch(text)
    if match is None or int(match.group(1)) > int(match.group(2)):
        raise S3Error(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets "
            "of the first and last bytes to copy",
            ArgumentName="x-amz-source-range",
            ArgumentValue=text,
        )
    first, last = int(match.group(1)), int(match.group(2))
    if last >= size:
        raise S3Error(
            "InvalidArgument",
            f"Range specified is not valid for source object of size: {size}",
            ArgumentName="x-amz-source-range",
            ArgumentValue=text,
        )
    return first, last


def result_of(
    answer: Subanswer,
    root: str,
    kept: str | None,
    more: list[tuple[str, str]] | None = None,
    etag: str | None = None,
    has_type: bool = True,
    key: customer_keys.CustomerKey | None = None,
) -> patience.Told:
    """What a copy is answered. `kept`: the copy's checksum; `more`: headers beside those of the PUT's answer; `etag`: if not that one's; `key`: what
    it is encrypted with."""
    seconds = times.of_http_date(answer.get("last-modified") or "")
    shown = [pair for pair in metadata.shown_headers(answer.headers) if pair[0] in _TOLD]
    shown = customer_keys.with_told(shown, key)
    told = checksums.elements_of(kept)
    inner = [element("LastModified", seconds), element("ETag", f'"{etag or answer.etag or ""}"')]
    return document(root, *inner, *(told if has_type else told[:1])), [*shown, *(more or ())]
