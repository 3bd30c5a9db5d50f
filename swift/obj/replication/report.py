"""What a pass tells: counts, lines of the log, recon documents (object-disk 24, operations 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from swift.core import clock
from swift.obj.replication.peers import Node

_COUNTS = (
    "attempted",
    "failure",
    "hashmatch",
    "remove",
    "rsync",
    "success",
    "suffix_count",
    "suffix_hash",
    "suffix_sync",
)
MAX_TIMES = 4096  # partition times that are kept for the median
PER_DISK = "object_replication_per_disk"


class Words(NamedTuple):
    """How log lines name a daemon, what it does, what was done, and what it is doing."""

    doer: str
    deed: str
    done: str
    doing: str


REPLICATED = Words("replicator", "replication", "replicated", "replicating")


class Report:
    """The counts of one pass. `total`: partitions; `done`: those that were dealt with."""

    words = REPLICATED

    def __init__(self) -> None:
        self.started = clock.time()
        self.counts = dict.fromkeys(_COUNTS, 0)
        self.failure_nodes: dict[str, dict[str, int]] = {}
        self.total = 0
        self.done = 0
        self.guests_left = 0
        self._times: list[float] = []
        self._shortest = self._longest = 0.0
        self._timed = 0

    def add(self, name: str, amount: int = 1) -> None:
        """Count."""
        self.counts[name] += amount

    def fail(self, nodes: Iterable[Node]) -> None:
        """Count a failure for each of these devices."""
        for node in nodes:
            self.counts["failure"] += 1
            devices = self.failure_nodes.setdefault(node["replication_ip"], {})
            devices[node["device"]] = devices.get(node["device"], 0) + 1

    def finish(self, partitions: int, seconds: float) -> None:
        """So many partitions were dealt with, in so many seconds together."""
        self.done += partitions
        each = seconds / partitions
        self._shortest = min(self._shortest, each) if self._timed else each
        self._longest = max(self._longest, each)
        self._timed += partitions
        if len(self._times) < MAX_TIMES:
            self._times.append(each)
        else:
            self._times[int(clock.uniform(0, MAX_TIMES)) % MAX_TIMES] = each

    def log(self, logger: Any) -> None:
        """The lines about progress."""
        elapsed = max(clock.time() - self.started, 0.000001)
        if not self.done:
            logger.info("Nothing %s for %s seconds.", self.words.done, elapsed)
            return
        rate = self.done / elapsed
        left = max(self.total - self.done, 0) / rate
        unit = "s"
        for longer, name in ((60, "m"), (60, "h"), (24, "d")):
            if left < longer:
                break
            left, unit = left / longer, name
        logger.info(
            "%d/%d (%.2f%%) partitions %s in %.2fs (%.2f/sec, %d%s remaining)",
            self.done,
            self.total,
            100.0 * self.done / max(self.total, self.done),
            self.words.done,
            elapsed,
            rate,
            left,
            unit,
        )
        logger.info("%s successes, %s failures", self.counts["success"], self.counts["failure"])
        checked = self.counts["suffix_count"]
        if checked:
            logger.info(
                "%d suffixes checked - %.2f%% hashed, %.2f%% synced",
                checked,
                100.0 * self.counts["suffix_hash"] / checked,
                100.0 * self.counts["suffix_sync"] / checked,
            )
        times = sorted(self._times)
        logger.info(
            "Partition times: max %.4fs, min %.4fs, med %.4fs",
            self._longest,
            self._shortest,
            times[len(times) // 2],
        )

    def recon(self) -> dict[str, Any]:
        """What recon shows of the pass that ends now."""
        minutes = (clock.time() - self.started) / 60
        now = clock.time()
        return {
            "replication_stats": {**self.counts, "failure_nodes": self.failure_nodes},
            "replication_time": minutes,
            "replication_last": now,
            "object_replication_time": minutes,
            "object_replication_last": now,
        }

    def recon_of_worker(self, found: dict[str, Any], number: int) -> dict[str, Any]:
        """What is left for the device `number` of a worker, of which `recon` told `found`.

        A worker that has several devices counts them together: the first one stands for all.
        """
        if not number:
            return found
        return {**found, "replication_stats": {**dict.fromkeys(_COUNTS, 0), "failure_nodes": {}}}


def merged(per_disk: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One recon document of those that workers left for each device: sums, and the least of their times."""
    counts: dict[str, Any] = dict.fromkeys(_COUNTS, 0)
    failures: dict[str, dict[str, int]] = {}
    for entry in per_disk.values():
        stats = entry.get("replication_stats", {})
        for name in _COUNTS:
            counts[name] += stats.get(name, 0)
        for ip, devices in stats.get("failure_nodes", {}).items():
            for device, count in devices.items():
                known = failures.setdefault(ip, {})
                known[device] = known.get(device, 0) + count
    keys = ("replication_time", "replication_last", "object_replication_time", "object_replication_last")
    found = {key: min(entry.get(key, 0) for entry in per_disk.values()) for key in keys if per_disk}
    return {"replication_stats": {**counts, "failure_nodes": failures}, **found}
