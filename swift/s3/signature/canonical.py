"""The forms in which requests are signed: paths, queries, headers and times (spec s3.md 3.1, 3.3).

Each is made of the environ as it came. WSGI strings, unless something else is said.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Container, Mapping
from email.utils import mktime_tz, parsedate_tz
from typing import Any, NamedTuple
from urllib.parse import quote

from swift.core import clock
from swift.core.remembered import Remembered
from swift.s3.errors import S3Error
from swift.s3.metadata import amz_keys
from swift.wire.message import environ_key
from swift.wire.parser import UNDERSCORED

_PLAIN_PATH = re.compile(r"[A-Za-z0-9\-_.~/]*", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9\-_.~]*", re.ASCII)
_BLANKS = re.compile(r"[\s\x00-\x20]+")
_INNER_BLANKS = re.compile(r"\s\s|[\t\n\r\x0b\x0c]")
_AMZ_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_CONTROL_ENDS = "".join(map(chr, range(0x21)))
_LATEST = 253402300800  # the year 10000
_moments: Remembered[str, Moment] = Remembered(256, 40)
_NO_DATE = "AWS authentication requires a valid Date or x-amz-date header"


def path(environ: Mapping[str, Any]) -> str:
    """The path, quoted anew."""
    decoded = environ["PATH_INFO"]
    if _PLAIN_PATH.fullmatch(decoded):
        return str(decoded)
    return quote(decoded.encode("latin-1"), safe="-_.~/")


def query(params: Mapping[str, str]) -> str:
    """All parameters (text) but the signature itself, sorted as they are quoted: so AWS and its clients do it."""
    if not params:
        return ""
    pairs = [
        f"{_quoted(name)}={_quoted(value)}"
        for name, value in params.items()
        if name not in ("Signature", "X-Amz-Signature")
    ]
    if len(pairs) > 1:
        pairs.sort(key=_name_of)
    return "&".join(pairs)


def _name_of(pair: str) -> str:
    return pair.partition("=")[0]


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote(text, safe="-_.~")


def header(environ: Mapping[str, Any], name: str) -> str | None:
    """The value of a header (lower-case name) as it is signed: blanks at its ends cut off, those within made one."""
    if "_" in name:
        values = [value for other, value in environ.get(UNDERSCORED, ()) if other == name]
        if not values:
            return None
        value = ",".join(values)
    else:
        found = environ.get(environ_key(name))
        if not isinstance(found, str):
            return None
        value = found
    value = value.strip(_CONTROL_ENDS)
    if _INNER_BLANKS.search(value):
        value = _BLANKS.sub(" ", value)
    return value


def amz_names(environ: Mapping[str, Any], without: Container[str] = ()) -> list[str]:
    """The names, in lower case, of all x-amz-* headers; `without`: environ keys of those that nobody asks for."""
    found = [key[5:].replace("_", "-").lower() for key in amz_keys(environ) if key not in without]
    if UNDERSCORED in environ:
        found.extend(name for name, _ in environ[UNDERSCORED])
    return found


def time_of(text: str) -> float | None:
    """Seconds since the epoch of a date in S3's form or that of mail; None for what is none, or none that counts."""
    match = _AMZ_DATE.fullmatch(text)
    if match is not None:
        year, month, day, hour, minute, second = map(int, match.groups())
        if not (year and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61):
            return None
        return calendar.timegm((year, month, day, hour, minute, second))
    try:
        parts = parsedate_tz(text)
        return None if parts is None else mktime_tz(parts)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


class Moment(NamedTuple):
    """When a request was signed: in seconds since the epoch, its day, and the whole of it as version 4 signs it."""

    seconds: float
    day: str
    text: str


def moment_of(seconds: float) -> Moment:
    when = clock.gmtime(seconds)
    return Moment(seconds, clock.strftime("%Y%m%d", when), clock.strftime("%Y%m%dT%H%M%SZ", when))


def signed_at(environ: Mapping[str, Any]) -> Moment:
    """That of a request's X-Amz-Date or Date; the latest texts are remembered. Raises S3Error."""
    text = environ.get("HTTP_X_AMZ_DATE") or environ.get("HTTP_DATE")
    if not text:
        raise S3Error("AccessDenied", _NO_DATE, reason="invalid_date")
    found = _moments.get(text)
    if found is None:
        seconds = time_of(text)
        if seconds is None or seconds < 0:
            raise S3Error("AccessDenied", _NO_DATE, reason="invalid_date")
        if seconds >= _LATEST:
            raise S3Error("RequestTimeTooSkewed")
        found = _moments.keep(text, moment_of(seconds))
    return found


def check_skew(seconds: float, allowed: float) -> None:
    """Raises S3Error for a request that was signed too long ago, or will be."""
    if abs(seconds - clock.time()) > allowed:
        raise S3Error("RequestTimeTooSkewed")
