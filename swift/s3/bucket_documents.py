"""Documents that configure a bucket: how they are kept with its container, read and changed (spec s3.md 13.2).

Each is JSON in a sysmeta header of its own: packed into the header if it is small, else in an object of a reserved container. What has
been unpacked is remembered by the header's value, so a bucket's documents cost nothing while they stay as they are. Never here: what
stands in a document, and who may change it: the request that changes the container has the client's rights.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from swift.core.timestamp import Timestamp
from swift.middleware.info import forget_container
from swift.s3.errors import S3Error
from swift.s3.request import S3Request
from swift.wire.message import str_to_wsgi
from swift.wire.subanswer import Subanswer

NAMES = (
    "Policy", "Lifecycle", "Cors", "Notification", "Website", "Logging", "Encryption", "Ownership", "Public-Access", "Object-Lock", "Tagging",
    "Request-Payment", "Replication", "Inventory",
)  # fmt: skip
SYSMETA = "s3api-conf-"
HEADER = "x-container-sysmeta-" + SYSMETA
CONTAINER = "\0s3conf\0"
MOST_INLINE = 4000  # bytes of a header's value
MOST_INLINE_OF_ALL = 16_000
MOST_BYTES = 1024 * 1024  # of a document's JSON
_MOST_KEPT = 512
_LARGEST_KEPT = 64 * 1024
_MOST_REMOVED = 10_000
_SPILLED = re.compile(r"1:o:([0-9]{10}\.[0-9]{5}(?:_[0-9a-f]{16})?):([0-9a-f]{32})")

Document = dict[str, Any]
Fetch = Callable[[str], bytes | None]


class Unreadable(ValueError):
    """What is kept of a document is no document."""


# -- forms ----------------------------------------------------------------------------------------------------------------


def packed(data: bytes) -> str:
    """The inline form of a document's JSON."""
    return "1:i:" + base64.b64encode(zlib.compress(data, 9)).decode()


def spilled(timestamp: str, data: bytes) -> str:
    """The form of a document whose JSON is the object of this time."""
    return f"1:o:{timestamp}:{hashlib.md5(data, usedforsecurity=False).hexdigest()}"


def spilled_at(value: str) -> str | None:
    """The time of the object that a header's value is about, None if it is about none."""
    found = _SPILLED.fullmatch(value)
    return found.group(1) if found else None


def parse(value: str | None, fetch: Fetch) -> Document | None:
    """The document of a header's value, None if there is none. Raises Unreadable, and what `fetch` raises.

    `fetch(timestamp)`: the object that the document was spilled to, at most MOST_BYTES and one of it, None if it is not there.
    """
    if not value:
        return None
    if value.startswith("1:i:"):
        return _document(_unpacked(value[4:]))
    found = _SPILLED.fullmatch(value)
    if found is None:
        raise Unreadable("an unknown form")
    data = fetch(found.group(1))
    if data is None:
        raise Unreadable("its object is not there")
    if len(data) > MOST_BYTES:
        raise Unreadable("it is too long")
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != found.group(2):
        raise Unreadable("its object is another one")
    return _document(data)


def _unpacked(text: str) -> bytes:
    try:
        unzip = zlib.decompressobj()
        data = unzip.decompress(base64.b64decode(text, validate=True), MOST_BYTES + 1)
    except (ValueError, zlib.error):
        raise Unreadable("it is not packed as it should be") from None
    if len(data) > MOST_BYTES:
        raise Unreadable("it is too long")
    if not unzip.eof or unzip.unused_data:
        raise Unreadable("it does not end where it should")
    return data


def _document(data: bytes) -> Document:
    try:
        found = orjson.loads(data)  # has a limit of depth
    except ValueError:
        raise Unreadable("it is no JSON") from None
    if not isinstance(found, dict):
        raise Unreadable("it is no object")
    return found


class Kept:
    """Documents by what they are of, the latest used ones; `most` of them."""

    def __init__(self, most: int = _MOST_KEPT) -> None:
        self.most = most
        self._found: OrderedDict[tuple[str, ...], Document] = OrderedDict()

    def get(self, key: tuple[str, ...]) -> Document | None:
        found = self._found.get(key)
        if found is not None:
            self._found.move_to_end(key)
        return found

    def put(self, key: tuple[str, ...], found: Document) -> None:
        self._found[key] = found
        while len(self._found) > self.most:
            self._found.popitem(last=False)

    def __len__(self) -> int:
        return len(self._found)


