"""The manifests of multipart objects, as they are stored (spec s3.md 6.5). Never here: how one is made of an upload's parts (`wanted`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from swift.middleware.slo.upload import KNOWN, Known
from swift.s3 import metadata
from swift.s3.errors import S3Error
from swift.s3.request import S3Request
from swift.wire.subanswer import Subanswer

CHECKSUM = "s3_checksum"  # of an item, `algorithm:value`; servers that do not know it leave it alone
UPLOAD_ID_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_UPLOAD_ID"
_OVERRIDE = "HTTP_X_OBJECT_SYSMETA_CONTAINER_UPDATE_OVERRIDE_ETAG"
_MOST_BYTES = 64 * 1024 * 1024
# Looks at the items before they are stored, may change them, and finds what is wrong with them: (name, why).
Hook = Callable[[list[dict[str, Any]]], list[tuple[str, str]]]
Items = list[dict[str, Any]]


def read(
    request: S3Request, container: str, key: str, query: Mapping[str, str], rights: str = "client"
) -> tuple[Subanswer, bytes]:
    """(what a GET says of a large object's manifest, the manifest). Raises S3Error: it is none, or not there any more."""
    answer = request.ask(
        "GET",
        container,
        key,
        {**query, "multipart-manifest": "get"},
        {"HTTP_X_NEWEST": "true"},
        rights=rights,
    )
    if answer.status != 200:
        raise request.error_of(answer, container, key)
    if (answer.get("x-static-large-object") or "").lower() != "true":
        answer.close()
        raise S3Error("ServiceUnavailable", reason="changed_meanwhile")
    return answer, answer.read(_MOST_BYTES)


def items_in(data: bytes) -> Items:
    """The items of a stored manifest; none if it can't be read as one."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        return []
    return found


def items_of(request: S3Request, container: str, key: str, query: Mapping[str, str]) -> Items:
    """The items of an object's manifest. Raises S3Error."""
    return items_in(read(request, container, key, query)[1])


def store(
    request: S3Request,
    bucket: str,
    key: str,
    parts: Known,
    upload: str,
    etag: str,
    headers: Mapping[str, Any],
    hook: Hook,
) -> Subanswer:
    """The answer to the PUT of an object that is made of an upload's parts; it is to be read or closed. `etag`: what S3 calls it."""
    made = {
        **headers,
        KNOWN: parts,
        metadata.ETAG_KEY: etag,
        UPLOAD_ID_KEY: upload,
        _OVERRIDE: f"; s3_etag={etag}",
        "HTTP_ACCEPT": "application/json",
        "swift.callback.slo_manifest_hook": hook,
    }
    return request.ask("PUT", bucket, key, {"multipart-manifest": "put"}, made, b"")
