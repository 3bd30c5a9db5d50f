"""The object-auditor: its passes and its processes (object-disk 20, operations 5).

There are two kinds of passes: ALL reads everything, ZBF (for "zero byte files") only looks at metadata and sizes and is much sooner round.
What is done with a device is in `device_pass`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swift.core import clock
from swift.core.concurrency import sleep, spawn
from swift.core.config import csv_list, non_negative_float, positive_float, truthy
from swift.core.policy import policies
from swift.core.swift_dir import use as use_swift_dir
from swift.engine.threads import LIMITS, bound_waits
from swift.obj.auditing.device_pass import HANDS, DevicePass, GaveUp, Pace
from swift.obj.auditing.figures import ALL, ZBF, Figures
from swift.obj.auditing.options import AuditorOptions
from swift.obj.auditing.rows import Rows
from swift.obj.auditing.watchers import Watchers, Watching
from swift.obj.device import Devices
from swift.obj.errors import DeviceOverloaded, DeviceUnavailable
from swift.obj.store import StoreOptions
from swift.obj.stores import Stores
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.run.daemon import Daemon
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics
from swift.wire.storage import DISK_STALL_TIMEOUT


class ObjectAuditor(Daemon):
    """The daemon. `conf`: section object-auditor. Raises ValueError, ConfigError."""

    def __init__(self, conf: Mapping[str, Any], logger: Any = None) -> None:
        super().__init__(conf, logger or get_logger(conf, "object-auditor"))
        swift_dir = use_swift_dir(conf.get("swift_dir"))
        self.options = AuditorOptions(conf)
        bound_waits(LIMITS.calls, positive_float(conf.get("disk_stall_timeout", DISK_STALL_TIMEOUT)))
        self.devices = Devices(
            conf.get("devices", "/srv/node"),
            truthy(conf.get("mount_check", "true")),
            threads_per_device=HANDS,
        )
        self.stores = Stores(StoreOptions(reclaim_age=self.options.reclaim_age, warm_bytes=0))
        self.metrics = get_metrics(conf, conf.get("log_name") or "object-auditor", self.logger)
        self.watchers = Watchers(self.options.watchers, self.logger)
        self.rows = self._rows(swift_dir) if self.options.compare_listings else None

    def _rows(self, swift_dir: str) -> Rows | None:
        try:
            ring = Ring(swift_dir, "container", logger=self.logger)
        except (OSError, RingError) as err:
            self.logger.warning("Objects are not compared with their listings: %s", err)
            return None
        return Rows(self.conf, self.options, self.devices, self.stores, ring, self.logger)

    # ------------------------------------------------------------ processes

    def get_worker_args(self, once: bool = False, **options: Any) -> Sequence[Mapping[str, Any]]:
        """One process for ZBF, and `concurrency` of them for ALL, each with its share of the devices."""
        if options.get("zero_byte_fps"):
            return ()
        plan = [
            {**options, "audit_type": ALL, "worker": number, "workers": self.options.concurrency}
            for number in range(self.options.concurrency)
        ]
        if self.options.zero_byte_files_per_second:
            plan.append({**options, "audit_type": ZBF})
        return plan

    def run_once(self, **options: Any) -> None:
        """One pass of the kind that `options` name, or of both."""
        for audit_type in self._types(options):
            self._pass(audit_type, "once", options)

    def run_forever(self, **options: Any) -> None:
        """Pass after pass, `interval` seconds between them."""
        others = self._types(options)
        last = others.pop()
        for audit_type in others:
            spawn(self._run_forever, audit_type, options)
        self._run_forever(last, options)

    def _run_forever(self, audit_type: str, options: Mapping[str, Any]) -> None:
        while True:
            try:
                self._pass(audit_type, "forever", options)
            except Exception:
                self.logger.exception("ERROR auditing")
            sleep(self.options.interval)

    def _types(self, options: Mapping[str, Any]) -> list[str]:
        if options.get("zero_byte_fps"):
            return [ZBF]
        if "audit_type" in options:
            return [options["audit_type"]]
        return [ZBF, ALL] if self.options.zero_byte_files_per_second else [ALL]

    # ------------------------------------------------------------ a pass

    def _pass(self, audit_type: str, mode: str, options: Mapping[str, Any]) -> None:
        pace = self._pace(audit_type, options)
        watching = self.watchers.begin(audit_type)
        started, errors = clock.time(), 0
        try:
            for name, key, devices in self._groups(audit_type, options):
                self.logger.info('Begin object audit "%s" mode (%s)', mode, name)
                figures = self._figures(audit_type, name, key)
                for device in devices:
                    self._device(device, audit_type, pace, figures, watching)
                figures.finish(mode)
                errors += figures.total_errors
        finally:
            watching.end()
        if not options.get("devices"):
            self._tell_pass(audit_type, started, errors)

    def _tell_pass(self, audit_type: str, started: float, errors: int) -> None:
        """Of several workers the one that is through last has the last word."""
        now = clock.time()
        told = {
            "object_auditor_last": {audit_type: now},
            "object_auditor_pass": {audit_type: now - started},
            "object_auditor_errors": {audit_type: errors},
        }
        recon_cache.dump(told, self.options.recon_file, self.logger)

    def _groups(self, audit_type: str, options: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
        """(name for the log, key for recon, devices) of what is told of together: as the reference does, by device where there are several
        processes or a choice of devices.
        """
        wanted = csv_list(options.get("devices"))
        workers = options.get("workers", 1)
        # which of them are mounted shows when they are used
        names = [name for name in self.devices.entries() if not wanted or name in wanted]
        if audit_type == ALL and (wanted or workers > 1):
            share = names[options.get("worker", 0) :: workers]
            return [(f"{audit_type} - parallel, {name}", name, [name]) for name in share]
        if wanted:
            return [(f"{audit_type} - {','.join(names)}", "".join(names), names)]
        return [(audit_type, "", names)]

    def _figures(self, audit_type: str, name: str, key: str) -> Figures:
        options = self.options
        return Figures(
            audit_type,
            name,
            key,
            options.log_time,
            options.sizes,
            options.recon_file,
            self.metrics,
            self.logger,
        )

    def _pace(self, audit_type: str, options: Mapping[str, Any]) -> Pace:
        if audit_type == ALL:
            return Pace.of(self.options.files_per_second, self.options.bytes_per_second)
        fps = options.get("zero_byte_fps") or self.options.zero_byte_files_per_second
        return Pace.of(non_negative_float(fps), 0)

    def _device(self, name: str, audit_type: str, pace: Pace, figures: Figures, watching: Watching) -> None:
        try:
            device = self.devices.get(name)
            device.run(device.check)
        except (DeviceUnavailable, DeviceOverloaded):
            self.logger.warning("Skipping %s as it is not mounted or hangs", name)
            return
        stores = [self.stores.get(device, policy) for policy in policies()]
        try:
            rows = self.rows.begin(device) if self.rows is not None and audit_type == ALL else None
            DevicePass(
                device, stores, audit_type, self.options, pace, figures, watching, rows, self.logger
            ).run()
        except GaveUp as err:
            figures.error(
                "ERROR auditing %s: %s. Is the disk bad, or swift_hash_path_prefix or _suffix not what it was filled with? "
                "The rest is left for the next pass.",
                device.path,
                err,
            )
        except (DeviceUnavailable, DeviceOverloaded, OSError) as err:
            figures.error("ERROR auditing %s, the rest is left for the next pass: %s", device.path, err)
        except Exception:
            figures.error("ERROR auditing %s", device.path, exc_info=True)
