"""The object-updater: goes over the devices and delivers container updates that object servers had to keep (object-disk 15).

Finding the files, the order and the rates are here; sending one update is in `delivery`. Each sweep also removes what
crashes left in the devices' tmp directories.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import GreenPool, Semaphore, sleep, spawn
from swift.core.config import non_negative_float, non_negative_int, positive_float, positive_int, truthy
from swift.core.errors import ConfigError
from swift.core.policy import policies
from swift.core.swift_dir import use as use_swift_dir
from swift.engine.threads import LIMITS, bound_waits
from swift.obj.async_pending import BadUpdate, read_update, rewrite_update
from swift.obj.delivery import Delivery, path_of
from swift.obj.device import Device, Devices
from swift.obj.directories import ASYNCDIR, DATADIR, is_hash, split_policy_dir
from swift.obj.errors import DeviceOverloaded, DeviceUnavailable
from swift.obj.missing import MissingDatabases
from swift.obj.quarantine import quarantine_stray
from swift.obj.reclaimer import Reclaimer
from swift.obj.rereport import Rereports
from swift.obj.store import RECLAIM_AGE, StoreOptions
from swift.obj.stores import Stores
from swift.obj.tmpfiles import remove_old
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.run.daemon import Daemon
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import Metrics, get_metrics
from swift.wire.storage import DISK_STALL_TIMEOUT

_COUNTS = (
    "successes",
    "failures",
    "quarantines",
    "unlinks",
    "outdated_unlinks",
    "errors",
    "redirects",
    "skips",
    "deferrals",
    "drains",
)


MISSING_CONTAINER_RETRY = 3600.0  # seconds


class SweepStats:
    """Counts of one sweep, counted as metrics too."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.counts = dict.fromkeys(_COUNTS, 0)

    def add(self, name: str) -> None:
        """Count one event."""
        self.counts[name] += 1
        self._metrics.increment(name)

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in self.counts.items())


class OldestFailures:
    """The containers whose updates have waited longest, for operators; bounded."""

    def __init__(self, limit: int, shown: int) -> None:
        self._limit = limit
        self._shown = shown
        self._oldest: dict[tuple[str, str], str] = {}

    def add(self, account: str, container: str, timestamp: str) -> None:
        """An update of that time, in internal form, could not be delivered."""
        key = (account, container)
        known = self._oldest.get(key)
        if known is None or timestamp < known:
            self._oldest[key] = timestamp
        if len(self._oldest) > self._limit:
            del self._oldest[max(self._oldest, key=lambda k: self._oldest[k])]

    def stats(self) -> dict[str, Any]:
        """What recon shows."""
        ordered = sorted((time_, *key) for key, time_ in self._oldest.items())
        oldest = float(ordered[0][0][:16]) if ordered else None
        return {
            "failures_oldest_timestamp": oldest,
            "failures_oldest_timestamp_age": clock.time() - oldest if oldest is not None else None,
            "failures_account_container_count": len(ordered),
            "failures_oldest_timestamp_account_containers": {
                "oldest_count": self._shown,
                "oldest_entries": [
                    {"timestamp": time_, "account": account, "container": container}
                    for time_, account, container in ordered[: self._shown]
                ],
            },
            "tracker_memory_usage": sum(len(a) + len(c) + 200 for _, a, c in ordered),
        }


