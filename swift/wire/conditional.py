"""Conditional requests: which of the conditions of a GET or HEAD decides, and whether its Range counts (RFC 9110 13).

Only what the headers mean; reading objects, and what is sent instead, is for those who ask. Spec: proxy-and-backend.md 21.5, which
differs: there each header stands alone, and If-Range is ignored.
"""

import datetime
from collections.abc import Mapping, MutableMapping
from email.utils import parsedate_to_datetime
from typing import Any

from swift.core import clock
from swift.core.remembered import remembered

# The environ keys of all conditions: none of them counts for bytes that continue an answer.
KEYS = (
    "HTTP_IF_MATCH",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_IF_RANGE",
)

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


@remembered(512)
def parse_http_date(text: str) -> datetime.datetime | None:
    """An RFC 822 date as an aware datetime in UTC; None when it cannot be read."""
    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:
            return when.replace(tzinfo=UTC)
        return when.astimezone(UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def drop_overruled(environ: MutableMapping[str, Any]) -> None:
    """Take out the dates that do not count beside an ETag header of their kind, for servers that would let them decide."""
    if "HTTP_IF_NONE_MATCH" in environ:
        environ.pop("HTTP_IF_MODIFIED_SINCE", None)
    if "HTTP_IF_MATCH" in environ:
        environ.pop("HTTP_IF_UNMODIFIED_SINCE", None)


def evaluate(
    environ: Mapping[str, Any], status: int, etag: str | None, last_modified: datetime.datetime | float | None
) -> int | None:
    """304 or 412 when a condition of the request decides, else None (RFC 9110 13.2.2).

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
    if match is not None:
        if etag and etag not in Match(match):
            return 412
    elif unmodified and _order(last_modified, unmodified) == 1:
        return 412
    if none_match is not None:
        if etag and etag in Match(none_match):
            return 304
    elif modified and _order(last_modified, modified) in (-1, 0):
        return 304
    return None


def range_applies(
    environ: Mapping[str, Any], etag: str | None, last_modified: datetime.datetime | float | None
) -> bool:
    """Returns True if a Range header counts: no If-Range, or one that names exactly this entity (RFC 9110 13.1.5).

    Anything else means the client has part of another entity, and must get this one whole. A weak tag names nothing; a date only what
    was not changed again in its last second.
    """
    header = environ.get("HTTP_IF_RANGE")
    if header is None:
        return True
    header = header.strip()
    if etag and normalize_etag(header) == etag:
        return True
    if header[:1] == '"' or header[:2] == "W/":
        return False
    if _order(last_modified, header) != 0:
        return False
    when = last_modified.timestamp() if isinstance(last_modified, datetime.datetime) else last_modified
    return when is not None and when + 1 <= clock.time()


def _order(last_modified: datetime.datetime | float | None, header: str) -> int | None:
    """-1, 0, 1: the entity is older than, as old as, younger than the date says; None if either is not known."""
    date = parse_http_date(header)
    if date is None or last_modified is None:
        return None
    if not isinstance(last_modified, datetime.datetime):
        last_modified = datetime.datetime.fromtimestamp(last_modified, UTC)
    return (last_modified > date) - (last_modified < date)
