"""The object-replicator: its passes, processes and reports (object-disk 18, operations 5).

A pass looks at all partitions of this node's devices that belong to replicated policies. What primaries do with theirs is in `update`, what
handoffs do with guests in `revert`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from swift.core import clock
from swift.core.concurrency import GreenPool, kill, sleep, spawn
from swift.core.config import positive_float, truthy
from swift.core.errors import LockTimeout
from swift.core.policy import REPLICATION, StoragePolicy, policies
from swift.core.swift_dir import use as use_swift_dir
from swift.core.threads import LIMITS, bound_waits
from swift.obj.device import Devices
from swift.obj.errors import ObjectError
from swift.obj.replication import report, update
from swift.obj.replication.jobs import Holding, Partitions, chunks, own_devices, partitions_of
from swift.obj.replication.options import ReplicatorOptions
from swift.obj.replication.revert import revert
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
from swift.wire.storage import DISK_STALL_TIMEOUT

COMPARISONS = 4  # of COMPARED partitions each, that are under way


class RingChanged(Exception):
    """A ring in use was replaced: what is left of the pass would go to the wrong places."""


class ObjectReplicator(Daemon):
    """The daemon. `conf`: section object-replicator. Raises ValueError, ConfigError."""

    def __init__(self, conf: Mapping[str, Any], logger: Any = None) -> None:
        super().__init__(conf, logger or get_logger(conf, "object-replicator"))
        self._swift_dir = use_swift_dir(conf.get("swift_dir"))
        self.options = ReplicatorOptions(conf, self.logger)
        bound_waits(LIMITS.calls, positive_float(conf.get("disk_stall_timeout", DISK_STALL_TIMEOUT)))
        self.devices = Devices(
            conf.get("devices", "/srv/node"), truthy(conf.get("mount_check", "true")), threads_per_device=2
        )
        self.stores = Stores(StoreOptions(reclaim_age=self.options.reclaim_age))
        self.metrics = get_metrics(conf, "object-replicator", self.logger)
        self._rings: dict[int, Ring] = {}
        self._cycle = int(clock.random() * update.LOOK_EACH)
        self._planned: frozenset[str] = frozenset()
        self._told = 0.0
        self._standing = Standing()

    # ------------------------------------------------------------ processes

    def run_once(self, **options: Any) -> None:
        """One pass. `devices`, `partitions`, `policies`: nothing else, as comma-separated text. `worker`: its number, in a process of several."""
        started = clock.time()
        self.logger.info("Running object replicator in script mode.")
        overrides = parse_overrides(once=True, **options)
        publish = not (overrides.devices or overrides.partitions or overrides.policies)
        worker = options.get("worker")
        if worker is not None:
            overrides = Overrides(list(options["worker_devices"]), overrides.partitions, overrides.policies)
        self._pass(overrides, worker, publish)
        self.logger.info("Object replication complete (once). (%.02f minutes)", (clock.time() - started) / 60)

    def run_forever(self, **options: Any) -> None:
        """Pass after pass, `interval` seconds between them. `devices`: of this worker."""
        self.logger.info("Starting object replicator in daemon mode.")
        worker = options.get("worker")
        overrides = Overrides() if worker is None else Overrides(list(options["worker_devices"]))
        while True:
            started = clock.time()
            self.logger.info("Starting object replication pass.")
            try:
                self._pass(overrides, worker, True)
            except Exception:
                self.logger.exception("Exception in top-level replication loop")
            self.logger.info("Object replication complete. (%.02f minutes)", (clock.time() - started) / 60)
            self.logger.debug("Replication sleeping for %s seconds.", self.options.interval)
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
        for policy in self._policies(()):
            ring = self._ring(policy)
            if ring is not None:
                names |= {device["device"] for device in self._own(ring)}
        return sorted(names)

    def _own(self, ring: Ring) -> list[dict[str, Any]]:
        return own_devices(ring, self.options.addresses, self.options.port)

    # ------------------------------------------------------------ what there is

    def _policies(self, wanted: Collection[int]) -> list[StoragePolicy]:
        return [
            policy
            for policy in policies()
            if policy.policy_type == REPLICATION and (not wanted or policy.idx in wanted)
        ]

    def _ring(self, policy: StoragePolicy) -> Ring | None:
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
        for policy in self._policies(overrides.policies):
            ring = self._ring(policy)
            if ring is None:
                continue
            if ring.next_part_power is not None:
                self.logger.warning("next_part_power set in policy '%s'. Skipping", policy.name)
                continue
            own = self._own(ring)
            if not own:
                self.logger.error(
                    "Can't find itself in policy with index %d with ips %s and with port %s in ring file, not "
                    "replicating",
                    policy.idx,
                    ", ".join(sorted(self.options.addresses)),
                    self.options.port,
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
        work = Work(
            options.peers, options.method, self._handoff_delete(), self._standing, self.metrics, self.logger
        )
        everything = self._partitions(overrides, work)
        self._standing.begin(everything)
        self._cycle = (self._cycle + 1) % update.LOOK_EACH
        pool = GreenPool(options.concurrency)
        watches = [
            spawn(self._tell, work, options.stats_interval),
            spawn(self._watch, work, pool),
        ]
        try:
            self._carry_out(work, everything, pool)
        except RingChanged:
            self.logger.info("Ring change detected. Aborting current replication pass.")
        finally:
            pool.waitall()
            for watch in watches:
                kill(watch)
        work.report.log(self.logger)
        if publish:
            self._publish(work, worker, overrides.devices)

    def _handoff_delete(self) -> int:
        """The option, unless no policy has more replicas than that."""
        wanted = self.options.handoff_delete
        most = max(
            (ring.replica_count for policy in self._policies(()) if (ring := self._ring(policy))), default=0
        )
        if wanted and wanted >= most:
            self.logger.warning(
                "No storage policies found for which handoff_delete=%d would have an effect. Disabling it.",
                wanted,
            )
            return 0
        return wanted

    def _carry_out(self, work: Work, everything: list[Partitions], pool: GreenPool) -> None:
        rings = _Rings([found.holding.ring for found in everything], self.options.ring_check_interval)
        guests = _interleaved([(found.holding, found.guests) for found in everything])
        if self.options.handoffs_first:
            self._revert_all(work, guests, rings, pool)
            pool.waitall()
            if work.report.guests_left:
                self.logger.warning(
                    "Handoffs first mode still has handoffs remaining. Aborting current replication pass."
                )
                return
            self._update_all(work, everything, rings, pool)
            return
        giving_back = spawn(self._until_rings_change, self._revert_all, work, guests, rings, pool)
        try:
            self._update_all(work, everything, rings, pool)
        finally:
            giving_back.wait()

    @staticmethod
    def _until_rings_change(function: Any, *args: Any) -> None:
        try:
            function(*args)
        except RingChanged:
            pass  # the other one sees it, too

    def _revert_all(
        self, work: Work, guests: Iterator[tuple[Holding, str]], rings: _Rings, pool: GreenPool
    ) -> None:
        for holding, partition in guests:
            rings.check()
            pool.spawn(self._guarded, revert, work, holding, partition)

    def _update_all(self, work: Work, everything: list[Partitions], rings: _Rings, pool: GreenPool) -> None:
        comparisons = GreenPool(COMPARISONS)
        pieces = [
            (found.holding, list(chunks(found.home, update.COMPARED))) for found in everything if found.home
        ]
        try:
            for holding, partitions in _interleaved(pieces):
                rings.check()
                comparisons.spawn(self._guarded, self._update_some, work, holding, partitions, rings, pool)
        finally:
            comparisons.waitall()

    def _update_some(
        self, work: Work, holding: Holding, partitions: list[str], rings: _Rings, pool: GreenPool
    ) -> None:
        for differing in update.compare(work, holding, partitions, self._cycle):
            if rings.changed:
                return
            pool.spawn(self._guarded, update.update, work, holding, differing)

    def _guarded(self, function: Any, work: Work, holding: Holding, *args: Any) -> None:
        try:
            function(work, holding, *args)
        except (ObjectError, LockTimeout, OSError) as error:
            work.report.fail([holding.device])
            self.logger.error("ERROR replicating %s: %s", holding.store.device.path, error)
        except Exception:
            work.report.fail([holding.device])
            self.logger.exception("ERROR replicating %s", holding.store.device.path)

    # ------------------------------------------------------------ beside it

    def _tell(self, work: Work, interval: float) -> None:
        while True:
            sleep(interval)
            work.report.log(self.logger)

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
        if worker is None:
            recon_cache.dump({**found, **standing}, self.options.recon_file, self.logger)
            return
        # a worker that has several devices counts them together: the first one stands for all
        empty = report.Report().recon()["replication_stats"]
        per_disk = {
            name: found if number == 0 else {**found, "replication_stats": empty}
            for number, name in enumerate(names)
        }
        recon_cache.dump({report.PER_DISK: per_disk, **standing}, self.options.recon_file, self.logger)

    def _sum_up(self) -> None:
        """One document of what all workers left, once each device has been seen; devices that are no longer ours go."""
        path = self.options.recon_file
        per_disk = recon_cache.read(path).get(report.PER_DISK)
        if not isinstance(per_disk, dict):
            return
        own = set(self._own_device_names())
        gone: dict[str, Any] = {name: {} for name in per_disk if name not in own}
        update_: dict[str, Any] = {report.PER_DISK: gone} if gone else {}
        mine = {name: entry for name, entry in per_disk.items() if name in own}
        if mine and own <= mine.keys():
            update_.update(report.merged(mine))
        if update_:
            recon_cache.dump(update_, path, self.logger)


class _Rings:
    """The rings of a pass, looked at every few seconds for whether they are still those that it began with."""

    def __init__(self, rings: list[Ring], interval: float) -> None:
        self._versions = {id(ring): (ring, ring.md5) for ring in rings}
        self._interval = interval
        self._next = clock.monotonic() + interval
        self.changed = False

    def check(self) -> None:
        """Raises RingChanged."""
        if not self.changed and clock.monotonic() >= self._next:
            self._next = clock.monotonic() + self._interval
            self.changed = any(ring.has_changed() or ring.md5 != md5 for ring, md5 in self._versions.values())
        if self.changed:
            raise RingChanged


def _interleaved(lists: list[tuple[Holding, list[Any]]]) -> Iterator[tuple[Holding, Any]]:
    """The items of all lists, taken from each in turn."""
    none = object()
    for row in zip_longest(*(items for _, items in lists), fillvalue=none):
        for (holding, _), item in zip(lists, row, strict=True):
            if item is not none:
                yield holding, item