class Pace:
    """At most so many events a second; 0 is no limit."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1.0 / per_second if per_second > 0 else 0.0
        self._next = 0.0

    def wait(self) -> None:
        """Sleep until the next event may happen."""
        if not self._gap:
            return
        now = clock.monotonic()
        if self._next > now:
            sleep(self._next - now)
            now = self._next
        self._next = now + self._gap


class ContainerPace:
    """At most so many updates a second to one container, by a fixed number of buckets that containers share."""

    def __init__(self, per_second: float, buckets: int) -> None:
        self._gap = 1.0 / per_second if per_second > 0 else 0.0
        self._buckets = buckets
        self._salt = clock.random_bytes(8)
        self._next: dict[int, float] = {}

    def bucket(self, update: Mapping[str, Any]) -> int:
        """The bucket of the container that an update goes to."""
        return hash((self._salt, *path_of(update))) % self._buckets

    def delay(self, bucket: int) -> float:
        """Seconds until the bucket's next update may go."""
        return self._next.get(bucket, 0.0) - clock.monotonic() if self._gap else 0.0

    def take(self, bucket: int) -> None:
        """An update of the bucket goes now."""
        if self._gap:
            self._next[bucket] = max(self._next.get(bucket, 0.0), clock.monotonic()) + self._gap


class AsyncPending:
    """An async pending file: where it is and what its name says."""

    __slots__ = ("path", "policy_index", "name_hash", "timestamp")

    def __init__(self, path: str, policy_index: int, name_hash: str, timestamp: str) -> None:
        self.path = path
        self.policy_index = policy_index
        self.name_hash = name_hash
        self.timestamp = timestamp


