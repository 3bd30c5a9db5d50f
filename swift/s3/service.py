"""ListBuckets (spec s3.md 7.1, 27)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import orjson

from swift.core.constraints import limits
from swift.s3 import access, names, times
from swift.s3.answers import Answer, xml_answer
from swift.s3.errors import S3Error
from swift.s3.request import S3Request
from swift.s3.xml import document, element, node

_PAGE = 10_000
_MOST_BYTES = 64 * 1024 * 1024
_MOST_PAGES = 1000


def owner(request: S3Request, name: str = "Owner") -> str:
    """The element that tells who the caller is."""
    user = request.user_id or ""
    return node(name, element("ID", user), element("DisplayName", user))


def list_buckets(request: S3Request) -> Answer:
    """ListBuckets, with pages where they are asked for."""
    params = request.params
    limit = _limit(params.get("max-buckets"))
    marker = _decoded(params.get("continuation-token"))
    prefix = params.get("prefix", "")
    found: list[str] = []
    last = token = ""
    region = params.get("bucket-region")
    rows = _rows(request, prefix, marker)
    if region is not None and region != request.options.location:
        rows = iter(())
        request.authenticate()
    for row in rows:
        if limit is not None and len(found) >= limit:
            token = base64.urlsafe_b64encode(last.encode()).decode()
            break
        last = row["name"]
        found.append(
            node(
                "Bucket",
                element("Name", last),
                element("CreationDate", times.of_iso(row["last_modified"])),
            )
        )
    parts = [owner(request), node("Buckets", *found)]
    if token:
        parts.append(element("ContinuationToken", token))
    if prefix:
        parts.append(element("Prefix", prefix))
    return xml_answer(document("ListAllMyBucketsResult", *parts))


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= 10_000):
        raise S3Error(
            "InvalidArgument",
            "Argument max-buckets must be an integer between 1 and 10000",
            ArgumentName="max-buckets",
            ArgumentValue=text,
        )
    return int(text)


def _decoded(token: str | None) -> str:
    if not token:
        return ""
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise S3Error(
            "InvalidArgument",
            "The continuation token provided is incorrect",
            ArgumentName="continuation-token",
        ) from None


def _rows(request: S3Request, prefix: str, marker: str) -> Iterator[dict[str, Any]]:
    """The containers that may be buckets, page by page. Raises S3Error."""
    page = min(_PAGE, limits().account_listing_limit)
    for _ in range(_MOST_PAGES):
        query = {"format": "json", "limit": str(page), "marker": marker, "prefix": prefix}
        answer = request.ask("GET", query=query)
        if answer.status == 404:
            answer.close()
            return
        if answer.status not in (200, 204):
            raise request.error_of(answer)
        data = answer.read(_MOST_BYTES)
        rows = orjson.loads(data) if data else []
        for row in rows:
            if (
                "name" in row
                and names.is_bucket_name(row["name"], request.options.dns_compliant_bucket_names)
                and not access.is_hidden(request, row["name"])
            ):
                yield row
        if len(rows) < page:
            return
        marker = rows[-1].get("name") or rows[-1]["subdir"]
