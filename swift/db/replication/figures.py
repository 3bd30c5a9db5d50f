"""What a replicator's pass did: counters for log, recon and metrics (database.md 24)."""

from __future__ import annotations

from typing import Any

from swift.core import clock

COUNTERS = (
    "attempted",
    "success",
    "failure",
    "ts_repl",
    "no_change",
    "hashmatch",
    "rsync",
    "diff",
    "remove",
    "empty",
    "remote_merge",
    "diff_capped",
    "deferred",
)
_LOGGED = ("diff", "diff_capped", "empty", "hashmatch", "no_change", "remote_merge", "rsync", "ts_repl")
_METRICS = {
    "attempted": "attempts",
    "success": "successes",
    "failure": "failures",
    "no_change": "no_changes",
    "hashmatch": "hashmatches",
    "rsync": "rsyncs",
    "diff": "diffs",
    "diff_capped": "diff_caps",
    "remote_merge": "remote_merges",
}


class Figures:
    """Of one pass. `metrics`: told of each count at once."""

    def __init__(self, metrics: Any) -> None:
        self.metrics = metrics
        self.start = clock.time()
        self.counts = dict.fromkeys(COUNTERS, 0)
        self.failure_nodes: dict[str, dict[str, int]] = {}
        self.devices: dict[str, dict[str, Any]] = {}
        self._before: dict[str, dict[str, Any]] = {}  # of those that the pass is at: what was told before it
        self._told: set[tuple[str, str]] = set()

    def count(self, what: str, number: int = 1) -> None:
        """One of COUNTERS goes up."""
        self.counts[what] += number
        name = _METRICS.get(what)
        if name is not None and number:
            self.metrics.update_stats(name, number)

    def removed(self, device: str) -> None:
        """A database was removed from a device."""
        self.counts["remove"] += 1
        self.metrics.increment(f"removes.{device}")

    def begin_device(self, name: str, before: Any) -> None:
        """A local device's turn has come. `before`: what was told of it after an earlier pass, if anything."""
        self.devices[name] = {"databases": 0, "failures": 0, "handoffs": 0}
        self._before[name] = {**before, "pass": {}} if isinstance(before, dict) else {"pass": {}}
        if isinstance(before, dict) and isinstance(before.get("last_without_failure"), float):
            self.devices[name]["last_without_failure"] = before["last_without_failure"]

    def end_device(self, name: str) -> None:
        """All replicas of a local device have been looked at. When they were last without a failure is what an operator asks for."""
        found = self.devices[name]
        self._before.pop(name, None)
        found["last"] = clock.time()
        if not found["failures"]:
            found["last_without_failure"] = self.start
        self.metrics.gauge(f"handoffs.{name}", found["handoffs"])

    def progress(self) -> dict[str, Any]:
        """As in the recon file while the pass goes on: what was told of devices before, and how far it is with them.

        `pass`: databases that are `done`, how many there were last time (`expected`), when it `began`, and `remaining` seconds at this
        pace; None where that can't be told.
        """
        now = clock.time()
        told: dict[str, Any] = {}
        for name, entry in self.devices.items():
            before = self._before.get(name)
            if before is None:
                told[name] = entry
                continue
            done, expected = entry["databases"], before.get("databases")
            remaining = None
            if done and isinstance(expected, int):
                remaining = (now - self.start) / done * max(expected - done, 0)
            at = {"done": done, "expected": expected, "began": self.start, "remaining": remaining}
            told[name] = {**before, "pass": at}
        return {"replication_per_device": told} if told else {}

    def at_device(self, name: str, what: str) -> None:
        """One more of `databases`, `failures` or `handoffs`, those that stay, on a local device."""
        if name in self.devices:
            self.devices[name][what] += 1

    def failed_at(self, node: Any) -> None:
        """A node that the pass could not bring up to date, or to which it could not send."""
        devices = self.failure_nodes.setdefault(node["replication_ip"], {})
        devices[node["device"]] = devices.get(node["device"], 0) + 1

    def is_first_time(self, node: Any) -> bool:
        """Returns True when this is asked about a node's device for the first time in the pass."""
        key = (node["replication_ip"], node["device"])
        if key in self._told:
            return False
        self._told.add(key)
        return True

    def recon(self) -> dict[str, Any]:
        """As in the recon file."""
        now = clock.time()
        stats = {**self.counts, "start": self.start, "failure_nodes": self.failure_nodes}
        return {
            "replication_stats": stats,
            "replication_time": now - self.start,
            "replication_last": now,
            "replication_per_device": self.devices,
        }

    def log(self, logger: Any) -> None:
        """The lines at the end of a pass."""
        seconds = clock.time() - self.start
        attempted = self.counts["attempted"]
        logger.info(
            "Attempted to replicate %d dbs in %.5f seconds (%.5f/s)",
            attempted,
            seconds,
            attempted / (seconds or 1e-7),
        )
        logger.info("Removed %d dbs", self.counts["remove"])
        logger.info("%s successes, %s failures", self.counts["success"], self.counts["failure"])
        logger.info("%s", " ".join(f"{name}:{self.counts[name]}" for name in _LOGGED))
