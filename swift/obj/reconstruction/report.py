"""What a pass of the reconstructor tells, beside what all passes do (object-disk 24, operations 8)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from swift.core import clock
from swift.obj.replication.report import Report, Words

RECONSTRUCTED = Words("reconstructor", "reconstruction", "reconstructed", "reconstructing")
PER_DISK = "object_reconstruction_per_disk"
STANDING = "object_reconstruction_standing"
STATS = "object_reconstruction_stats"
TIME, LAST = "object_reconstruction_time", "object_reconstruction_last"
_MORE = ("rebuilt", "rebuilt_bytes", "reverted", "quarantined")


class RebuildReport(Report):
    """The counts of one pass. `rebuilt`: fragments made for other nodes; `reverted`: fragments and tombstones given back."""

    words = RECONSTRUCTED

    def __init__(self) -> None:
        super().__init__()
        self.counts.update(dict.fromkeys(_MORE, 0))

    def log(self, logger: Any) -> None:
        super().log(logger)
        counts = self.counts
        if counts["rebuilt"] or counts["reverted"]:
            logger.info(
                "%d fragments rebuilt (%d bytes), %d reverted",
                counts["rebuilt"],
                counts["rebuilt_bytes"],
                counts["reverted"],
            )

    def recon(self) -> dict[str, Any]:
        now = clock.time()
        stats = {**self.counts, "handoffs_remaining": self.guests_left, "failure_nodes": self.failure_nodes}
        return {STATS: stats, TIME: (now - self.started) / 60, LAST: now}

    def recon_of_worker(self, found: dict[str, Any], number: int) -> dict[str, Any]:
        return {TIME: found[TIME], LAST: found[LAST], "pid": os.getpid()}


def merged(per_disk: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One document of those that workers left: from the first that began to the last that ended."""
    last = max(entry.get(LAST, 0) for entry in per_disk.values())
    first = min(entry.get(LAST, 0) - 60 * entry.get(TIME, 0) for entry in per_disk.values())
    return {TIME: (last - first) / 60, LAST: last}
