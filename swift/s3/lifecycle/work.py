"""A pass over one bucket: what its rules say is due goes (spec s3.md 17.2, 17.3).

What is listed is only a hint: each object is looked at once more before it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from swift.core import clock
from swift.core.concurrency import GreenPool, Timeout
from swift.core.config import truthy
from swift.core.timestamp import Timestamp
from swift.s3.lifecycle import references, uploads
from swift.s3.lifecycle.objects import HIDDEN, Bucket, Found
from swift.s3.lifecycle.rules import Doomed, Item, Rules, Version, doomed
from swift.s3.multipart import layout
from swift.s3.notifications import events
from swift.telemetry.units import handed_on

_MARKER_TYPE = "application/x-deleted;swift_versions_deleted=1"
_MOST_ORPHANS = 10_000  # uploads, in one pass
_ENABLED = "X-Container-Sysmeta-Versions-Enabled"


@dataclass
class Figures:
    """What a pass has done."""

    buckets: int = 0
    expired: int = 0
    aborted: int = 0
    orphans: int = 0
    errors: int = 0


class BucketPass:
    """`pace()`: called before each removal; `told(message, *args)`: of an error, the pass goes on;
    `check()`: called before each thing that is looked at, raises Unsure once the rules are not the bucket's any more;
    `tell(event, key, version)`: of what was done.
    """

    def __init__(
        self,
        bucket: Bucket,
        rules: Rules,
        figures: Figures,
        pace: Callable[[], None],
        told: Callable[..., None],
        concurrency: int = 1,
        orphan_seconds: float = 0.0,
        check: Callable[[], None] = lambda: None,
        tell: Callable[[str, str, str | None], None] = lambda event, key, version: None,
    ) -> None:
        self.bucket = bucket
        self.rules = rules
        self.figures = figures
        self.pace = pace
        self.told = told
        self.concurrency = concurrency
        self.orphan_seconds = orphan_seconds
        self.check = check
        self.tell = tell
        self.is_versioned = False
        self.is_enabled = False

    def run(self) -> None:
        """Raises Unsure, and what the client raises."""
        found = self.bucket.is_there()
        if found.status == 404:
            return
        self.is_versioned = bool(found.headers.get(HIDDEN))
        self.is_enabled = truthy(found.headers.get(_ENABLED) or "")
        if self.rules.has_expiries:
            self._work(self._versions_due() if self.is_versioned else self._objects_due())
        if self.rules.has_aborts:
            self._work(self._uploads_due())

    def sweep(self) -> None:
        """Remove the parts that nothing is made of. Raises Unsure, and what the client raises."""
        found = self.bucket.is_there()
        if found.status == 404:
            return
        self.is_versioned = bool(found.headers.get(HIDDEN))
        self._work(self._orphans_due())

    def _work(self, jobs: Iterator[Callable[[], None]]) -> None:
        # Not by the pool's imap: that waits for ever for the next job if a listing fails.
        pool = GreenPool(self.concurrency)
        try:
            for job in jobs:
                self.check()
                pool.spawn_n(handed_on(self._one), job)
        finally:
            pool.waitall()

    def _one(self, job: Callable[[], None]) -> None:
        try:
            self.pace()
            job()
        except (Exception, Timeout) as error:
            self.figures.errors += 1
            self.told("ERROR %s/%s: %r", self.bucket.account, self.bucket.name, error)

    # -- without versions

    def _objects_due(self) -> Iterator[Callable[[], None]]:
        now = clock.time()
        for row in self.bucket.rows(self.bucket.name, self.rules.prefix):
            item = Item(row["name"], int(row["bytes"]), _written(row))
            due = self.rules.expiry(item)
            if (due is not None and due.time <= now) or self.rules.may_need_tags(item, now):
                yield lambda item=item: self._expire(item)  # type: ignore[misc]

    def _expire(self, item: Item) -> None:
        found = self.bucket.head(item.key)
        if not self._is_due(item, found) or not self.bucket.remove_seen(item.key, found):
            return
        self.figures.expired += 1
        self.tell(events.EXPIRED, item.key, None)
        self._remove_parts(item.key, found)

    def _is_due(self, item: Item, found: Found) -> bool:
        """Returns True if what is there now is what was listed, and is due."""
        now = clock.time()
        if found.status == 404 or not found.is_of(item.created):
            return False
        if found.is_locked(now):
            return False
        due = self.rules.expiry(item._replace(tags=found.tags))
        return due is not None and due.time <= now

    def _remove_parts(self, key: str, gone: Found) -> None:
        """What an object that is gone was made of, unless something else is made of it."""
        upload = gone.upload
        if not upload or upload in self.bucket.uploads_of(key, self.is_versioned):
            return
        if self.bucket.head(f"{key}/{upload}", container=self.bucket.segments).status == 404:
            self.bucket.remove_parts(key, upload)

    # -- with versions

    def _versions_due(self) -> Iterator[Callable[[], None]]:
        for rows in self.bucket.versions(self.rules.prefix):
            key, now = rows[0]["name"], clock.time()
            # Oldest first, so that a current version never appears from behind.
            for dead in reversed(doomed(self.rules, key, [_version(row) for row in rows], now)):
                yield lambda key=key, dead=dead: self._expire_version(key, dead)  # type: ignore[misc]

    def _expire_version(self, key: str, dead: Doomed) -> None:
        version = dead.version
        seen_at = clock.time()
        fresh = next(iter(self.bucket.versions(key)), [])
        if not fresh or fresh[0]["name"] != key:
            return
        again = doomed(self.rules, key, [_version(row) for row in fresh], seen_at)
        if not any(other.version.id == version.id and other.why == dead.why for other in again):
            return
        if dead.why == "marker":
            if self.bucket.head(key).status == 404 and self.bucket.remove_version(key, version.id):
                self.figures.expired += 1
                self.tell(events.EXPIRED, key, version.id)
            return
        current = self.bucket.head(key)
        if dead.why == "expired":
            self._expire_current(key, version, current, seen_at)
            return
        if current.status != 404 and current.version == version.id:
            return  # what was newer is gone: it is the current one now
        found = self.bucket.head(key, version.id) if version.id != "null" else current
        if version.id == "null" or found.is_locked(clock.time()):
            return
        if found.status == 404 and not (version.is_marker and found.is_marker):
            return
        since = (
            fresh[dead.at - 1]
            if dead.at < len(fresh) and fresh[dead.at]["version_id"] == version.id
            else None
        )
        if since is None:
            return
        due = self.rules.noncurrent_expiry(
            Item(key, version.size, version.created, found.tags), _written(since), dead.at - 1
        )
        if due is None or due.time > clock.time():
            return
        if self.bucket.remove_version(key, version.id):
            self.figures.expired += 1
            self.tell(events.EXPIRED, key, version.id)
            self._remove_parts(key, found)

    def _expire_current(self, key: str, version: Version, current: Found, seen_at: float) -> None:
        if current.status == 404 or current.version != version.id:
            return
        if version.id == "null" and not current.is_of(version.created):
            return  # an object without versions keeps its id when it is written anew, and listings may be behind
        due = self.rules.expiry(Item(key, version.size, version.created, current.tags))
        if due is None or due.time > seen_at:
            return
        if current.version == "null" and current.is_locked(seen_at):
            return
        if not self.is_enabled and current.version == "null":
            if self.bucket.remove_seen(key, current):
                self.figures.expired += 1
                self.tell(events.EXPIRED, key, None)
                self._remove_parts(key, current)
            return
        if self.bucket.mark_deleted(key, seen_at):
            self.figures.expired += 1
            self.tell(events.EXPIRED_BY_MARKER, key, None)

    # -- uploads

    def _uploads_due(self) -> Iterator[Callable[[], None]]:
        now = clock.time()
        for row in self.bucket.rows(self.bucket.segments, self.rules.prefix):
            split = layout.split_name(row["name"])
            if split is None or split[2] is not None:
                continue
            key, upload, _ = split
            due = self.rules.abort(key, _written(row))
            if due is not None and due.time <= now:
                yield lambda key=key, upload=upload: self._abort(key, upload)  # type: ignore[misc]

    def _abort(self, key: str, upload: str) -> None:
        self.figures.aborted += uploads.abort(self.bucket, key, upload, self.is_versioned)

    def _orphans_due(self) -> Iterator[Callable[[], None]]:
        before = clock.time() - self.orphan_seconds
        due = list(islice(uploads.orphans(self.bucket, before, self.is_versioned), _MOST_ORPHANS))
        if not due:
            return
        named = references.named(self.bucket, {(found.key, found.upload) for found in due}, self.check)
        for found in due:
            if (found.key, found.upload) not in named:
                yield lambda found=found: self._remove_orphans(found)  # type: ignore[misc]

    def _remove_orphans(self, found: uploads.Orphans) -> None:
        self.figures.orphans += uploads.remove(self.bucket, found, self.is_versioned)


def _written(row: dict[str, Any]) -> float:
    return float(Timestamp.from_isoformat(row["last_modified"]))


def _version(row: dict[str, Any]) -> Version:
    kind = row.get("content_type", "")
    return Version(row.get("version_id") or "null", _written(row), int(row["bytes"]), kind == _MARKER_TYPE)
