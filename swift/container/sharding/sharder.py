"""The container-sharder: containers that have grown too large are split into shards, and shards that have become small are merged (database.md 20).

Lives here: the cycles over the containers of a node, and the order of the steps in each. The steps themselves are the other modules'. Each
device has a green thread of its own, and all that touches it is done in its threads.
"""

from __future__ import annotations

import dataclasses
import os
import sqlite3
from collections.abc import Mapping, Sequence
from optparse import OptionParser
from typing import Any

from swift.core import clock
from swift.core.concurrency import kill, sleep, spawn
from swift.core.config import non_negative_float, positive_float, positive_int, truthy
from swift.core.constraints import limits
from swift.core.remembered import Remembered
from swift.core.timestamp import Timestamp
from swift.db.broker import Broker
from swift.db.devices import is_there
from swift.db.errors import DatabaseError, DatabaseMissing
from swift.db.replication.figures import Figures
from swift.db.replication.known import Known, look
from swift.db.replication.peer import Timeouts
from swift.db.replication.replica import Replica
from swift.db.replication.replicator import LOCK_TIMEOUT
from swift.db.replication.work import Node
from swift.engine.threads import DeviceBusy, pool_for
from swift.run.daemon import Overrides, parse_overrides
from swift.run.rests import NO_RESTS, Rests
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics
from swift.telemetry.units import unit_of_work

from .. import shard_ranges
from ..broker import ContainerBroker, is_deleted
from ..replicator import ContainerReplicator, RowsExchange
from ..shard_ranges import ACTIVE, CLEAVING, SHRINKING
from ..sharded import COLLAPSED, SHARDED, SHARDING, UNSHARDED
from . import auditing, cleaving, context, deciding, files, leading, reporting, strays
from .asking import Asking
from .figures import ShardingFigures
from .found import Found, look_at
from .leading import Leading
from .local import LocalShards
from .options import ShardingOptions, quorum_option
from .visit import Visit

SHOW_SECONDS = 15.0  # between two looks at how far a cycle is
AGAIN_SECONDS = 300.0  # that containers under way are gone on with before others are looked at again
MOST_WARNED, LONGEST_WARNED = 10_000, 1024  # containers that were warned of lately; characters of their paths
_EXPECTED = (DatabaseError, sqlite3.Error, OSError, ValueError)


