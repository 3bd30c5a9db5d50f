"""The container-updater: tells accounts what their containers hold now (database.md 16).

Lives here: deciding which have news, the sweeps. Sending is account_update's. Each device is swept by a green thread of its own, and all
that touches it is done in its threads: one that hangs is left for another sweep, and no other waits for it. A container whose account
nobody knows is reported in the log and left where it is: one wrong account ring must not move every container aside.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import GreenPool, Semaphore, sleep, spawn
from swift.core.config import non_negative_float, positive_float, positive_int, truthy
from swift.core.errors import ConfigError
from swift.core.swift_dir import use as use_swift_dir
from swift.core.timestamp import Timestamp
from swift.db.errors import DatabaseError, DatabaseMissing
from swift.db.marks import Mark, mark
from swift.db.walker import Walker
from swift.engine.threads import DeviceBusy, DevicePool, pool_for
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.run.daemon import Daemon
from swift.run.rate import RateLimiter
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics

from .account_update import AccountNode, AccountReports
from .broker import ContainerBroker
from .resend import Resends
from .unchanged import Unchanged

LOCK_TIMEOUT = 10.0
MOST_MISSED = 1000  # reports of a device that are sent again because not all account servers took them
RESENT_UNTIL = "container_updater_resent_until"  # in the recon file: seconds, `Resends.end`


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
        self._unchanged = Unchanged()
        self._sending = Semaphore(self.concurrency)
        self._resends: dict[str, Resends] = {}

    # -- sweeps

    def run_forever(self, **options: Any) -> None:
        """Sweep after sweep, one in `interval` seconds, the first at a random moment of the first interval."""
        sleep(clock.random() * self.interval)
        while True:
            elapsed = self._told_sweep("sweep", resend=True)
            figures = {
                "container_updater_sweep": elapsed,
                "container_updater_last": clock.time(),
                RESENT_UNTIL: {name: resends.done_until for name, resends in self._resends.items()},
            }
            recon_cache.dump(figures, self.recon_file, self.logger)
            if elapsed < self.interval:
                sleep(self.interval - elapsed)

    def run_once(self, **options: Any) -> None:
        """One sweep over all containers."""
        elapsed = self._told_sweep("single threaded sweep", resend=False)
        figures = {"container_updater_sweep": elapsed, "container_updater_last": clock.time()}
        recon_cache.dump(figures, self.recon_file, self.logger)

    def _told_sweep(self, kind: str, resend: bool) -> float:
        """One sweep, called `kind` in the log; returns the seconds that it took."""
        started = clock.time()
        self.logger.info("Begin container update %s", kind)
        counts = self._sweep(resend)
        elapsed = clock.time() - started
        self.logger.info(
            "Container update %s completed: %.02fs, %d successes, %d failures, %d with no changes",
            kind,
            elapsed,
            counts.successes,
            counts.failures,
            counts.no_changes,
        )
        return elapsed

    def _sweep(self, resend: bool) -> SweepCounts:
        counts = SweepCounts()
        now = clock.time()
        self._suppressed = {account: until for account, until in self._suppressed.items() if until > now}
        sweeps = [
            spawn(DeviceSweep(self, path, counts, self._resends_of(path) if resend else Resends(0)).run)
            for path in self.walker.device_paths()
        ]
        for sweep in sweeps:
            sweep.wait()
        return counts

    def _resends_of(self, device_path: str) -> Resends:
        name = os.path.basename(device_path)
        found = self._resends.get(name)
        if found is None:
            known = recon_cache.read(self.recon_file).get(RESENT_UNTIL)
            until = known.get(name) if isinstance(known, dict) else None
            found = Resends(self.resend_interval, until if isinstance(until, (int, float)) else None)
            self._resends[name] = found
        return found

    def _report(self, info: Mapping[str, Any]) -> list[int]:
        partition, ring_nodes = self.ring.get_nodes(info["account"])
        nodes = [
            AccountNode(node["replication_ip"], node["replication_port"], node["device"])
            for node in ring_nodes
        ]
        agent = f"container-updater {os.getpid()}"
        # No transaction id: with one, an account server waits for its lock for a shorter time, as for a client's request.
        return self.reports.send(
            partition, nodes, info, [("X-Account-Override-Deleted", "yes"), ("User-Agent", agent)]
        )


class DeviceSweep:
    """One sweep over the containers of one device."""

    def __init__(
        self, updater: ContainerUpdater, device_path: str, counts: SweepCounts, resends: Resends
    ) -> None:
        self.updater = updater
        self.device_path = device_path
        self.counts = counts
        self.resends = resends
        self.logger = updater.logger
        self.disk: DevicePool = pool_for(device_path)

    def run(self) -> None:
        """Look at all of them; never raises for what disks or servers do."""
        self.resends.begin(clock.time())
        pool = GreenPool(self.updater.concurrency)
        try:
            for _, path in self.updater.walker.on_device(self.device_path):
                if self._is_idle(path):
                    self.counts.no_changes += 1
                    continue
                self.updater.pace.wait()
                pool.spawn_n(self._process_logged, path)
            pool.waitall()
        except DeviceBusy as err:
            self.logger.error(
                "ERROR sweeping %s, the rest is left for the next time: %s", self.device_path, err
            )
            return
        except Exception:
            self.logger.exception("ERROR sweeping %s", self.device_path)
            return
        self.resends.end()

    def _is_idle(self, path: str) -> bool:
        """True if it had no news before, its files are the same, and it need not be reported in any case. Raises DeviceBusy."""
        if self.disk.inline:
            sleep(0)
        if self._is_due(path):
            return False
        try:
            marks = self.disk.run(_marks, path)
        except OSError:
            return False  # what it is shows when it is opened
        return (path, marks) in self.updater._unchanged

    def _is_due(self, path: str) -> bool:
        return self.resends.is_due(os.path.basename(os.path.dirname(path)))

    # -- one container

    def _process_logged(self, path: str) -> None:
        started = clock.time()
        try:
            self._process(path)
        except DatabaseMissing:
            self.updater._unchanged.forget(path)
        except (DatabaseError, sqlite3.Error, OSError, DeviceBusy) as err:
            self._failed(path, err)
        except Exception:
            self._failed(path, None)
            self.logger.exception("ERROR updating the account of %s", path)
        self.updater.metrics.timing_since("timing", started)

    def _failed(self, path: str, err: Exception | None) -> None:
        self._count_failure(path)
        if err is not None:
            self.logger.error("ERROR updating the account of %s: %s", path, err)

    def _count_failure(self, path: str) -> None:
        self.counts.failures += 1
        self.updater.metrics.increment("failures")
        self._owe(path)

    def _owe(self, path: str) -> None:
        if self._is_due(path):
            self.resends.owe(os.path.basename(os.path.dirname(path)))

    def _process(self, path: str) -> None:
        updater = self.updater
        broker = ContainerBroker(path, lock_timeout=LOCK_TIMEOUT, logger=self.logger)
        # before the look inside, so that whatever comes later differs from it
        read_at = clock.time_ns()
        marks, info = self.disk.run(_look, broker, path)
        if info is None:
            return
        if updater._suppressed.get(info["account"], 0) > clock.time():
            self._owe(path)
            return
        if not _has_news(info) and not self._is_due(path):
            self.counts.no_changes += 1
            updater.metrics.increment("no_changes")
            if marks is not None:
                updater._unchanged.learn(path, marks, read_at)
            return
        with updater._sending:  # not held while a disk is waited for
            statuses = updater._report(info)
        accepted = sum(1 for status in statuses if 200 <= status < 300)
        if accepted >= len(statuses) // 2 + 1:
            self.counts.successes += 1
            updater.metrics.increment("successes")
            if _has_news(info):
                self.disk.run(
                    broker.reported,
                    info["put_timestamp"],
                    info["delete_timestamp"],
                    info["object_count"],
                    info["bytes_used"],
                )
            if accepted < len(statuses):
                # Whoever missed it may hold an older count with a newer row, which would win when the replicas meet.
                self.resends.owe(os.path.basename(os.path.dirname(path)), MOST_MISSED)
            return
        self._count_failure(path)
        if statuses and all(status == 404 for status in statuses):
            self.logger.warning(
                "No account server knows the account of %s/%s (%s)", info["account"], info["container"], path
            )
        self.logger.debug("Update report failed for %s %s", info["container"], path)
        updater._suppressed[info["account"]] = clock.time() + updater.suppression_time


Marks = tuple["Mark | None", "Mark | None", "Mark | None"]


def _marks(path: str) -> Marks:
    """Of the directory, the database and the pending rows. Blocks."""
    return mark(os.path.dirname(path)), mark(path), mark(path + ".pending")


def _look(broker: ContainerBroker, path: str) -> tuple[Marks | None, dict[str, Any] | None]:
    """The marks from before, None where they don't tell, and what is to be reported. Blocks."""
    marks = _marks(path)
    own = os.path.basename(path)
    try:
        others = [name for name in os.listdir(os.path.dirname(path)) if name.endswith(".db") and name != own]
    except FileNotFoundError:
        others = []
    return None if others else marks, _reportable_info(broker)


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


def _account_ring(swift_dir: str, logger: Any) -> Ring:
    try:
        return Ring(swift_dir, "account", logger=logger)
    except (OSError, RingError) as err:
        raise ConfigError(f"The account ring in {swift_dir} can't be opened: {err}") from None
