"""What lines of logs mean for a transaction: who did what, when, how long and with which result.

What lives here: reading lines of all forms that our logs have, plain, JSON, by syslog or the journal. What never does: finding them
(`trace_lines.py`), and how they are shown (`trace_timeline.py`).
Spec: operations.md 8.
"""

from __future__ import annotations

import calendar
import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote

TRANSACTION = re.compile(r"tx[0-9a-f]{21}-[0-9a-f]{10}[A-Za-z0-9%_.~-]*")
TRACE = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_MONTHS = {name: number for number, name in enumerate(calendar.month_abbr) if number}
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?\s+")
_SYSLOG = re.compile(r"(?:<\d+>)?([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d) ")
_LEVEL = re.compile(r"(DEBUG|INFO|NOTICE|WARNING|ERROR|CRITICAL) ")
_NAME = re.compile(r"(?:(?P<host>[A-Za-z0-9_.-]+) )?(?P<name>[A-Za-z][A-Za-z0-9_.-]*)(?:\[\d+\])?: ")
_STORAGE = re.compile(
    r"(?<!\S)(?P<peer>\S+) \S+ \S+ \[(?P<day>\d\d)/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4}):(?P<clock>\d\d:\d\d:\d\d) \+0000\] "
    r'"(?P<method>[A-Z_]+) (?P<path>[^"]*)" (?P<status>\d{3}) (?P<length>\S+) "(?P<referer>[^"]*)" "(?P<txn>[^"]*)" '
    r'"(?P<agent>[^"]*)" (?P<seconds>[\d.]+|-) "(?P<info>[^"]*)" (?P<pid>\d+) (?P<policy>\S+)'
)
_PROXY_FIELDS = (
    "client", "peer", "day", "method", "path", "protocol", "status", "referer", "agent", "token", "received", "sent",
    "etag", "txn", "headers", "seconds", "source", "info", "start", "end", "policy", "user",
)  # fmt: skip
_END_OF_TIME = 253402300800  # the year 10000
_PROXY_DAY = re.compile(r"\d\d/[A-Z][a-z]{2}/\d{4}/\d\d/\d\d/\d\d")


@dataclass
class Event:
    """Something that happened: a request that was answered (`seconds` it took, until `at`), or a message (`seconds` None).

    `at`: seconds since the epoch, None where the line does not say; `exact`: known to a millisecond.
    """

    where: str
    who: str
    what: str
    txn: str = ""
    at: float | None = None
    exact: bool = True
    seconds: float | None = None
    status: int | None = None
    level: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def start(self) -> float:
        return (self.at or 0.0) - (self.seconds or 0.0)

    @property
    def is_front(self) -> bool:
        """Returns True for a request of a client as the proxy saw it."""
        return self.details.get("kind") == "proxy" and not self.details.get("source")


def parse(line: bytes, where: str) -> Event:
    """An event of any line; what has no known form is a message."""
    text = line.decode("utf-8", "backslashreplace")
    if text.startswith("{"):
        entry = _json(text)
        if entry is not None:
            return _from_json(entry, where)
    at, exact, text = _time_of(text)
    level = ""
    match = _LEVEL.match(text)
    if match:
        level, text = match[1], text[match.end() :]
    match = _NAME.match(text)
    who = match["name"] if match else ""
    if match:
        where = match["host"] or where
        text = text[match.end() :]
    return _event(text, where, who, at, exact, level)


def _json(text: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("message"), str) else None


def _from_json(entry: dict[str, Any], where: str) -> Event:
    at, exact, _ = _time_of(f"{entry.get('time', '')} ")
    event = _event(
        entry["message"], where, str(entry.get("name", "")), at, exact, str(entry.get("level", ""))
    )
    event.txn = event.txn or str(entry.get("txn") or "")
    if isinstance(entry.get("trace"), str):
        event.details["trace"] = entry["trace"]
    return event


def _time_of(text: str) -> tuple[float | None, bool, str]:
    """(seconds since the epoch, known to a millisecond, the rest of the line)."""
    match = _ISO.match(text)
    if match:
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
        moment = _timegm(year, month, day, hour, minute, second)
        if moment is None:
            return None, False, text
        zone = match[8]
        if zone and zone != "Z":
            offset = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
            moment -= offset if zone[0] == "+" else -offset
        return moment + float(f"0.{match[7] or 0}"), bool(match[7]), text[match.end() :]
    match = _SYSLOG.match(text)
    if match:  # local time without a year: good enough for nothing but the order
        return None, False, text[match.end() :]
    return None, False, text


def _timegm(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int | None:
    """Seconds since the epoch; None for what is no time."""
    try:
        return calendar.timegm((year, month, day, hour, minute, second))
    except ValueError:
        return None


def _event(text: str, where: str, who: str, at: float | None, exact: bool, level: str) -> Event:
    match = _STORAGE.search(text)
    if match:
        return _storage(match, where, who, at, exact)
    fields = text.split(" ")
    if len(fields) >= 18 and _PROXY_DAY.fullmatch(fields[2]):
        return _proxy(dict(zip(_PROXY_FIELDS, fields, strict=False)), where, who, at)
    found = TRANSACTION.search(text)
    shown = re.sub(r" \(txn: [^()]*\)", "", text).replace("#012", "\n")
    return Event(where, who, shown, found[0] if found else "", at, exact, None, None, level)


def _storage(match: re.Match[str], where: str, who: str, at: float | None, exact: bool) -> Event:
    hour, minute, second = (int(part) for part in match["clock"].split(":"))
    told = _timegm(
        int(match["year"]), _MONTHS.get(match["month"], 1), int(match["day"]), hour, minute, second
    )
    if told is not None and (at is None or not told - 1 <= at < told + 3):
        at, exact = float(told), False
    path = match["path"]
    return Event(
        where,
        who,
        f"{match['method']} {unquote(path)}",
        match["txn"],
        at,
        exact,
        _number(match["seconds"]),
        int(match["status"]),
        details={
            "kind": "storage",
            "device": path.split("/", 2)[1] if path.startswith("/") else "",
            "agent": match["agent"],
            "policy": match["policy"].strip("-"),
            "referer": match["referer"].strip("-"),
        },
    )


def _proxy(fields: dict[str, str], where: str, who: str, at: float | None) -> Event:
    end = _number(fields.get("end", "-"))
    source = fields.get("source", "-").strip("-")
    return Event(
        where,
        who,
        f"{fields['method']} {unquote(unquote(fields['path']))}",
        fields["txn"],
        end or at,
        True,
        _number(fields["seconds"]),
        int(fields["status"]) if fields["status"].isdecimal() else None,
        details={
            "kind": "proxy",
            "source": source,
            "client": fields["client"].strip("-"),
            "user": unquote(fields.get("user", "-")).strip("-"),
            "agent": unquote(fields["agent"]).strip("-"),
            "received": int(_number(fields["received"]) or 0),
            "sent": int(_number(fields["sent"]) or 0),
            "policy": fields.get("policy", "-").strip("-"),
            "info": unquote(fields.get("info", "-")).strip("-"),
            "trace": _trace_of(fields.get("info", "")),
        },
    )


def _trace_of(info: str) -> str:
    match = re.search(r"trace:([0-9a-f]{32})", info)
    return match[1] if match else ""


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < _END_OF_TIME else None


def shown_time(moment: float) -> str:
    """UTC, to the millisecond."""
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(" ", "milliseconds").replace("+00:00", "")