class ContainerSharder(ContainerReplicator):
    """The daemon. `conf`: the options of database.md 23.5, and ours: `auto_shard_all`, `rest_share`. Raises ValueError, ConfigError."""

    def __init__(self, conf: Mapping[str, Any], logger: Any = None, ring: Any = None) -> None:
        conf = {"conn_timeout": "5", **conf}
        super().__init__(conf, logger or get_logger(conf, "container-sharder"), ring)
        self.options = ShardingOptions.from_conf(conf)
        self.metrics = get_metrics(conf, conf.get("log_name") or "container-sharder", self.logger)
        conn_timeout = positive_float(conf["conn_timeout"])
        timeouts = Timeouts(conn_timeout, self.terms.timeouts.answer)
        agent = f"container-sharder {os.getpid()}"
        self.terms = dataclasses.replace(self.terms, agent=agent, timeouts=timeouts)
        self.broker_timeout = positive_float(conf.get("broker_timeout", 60))
        replicas = int(self.ring.replica_count)
        self.new_quorum = quorum_option(
            conf.get("shard_replication_quorum", "auto"), (replicas + 1) // 2, replicas
        )
        self.old_quorum = quorum_option(
            conf.get("existing_shard_replication_quorum", "auto"), self.new_quorum, replicas
        )
        self.asking = Asking(self.ring, conn_timeout, positive_int(conf.get("request_tries", 3)), self.logger)
        self.local = LocalShards(self.root, self.ring, self.local_devices, self.broker_timeout, self.logger)
        self.leading = Leading(self)
        self.sharding_timeout = non_negative_float(conf.get("container_sharding_timeout", 172800))
        self.warnings_interval = non_negative_float(conf.get("periodic_warnings_interval", 86400))
        self.stats_interval = positive_float(conf.get("stats_interval", 3600))
        self._warned: Remembered[tuple[str, str], float] = Remembered(MOST_WARNED, LONGEST_WARNED)
        self._small: Known[bool] = Known()  # containers that are no business of ours, by their files' marks
        self.rests = NO_RESTS
        self.rest_share = non_negative_float(conf.get("rest_share", 2))
        self._replication = Figures(self.metrics)
        self._figures: ShardingFigures | None = None  # of the last cycle
        self._logged_at = clock.monotonic()

    # -- what replication does beside, and we don't

    def begin_pass(self) -> None:
        """Nothing."""

    def end_pass(self, figures: Figures) -> None:
        """Nothing."""

    def after_exchanges(self, replica: Replica, results: Sequence[bool], figures: Figures) -> None:
        """Nothing: rows of other policies are the replicator's business."""

    def broker(self, path: str) -> Broker:
        return ContainerBroker(
            path, timeout=self.broker_timeout, lock_timeout=LOCK_TIMEOUT, logger=self.logger
        )

    def replicate(self, path: str, device: Node) -> list[bool]:
        """Bring a database of this node to where it belongs; for each of those whether it has all now but rows that are moved to shards."""
        return self.work(device, self._replication).replicate(path)

    def replicate_rows(self, path: str, device: Node) -> list[bool]:
        """replicate; for each whether it has the rows, too."""
        work = self.work(device, self._replication)
        work.exchange_class = RowsExchange
        return work.replicate(path)

    # -- cycles

    def run_forever(self, **options: Any) -> None:
        """Cycle after cycle, one in `interval` seconds, the first at a random moment of the first interval."""
        self._take_options(options)
        self.rests = Rests(self.rest_share)
        self.terms = dataclasses.replace(self.terms, rests=self.rests)
        sleep(clock.random() * self.interval)
        while True:
            started = clock.monotonic()
            try:
                self._cycle(Overrides(), go_on=True)
            except Exception:
                self.logger.exception("ERROR in a sharder cycle")
            elapsed = clock.monotonic() - started
            if elapsed < self.interval:
                sleep(self.interval - elapsed)

    def run_once(self, **options: Any) -> None:
        """One visit to all containers, or those of `devices` and `partitions`."""
        self._take_options(options)
        self.logger.info('Begin container sharder "once" mode')
        started = clock.monotonic()
        self._cycle(parse_overrides(once=True, **options), go_on=False)
        self.logger.info('Container sharder "once" mode completed: %.02fs', clock.monotonic() - started)

    def _take_options(self, options: Mapping[str, Any]) -> None:
        if options.get("auto_shard") is False:
            self.options = dataclasses.replace(self.options, auto_shard=False)

    def _cycle(self, only: Overrides, go_on: bool) -> None:
        """`go_on`: what is under way is visited again at once, as long as it gets further."""
        self.logger.info("Container sharder cycle starting, auto-sharding %s", self.options.auto_shard)
        started = clock.time()
        figures = ShardingFigures(self.metrics, self.options.candidates_limit, self._figures)
        self._replication = Figures(self.metrics)
        self.leading.begin_cycle()
        devices = self.local_devices()
        if not devices:
            self.logger.error("ERROR Failed to find a device of the container ring on this node")
        showing = spawn(self._show_sharding, figures)
        sweeps = [
            spawn(self._sweep_sharding, device, frozenset(only.partitions), figures, go_on)
            for device in devices
            if not only.devices or device["device"] in only.devices
        ]
        for sweep in sweeps:
            sweep.wait()
        kill(showing)
        figures.end()
        self._figures = figures
        if not go_on or clock.monotonic() - self._logged_at >= self.stats_interval:
            self._logged_at = clock.monotonic()
            figures.log(self.logger)
        self._dump(figures, started)

    def _show_sharding(self, figures: ShardingFigures) -> None:
        while True:
            sleep(SHOW_SECONDS)
            figures.show()
            recon_cache.dump({"sharding_stats": {"sharding": figures.recon()}}, self.recon_file, self.logger)

    def _dump(self, figures: ShardingFigures, started: float) -> None:
        figures.show()
        now = clock.time()
        stats = {**self._replication.recon()["replication_stats"], "start": started}
        found = {
            "sharding_stats": {**stats, "sharding": figures.recon()},
            "sharding_time": now - started,
            "sharding_last": now,
        }
        recon_cache.dump(found, self.recon_file, self.logger)

    def _sweep_sharding(
        self, device: Node, partitions: frozenset[int], figures: ShardingFigures, go_on: bool
    ) -> None:
        path = os.path.join(self.root, device["device"])
        try:
            if not pool_for(path).run(is_there, path, self.mount_check):
                self.logger.warning("Skipping: %s is not mounted", device["device"])
                return
            again = []
            for _, database in self.walker.on_device(path, self._wanted(device, partitions)):
                self.pace.wait()
                if self._visit_logged(device, path, database, figures):
                    again.append(database)
            until = clock.monotonic() + AGAIN_SECONDS
            while go_on and again and clock.monotonic() < until:
                again = [name for name in again if self._visit_logged(device, path, name, figures)]
                sleep(0)
        except DeviceBusy as err:
            self.logger.error("ERROR the rest of %s is left for the next cycle: %s", device["device"], err)
        except Exception:
            self.logger.exception("ERROR sharding on %s", device["device"])

    # -- one container

    @unit_of_work
    def _visit_logged(self, device: Node, device_path: str, path: str, figures: ShardingFigures) -> bool:
        """Returns True if the container is under way and got further. Raises DeviceBusy."""
        try:
            with figures.visiting(path):
                return self._visit(device, device_path, path, figures)
        except DatabaseMissing:
            return False  # removed meanwhile
        except _EXPECTED as err:
            figures.count("visited", "failure")
            self.logger.error("ERROR sharding %s: %s", path, err)
        except DeviceBusy:
            raise
        except Exception:
            figures.count("visited", "failure")
            self.logger.exception("ERROR sharding %s", path)
        return False

    def _visit(self, device: Node, device_path: str, path: str, figures: ShardingFigures) -> bool:
        disk = pool_for(device_path)
        found: Found | None = disk.run_long(self._find, path)
        if found is None:
            figures.count("visited", "skipped")
            return False
        visit = Visit(self, found, disk, device, self._index(device, path, found.info), figures)
        self._note_candidate(visit, found)
        if not (found.is_enabled or self._is_to_be_enabled(found)):
            figures.count("visited", "skipped")
            return False
        figures.count("visited", "attempted")
        started = clock.time()
        before = visit.run(_progress, found.broker)
        try:
            self._process(visit, found)
        finally:
            self._note_progress(visit, clock.time() - started)
        figures.count("visited", "success")
        return bool(visit.run(_progress, found.broker) != before and visit.state() == SHARDING)

    def _find(self, path: str) -> Found | None:
        """Blocks."""
        seen = look(path)
        if self._small.get(path, seen):
            return None
        broker = self.broker(path)
        assert isinstance(broker, ContainerBroker)
        if not broker.exists():
            return None
        found = look_at(broker)
        if not found.is_enabled and found.info["object_count"] < self.options.threshold:
            self._small.keep(path, seen, True, {"metadata": "", "db_state": found.info["db_state"]})
        return found

    def _index(self, device: Node, path: str, info: Mapping[str, Any]) -> int | None:
        partition = self.ring.get_part(info["account"], info["container"])
        if int(path.split("/")[-4]) != partition:
            return None
        ids = [node["id"] for node in self.ring.get_part_nodes(partition)]
        return ids.index(device["id"]) if device["id"] in ids else None

    def _is_large(self, found: Found) -> bool:
        return found.own["state"] == ACTIVE and found.info["object_count"] >= self.options.threshold

    def _is_to_be_enabled(self, found: Found) -> bool:
        """Containers of users are, where all are to be; unless somebody has said no, or container-sync sends what they hold: it doesn't know of shards."""
        return (
            self.options.shard_all
            and not found.enabled_text
            and found.is_root
            and not found.is_synchronised
            and not found.info["account"].startswith((".", limits().auto_create_account_prefix))
            and self._is_large(found)
        )

    def _process(self, visit: Visit, found: Found) -> None:
        """The steps, in their order (20.2)."""
        gone = is_deleted(found.info)
        if not auditing.audit(visit, gone):
            if visit.is_root and visit.is_leader and visit.state() == SHARDED:
                deciding.mend(visit)
            return
        strays.move(visit)
        if visit.state() in (UNSHARDED, COLLAPSED):
            self._begin(visit, found, gone)
        if visit.state() == SHARDING:
            self._split(visit, gone)
        if visit.is_root:
            if visit.state() == SHARDED:
                self._tend(visit, found, gone)
        elif not visit.run(visit.broker.is_deleted):
            reporting.report(visit)

    def _begin(self, visit: Visit, found: Found, gone: bool) -> None:
        enabled = truthy(found.enabled_text) or self._is_to_be_enabled(found)
        if visit.is_root and not gone and enabled and self._is_large(found) and visit.is_leader:
            leading.enable(visit, found.info)
        if visit.own()["state"] not in CLEAVING:
            return
        if visit.own()["state"] == SHRINKING and not cleaving.move_ahead(visit):
            return
        if visit.others() or (
            not gone and visit.is_leader and deciding.may_cut(visit) and leading.agree(visit)
        ):
            started = clock.time()
            if visit.run(files.begin, visit.broker):
                visit.logger.info("Kick off container cleaving on %s", visit.path)
                self.metrics.timing_since("sharder.sharding.set_state", started)

    def _split(self, visit: Visit, gone: bool) -> None:
        if visit.own()["state"] == ACTIVE and not visit.others():
            if cleaving.take_back(visit):
                visit.logger.info("%s has no shards any more", visit.path)
            return
        if visit.own()["state"] == shard_ranges.SHARDING and not gone and visit.is_leader:
            deciding.find(visit)
        deciding.settle(visit)
        if any(item["state"] == shard_ranges.FOUND for item in visit.others()) and leading.agree(visit):
            deciding.settle(visit)
            if deciding.create(visit):
                visit.replicate()
        record = cleaving.cleave(visit)
        if record is not None and record.cleaving_done and record.misplaced_done:
            cleaving.finish(visit, record)

    def _tend(self, visit: Visit, found: Found, gone: bool) -> None:
        """A root whose shards are in use."""
        wanted = deciding.mergers(visit)
        if wanted:
            count = sum(len(merger.donors) for merger in wanted)
            candidate = {**found.entry(visit.index), "compactible_ranges": count}
            visit.figures.shrinking_candidates[visit.broker.path] = candidate
        back = found.is_switched_off
        if gone:
            back = self._is_long_gone(found)
            if not back:
                return
        if not visit.is_leader:
            return
        under_way = any(item["state"] == SHRINKING for item in visit.others())
        if (wanted or back or under_way) and leading.agree(visit):
            chosen = deciding.merge_all(visit) if back else deciding.mergers(visit, include_shrinking=True)
            deciding.shrink(visit, chosen)
        if not back:
            deciding.split_large(visit)
        deciding.tell_splitting(visit)

    def _is_long_gone(self, found: Found) -> bool:
        return float(Timestamp(found.info["delete_timestamp"])) < clock.time() - self.reclaim_age

    # -- what is told

    def _note_candidate(self, visit: Visit, found: Found) -> None:
        if self._is_large(found):
            enabled = found.is_enabled or self._is_to_be_enabled(found)
            visit.figures.sharding_candidates[visit.broker.path] = {
                **found.entry(visit.index),
                "enabled": enabled,
            }

    def _note_progress(self, visit: Visit, seconds: float) -> None:
        try:
            told = visit.run(_told, visit, seconds, self.options.recon_sharded_timeout)
        except (DatabaseError, sqlite3.Error, OSError):
            return
        if told is None:
            visit.figures.in_progress.pop(visit.broker.path, None)
            return
        visit.figures.in_progress[visit.broker.path] = told
        self._warn_if_slow(visit, told)

    def name_orphan(self, visit: Visit, rows: int) -> None:
        """Tell of a shard whose root is gone while it has rows that nobody lists; in the log not each time."""
        visit.figures.orphans[visit.broker.path] = {
            "path": visit.path,
            "root": visit.root,
            "object_count": rows,
        }
        if self._is_to_be_said(("orphan", visit.broker.path)):
            text = "%s has %d objects that nobody lists: its root %s is gone from all its disks (%s)"
            visit.logger.warning(text, visit.path, rows, visit.root, visit.broker.path)

    def _is_to_be_said(self, key: tuple[str, str]) -> bool:
        """Returns True once in `periodic_warnings_interval`."""
        if clock.monotonic() - self._warned.get(key, -self.warnings_interval) < self.warnings_interval:
            return False
        self._warned.keep(key, clock.monotonic())
        return True

    def _warn_if_slow(self, visit: Visit, told: Mapping[str, Any]) -> None:
        since = float(Timestamp(told["epoch"])) if told.get("epoch") else clock.time()
        if told["db_state"] == SHARDED or clock.time() - since < self.sharding_timeout:
            return
        if self._is_to_be_said(("slow", visit.broker.path)):
            text = "Cleaving has not completed in %.2f seconds since %s. DB state: %s, DB path: %s"
            visit.logger.warning(
                text, clock.time() - since, told["epoch"], told["db_state"], visit.broker.path
            )


