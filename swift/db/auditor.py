"""The frame of account-auditor and container-auditor: passes over all databases of a node (database.md 15).

Opening a database finds what is damaged, and sets it aside. What else is checked is the subclasses' business.
"""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import sleep
from swift.core.config import non_negative_float, positive_float, truthy
from swift.core.swift_dir import use as use_swift_dir
from swift.engine.fault_points import fault_point
from swift.engine.threads import DeviceBusy, pool_for
from swift.run.daemon import Daemon
from swift.run.rate import RateLimiter
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics

from .broker import Broker
from .connection import CONNECTIONS
from .errors import DatabaseError, DatabaseMissing
from .moves import sweep_leftovers, sweep_unfinished
from .walker import Walker

LOG_SECONDS = 3600.0
UNFINISHED_SECONDS = 604800.0  # what is being built that long is being built by nobody


class AuditFailure(Exception):
    """A database that contradicts itself."""


class DatabaseAuditor(Daemon, ABC):
    """Base of both. `conf`: interval (1800), accounts_per_second or containers_per_second (200). Raises ValueError, ConfigError.

    On the way a pass removes what creations and removals that were killed have left behind.
    """

    kind: str  # "account" or "container"
    data_directory: str
    recon_name: str

    def __init__(self, conf: Mapping[str, Any], logger: Any = None) -> None:
        super().__init__(conf, logger or get_logger(conf, f"{self.kind}-auditor"))
        use_swift_dir(conf.get("swift_dir"))
        self.interval = positive_float(conf.get("interval", 1800))
        self.pace = RateLimiter(non_negative_float(conf.get(f"{self.kind}s_per_second", 200)))
        self.walker = Walker(
            conf.get("devices", "/srv/node"),
            truthy(conf.get("mount_check", "true")),
            self.data_directory,
            self.logger,
        )
        self.recon_file = os.path.join(
            conf.get("recon_cache_path", recon_cache.DEFAULT_PATH), self.recon_name
        )
        self.metrics = get_metrics(conf, conf.get("log_name") or f"{self.kind}-auditor", self.logger)
        self._since = clock.time()
        self._passed = self._failed = 0

    @abstractmethod
    def broker(self, path: str) -> Broker:
        """A broker of the database at `path`."""

    def check(self, broker: Broker) -> None:
        """Read the database, and look for contradictions in it. Raises AuditFailure."""
        broker.info()

    # -- passes

    def run_forever(self, **options: Any) -> None:
        """Pass after pass, one in `interval` seconds, the first at a random moment of the first interval."""
        sleep(clock.random() * self.interval)
        while True:
            self.logger.info("Begin %s audit pass.", self.kind)
            started = clock.time()
            self._pass()
            elapsed = clock.time() - started
            self.logger.info("%s audit pass completed: %.02fs", self.kind.title(), elapsed)
            self._dump_pass(elapsed)
            if elapsed < self.interval:
                sleep(self.interval - elapsed)

    def run_once(self, **options: Any) -> None:
        """One pass over all databases."""
        self.logger.info('Begin %s audit "once" mode', self.kind)
        started = clock.time()
        self._pass()
        self._report()
        elapsed = clock.time() - started
        self.logger.info('%s audit "once" mode completed: %.02fs', self.kind.title(), elapsed)
        self._dump_pass(elapsed)

    def _pass(self) -> None:
        swept = None
        for device_path, path in self.walker.databases():
            self.pace.wait()
            if device_path != swept:
                swept = device_path
                self._tidy(device_path)
            self.audit(device_path, path)
            fault_point("db:audit:next")
            if clock.time() - self._since >= LOG_SECONDS:
                self._report()

    def _tidy(self, device_path: str) -> None:
        try:
            pool_for(device_path).run(sweep_leftovers, device_path)
        except (OSError, DeviceBusy) as err:  # the other disks are none the worse for it
            self.logger.error("ERROR tidying up %s: %s", device_path, err)

    def _report(self) -> None:
        self.logger.info(
            "Since %s: %s audits: %s passed audit, %s failed audit",
            clock.ctime(self._since),
            self.kind,
            self._passed,
            self._failed,
        )
        self._dump(
            {
                f"{self.kind}_audits_since": self._since,
                f"{self.kind}_audits_passed": self._passed,
                f"{self.kind}_audits_failed": self._failed,
            }
        )
        self._since = clock.time()
        self._passed = self._failed = 0

    def _dump_pass(self, elapsed: float) -> None:
        self._dump(
            {
                f"{self.kind}_auditor_pass_completed": elapsed,
                f"{self.kind}_auditor_last": clock.time(),
            }
        )

    def _dump(self, figures: dict[str, Any]) -> None:
        recon_cache.dump(figures, self.recon_file, self.logger)

    # -- one database

    def audit(self, device_path: str, path: str) -> None:
        """Audit one database; what is found goes to log and counters."""
        started = clock.time()
        try:
            pool_for(device_path).run(self._audit, path)
            self._passed += 1
            self.metrics.increment("passes")
        except DatabaseMissing:
            return
        except AuditFailure as err:
            self._failed += 1
            self.metrics.increment("failures")
            self.logger.error("Audit failed: %s: %s", path, err)
        except (DatabaseError, sqlite3.Error, OSError, DeviceBusy) as err:
            self._failed += 1
            self.metrics.increment("failures")
            self.logger.error("ERROR auditing %s %s: %s", self.kind, path, err)
        except Exception:
            self._failed += 1
            self.metrics.increment("failures")
            self.logger.exception("ERROR auditing %s %s", self.kind, path)
        self.metrics.timing_since("timing", started)

    def _audit(self, path: str) -> None:
        sweep_unfinished(os.path.dirname(path), clock.time() - UNFINISHED_SECONDS)
        broker = self.broker(path)
        try:
            if not broker.is_deleted():
                self.check(broker)
        finally:
            CONNECTIONS.forget(broker.directory)  # it won't be needed before the next pass
