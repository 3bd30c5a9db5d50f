"""Times as S3's documents show them: whole seconds, rounded up, as Last-Modified is (spec s3.md 7)."""

from __future__ import annotations

import calendar
from datetime import datetime
from email.utils import mktime_tz, parsedate_tz

from swift.core import clock

_NEXT = {f"{second:02d}": f"{second + 1:02d}.000Z" for second in range(59)}


def of_iso(text: str) -> str:
    """Of the time of a native listing, `2026-11-21T05:10:30.123450` or without a fraction."""
    second = text[17:19]
    if text[20:].strip("0") == "":
        return f"{text[:19]}.000Z"
    end = _NEXT.get(second)
    if end is not None:
        return text[:17] + end
    year, month, day, hour, minute = (
        int(part) for part in (text[:4], text[5:7], text[8:10], text[11:13], text[14:16])
    )
    return of_epoch(calendar.timegm((year, month, day, hour, minute, int(second))) + 1)


def seconds_of_iso(text: str) -> int:
    """Seconds since the epoch of the time of a native listing, rounded up."""
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    whole = calendar.timegm((year, month, day, int(text[11:13]), int(text[14:16]), int(text[17:19])))
    return whole + 1 if text[20:].strip("0") else whole


def seconds_of(text: str) -> int | None:
    """Seconds since the epoch of a date as clients send it, HTTP's or ISO's; a fraction is dropped. None for what is none."""
    try:
        if text.lstrip()[:1].isdigit() and "T" in text:
            return calendar.timegm(datetime.strptime(text.strip()[:19], "%Y-%m-%dT%H:%M:%S").timetuple())
        parts = parsedate_tz(text)
        return None if parts is None else mktime_tz(parts)
    except (ValueError, OverflowError):
        return None


def of_epoch(seconds: float) -> str:
    """Of seconds since the epoch."""
    whole = int(-(-seconds // 1))
    return clock.strftime("%Y-%m-%dT%H:%M:%S.000Z", clock.gmtime(whole))


def of_http_date(text: str) -> str:
    """Of a Last-Modified; now for what is none."""
    parts = parsedate_tz(text)
    return of_epoch(mktime_tz(parts) if parts is not None else clock.time())