def _progress(broker: ContainerBroker) -> tuple[Any, ...]:
    """Differs when a move has got further. Blocks."""
    broker.reload_files()
    records = [
        (record.cursor, record.cleaving_done, record.misplaced_done)
        for record, _ in context.all_of(broker.metadata())
    ]
    return len(broker.files), records, broker.max_row("shard_range")


def _told(visit: Visit, seconds: float, keep_seconds: float) -> dict[str, Any] | None:
    """What recon says of a container on its way into shards, None for others. Blocks."""
    broker = visit.broker
    broker.reload_files()
    found = look_at(broker)
    info, own, others = found.info, found.own, found.others
    if own["state"] not in CLEAVING:
        return None
    numbers = {
        name: sum(item["state"] == state for item in others) for state, name in shard_ranges.STATES.items()
    }
    records = context.all_of(broker.metadata())
    told = {
        **found.entry(visit.index),
        "state": shard_ranges.STATES[own["state"]],
        "db_state": info["db_state"],
        **{name: numbers[name] for name in ("found", "created", "cleaved", "active")},
        "error": visit.error,
        "processing_time": seconds,
        "epoch": own["epoch"],
    }
    if info["db_state"] == SHARDING and records:
        record = records[-1][0]
        told["ranges_done"], told["ranges_todo"] = record.ranges_done, record.ranges_todo
    if info["db_state"] == SHARDED:
        done = [(record, when) for record, when in records if record.is_done]
        if not done or clock.time() - max(float(Timestamp(when)) for _, when in done) > keep_seconds:
            return None
        record, when = done[-1]
        told["total_replicate_time"] = record.replication_time
        told["total_sharding_time"] = float(Timestamp(when)) - float(Timestamp(own["epoch"] or when))
    return told


def add_options(parser: OptionParser) -> None:
    """The command's own options; devices and partitions count with `once` only."""
    parser.add_option(
        "-d", "--devices", help="Shard containers only on these devices, comma-separated; with once"
    )
    parser.add_option(
        "-p", "--partitions", help="Shard containers only in these partitions, comma-separated; with once"
    )
    parser.add_option(
        "--no-auto-shard",
        action="store_false",
        dest="auto_shard",
        help="Decide nothing: only go on with what was begun",
    )
