"""Conditional requests: If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since.

The order of the tests is the reference's, not RFC 7232's; each header stands alone. Spec: proxy-and-backend.md 21.5.
"""

import datetime
import functools
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

UTC = datetime.timezone.utc


def normalize_etag(tag: str | None) -> str | None:
    """An ETag without surrounding double quotes. A weak one (`W/"…"`) stays as it is and so never matches."""
    if tag and len(tag) > 1 and tag[0] == '"' and tag[-1] == '"':
        return tag[1:-1]
    return tag


class Match:
    """The tags of an If-Match or If-None-Match header."""

    __slots__ = ("tags",)

    def __init__(self, header: str) -> None:
        self.tags = {normalize_etag(tag.strip()) for tag in header.split(",") if tag.strip()}

    def __contains__(self, tag: object) -> bool:
        return "*" in self.tags or (isinstance(tag, str) and normalize_etag(tag) in self.tags)

    def __repr__(self) -> str:
        return f"Match({sorted(map(str, self.tags))})"


@functools.lru_cache(maxsize=512)
def parse_http_date(text: str) -> datetime.datetime | None:
    """An RFC 822 date as an aware datetime in UTC; None when it cannot be read."""
    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:
            return when.replace(tzinfo=UTC)
        return when.astimezone(UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def evaluate(
    environ: Mapping[str, Any], status: int, etag: str | None, last_modified: datetime.datetime | float | None
) -> int | None:
    """304 or 412 when a condition of the request decides, else None.

    last_modified: aware datetime or whole seconds since the epoch, already rounded up.
    """
    get = environ.get
    none_match, match = get("HTTP_IF_NONE_MATCH"), get("HTTP_IF_MATCH")
    modified, unmodified = get("HTTP_IF_MODIFIED_SINCE"), get("HTTP_IF_UNMODIFIED_SINCE")
    if not (none_match or match is not None or modified or unmodified):
        return None
    if status == 404:
        return 412 if match and "*" in Match(match).tags else None
    if not 200 <= status < 300:
        return None
    if etag:
        if none_match and etag in Match(none_match):
            return 304
        if match is not None and etag not in Match(match):
            return 412
    if last_modified is not None and (modified or unmodified):
        if not isinstance(last_modified, datetime.datetime):
            last_modified = datetime.datetime.fromtimestamp(last_modified, UTC)
        since = parse_http_date(modified) if modified else None
        if since is not None and last_modified <= since:
            return 304
        since = parse_http_date(unmodified) if unmodified else None
        if since is not None and last_modified > since:
            return 412
    return None
