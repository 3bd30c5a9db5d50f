"""Whether anything else than S3's own objects is made of parts: manifests that native clients have copied or written (spec s3.md 17.3).

Only what is looked for is looked at: all rows of the account, and of them those manifests whose rows say that they are some. What
can't be looked through counts as Unsure, and then nothing goes. Never here: S3's own objects (`objects`, by their keys).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from swift.s3.lifecycle.objects import PAGE, Bucket, Unsure, names_in
from swift.s3.multipart import layout

_MOST_MANIFESTS = 20_000  # that are read for one bucket
_MOST_BYTES = 64 * 1024 * 1024
_HIDDEN_TOO = {"X-Newest": "true", "X-Backend-Allow-Reserved-Names": "true"}


def named(
    bucket: Bucket, wanted: set[tuple[str, str]], check: Callable[[], None] = lambda: None
) -> set[tuple[str, str]]:
    """Which of these uploads (key, id) have parts that a manifest names, anywhere in the account: no manifest leads out of its account.

    `check`: called between requests. Raises Unsure, and what the client raises.
    """
    found: set[tuple[str, str]] = set()
    start = f"/{bucket.segments}/"
    count = 0
    for container in _pages(bucket, None):
        for row in _pages(bucket, container["name"]):
            check()
            text = row.get("hash", "")
            if "swift_meta=" in text:
                raise Unsure(f"{bucket.account}: what is encrypted may be a manifest")
            if "slo_etag" not in text and "slo_etag" not in row:
                continue
            count += 1
            if count > _MOST_MANIFESTS:
                raise Unsure(f"{bucket.account}: more than {_MOST_MANIFESTS} manifests")
            for name in _names(bucket, container["name"], row["name"]):
                split = layout.split_name(name.removeprefix(start)) if name.startswith(start) else None
                if split is not None and split[:2] in wanted:
                    found.add(split[:2])
    return found


def _names(bucket: Bucket, container: str, obj: str) -> Iterator[str]:
    """What a manifest names; nothing if it is gone."""
    query = {"multipart-manifest": "get", "format": "raw"}
    data = _got(bucket, container, obj, query)
    if data is None:
        _check_gone(bucket, container, obj)
        return
    try:
        yield from names_in(data)
    except Unsure as error:
        raise Unsure(f"{container}/{obj}: {error}") from None


def _check_gone(bucket: Bucket, container: str | None, name: str) -> None:
    """Raises Unsure for what is not found and listed all the same: those who have it may be away. `container`: None for a container's name."""
    query = {"format": "json", "limit": "1", "prefix": name}
    data = _got(bucket, container, None, query)
    if any(row.get("name") == name for row in (json.loads(data) if data else ())):
        raise Unsure(f"{name} is listed, and not found")


def _pages(bucket: Bucket, container: str | None) -> Iterator[dict[str, Any]]:
    """The rows of a container; None: those of the account."""
    query = {"format": "json", "limit": str(PAGE)}
    while True:
        data = _got(bucket, container, None, query)
        if data is None and container is None:
            raise Unsure(f"{bucket.account} is not found")
        if data is None and container is not None:
            _check_gone(bucket, None, container)
        rows = json.loads(data) if data else []
        yield from (row for row in rows if "name" in row)
        if not rows:
            return
        last = rows[-1].get("name", "")
        if last <= query.get("marker", ""):
            raise Unsure(f"the listing of {container} does not advance")
        query["marker"] = last


def _got(bucket: Bucket, container: str | None, obj: str | None, query: dict[str, str]) -> bytes | None:
    status, _, data = bucket.call("GET", container, obj, _HIDDEN_TOO, query)
    if status == 404:
        return None
    if status not in (200, 204):
        raise Unsure(f"GET {bucket.account}/{container}/{obj}: {status}")
    return data