class ObjectUpdater(Daemon):
    """The daemon. `conf`: section object-updater. Raises ValueError, ConfigError; `ring`: the container ring, for tests."""

    def __init__(self, conf: Mapping[str, Any], logger: Any = None, ring: Any = None) -> None:
        super().__init__(conf, logger or get_logger(conf, "object-updater"))
        swift_dir = use_swift_dir(conf.get("swift_dir"))
        logger = self.logger
        self.interval = non_negative_float(conf.get("interval", 300))
        self.concurrency = positive_int(conf.get("concurrency", 8))
        self.workers = positive_int(conf.get("updater_workers", 1))
        per_second = conf.get("objects_per_second")
        if per_second is None and "slowdown" in conf:
            logger.warning("The slowdown option is deprecated in favor of objects_per_second.")
            per_second = 1 / (non_negative_float(conf["slowdown"]) + 0.01)
        self.objects_per_second = non_negative_float(50 if per_second is None else per_second)
        self.per_container = non_negative_float(conf.get("max_objects_per_container_per_second", 0))
        self.buckets = positive_int(conf.get("per_container_ratelimit_buckets", 1000))
        self.max_deferred = non_negative_int(conf.get("max_deferred_updates", 10000))
        self.tracker_entries = non_negative_int(conf.get("async_tracker_max_entries", 100))
        self.tracker_shown = non_negative_int(conf.get("async_tracker_dump_count", 5))
        self.report_interval = non_negative_float(conf.get("report_interval", 300))
        self.reclaim_age = float(conf.get("reclaim_age", RECLAIM_AGE))
        bound_waits(LIMITS.calls, positive_float(conf.get("disk_stall_timeout", DISK_STALL_TIMEOUT)))
        self.devices = Devices(
            conf.get("devices", "/srv/node"), truthy(conf.get("mount_check", "true")), threads_per_device=2
        )
        self.reclaimer = Reclaimer(
            self.devices, Stores(StoreOptions(reclaim_age=self.reclaim_age)), policies(), logger
        )
        self.recon_file = os.path.join(
            conf.get("recon_cache_path", recon_cache.DEFAULT_PATH), recon_cache.OBJECT
        )
        self.metrics = get_metrics(conf, "object-updater", logger)
        self.missing = MissingDatabases(
            non_negative_float(conf.get("missing_container_retry", MISSING_CONTAINER_RETRY)), logger
        )
        self.delivery = Delivery(
            ring or _container_ring(swift_dir, logger),
            float(conf.get("conn_timeout", 0.5)),
            float(conf.get("node_timeout", 10)),
            self.missing,
            logger,
        )
        self.rereports = Rereports(
            conf,
            self.devices,
            self.reclaimer.stores,
            policies(),
            self.delivery,
            self.objects_per_second,
            logger,
        )
        self._slots = Semaphore(self.workers)
        self._left: dict[str, int] = {}

    # ------------------------------------------------------------ sweeps

    def run_forever(self, **options: Any) -> None:
        """Sweep after sweep, one in `interval` seconds, the first at a random moment of the first interval."""
        spawn(self.reclaimer.run_forever)
        spawn(self.rereports.run_forever, self.interval)
        sleep(clock.random() * self.interval)
        while True:
            started = clock.time()
            self.sweep()
            left = self.interval - (clock.time() - started)
            if left > 0:
                sleep(left)

    def run_once(self, **options: Any) -> None:
        """One sweep over all devices, and one pass for what is old enough to be removed. `report_again`: see the command's help."""
        self.rereports.run_once()
        if options.get("report_again"):
            self.rereports.report_since(clock.time() - float(options["report_again"]))
        self.sweep()
        self.reclaimer.run_once()

    def sweep(self) -> None:
        """One sweep over the undelivered updates of all devices.

        Each is looked at by a green thread of its own, so that one that hangs holds up no other; it is left for the next sweep.
        """
        started = clock.time()
        self.logger.info("Begin object update sweep of all devices")
        self.missing.begin_sweep()
        tracked: dict[str, Any] = {}
        names = self.devices.entries()
        if not names and not os.path.isdir(self.devices.root):
            self.logger.error("ERROR: Unable to access %s", self.devices.root)
        sweeps = [spawn(self._sweep_device, name, started, tracked) for name in names]
        for sweep in sweeps:
            sweep.wait()
        self._left = {name: count for name, count in self._left.items() if name in names}
        elapsed = clock.time() - started
        self.logger.info("Object update sweep of all devices completed: %.2fs", elapsed)
        recon_cache.dump(
            {
                "object_updater_sweep": elapsed,
                "object_updater_last": clock.time(),
                "object_updater_stats": _merged_stats(tracked, self.tracker_shown),
                "object_updater_per_device": tracked or {},
                "async_pending": sum(self._left.values()),
                "async_pending_last": clock.time(),
            },
            self.recon_file,
            self.logger,
        )

    def _sweep_device(self, name: str, started: float, tracked: dict[str, Any]) -> None:
        try:
            device = self.devices.get(name)
            device.run(device.check)
        except (DeviceUnavailable, DeviceOverloaded):
            self.metrics.increment("errors")
            self.logger.warning("Skipping %s as it is not mounted or hangs", name)
            return
        with self._slots:
            try:
                sweep = DeviceSweep(self, device, started)
                tracked[name] = sweep.run()
                self._left[name] = sweep.left
            except (DeviceUnavailable, DeviceOverloaded) as err:
                self.metrics.increment("errors")
                self.logger.error(
                    "ERROR sweeping %s, the rest is left for the next time: %s", device.path, err
                )
            except Exception:
                self.metrics.increment("errors")
                self.logger.exception("ERROR sweeping %s", device.path)


def _container_ring(swift_dir: str, logger: Any) -> Ring:
    try:
        return Ring(swift_dir, "container", logger=logger)
    except (OSError, RingError) as err:
        raise ConfigError(f"The container ring in {swift_dir} can't be opened: {err}") from None


def _merged_stats(tracked: Mapping[str, Any], shown: int) -> dict[str, Any]:
    merged = OldestFailures(10**9, shown)
    for stats in tracked.values():
        for entry in stats["failures_oldest_timestamp_account_containers"]["oldest_entries"]:
            merged.add(entry["account"], entry["container"], entry["timestamp"])
    result = merged.stats()
    counts = [stats["failures_account_container_count"] for stats in tracked.values()]
    result["failures_account_container_count"] = max(
        result["failures_account_container_count"], max(counts, default=0)
    )
    return result


