"""What an audit has come to: its counts, and the lines, recon entries and metrics that are made of them (object-disk 24, operations 8.6)."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from swift.core import clock
from swift.telemetry import recon_cache
from swift.telemetry.metrics import Metrics

ALL, ZBF = "ALL", "ZBF"
OVER = "OVER"


class Figures:
    """Of one pass. `name`: for the log, `ALL` or more. `key`: of the devices in recon, or '' for all of them. `sizes`: of the histogram."""

    def __init__(
        self,
        audit_type: str,
        name: str,
        key: str,
        log_time: float,
        sizes: Sequence[int],
        recon_file: str,
        metrics: Metrics,
        logger: Any,
    ) -> None:
        self.name = name
        self.metrics = metrics
        self.logger = logger
        self.total_quarantined = self.total_errors = self.total_passed = self.total_bytes = 0
        self._recon_key = f"object_auditor_stats_{audit_type}"
        self._device_key = key
        self._recon_file = recon_file
        self._log_time = log_time
        self._sizes = list(sizes)
        self._histogram = {str(size): 0 for size in sizes}
        if sizes:
            self._histogram[OVER] = 0
        self._began = self._since = clock.time()
        self._audit_time = self._total_audit_time = 0.0
        self._passed = self._quarantined = self._errors = self._bytes = 0
        self._report_at = 0.0  # first after the first object, then each log_time
        self._busy = 0
        self._busy_since = 0.0
        self._dump({})

    # ------------------------------------------------------------ counting

    def begin_work(self) -> None:
        """Something is audited from now on; several things may be, at the same time."""
        if not self._busy:
            self._busy_since = clock.monotonic()
        self._busy += 1

    def end_work(self) -> None:
        """The counterpart of `begin_work`."""
        self._busy -= 1
        if not self._busy:
            self._take_time()

    def _take_time(self) -> None:
        now = clock.monotonic()
        self._audit_time += now - self._busy_since
        self._total_audit_time += now - self._busy_since
        self._busy_since = now

    def passed(self, size: int | None = None) -> None:
        """An object, or what is left of one, is as it should be. `size`: bytes, of an object."""
        self._passed += 1
        self.total_passed += 1
        if size is not None and self._sizes:
            at = bisect_left(self._sizes, size)
            self._histogram[str(self._sizes[at]) if at < len(self._sizes) else OVER] += 1

    def read(self, count: int) -> None:
        """Bytes were read."""
        self._bytes += count
        self.total_bytes += count

    def quarantined(self) -> None:
        """Something was damaged and has been moved away."""
        self._quarantined += 1
        self.total_quarantined += 1
        self.metrics.increment("quarantines")

    def error(self, text: str, *args: Any, **keywords: Any) -> None:
        """Nothing can be said of something. The arguments are those of a line of the log."""
        self._errors += 1
        self.total_errors += 1
        self.metrics.increment("errors")
        self.logger.error(text, *args, **keywords)

    def looked(self, count: int, seconds: float) -> None:
        """So many things were looked at in so much time."""
        for _ in range(count):
            self.metrics.timing("timing", seconds * 1000 / count)
        if clock.monotonic() >= self._report_at:
            self.report()

    # ------------------------------------------------------------ telling

    def report(self) -> None:
        """What has happened since the last time, in the log and in recon."""
        if self._busy:
            self._take_time()
        elapsed = (clock.time() - self._since) or 0.000001
        self.logger.info(
            "Object audit (%s). Since %s: Locally: %d passed, %d quarantined, %d errors, files/sec: %.2f, "
            "bytes/sec: %.2f, Total time: %.2f, Auditing time: %.2f, Rate: %.2f",
            self.name,
            clock.ctime(self._since),
            self._passed,
            self._quarantined,
            self._errors,
            self._passed / elapsed,
            self._bytes / elapsed,
            elapsed,
            self._audit_time,
            self._audit_time / elapsed,
        )
        self._dump(
            _stats(self._errors, self._passed, self._quarantined, self._bytes, self._since, self._audit_time)
        )
        self._since = clock.time()
        self._passed = self._quarantined = self._errors = self._bytes = 0
        self._audit_time = 0.0
        self._report_at = clock.monotonic() + self._log_time

    def finish(self, mode: str) -> None:
        """The lines at the end of a pass. `mode`: once or forever."""
        elapsed = (clock.time() - self._began) or 0.000001
        self.logger.info(
            'Object audit (%s) "%s" mode completed: %.2fs. Total quarantined: %d, Total errors: %d, Total files/sec: %.2f, '
            "Total bytes/sec: %.2f, Auditing time: %.2f, Rate: %.2f",
            self.name,
            mode,
            elapsed,
            self.total_quarantined,
            self.total_errors,
            self.total_passed / elapsed,
            self.total_bytes / elapsed,
            self._total_audit_time,
            self._total_audit_time / elapsed,
        )
        # while it runs, recon has what happened since the last line, as the reference's; a pass that is over is worth more as a whole
        self._dump(
            _stats(
                self.total_errors,
                self.total_passed,
                self.total_quarantined,
                self.total_bytes,
                self._began,
                self._total_audit_time,
            )
        )
        if self._histogram:
            self.logger.info("Object audit stats: %s", json.dumps(self._histogram))

    def _dump(self, stats: dict[str, Any]) -> None:
        found = {self._device_key: stats} if self._device_key else stats
        recon_cache.dump({self._recon_key: found}, self._recon_file, self.logger)


def _stats(
    errors: int, passes: int, quarantined: int, count: int, start: float, audit_time: float
) -> dict[str, Any]:
    return {
        "errors": errors,
        "passes": passes,
        "quarantined": quarantined,
        "bytes_processed": count,
        "start_time": start,
        "audit_time": audit_time,
    }
