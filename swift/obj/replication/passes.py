"""The frame of daemons that go over the partitions of this node's devices: processes, passes, rings, recon (object-disk 18, 19.6, operations 5).

What is done with a partition is the business of the daemon: the replicator's of whole copies, the reconstructor's of fragments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from swift.core import clock
from swift.core.concurrency import GreenPool, kill, sleep, spawn
from swift.core.config import positive_float, truthy
from swift.core.errors import LockTimeout
from swift.core.policy import StoragePolicy, policies
from swift.core.swift_dir import use as use_swift_dir
from swift.engine.threads import LIMITS, bound_waits
from swift.obj.device import Devices
from swift.obj.errors import ObjectError
from swift.obj.replication.compare import LOOK_EACH
from swift.obj.replication.jobs import Holding, Partitions, own_devices, partitions_of
from swift.obj.replication.options import PassOptions
from swift.obj.replication.report import Words
from swift.obj.replication.standing import Standing
from swift.obj.replication.work import Work
from swift.obj.store import StoreOptions
from swift.obj.stores import Stores
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.run.daemon import Daemon, Overrides, distribute, parse_overrides
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics
from swift.telemetry.units import unit_of_work
from swift.wire.storage import DISK_STALL_TIMEOUT

SHOW_SECONDS = 15.0  # between two looks at how far a pass is


class RingChanged(Exception):
    """A ring in use was replaced: what is left of the pass would go to the wrong places."""


class PassDaemon(Daemon, ABC):
    """A daemon of passes. `conf`: section `section`. Raises ValueError, ConfigError."""

    section: str
    words: Words
    policy_type: str  # of the policies that it looks after
    per_disk: str  # the recon key of what workers left for each device
    standing: str  # the recon key of how far each device is

    def __init__(self, conf: Mapping[str, Any], logger: Any = None) -> None:
        super().__init__(conf, logger or get_logger(conf, self.section))
        self._swift_dir = use_swift_dir(conf.get("swift_dir"))
        self.options = self.make_options(conf)
        bound_waits(LIMITS.calls, positive_float(conf.get("disk_stall_timeout", DISK_STALL_TIMEOUT)))
        self.devices = Devices(
            conf.get("devices", "/srv/node"), truthy(conf.get("mount_check", "true")), threads_per_device=2
        )
        self.stores = Stores(
            StoreOptions(
                reclaim_age=self.options.reclaim_age,
                commit_window=self.options.commit_window,
            )
        )
        self.metrics = get_metrics(conf, self.section, self.logger)
        self._rings: dict[int, Ring] = {}
        self._cycle = int(clock.random() * LOOK_EACH)
        self._planned: frozenset[str] = frozenset()
        self._told = 0.0
        self._standing = Standing(self.standing)

    # ------------------------------------------------------------ what each of them says for itself

    def make_options(self, conf: Mapping[str, Any]) -> Any:
        """PassOptions, or more than these. Raises ValueError, ConfigError."""
        return PassOptions(conf, self.logger, self.section)

    @abstractmethod
    def make_work(self) -> Work:
        """What the parts of one pass share."""

    @abstractmethod
    def carry_out(self, work: Any, everything: list[Partitions], rings: Rings, pool: GreenPool) -> None:
        """The pass itself. Work that is spawned in `pool` is waited for behind it. Raises RingChanged to end it early."""

    def is_published(self, overrides: Overrides, worker: int | None) -> bool:
        """False if a pass that is restricted like this is no pass whose figures are told."""
        return not (overrides.devices or overrides.partitions or overrides.policies)

    @abstractmethod
    def merged(self, per_disk: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """One recon document of those that workers left for each device."""

    # ------------------------------------------------------------ processes

    def run_once(self, **options: Any) -> None:
        """One pass. `devices`, `partitions`, `policies`: nothing else, as comma-separated text. `worker`: its number, in a process of several."""
        started = clock.time()
        self.logger.info("Running object %s in script mode.", self.words.doer)
        overrides = parse_overrides(once=True, **options)
        worker = options.get("worker")
        publish = self.is_published(overrides, worker)
        if worker is not None:
            overrides = Overrides(list(options["worker_devices"]), overrides.partitions, overrides.policies)
        self._pass(overrides, worker, publish)
        minutes = (clock.time() - started) / 60
        self.logger.info("Object %s complete (once). (%.02f minutes)", self.words.deed, minutes)

    def run_forever(self, **options: Any) -> None:
        """Pass after pass, `interval` seconds between them. `devices`: of this worker."""
        deed = self.words.deed
        self.logger.info("Starting object %s in daemon mode.", self.words.doer)
        worker = options.get("worker")
        overrides = Overrides() if worker is None else Overrides(list(options["worker_devices"]))
        while True:
            started = clock.time()
            self.logger.info("Starting object %s pass.", deed)
            try:
                self._pass(overrides, worker, True)
            except Exception:
                self.logger.exception("Exception in top-level %s loop", deed)
            self.logger.info("Object %s complete. (%.02f minutes)", deed, (clock.time() - started) / 60)
            self.logger.debug("%s sleeping for %s seconds.", deed.capitalize(), self.options.interval)
            sleep(self.options.interval)

    def get_worker_args(self, once: bool = False, **options: Any) -> Sequence[Mapping[str, Any]]:
        if not self.options.workers:
            return ()
        own = self._own_device_names()
        self._planned = frozenset(own)
        wanted = parse_overrides(once=once, **options).devices
        names = [name for name in own if not wanted or name in wanted]
        return [
            {**options, "worker": number, "worker_devices": hand}
            for number, hand in enumerate(distribute(names, self.options.workers))
        ]

    def is_healthy(self) -> bool:
        """False once the devices are no longer those that workers were planned for."""
        if clock.monotonic() - self._told > self.options.stats_interval:
            self._told = clock.monotonic()
            self._sum_up()
        return frozenset(self._own_device_names()) == self._planned

    def post_multiprocess_run(self) -> None:
        self._sum_up()

    def _own_device_names(self) -> list[str]:
        names: set[str] = set()
        for policy in self.policies(()):
            ring = self.ring(policy)
            if ring is not None:
                names |= {device["device"] for device in self._own(ring)}
        return sorted(names)

    def _own(self, ring: Ring) -> list[dict[str, Any]]:
        return own_devices(ring, self.options.addresses, self.options.port)

    # ------------------------------------------------------------ what there is

    def policies(self, wanted: Collection[int]) -> list[StoragePolicy]:
        """Those that it looks after. `wanted`: no others, if any are named."""
        return [
            policy
            for policy in policies()
            if policy.policy_type == self.policy_type and (not wanted or policy.idx in wanted)
        ]

    def ring(self, policy: StoragePolicy) -> Ring | None:
        """The policy's ring; None if it can't be opened, which is logged."""
        ring = self._rings.get(policy.idx)
        if ring is None:
            try:
                ring = Ring(self._swift_dir, policy.ring_name, logger=self.logger)
            except (OSError, RingError) as error:
                self.logger.error("The ring of policy %s can't be opened: %s", policy.name, error)
                return None
            self._rings[policy.idx] = ring
        return ring

    def _holdings(self, overrides: Overrides, work: Work) -> Iterator[Holding]:
        for policy in self.policies(overrides.policies):
            ring = self.ring(policy)
            if ring is None:
                continue
            if ring.next_part_power is not None:
                self.logger.warning("next_part_power set in policy '%s'. Skipping", policy.name)
                continue
            own = self._own(ring)
            if not own:
                self.logger.error(
                    "Can't find itself in policy with index %d with ips %s and with port %s in ring file, not %s",
                    policy.idx,
                    ", ".join(sorted(self.options.addresses)),
                    self.options.port,
                    self.words.doing,
                )
            for device in own:
                name = device["device"]
                if overrides.devices and name not in overrides.devices:
                    continue
                try:
                    found = self.devices.get(name)
                    found.run(found.check)
                except ObjectError:
                    work.report.fail([other for other in ring.devs if other is not None])
                    self.logger.warning("%s is not mounted", name)
                    continue
                yield Holding(policy, ring, device, self.stores.get(found, policy))

    def _partitions(self, overrides: Overrides, work: Work) -> list[Partitions]:
        found = []
        for holding in self._holdings(overrides, work):
            try:
                partitions = partitions_of(holding, frozenset(overrides.partitions))
            except (ObjectError, OSError) as error:
                work.report.fail([holding.device])
                self.logger.error("ERROR looking at %s: %s", holding.store.device.path, error)
                continue
            for partition in partitions.strange:
                work.report.fail([holding.device])
                self.logger.error(
                    "%s/%s: the ring has no such partition, it is left alone",
                    holding.store.device.path,
                    partition,
                )
            work.report.total += len(partitions.home) + len(partitions.guests)
            found.append(partitions)
        return found

    # ------------------------------------------------------------ a pass

    def _pass(self, overrides: Overrides, worker: int | None, publish: bool) -> None:
        options = self.options
        work = self.make_work()
        everything = self._partitions(overrides, work)
        self._standing.begin(everything)
        self._cycle = (self._cycle + 1) % LOOK_EACH
        pool = GreenPool(options.concurrency)
        rings = Rings([found.holding.ring for found in everything], options.ring_check_interval)
        watches = [
            spawn(self._tell, work, options.stats_interval),
            spawn(self._watch, work, pool),
        ]
        if publish:
            watches.append(spawn(self._show_standing))
        try:
            self.carry_out(work, everything, rings, pool)
        except RingChanged:
            self.logger.info("Ring change detected. Aborting current %s pass.", self.words.deed)
        finally:
            pool.waitall()
            for watch in watches:
                kill(watch)
        work.report.log(self.logger)
        if publish:
            self._publish(work, worker, overrides.devices)

    @unit_of_work
    def guarded(self, function: Any, work: Work, holding: Holding, *args: Any) -> None:
        """Call `function(work, holding, …)`; what goes wrong is counted and logged, and stops nothing else."""
        try:
            function(work, holding, *args)
        except (ObjectError, LockTimeout, OSError) as error:
            work.report.fail([holding.device])
            self.logger.error("ERROR %s %s: %s", self.words.doing, holding.store.device.path, error)
        except Exception:
            work.report.fail([holding.device])
            self.logger.exception("ERROR %s %s", self.words.doing, holding.store.device.path)

    # ------------------------------------------------------------ beside it

    def _tell(self, work: Work, interval: float) -> None:
        while True:
            sleep(interval)
            work.report.log(self.logger)

    def _show_standing(self) -> None:
        """How far the pass is, for whoever looks."""
        while True:
            standing = self._standing.recon()
            if standing:
                recon_cache.dump(standing, self.options.recon_file, self.logger)
            sleep(SHOW_SECONDS)

    def _watch(self, work: Work, pool: GreenPool) -> None:
        """End what hangs for longer than anything may take."""
        while True:
            sleep(min(self.options.lockup_timeout / 4, 60.0))
            if clock.monotonic() - work.progressed < self.options.lockup_timeout:
                continue
            self.logger.error("Lockup detected.. killing live coros.")
            work.progress()
            for thread in list(pool.coroutines_running):
                kill(thread)

    # ------------------------------------------------------------ recon

    def _publish(self, work: Work, worker: int | None, names: list[str]) -> None:
        found = work.report.recon()
        standing = self._standing.recon()
        self._gauge(standing.get(self.standing, {}))
        if worker is None:
            self._forget_others(standing)
            recon_cache.dump({**found, **standing}, self.options.recon_file, self.logger)
            return
        per_disk = {name: work.report.recon_of_worker(found, number) for number, name in enumerate(names)}
        recon_cache.dump({self.per_disk: per_disk, **standing}, self.options.recon_file, self.logger)

    def _gauge(self, standing: Mapping[str, Any]) -> None:
        for device, by_policy in standing.items():
            for policy, entry in by_policy.items():
                for name in ("handoffs", "behind"):
                    self.metrics.gauge(f"{name}.{device}.{policy}", entry[name])

    def _forget_others(self, standing: dict[str, Any]) -> None:
        """Devices that are no longer ours go from what is told."""
        known = recon_cache.read(self.options.recon_file).get(self.standing)
        own = set(self._own_device_names())
        if isinstance(known, dict):
            gone: dict[str, Any] = {name: {} for name in known if name not in own}
            if gone:
                standing[self.standing] = {**standing.get(self.standing, {}), **gone}

    def _sum_up(self) -> None:
        """One document of what all workers left, once each device has been seen; devices that are no longer ours go."""
        path = self.options.recon_file
        per_disk = recon_cache.read(path).get(self.per_disk)
        if not isinstance(per_disk, dict):
            return
        own = set(self._own_device_names())
        gone: dict[str, Any] = {name: {} for name in per_disk if name not in own}
        update_: dict[str, Any] = {self.per_disk: gone} if gone else {}
        mine = {name: entry for name, entry in per_disk.items() if name in own}
        if mine and own <= mine.keys():
            update_.update(self.merged(mine))
        if update_:
            recon_cache.dump(update_, path, self.logger)


class Rings:
    """The rings of a pass, looked at every few seconds for whether they are still those that it began with."""

    def __init__(self, rings: list[Ring], interval: float) -> None:
        self._versions = {id(ring): (ring, ring.md5) for ring in rings}
        self._interval = interval
        self._next = clock.monotonic() + interval
        self._changed: set[int] = set()

    def _look(self) -> None:
        if clock.monotonic() >= self._next:
            self._next = clock.monotonic() + self._interval
            for key, (ring, md5) in self._versions.items():
                if ring.has_changed() or ring.md5 != md5:
                    self._changed.add(key)

    @property
    def changed(self) -> bool:
        """True if any of them was seen to have changed."""
        return bool(self._changed)

    def is_current(self, ring: Ring) -> bool:
        """False if this one has changed."""
        self._look()
        return id(ring) not in self._changed

    def check(self) -> None:
        """Raises RingChanged if any of them has."""
        self._look()
        if self._changed:
            raise RingChanged


def interleaved(lists: list[tuple[Holding, list[Any]]]) -> Iterator[tuple[Holding, Any]]:
    """The items of all lists, taken from each in turn."""
    none = object()
    for row in zip_longest(*(items for _, items in lists), fillvalue=none):
        for (holding, _), item in zip(lists, row, strict=True):
            if item is not none:
                yield holding, item
