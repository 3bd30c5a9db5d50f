"""What lifecycle rules say of an object, a version or an upload: when it goes, and by which rule (spec s3.md 17.2).

Pure: times are given (seconds since the epoch), nothing is asked of anybody. What then is done is the daemon's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from swift.s3.lifecycle.document import seconds_of

DAY = 86400.0


class Item(NamedTuple):
    """`tags`: None if nobody has looked yet; `size`: in bytes, what a client sees; `created`: of its content."""

    key: str
    size: int
    created: float
    tags: Mapping[str, str] | None = None


class Due(NamedTuple):
    """When something goes, by the rule of this ID."""

    time: float
    rule: str


class Version(NamedTuple):
    """A version in a listing. `id`: "null" for what has no versions' id."""

    id: str
    created: float
    size: int
    is_marker: bool


class Rules:
    """The enabled rules of a document as it is kept. `day`: seconds of a day; another one than DAY is not rounded to midnights."""

    def __init__(self, found: Mapping[str, Any], day: float = DAY) -> None:
        self.day = day
        self.rules = [_Rule(rule, day) for rule in found["Rule"] if rule["Status"] == "Enabled"]

    @property
    def prefix(self) -> str:
        """What all names that any rule is about begin with."""
        names = [rule.prefix for rule in self.rules]
        if not names:
            return ""
        first, last = min(names), max(names)
        for at, letter in enumerate(first):
            if last[at : at + 1] != letter:
                return first[:at]
        return first

    def expiry(self, item: Item) -> Due | None:
        """When a current version goes, None for never; rules about tags do not count as long as those are not known."""
        return _earliest(
            Due(due, rule.id)
            for rule in self.rules
            if (due := rule.expires_at(item.created)) is not None and rule.is_about(item)
        )

    def may_need_tags(self, item: Item, now: float) -> bool:
        """Returns True if tags decide whether a current version is due."""
        return any(
            rule.tags
            and (due := rule.expires_at(item.created)) is not None
            and due <= now
            and rule.is_about(item, True)
            for rule in self.rules
        )

    def noncurrent_expiry(self, item: Item, since: float, newer: int) -> Due | None:
        """When a version that was superseded at `since` goes; `newer`: how many noncurrent versions are newer."""
        return _earliest(
            Due(due, rule.id)
            for rule in self.rules
            if (due := rule.noncurrent_at(since, newer)) is not None and rule.is_about(item)
        )

    def may_need_noncurrent_tags(self, item: Item, since: float, newer: int, now: float) -> bool:
        """As may_need_tags."""
        return any(
            rule.tags
            and (due := rule.noncurrent_at(since, newer)) is not None
            and due <= now
            and rule.is_about(item, True)
            for rule in self.rules
        )

    def removes_marker(self, key: str, created: float, now: float) -> bool:
        """Returns True if a delete marker goes that is all that is left of a key: by a rule about such, or as old as objects may become."""
        item = Item(key, 0, created)
        return any(
            (rule.removes_markers and key.startswith(rule.prefix))
            or ((due := rule.expires_at(created)) is not None and due <= now and rule.is_about(item))
            for rule in self.rules
        )

    def abort(self, key: str, started: float) -> Due | None:
        """When an upload that is not completed goes."""
        return _earliest(
            Due(_later(started, rule.abort_days, self.day), rule.id)
            for rule in self.rules
            if rule.abort_days is not None and key.startswith(rule.prefix)
        )

    @property
    def has_aborts(self) -> bool:
        return any(rule.abort_days is not None for rule in self.rules)

    @property
    def has_expiries(self) -> bool:
        """Returns True if any rule is about objects or versions."""
        return any(
            rule.days is not None or rule.date is not None or rule.removes_markers or rule.noncurrent_days
            for rule in self.rules
        )


class _Rule:
    def __init__(self, rule: Mapping[str, Any], day: float) -> None:
        self.day = day
        self.id: str = rule["ID"]
        found = rule.get("Filter", {})
        both = found.get("And", found)
        self.prefix: str = rule.get("Prefix", both.get("Prefix", ""))
        tags = both.get("Tag", [])
        self.tags = {tag["Key"]: tag["Value"] for tag in (tags if isinstance(tags, list) else [tags])}
        self.above: int | None = both.get("ObjectSizeGreaterThan")
        self.below: int | None = both.get("ObjectSizeLessThan")
        expiration = rule.get("Expiration", {})
        self.days: int | None = expiration.get("Days")
        self.date = seconds_of(expiration["Date"]) if "Date" in expiration else None
        self.removes_markers = expiration.get("ExpiredObjectDeleteMarker") == "true"
        noncurrent = rule.get("NoncurrentVersionExpiration", {})
        self.noncurrent_days: int | None = noncurrent.get("NoncurrentDays")
        self.kept_versions: int = noncurrent.get("NewerNoncurrentVersions", 0)
        self.abort_days: int | None = rule.get("AbortIncompleteMultipartUpload", {}).get(
            "DaysAfterInitiation"
        )

    def is_about(self, item: Item, whatever_tags: bool = False) -> bool:
        if not item.key.startswith(self.prefix):
            return False
        if self.above is not None and item.size <= self.above:
            return False
        if self.below is not None and item.size >= self.below:
            return False
        if not self.tags or whatever_tags:
            return True
        return item.tags is not None and all(item.tags.get(key) == value for key, value in self.tags.items())

    def expires_at(self, created: float) -> float | None:
        if self.date is not None:
            return float(max(self.date, created))
        return None if self.days is None else _later(created, self.days, self.day)

    def noncurrent_at(self, since: float, newer: int) -> float | None:
        if self.noncurrent_days is None or newer < self.kept_versions:
            return None
        return _later(since, self.noncurrent_days, self.day)


def _later(moment: float, days: int, day: float) -> float:
    due = moment + days * day
    return math.ceil(due / DAY) * DAY if day == DAY else due


def _earliest(dues: Iterable[Due]) -> Due | None:
    return min(dues, key=lambda due: due.time, default=None)


class Doomed(NamedTuple):
    """A version that goes. `at`: its place among those of its key, 0 for the current one."""

    at: int
    version: Version
    why: str  # expired, noncurrent or marker
    needs_tags: bool


def doomed(rules: Rules, key: str, versions: Sequence[Version], now: float) -> list[Doomed]:
    """Which of a key's versions (newest first, the current one at the front) are due, as far as can be said without their tags.

    Where `needs_tags`, they decide yet.
    """
    found: list[Doomed] = []
    if not versions:
        return found
    current = versions[0]
    if current.is_marker:
        if len(versions) == 1 and rules.removes_marker(key, current.created, now):
            found.append(Doomed(0, current, "marker", False))
    else:
        item = Item(key, current.size, current.created)
        due = rules.expiry(item)
        if due is not None and due.time <= now:
            found.append(Doomed(0, current, "expired", False))
        elif rules.may_need_tags(item, now):
            found.append(Doomed(0, current, "expired", True))
    for at, version in enumerate(versions[1:], 1):
        item = Item(key, version.size, version.created)
        since = versions[at - 1].created
        due = rules.noncurrent_expiry(item, since, at - 1)
        if due is not None and due.time <= now:
            found.append(Doomed(at, version, "noncurrent", False))
        elif rules.may_need_noncurrent_tags(item, since, at - 1, now):
            found.append(Doomed(at, version, "noncurrent", True))
    return found
