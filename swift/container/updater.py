"""The container-updater: tells accounts what their containers hold now (database.md 16).

Lives here: finding the databases, deciding which have news, the sweeps. Sending is account_update's. A container whose account
nobody knows is reported in the log and left where it is: one wrong account ring must not move every container aside.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import GreenPool, sleep
from swift.core.config import non_negative_float, positive_float, positive_int, truthy
from swift.core.errors import ConfigError
from swift.core.rate import RateLimiter
from swift.core.swift_dir import use as use_swift_dir
from swift.core.threads import DeviceBusy, pool_for
from swift.core.timestamp import Timestamp
from swift.db.errors import DatabaseError, DatabaseMissing
from swift.db.marks import mark
from swift.db.walker import Walker
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.run.daemon import Daemon
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics

from .account_update import AccountNode, AccountReports
from .broker import ContainerBroker

LOCK_TIMEOUT = 10.0
SETTLED_NS = 1_000_000_000  # a file may change twice within a tick of its clock
KNOWN_UNCHANGED = 200_000  # containers whose files are remembered to have had no news


class SweepCounts:
    """What one sweep did."""

    def __init__(self) -> None:
        self.successes = 0
        self.failures = 0
        self.no_changes = 0


class ContainerUpdater(Daemon):
    """The daemon. `conf`: section container-updater, of which beside database.md 23.3 ours: `resend_interval` (86400).

    Within that many seconds each container is reported once even without news, so that a report that got lost or came
    late doesn't leave an account with wrong numbers for ever; 0 switches that off. Raises ValueError, ConfigError.
    """

    def __init__(self, conf: Mapping[str, Any], logger: Any = None, ring: Any = None) -> None:
        super().__init__(conf, logger or get_logger(conf, "container-updater"))
        swift_dir = use_swift_dir(conf.get("swift_dir"))
        self.walker = Walker(
            conf.get("devices", "/srv/node"),
            truthy(conf.get("mount_check", "true")),
            ContainerBroker.data_directory,
            self.logger,
        )
        self.interval = positive_float(conf.get("interval", 300))
        self.concurrency = positive_int(conf.get("concurrency", 4))
        per_second = conf.get("containers_per_second")
        if per_second is None and "slowdown" in conf:
            self.logger.warning("The slowdown option is deprecated in favor of containers_per_second.")
            per_second = 1 / (non_negative_float(conf["slowdown"]) + 0.01)
        self.pace = RateLimiter(non_negative_float(50 if per_second is None else per_second))
        self.suppression_time = non_negative_float(conf.get("account_suppression_time", 60))
        self.resend_interval = non_negative_float(conf.get("resend_interval", 86400))
        self.recon_file = os.path.join(
            conf.get("recon_cache_path", recon_cache.DEFAULT_PATH), recon_cache.CONTAINER
        )
        self.metrics = get_metrics(conf, conf.get("log_name") or "container-updater", self.logger)
        self.reports = AccountReports(conf, self.logger)
        self.ring = ring or _account_ring(swift_dir, self.logger)
        self._suppressed: dict[str, float] = {}
        self._unchanged: dict[str, Any] = {}

    # -- sweeps

    def run_forever(self, **options: Any) -> None:
        """Sweep after sweep, one in `interval` seconds, the first at a random moment of the first interval."""
        sleep(clock.random() * self.interval)
        while True:
            started = clock.time()
            self.logger.info("Begin container update sweep")
            counts = self._sweep(resend=True)
            elapsed = clock.time() - started
            self.logger.info(
                "Container update sweep completed: %.02fs, %d successes, %d failures, %d with no changes",
                elapsed,
                counts.successes,
                counts.failures,
                counts.no_changes,
            )
            recon_cache.dump({"container_updater_sweep": elapsed}, self.recon_file, self.logger)
            if elapsed < self.interval:
                sleep(self.interval - elapsed)

    def run_once(self, **options: Any) -> None:
        """One sweep over all containers."""
        started = clock.time()
        self.logger.info("Begin container update single threaded sweep")
        counts = self._sweep(resend=False)
        elapsed = clock.time() - started
        self.logger.info(
            "Container update single threaded sweep completed: %.02fs, %s successes, %s failures, %s with no changes",
            elapsed,
            counts.successes,
            counts.failures,
            counts.no_changes,
        )
        recon_cache.dump({"container_updater_sweep": elapsed}, self.recon_file, self.logger)

    def _sweep(self, resend: bool) -> SweepCounts:
        counts = SweepCounts()
        now = clock.time()
        self._suppressed = {account: until for account, until in self._suppressed.items() if until > now}
        pool = GreenPool(self.concurrency)
        for device_path, path in self.walker.databases():
            if not self._has_changed(path) and not (resend and self._is_due(path)):
                counts.no_changes += 1
                continue
            self.pace.wait()
            pool.spawn_n(self._process_logged, device_path, path, counts, resend)
        pool.waitall()
        return counts

    # -- which have news

    @staticmethod
    def _state(path: str) -> Any:
        return mark(os.path.dirname(path)), mark(path), mark(path + ".pending")

    def _has_changed(self, path: str) -> bool:
        known = self._unchanged.get(path)
        return known is None or known != self._state(path)

    def _is_due(self, path: str) -> bool:
        """Returns True if this sweep is the one in which a container is reported in any case."""
        if not self.resend_interval:
            return False
        sweeps = max(1, int(self.resend_interval / self.interval))
        place = int(os.path.basename(path)[:8], 16) if _is_hex(os.path.basename(path)[:8]) else 0
        return place % sweeps == int(clock.time() / self.interval) % sweeps

    def _remember_unchanged(self, path: str, state: Any) -> None:
        newest = max((found[3] for found in state if found is not None), default=0)
        if clock.time_ns() - newest < SETTLED_NS:
            return
        if len(self._unchanged) >= KNOWN_UNCHANGED:
            self._unchanged.clear()
        self._unchanged[path] = state

    # -- one container

    def _process_logged(self, device_path: str, path: str, counts: SweepCounts, resend: bool) -> None:
        started = clock.time()
        try:
            self._process(device_path, path, counts, resend)
        except DatabaseMissing:
            self._unchanged.pop(path, None)
        except (DatabaseError, sqlite3.Error, OSError, DeviceBusy) as err:
            counts.failures += 1
            self.metrics.increment("failures")
            self.logger.error("ERROR updating the account of %s: %s", path, err)
        except Exception:
            counts.failures += 1
            self.metrics.increment("failures")
            self.logger.exception("ERROR updating the account of %s", path)
        self.metrics.timing_since("timing", started)

    def _process(self, device_path: str, path: str, counts: SweepCounts, resend: bool) -> None:
        broker = ContainerBroker(path, lock_timeout=LOCK_TIMEOUT, logger=self.logger)
        pool = pool_for(device_path)
        state = self._state(path)  # before the look inside, so that whatever comes later differs from it
        info = pool.run(_reportable_info, broker)
        if info is None or self._suppressed.get(info["account"], 0) > clock.time():
            return
        if not _has_news(info) and not (resend and self._is_due(path)):
            counts.no_changes += 1
            self.metrics.increment("no_changes")
            self._remember_unchanged(path, state)
            return
        statuses = self._report(info)
        accepted = sum(1 for status in statuses if 200 <= status < 300)
        if accepted >= len(statuses) // 2 + 1:
            counts.successes += 1
            self.metrics.increment("successes")
            if _has_news(info):
                pool.run(
                    broker.reported,
                    info["put_timestamp"],
                    info["delete_timestamp"],
                    info["object_count"],
                    info["bytes_used"],
                )
            return
        counts.failures += 1
        self.metrics.increment("failures")
        if statuses and all(status == 404 for status in statuses):
            self.logger.warning(
                "No account server knows the account of %s/%s (%s)", info["account"], info["container"], path
            )
        self.logger.debug("Update report failed for %s %s", info["container"], path)
        self._suppressed[info["account"]] = clock.time() + self.suppression_time

    def _report(self, info: Mapping[str, Any]) -> list[int]:
        partition, ring_nodes = self.ring.get_nodes(info["account"])
        nodes = [
            AccountNode(node["replication_ip"], node["replication_port"], node["device"])
            for node in ring_nodes
        ]
        agent = f"container-updater {os.getpid()}"
        return self.reports.send(
            partition, nodes, info, [("X-Account-Override-Deleted", "yes"), ("User-Agent", agent)]
        )


def _reportable_info(broker: ContainerBroker) -> dict[str, Any] | None:
    """What is to be reported of a container, None if nothing ever is. Raises DatabaseMissing."""
    if not broker.exists():
        raise DatabaseMissing(broker.path)
    info = broker.info()
    if not Timestamp(info["put_timestamp"]) > 0:
        return None
    if not broker.is_root():
        info["object_count"] = info["bytes_used"] = 0  # its root counts what it holds
    return info


def _has_news(info: Mapping[str, Any]) -> bool:
    return bool(
        info["put_timestamp"] > info["reported_put_timestamp"]
        or info["delete_timestamp"] > info["reported_delete_timestamp"]
        or info["object_count"] != info["reported_object_count"]
        or info["bytes_used"] != info["reported_bytes_used"]
    )


def _is_hex(text: str) -> bool:
    try:
        int(text, 16)
    except ValueError:
        return False
    return True


def _account_ring(swift_dir: str, logger: Any) -> Ring:
    try:
        return Ring(swift_dir, "account", logger=logger)
    except (OSError, RingError) as err:
        raise ConfigError(f"The account ring in {swift_dir} can't be opened: {err}") from None
