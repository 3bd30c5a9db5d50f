"""What a sharder's cycle did: counters for log, recon and metrics (database.md 24)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from swift.core import clock
from swift.core.timestamp import Timestamp

MOST_ORPHANS = 100  # that are told of

CATEGORIES: dict[str, tuple[str, ...]] = {
    "visited": ("attempted", "success", "failure", "skipped", "completed"),
    "scanned": ("attempted", "success", "failure", "found", "min_time", "max_time"),
    "created": ("attempted", "success", "failure"),
    "cleaved": ("attempted", "success", "failure", "min_time", "max_time", "db_created", "db_exists"),
    "misplaced": (
        "attempted",
        "success",
        "failure",
        "found",
        "placed",
        "unplaced",
        "db_created",
        "db_exists",
    ),
    "audit_root": ("attempted", "success", "failure", "has_overlap", "num_overlap"),
    "audit_shard": ("attempted", "success", "failure"),
}


class ShardingFigures:
    """Of one cycle. `limit`: how many candidates are told, negative: all. `before`: of the cycle before.

    Until a container is visited again, or the cycle ends, what the one before found out about it is told: a cycle may take hours.
    """

    def __init__(self, metrics: Any, limit: int, before: ShardingFigures | None = None) -> None:
        self.metrics = metrics
        self.limit = limit
        self.start = clock.time()
        self.counts = {name: dict.fromkeys(keys, 0) for name, keys in CATEGORIES.items()}
        self.times: dict[tuple[str, str], float] = {}
        # by the path of the database
        self.sharding_candidates: dict[str, dict[str, Any]] = {}
        self.shrinking_candidates: dict[str, dict[str, Any]] = {}
        self.in_progress: dict[str, dict[str, Any]] = {}
        self.orphans: dict[str, dict[str, Any]] = {}
        self._counts_before: dict[str, dict[str, int]] = {}
        if before is not None:
            self._counts_before = before.counts
            for mine, earlier in zip(self._entries(), before._entries(), strict=True):
                mine.update(earlier)
        self._unseen = {path for entries in self._entries() for path in entries}

    def _entries(self) -> tuple[dict[str, dict[str, Any]], ...]:
        return self.sharding_candidates, self.shrinking_candidates, self.in_progress, self.orphans

    @contextmanager
    def visiting(self, path: str) -> Iterator[None]:
        """A database is visited in the block: what was known of it and is not found again there is forgotten."""
        before = [entries.get(path) for entries in self._entries()]
        try:
            yield
        finally:
            for entries, entry in zip(self._entries(), before, strict=True):
                if entry is not None and entries.get(path) is entry:
                    del entries[path]
            self._unseen.discard(path)

    def end(self) -> None:
        """The cycle has been everywhere."""
        for entries in self._entries():
            for path in self._unseen & entries.keys():
                del entries[path]
        self._unseen.clear()
        self._counts_before = {}

    def count(self, category: str, key: str, number: int = 1) -> None:
        """One of CATEGORIES goes up."""
        self.counts[category][key] += number
        if number:
            self.metrics.update_stats(f"{category}_{key}", number)

    def outcome(self, category: str, success: bool) -> bool:
        """success or failure of a category goes up; what was given."""
        self.count(category, "success" if success else "failure")
        return success

    def took(self, category: str, seconds: float) -> None:
        """The shortest and the longest of what a category does."""
        counts: dict[str, Any] = self.counts[category]
        counts["min_time"] = round(min(counts["min_time"] or seconds, seconds), 3)
        counts["max_time"] = round(max(counts["max_time"], seconds), 3)

    def recon(self) -> dict[str, Any]:
        """As under `sharding` in the recon file."""
        return {
            **self._counts(),
            "sharding_candidates": self._top(self.sharding_candidates, "object_count"),
            "shrinking_candidates": self._top(self.shrinking_candidates, "compactible_ranges"),
            "sharding_in_progress": {"all": list(self.in_progress.values())},
            "orphaned_shards": {
                "found": len(self.orphans),
                "all": list(self.orphans.values())[:MOST_ORPHANS],
            },
        }

    def _counts(self) -> dict[str, dict[str, int]]:
        """Within a cycle no less than the one before has counted."""
        return {
            category: {
                key: max(value, self._counts_before.get(category, {}).get(key, 0))
                for key, value in counts.items()
            }
            for category, counts in self.counts.items()
        }

    def show(self) -> None:
        """Levels for StatsD and Prometheus: how much is under way on this node, and how long it may still take."""
        moving = [entry for entry in self.in_progress.values() if entry.get("db_state") != "sharded"]
        now = clock.time()
        for name, value in (
            ("sharding_in_progress", len(moving)),
            ("sharding_ranges_done", sum(entry.get("ranges_done", 0) for entry in moving)),
            ("sharding_ranges_todo", sum(entry.get("ranges_todo", 0) for entry in moving)),
            ("sharding_seconds_left", round(max((_seconds_left(entry, now) for entry in moving), default=0))),
            ("sharding_errors", sum(bool(entry.get("error")) for entry in moving)),
            ("sharding_candidates", len(self.sharding_candidates)),
            ("shrinking_candidates", len(self.shrinking_candidates)),
            ("orphaned_shards", len(self.orphans)),
        ):
            self.metrics.gauge(name, value)

    def _top(self, candidates: dict[str, dict[str, Any]], key: str) -> dict[str, Any]:
        ordered = sorted(candidates.values(), key=lambda item: item[key], reverse=True)
        return {
            "found": len(candidates),
            "top": ordered if self.limit < 0 else ordered[: self.limit],
        }

    def log(self, logger: Any) -> None:
        """The lines at the end of a cycle."""
        since = clock.ctime(self.start)
        for category, counts in self.counts.items():
            text = " ".join(f"{key}:{value}" for key, value in counts.items())
            logger.info("Since %s %s - %s", since, category, text)


def _seconds_left(entry: Mapping[str, Any], now: float) -> float:
    """That a replica may still need at the pace that it had, 0 if nobody can say."""
    done, todo, epoch = entry.get("ranges_done", 0), entry.get("ranges_todo", 0), entry.get("epoch")
    return max(now - float(Timestamp(epoch)), 0.0) * todo / done if done and epoch else 0.0
