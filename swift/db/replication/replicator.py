"""The frame of account-replicator and container-replicator: passes over the replicas of a node (database.md 14.3, 14.4, 14.8).

Lives here: which replicas, in which order, to which nodes; what is removed when. What is said to a node is in `exchange`. Each device has
green threads of its own, and all that touches it is done in its threads: one that hangs is left for another pass, and no other waits for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from optparse import OptionParser
from typing import Any

from swift.core import clock
from swift.core.concurrency import GreenPool, kill, sleep, spawn
from swift.core.config import non_negative_float, positive_float, positive_int, truthy
from swift.core.errors import ConfigError
from swift.core.swift_dir import use as use_swift_dir
from swift.engine.threads import DeviceBusy, pool_for
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.run.addresses import is_own_device, own_addresses
from swift.run.daemon import Daemon, Overrides, parse_overrides
from swift.run.rate import RateLimiter
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics

from ..broker import Broker
from ..connection import Connection
from ..devices import is_there
from ..walker import Walker
from . import rsync
from .exchange import Exchange, Terms
from .figures import Figures
from .known import Known
from .leftovers import sweep_tmp
from .peer import Timeouts
from .replica import Replica
from .work import DeviceWork, is_among

LOCK_TIMEOUT = 30.0
LOT = 32  # databases that a peer is asked about at a time
LOT_SECONDS = 1.0  # that the first of them waits for the others
SHOW_SECONDS = 15.0  # between two looks at how far a pass is
LOOKS = 2  # lots of a device that are looked at, or asked about, at a time

Node = Mapping[str, Any]


class DatabaseReplicator(Daemon):
    """Base of both. `conf`: the options of database.md 23.2. Raises ValueError, ConfigError."""

    kind: str  # "account" or "container", also the name of the ring
    broker_class: type[Broker]
    exchange_class: type[Exchange] = Exchange
    recon_name: str
    default_port: int

    def __init__(self, conf: Mapping[str, Any], logger: Any = None, ring: Any = None) -> None:
        super().__init__(conf, logger or get_logger(conf, f"{self.kind}-replicator"))
        swift_dir = use_swift_dir(conf.get("swift_dir"))
        self.root = conf.get("devices", "/srv/node")
        self.mount_check = truthy(conf.get("mount_check", "true"))
        self.port = int(conf.get("bind_port", self.default_port))
        self.addresses = own_addresses(conf.get("ring_ip") or conf.get("bind_ip"))
        self.interval = positive_float(conf.get("interval") or conf.get("run_pause") or 30)
        self.concurrency = positive_int(conf.get("concurrency", 8))
        self.pace = RateLimiter(non_negative_float(conf.get("databases_per_second", 50)))
        self.reclaim_age = non_negative_float(conf.get("reclaim_age", 604800))
        self.known: Known[tuple[dict[str, Any], Any]] = Known()
        self.handoffs_only = truthy(conf.get("handoffs_only", "no"))
        self.walker = Walker(self.root, self.mount_check, self.broker_class.data_directory, self.logger)
        self.ring: Ring = ring or _ring(swift_dir, self.kind, self.logger)
        self.handoff_delete = self._handoff_delete(conf.get("handoff_delete", "auto"))
        self.terms = Terms(
            positive_int(conf.get("per_diff", 1000)),
            positive_int(conf.get("max_diffs", 100)),
            Timeouts(
                positive_float(conf.get("conn_timeout", 0.5)), positive_float(conf.get("node_timeout", 10))
            ),
            rsync.check_module(conf.get("rsync_module") or "{replication_ip}::" + self.kind),
            truthy(conf.get("rsync_compress", "no")),
            None,
            f"{self.kind}-replicator {os.getpid()}",
            self.with_policy(),
        )
        self.recon_file = os.path.join(
            conf.get("recon_cache_path", recon_cache.DEFAULT_PATH), self.recon_name
        )
        self.metrics = get_metrics(conf, conf.get("log_name") or f"{self.kind}-replicator", self.logger)

    def _handoff_delete(self, text: str) -> int:
        """After how many successes a handoff goes; 0: all."""
        if text.strip().lower() == "auto":
            return 0
        number = int(text)
        if number < 0:
            raise ValueError(f"handoff_delete: {text}")
        if number > self.ring.replica_count:
            self.logger.warning(
                "handoff_delete(%s) is too high for %d replica(s), disabling.",
                number,
                self.ring.replica_count,
            )
            return 0
        return number

    # -- what the kinds differ in

    def with_policy(self) -> bool:
        """Returns True if peers are told of storage policies."""
        return False

    def broker(self, path: str) -> Broker:
        """A broker of the database at `path`."""
        return self.broker_class(path, lock_timeout=LOCK_TIMEOUT, logger=self.logger)

    def may_be_reclaimed(self, info: Mapping[str, Any]) -> bool:
        """Returns True if nobody needs to be told of a deleted database any more."""
        return True

    def read_beside(self, broker: Any, conn: Connection) -> Any:
        """What after_exchanges needs to know of a replica, read with it (`Replica.beside`). Blocks."""

    def looked_at(self, broker: Broker, info: Mapping[str, Any]) -> None:
        """What else is done when a replica was looked at. Blocks."""

    def has_removed(self, broker: Broker, info: Mapping[str, Any]) -> None:
        """What goes with a replica that was removed. Blocks."""

    def must_stay(self, broker: Broker) -> bool:
        """Returns True if a replica that does not belong here has something left to do. Blocks."""
        return False

    def after_exchanges(self, replica: Replica, results: Sequence[bool], figures: Figures) -> None:
        """What else is done with a replica in a pass."""

    def begin_pass(self) -> None:
        """Called before the first replica."""

    def end_pass(self, figures: Figures) -> None:
        """Called after the last replica."""

    # -- passes

    def run_forever(self, **options: Any) -> None:
        """Pass after pass, one in `interval` seconds, the first at a random moment of the first interval."""
        sleep(clock.random() * self.interval)
        while True:
            started = clock.monotonic()
            try:
                self._pass(Overrides())
            except Exception:
                self.logger.exception("ERROR trying to replicate")
            elapsed = clock.monotonic() - started
            if elapsed < self.interval:
                sleep(self.interval - elapsed)

    def run_once(self, **options: Any) -> None:
        """One pass over all replicas, or those of `devices` and `partitions`."""
        self._pass(parse_overrides(once=True, **options))

    def _pass(self, only: Overrides) -> None:
        self.logger.info("Beginning replication run")
        self._warn_of_odd_modes()
        figures = Figures(self.metrics)
        self.begin_pass()
        devices = self.local_devices()
        told = recon_cache.read(self.recon_file).get("replication_per_device")
        before = told if isinstance(told, dict) else {}
        share = max(1, self.concurrency // max(1, len(devices)))
        sweeps = []
        for device in devices:
            if only.devices and device["device"] not in only.devices:
                continue
            figures.begin_device(device["device"], before.get(device["device"]))
            sweeps.append(spawn(self._sweep_logged, device, frozenset(only.partitions), share, figures))
        if not sweeps and not only.devices:
            self.logger.error("ERROR Failed to find a device of the %s ring on this node", self.kind)
        showing = None if only.devices or only.partitions else spawn(self._show, figures)
        for sweep in sweeps:
            sweep.wait()
        if showing is not None:
            kill(showing)
        self.end_pass(figures)
        figures.log(self.logger)
        self._warn_of_odd_modes()
        self.logger.info("Replication run OVER")
        found = figures.recon()
        own = {device["device"] for device in devices}
        found["replication_per_device"].update({name: {} for name in before if name not in own})
        recon_cache.dump(found, self.recon_file, self.logger)

    def _show(self, figures: Figures) -> None:
        """How far the pass is, for whoever looks."""
        while True:
            sleep(SHOW_SECONDS)
            recon_cache.dump(figures.progress(), self.recon_file, self.logger)

    def _warn_of_odd_modes(self) -> None:
        if self.handoffs_only or self.handoff_delete:
            self.logger.warning(
                "Starting replication pass with handoffs_only and/or handoffs_delete enabled. "
                "These modes are not intended for normal operation; use these options with care."
            )

    def local_devices(self) -> list[Node]:
        """The ring's devices of this node."""
        return [
            device
            for device in self.ring.devs
            if device and is_own_device(device, self.addresses, self.port, replication=True)
        ]

    def _sweep_logged(self, device: Node, partitions: frozenset[int], share: int, figures: Figures) -> None:
        name = device["device"]
        try:
            if self._sweep(device, partitions, share, figures) and not partitions and not self.handoffs_only:
                figures.end_device(name)
        except DeviceBusy as err:
            figures.count("failure")
            figures.failed_at(device)
            self.logger.error("ERROR the rest of %s is left for the next pass: %s", device["device"], err)
        except Exception:
            figures.count("failure")
            figures.failed_at(device)
            self.logger.exception("ERROR replicating from %s", device["device"])

    def _sweep(self, device: Node, partitions: frozenset[int], share: int, figures: Figures) -> bool:
        """Replicate what is on a device; returns False if that is not there. Raises DeviceBusy."""
        path = os.path.join(self.root, device["device"])
        disk = pool_for(path)
        if not disk.run(is_there, path, self.mount_check):
            figures.count("failure")
            figures.failed_at(device)
            self.logger.warning("Skipping: %s is not mounted", device["device"])
            return False
        disk.run_long(sweep_tmp, path, clock.time() - self.reclaim_age)
        work = self.work(device, figures)
        wanted = self._wanted(device, partitions)
        jobs = GreenPool(share)
        looks = GreenPool(LOOKS)
        lot: list[str] = []
        since = clock.monotonic()
        for _, database in self.walker.on_device(path, wanted, tidy=True):
            self.pace.wait()
            if disk.inline:
                sleep(0)
            lot.append(database)
            if len(lot) >= LOT or clock.monotonic() - since > LOT_SECONDS:
                looks.spawn_n(work.replicate_all, lot, jobs)
                lot, since = [], clock.monotonic()
        looks.spawn_n(work.replicate_all, lot, jobs)
        looks.waitall()
        jobs.waitall()
        return True

    def work(self, device: Node, figures: Figures) -> DeviceWork:
        """What is done with the replicas of one of the local devices."""
        path = os.path.join(self.root, device["device"])
        return DeviceWork(self, device, pool_for(path), path, figures)

    def _wanted(self, device: Node, partitions: frozenset[int]) -> Callable[[int], bool]:
        def wanted(partition: int) -> bool:
            if partitions and partition not in partitions:
                return False
            return not (self.handoffs_only and is_among(device, self.ring.get_part_nodes(partition)))

        return wanted


def add_options(parser: OptionParser) -> None:
    """The command's own options; they count with `once` only."""
    parser.add_option("-d", "--devices", help="Replicate only these devices, comma-separated; with once")
    parser.add_option(
        "-p", "--partitions", help="Replicate only these partitions, comma-separated; with once"
    )


def _ring(swift_dir: str, name: str, logger: Any) -> Ring:
    try:
        return Ring(swift_dir, name, logger=logger)
    except (OSError, RingError) as err:
        raise ConfigError(f"The {name} ring in {swift_dir} can't be opened: {err}") from None