class DeviceSweep:
    """One sweep over the undelivered updates of one device."""

    def __init__(self, updater: ObjectUpdater, device: Device, started: float) -> None:
        self.updater = updater
        self.device = device
        self.logger = updater.logger
        self.stats = SweepStats(updater.metrics)
        self.failures = OldestFailures(updater.tracker_entries, updater.tracker_shown)
        self.pace = Pace(updater.objects_per_second)
        self.container_pace = ContainerPace(updater.per_container, updater.buckets)
        self.deadline = started + updater.interval
        self.deferred: deque[tuple[AsyncPending, dict[str, Any]]] = deque()
        self.reported = clock.time()
        self.left = 0  # files that are there at the end, as far as they were seen

    def run(self) -> dict[str, Any]:
        """Process the device; returns what recon shows of it."""
        started = clock.time()
        pid = os.getpid()
        self.logger.info("Object update sweep starting on %s (pid: %d)", self.device.path, pid)
        self.device.run(remove_old, self.device.path, self.updater.reclaim_age)
        pool = GreenPool(self.updater.concurrency)
        try:
            for file in self._files():
                self._begin(file, pool)
            self._drain(pool)
        finally:
            pool.waitall()
        self.logger.info(
            "Object update sweep completed on %s in %.02fs seconds:, %s (pid: %d)",
            self.device.path,
            clock.time() - started,
            self.stats,
            pid,
        )
        return self.failures.stats()

    def _begin(self, file: AsyncPending, pool: GreenPool) -> None:
        update = self._load(file)
        if update is None:
            return
        bucket = self.container_pace.bucket(update)
        if self.container_pace.delay(bucket) > 0:
            self._defer(file, update)
            return
        if self.updater.delivery.all_rest(update):
            self._rested(file, update)
            return
        self.container_pace.take(bucket)
        self.pace.wait()
        pool.spawn(self._process, file, update)
        self._report()

    def _rested(self, file: AsyncPending, update: dict[str, Any]) -> None:
        """None of those who lack it is asked yet. What has waited longest is shown all the same."""
        self.stats.add("skips")
        self.failures.add(update["account"], update["container"], file.timestamp)
        if self.device.inline:
            sleep(0)

    def _report(self) -> None:
        if clock.time() - self.reported > self.updater.report_interval:
            self.reported = clock.time()
            self.logger.info("Object update sweep progress on %s: %s", self.device.path, self.stats)

    # ------------------------------------------------------------ finding

    def _files(self) -> Iterator[AsyncPending]:
        """The newest file of each object; older ones are removed, as the newest says all."""
        for directory in self._listed(self.device.path):
            if not directory.startswith(ASYNCDIR):
                continue
            try:
                base, policy_index = split_policy_dir(directory)
                if base != ASYNCDIR or policies().get_by_index(policy_index) is None:
                    raise ValueError(f"no policy of {directory}")
            except ValueError:
                self.logger.warning("Directory %s does not map to a valid policy", directory)
                continue
            prefixes = self._listed(f"{self.device.path}/{directory}")
            clock.shuffle(prefixes)
            for prefix in prefixes:
                yield from self._prefix(f"{self.device.path}/{directory}/{prefix}", policy_index)

    def _listed(self, path: str) -> list[str]:
        try:
            return self.device.run(os.listdir, path)
        except NotADirectoryError:
            return []
        except FileNotFoundError:
            return []
        except OSError as err:
            self.stats.add("errors")
            self.logger.error("ERROR listing %s: %s", path, err)
            return []

    def _prefix(self, path: str, policy_index: int) -> Iterator[AsyncPending]:
        last_hash = None
        names = sorted(self._listed(path), reverse=True)
        self.left += len(names)
        for name in names:
            name_hash, dash, timestamp = name.partition("-")
            if not dash or "-" in timestamp or not is_hash(name_hash):
                self.stats.add("errors")
                self.logger.error("ERROR async pending file with unexpected name %s/%s", path, name)
                continue
            file = AsyncPending(f"{path}/{name}", policy_index, name_hash, timestamp)
            if name_hash == last_hash:
                self.stats.add("outdated_unlinks")
                self._unlink(file)
                continue
            last_hash = name_hash
            yield file
        self.device.run(_rmdir, path)

    def _load(self, file: AsyncPending) -> dict[str, Any] | None:
        try:
            return self.device.run(read_update, file.path)
        except FileNotFoundError:
            self.left -= 1
            return None
        except OSError as err:
            self.stats.add("errors")
            self.logger.error("ERROR reading %s, left for the next sweep: %s", file.path, err)
            return None
        except BadUpdate as err:
            self.stats.add("quarantines")
            self.logger.exception("ERROR Pickle problem, quarantining %s: %s", file.path, err)
            try:
                self.device.run(quarantine_stray, self.device.path, DATADIR, file.path)
                self.left -= 1
            except OSError as failed:
                self.logger.error("ERROR quarantining %s: %s", file.path, failed)
            return None

    # ------------------------------------------------------------ delivering

    def _process(self, file: AsyncPending, update: dict[str, Any]) -> None:
        started = clock.time()
        try:
            done, changed, attempt = self.updater.delivery.deliver(update, file.policy_index)
            for status in attempt.statuses:
                self.updater.metrics.timing_since(f"updater.timing.status.{status}", started)
            if done:
                self.stats.add("successes")
                self.stats.add("unlinks")
                self._unlink(file)
                return
            if attempt.redirect is not None:
                self.stats.add("redirects")
            self.stats.add("failures")
            self.failures.add(update["account"], update["container"], file.timestamp)
            if changed:
                self._rewrite(file, update)
        except (DeviceUnavailable, DeviceOverloaded) as err:
            self.stats.add("errors")
            self.logger.error("ERROR updating %s: %s", file.path, err)
        except Exception:
            self.stats.add("errors")
            self.logger.exception("ERROR updating %s", file.path)

    def _rewrite(self, file: AsyncPending, update: dict[str, Any]) -> None:
        """Keep who was told. What is gone meanwhile (delivered by somebody else, or with all of its disk) stays gone."""
        try:
            self.device.run(rewrite_update, self.device.path, file.policy_index, file.path, update)
        except FileNotFoundError:
            self.left -= 1
        except OSError as err:
            self.stats.add("errors")
            self.logger.error("ERROR rewriting %s: %s", file.path, err)

    def _unlink(self, file: AsyncPending) -> None:
        try:
            self.device.run(_unlink, file.path)
            self.left -= 1
        except OSError as err:
            self.stats.add("errors")
            self.logger.error("ERROR unlinking %s: %s", file.path, err)

    # ------------------------------------------------------------ containers that get too many

    def _defer(self, file: AsyncPending, update: dict[str, Any]) -> None:
        self.stats.add("deferrals")
        self.deferred.append((file, update))
        if len(self.deferred) > self.updater.max_deferred:
            self.deferred.popleft()
            self.stats.add("skips")

    def _drain(self, pool: GreenPool) -> None:
        """Send what was deferred, newest first, as its containers may, until the time of this sweep is up."""
        waiting: OrderedDict[int, list[tuple[AsyncPending, dict[str, Any]]]] = OrderedDict()
        for file, update in self.deferred:
            waiting.setdefault(self.container_pace.bucket(update), []).append((file, update))
        self.deferred.clear()
        while waiting and clock.time() < self.deadline:
            soonest = min(waiting, key=self.container_pace.delay)
            delay = self.container_pace.delay(soonest)
            if delay > 0:
                if clock.time() + delay >= self.deadline:
                    break
                sleep(delay)
            self.container_pace.take(soonest)
            self.pace.wait()
            file, update = waiting[soonest].pop()
            if not waiting[soonest]:
                del waiting[soonest]
            self.stats.add("drains")
            pool.spawn(self._process, file, update)
        for left in waiting.values():
            for _ in left:
                self.stats.add("skips")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    _rmdir(os.path.dirname(path))


def _rmdir(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        pass