KEPT = Kept()


# -- reading --------------------------------------------------------------------------------------------------------------


def load(
    request: S3Request,
    name: str,
    bucket: str | None = None,
    info: Mapping[str, Any] | None = None,
    account: str | None = None,
) -> Document | None:
    """A document of a bucket as far as its container's info tells, None if there is none; nobody is asked for leave.

    It is shared: not to be changed. `info`: the container's, where it is known already; `account`: another one than the request's. Raises
    S3Error if it can't be read: what restricts must not vanish because of that.
    """
    of = _named(request, bucket)
    sysmeta = (request.container_info(of) if info is None else info).get("sysmeta")
    if not sysmeta:
        return None  # as nearly always
    value = sysmeta.get(SYSMETA + name.lower())
    if not value:
        return None
    try:
        return _read(request, name, of, value, account)
    except Unreadable:
        # Another proxy may have changed it since the info was asked for.
        newer = _header(_asked(request, of, "own", account), name)
        if newer == value:
            raise _unreadable(name) from None
        return _told(request, name, of, newer, account)


def current(request: S3Request, name: str) -> Document | None:
    """A document of the request's bucket as it is now, asked for with the client's rights. Raises S3Error."""
    bucket = _named(request, None)
    return _told(request, name, bucket, _header(_asked(request, bucket, "client"), name))


def _told(
    request: S3Request, name: str, bucket: str, value: str, account: str | None = None
) -> Document | None:
    try:
        return _read(request, name, bucket, value, account) if value else None
    except Unreadable as error:
        raise _unreadable(f"{name}: {error}") from None


def _unreadable(what: str) -> S3Error:
    return S3Error("InternalError", reason=f"unreadable bucket document {what}")


def _read(
    request: S3Request, name: str, bucket: str, value: str, account: str | None = None
) -> Document | None:
    # What stands in the header is the same for all; an object's content is only known by a digest that may be made to fit.
    key = (value,) if value.startswith("1:i:") else (value, account or request.account or "", bucket, name)
    found = KEPT.get(key)
    if found is not None:
        return found
    sizes: list[int] = []

    def fetch(timestamp: str) -> bytes | None:
        data = _object(request, name, bucket, timestamp, account)
        sizes.append(len(data or b""))
        return data

    found = parse(value, fetch)
    if found is not None and sum(sizes) <= _LARGEST_KEPT:
        KEPT.put(key, found)
    return found


def _object(request: S3Request, name: str, bucket: str, timestamp: str, account: str | None) -> bytes | None:
    answer = request.ask(
        "GET", CONTAINER + bucket, object_name(name, timestamp), rights="own", account=account
    )
    if answer.status == 404:
        answer.close()
        return None
    if answer.status != 200 or (answer.content_length or 0) > MOST_BYTES:
        answer.close()
        raise S3Error("ServiceUnavailable", reason=f"bucket document {name}: {answer.status}")
    return answer.read(MOST_BYTES)


def object_name(name: str, timestamp: str) -> str:
    """Of a document that is kept in an object of CONTAINER + bucket."""
    return f"\0{name}\0{timestamp}"


def _named(request: S3Request, bucket: str | None) -> str:
    found = bucket if bucket is not None else request.bucket
    assert found is not None
    return found


def _asked(request: S3Request, bucket: str, rights: str, account: str | None = None) -> Subanswer:
    """What a HEAD of the bucket's container says now. Raises S3Error."""
    answer = request.ask("HEAD", bucket, headers={"HTTP_X_NEWEST": "true"}, rights=rights, account=account)
    if not answer.is_success:
        raise request.error_of(answer, bucket)
    answer.close()
    return answer


def _header(answer: Subanswer, name: str) -> str:
    return answer.get(HEADER + name.lower()) or ""


# -- changing -------------------------------------------------------------------------------------------------------------


