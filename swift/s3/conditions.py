"""Conditions of reads: S3's ETags are not always the native ones (spec s3.md 7.4, 25)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ETAG_IS_AT = "HTTP_X_BACKEND_ETAG_IS_AT"
_PLACES = "X-Object-Sysmeta-S3api-Etag,X-Object-Sysmeta-Swift3-Etag"
_ON_ETAGS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_RANGE")
COPY_CONDITIONS = {
    "HTTP_X_AMZ_COPY_SOURCE_IF_MATCH": "HTTP_IF_MATCH",
    "HTTP_X_AMZ_COPY_SOURCE_IF_NONE_MATCH": "HTTP_IF_NONE_MATCH",
    "HTTP_X_AMZ_COPY_SOURCE_IF_MODIFIED_SINCE": "HTTP_IF_MODIFIED_SINCE",
    "HTTP_X_AMZ_COPY_SOURCE_IF_UNMODIFIED_SINCE": "HTTP_IF_UNMODIFIED_SINCE",
}


def with_native_values(headers: Mapping[str, Any]) -> dict[str, Any]:
    """A read's headers (environ keys) with conditions on S3's ETags as native servers decide on them."""
    made = dict(headers)
    concerned = False
    for key in _ON_ETAGS:
        value = made.get(key)
        if value is None:
            continue
        concerned = True
        if "-N" in value:
            made[key] = _both(value)
    if concerned:
        made[ETAG_IS_AT] = _PLACES
    return made


def _both(value: str) -> str:
    """Of an ETag that ends in -N, made up for large objects, the native one as well."""
    found = []
    for part in value.split(","):
        text = part.strip()
        found.append(text)
        bare = text.strip('"')
        if bare.endswith("-N"):
            found.append(f'"{bare[:-2]}"')
    return ", ".join(found)