def store(request: S3Request, name: str, value: Document) -> None:
    """Keep a document with the request's bucket. Raises S3Error."""
    bucket = _named(request, None)
    data = json.dumps(value, separators=(",", ":")).encode()
    if len(data) > MOST_BYTES:
        raise S3Error("InvalidRequest", "The configuration is too large.")
    before = _asked(request, bucket, "client")
    inline = packed(data)
    others = sum(len(_header(before, other)) for other in NAMES if other != name)
    if len(inline) <= MOST_INLINE and others + len(inline) <= MOST_INLINE_OF_ALL:
        _set(request, name, bucket, inline)
    else:
        _spill(request, name, bucket, data, before)
    _remove_object(request, name, bucket, _header(before, name))


def headers_of(name: str, value: Document) -> dict[str, str]:
    """The native headers (environ keys) of a container that is made with a short document."""
    key = "HTTP_" + (HEADER + name).upper().replace("-", "_")
    return {key: packed(json.dumps(value, separators=(",", ":")).encode())}


def remove(request: S3Request, name: str) -> None:
    """Have the request's bucket without a document, whether it has one or not. Raises S3Error."""
    bucket = _named(request, None)
    before = _header(_asked(request, bucket, "client"), name)
    # Even if there seems to be none: the rights count, and a change of a moment ago may not have come everywhere.
    _set(request, name, bucket, "")
    _remove_object(request, name, bucket, before)


def _set(request: S3Request, name: str, bucket: str, value: str) -> None:
    key = (HEADER + name).upper().replace("-", "_")
    try:
        answer = request.ask("POST", bucket, headers={"HTTP_" + key: value})
        if not answer.is_success:
            raise request.error_of(answer, bucket)
        answer.drain()
    finally:
        if request.account is not None:
            forget_container(request.environ, str_to_wsgi(request.account), str_to_wsgi(bucket))


def _spill(request: S3Request, name: str, bucket: str, data: bytes, before: Subanswer) -> None:
    """The object first, then the header that is about it."""
    timestamp = Timestamp.now().internal
    obj = object_name(name, timestamp)
    headers = {"CONTENT_TYPE": "application/json"}
    answer = request.ask("PUT", CONTAINER + bucket, obj, headers=headers, body=data, rights="own")
    if answer.status == 404:
        answer.close()
        policy = before.get("x-storage-policy")
        made = request.ask(
            "PUT",
            CONTAINER + bucket,
            headers={"HTTP_X_STORAGE_POLICY": policy} if policy else None,
            rights="own",
        )
        if not made.is_success:
            raise _failed(made)
        made.drain()
        answer = request.ask("PUT", CONTAINER + bucket, obj, headers=headers, body=data, rights="own")
    if not answer.is_success:
        raise _failed(answer)
    answer.drain()
    try:
        _set(request, name, bucket, spilled(timestamp, data))
    except S3Error as error:
        if error.status < 500:  # else some may have it, and it may still win
            _remove_object(request, name, bucket, spilled(timestamp, data))
        raise


def _failed(answer: Subanswer) -> S3Error:
    answer.close()
    return S3Error("ServiceUnavailable", reason=f"bucket document: {answer.method} {answer.status}")


def _remove_object(request: S3Request, name: str, bucket: str, value: str) -> None:
    """What a header's value was about, if anything. A failure leaves an object that goes with the bucket."""
    timestamp = spilled_at(value)
    if timestamp is None:
        return
    # By another proxy's clock the change of a moment ago may be older than what it should replace.
    now = request.ask("HEAD", bucket, headers={"HTTP_X_NEWEST": "true"}, rights="own")
    now.close()
    if now.is_success and _header(now, name) != value:
        request.ask("DELETE", CONTAINER + bucket, object_name(name, timestamp), rights="own").close()


def clean_up(request: S3Request, bucket: str) -> None:
    """Remove what a bucket's documents have left behind it; to be called once the bucket is removed. Raises S3Error."""
    container = CONTAINER + bucket
    answer = request.ask(
        "GET", container, query={"format": "json", "limit": str(_MOST_REMOVED)}, rights="own"
    )
    if answer.status not in (200, 204):
        answer.close()
        return
    data = answer.read(64 * _MOST_REMOVED * 64)
    for row in orjson.loads(data) if data else ():
        request.ask("DELETE", container, row["name"], rights="own").close()
    request.ask("DELETE", container, rights="own").close()
