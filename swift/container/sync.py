"""The container-sync daemon: rows of containers that have a target go to other clusters (database.md 19).

Lives here: the passes, whose turn it is, and how far it is done. How a row is sent: `sync_rows`. Which containers there are is told by
the links of `sync_store`. New rows are dealt out among the container's nodes, each of which sends its share; after that each node makes sure
that all of them are there, in the next pass, and only then goes on from there: so what one of them failed to send, another one does.
Each device is looked at by a green thread of its own, and all that touches it is done in its threads.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from swift.core import clock
from swift.core.concurrency import GreenPool, sleep, spawn
from swift.core.config import csv_list, positive_float, positive_int, truthy
from swift.core.errors import ConfigError
from swift.core.hashing import hash_path
from swift.core.swift_dir import use as use_swift_dir
from swift.db.errors import DatabaseError, DatabaseMissing
from swift.db.walker import Walker
from swift.engine.threads import DeviceBusy, DevicePool, pool_for
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.run.addresses import is_own_device, own_addresses
from swift.run.daemon import Daemon
from swift.run.pipeline import ConfigText
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics
from swift.telemetry.units import handed_on, unit_of_work
from swift.wire.internal import InternalClient
from swift.wire.remote import Remote

from . import sync_store
from .broker import ContainerBroker, is_deleted
from .sharded import SHARDED, SHARDING
from .sync_realms import FILE, SyncRealms, check_target
from .sync_rows import Failed, RowSender, Source

LOCK_TIMEOUT = 10.0
BATCH = 64  # rows that are read, and whose end is noted, at a time
REPORT_SECONDS = 3600.0
_TO, _KEY = "X-Container-Sync-To", "X-Container-Sync-Key"
_VERSIONS = "X-Container-Sysmeta-Versions-Container"
_BUILT_IN = """[DEFAULT]
swift_dir = {swift_dir}
[pipeline:main]
pipeline = catch_errors proxy-logging cache symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:symlink]
use = egg:swift#symlink
[filter:cache]
use = egg:swift#memcache
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:catch_errors]
use = egg:swift#catch_errors
"""


class ContainerSync(Daemon):
    """The daemon. `conf`: section container-sync; database.md 23.3. Raises ValueError, ConfigError."""

    def __init__(
        self,
        conf: Mapping[str, Any],
        logger: Any = None,
        ring: Any = None,
        client: Any = None,
        remote: Any = None,
    ) -> None:
        super().__init__(conf, logger or get_logger(conf, "container-sync"))
        self.swift_dir = use_swift_dir(conf.get("swift_dir"))
        self.walker = Walker(
            conf.get("devices", "/srv/node"),
            truthy(conf.get("mount_check", "true")),
            sync_store.FOLDER,
            self.logger,
        )
        self.interval = positive_float(conf.get("interval", 300))
        self.container_time = positive_float(conf.get("container_time", 60))
        self.row_concurrency = positive_int(conf.get("sync_row_concurrency", 8))
        self.request_tries = positive_int(conf.get("request_tries", 3))
        self.allowed_hosts = csv_list(conf.get("allowed_sync_hosts", "127.0.0.1"))
        self.realms = SyncRealms(os.path.join(self.swift_dir, FILE), self.logger)
        self.remote = remote or Remote(
            positive_float(conf.get("conn_timeout", 5)), proxies=csv_list(conf.get("sync_proxy", ""))
        )
        self.addresses = own_addresses(conf.get("ring_ip") or conf.get("bind_ip"))
        self.port = int(conf.get("bind_port", 6201))
        self.ring = ring or _container_ring(self.swift_dir, self.logger)
        self.client_conf = "" if client is not None else self._client_conf(conf)
        self.recon_file = os.path.join(
            conf.get("recon_cache_path", recon_cache.DEFAULT_PATH), recon_cache.CONTAINER
        )
        self.metrics = get_metrics(conf, conf.get("log_name") or "container-sync", self.logger)
        self.figures = Figures()
        self._client = client
        self._sender: RowSender | None = None

    def _client_conf(self, conf: Mapping[str, Any]) -> str:
        path = conf.get("internal_client_conf_path")
        if path:
            if not os.path.exists(path):
                raise ConfigError(f"internal_client_conf_path: there is no {path}")
            return str(path)
        path = os.path.join(self.swift_dir, "internal-client.conf")
        if os.path.exists(path):
            self.logger.info("internal_client_conf_path is not set, %s is taken", path)
            return path
        self.logger.warning(
            "internal_client_conf_path is not set, and there is no %s: a pipeline of the daemon's own is taken",
            path,
        )
        return ConfigText(_BUILT_IN.format(swift_dir=self.swift_dir))

    @property
    def sender(self) -> RowSender:
        """Made with the first container that is to be sent: most nodes never need one."""
        if self._sender is None:
            client = self._client or InternalClient(
                self.client_conf,
                "Swift Container Sync",
                self.request_tries,
                global_conf={"log_name": f"{self.conf.get('log_name') or 'container-sync'}-ic"},
            )
            self._sender = RowSender(client, self.remote, self.count, self.metrics.timing_since)
        return self._sender

    def count(self, what: str) -> None:
        """One more of what the figures call so."""
        setattr(self.figures, what, getattr(self.figures, what) + 1)
        self.metrics.increment(what)

    # -- passes

    def run_forever(self, **options: Any) -> None:
        """Pass after pass, one in `interval` seconds, the first at a random moment of the first interval."""
        sleep(clock.random() * self.interval)
        while True:
            self.logger.info("Begin container sync pass.")
            elapsed = self._pass()
            self.logger.info("Container sync pass completed: %.02fs", elapsed)
            if self.figures.age() >= REPORT_SECONDS:
                self._report()
            if elapsed < self.interval:
                sleep(self.interval - elapsed)

    def run_once(self, **options: Any) -> None:
        """One pass over all containers that have a target."""
        self.logger.info('Begin container sync "once" mode')
        elapsed = self._pass()
        self._report()
        self.logger.info('Container sync "once" mode completed: %.02fs', elapsed)

    def _pass(self) -> float:
        """Returns the seconds that it took."""
        started = clock.time()
        before = self.figures.counts()
        looks = [spawn(self._look_at_device, path) for path in self.walker.device_paths()]
        for look in looks:
            look.wait()
        self.remote.close()
        ended = clock.time()
        done = {name: count - before[name] for name, count in self.figures.counts().items()}
        recon_cache.dump(
            {
                "container_sync_sweep": ended - started,
                "container_sync_last": ended,
                "container_sync_stats": done,
            },
            self.recon_file,
            self.logger,
        )
        return ended - started

    def _report(self) -> None:
        figures = self.figures
        self.logger.info(
            "Since %s: %d synced [%d deletes, %d puts], %d skipped, %d failed",
            clock.ctime(figures.since),
            figures.syncs,
            figures.deletes,
            figures.puts,
            figures.skips,
            figures.failures,
        )
        self.figures = Figures()

    def _look_at_device(self, device_path: str) -> None:
        try:
            for _, link in self.walker.on_device(device_path):
                self._look_logged(device_path, link)
        except DeviceBusy as err:
            self.logger.error("ERROR on %s, the rest is left for the next time: %s", device_path, err)
        except Exception:
            self.logger.exception("ERROR on %s", device_path)

    @unit_of_work
    def _look_logged(self, device_path: str, link: str) -> None:
        inside = os.path.relpath(link, os.path.join(device_path, sync_store.FOLDER))
        path = os.path.join(device_path, ContainerBroker.data_directory, inside)
        try:
            self._look(pool_for(device_path), os.path.basename(device_path), path)
        except (DatabaseError, sqlite3.Error, OSError) as err:
            self.count("failures")
            self.logger.error("ERROR Syncing %s: %s", path, err)
        except DeviceBusy:
            raise
        except Exception:
            self.count("failures")
            self.logger.exception("ERROR Syncing %s", path)

    # -- one container

    def _look(self, disk: DevicePool, device: str, path: str) -> None:
        broker = ContainerBroker(path, lock_timeout=LOCK_TIMEOUT, logger=self.logger)
        try:
            info, metadata = disk.run(_read, broker)
        except DatabaseMissing:
            disk.run(sync_store.forget, broker)  # it went without its link
            return
        _, nodes = self.ring.get_nodes(info["account"], info["container"])
        ordinal = next((at for at, node in enumerate(nodes) if self._is_mine(node, device)), None)
        if ordinal is None or is_deleted(info):
            return
        name = f"{info['account']}/{info['container']}"
        if metadata.get(_VERSIONS):
            self.count("skips")
            self.logger.warning("Skipping container %s with object versioning configured", name)
            return
        if not metadata.get(_TO) or not metadata.get(_KEY):
            self.count("skips")
            return
        if info["db_state"] in (SHARDING, SHARDED):
            self.count("skips")
            self.logger.warning("Skipping container %s: what its shards have is not synchronised", name)
            return
        complaint, target = check_target(metadata[_TO], self.allowed_hosts, self.realms)
        if target is None:
            self.count("failures")
            self.logger.info("ERROR %s: %s", name, complaint or "no target")
            return
        source = Source(info["account"], info["container"], target, metadata[_KEY])
        _ContainerPass(self, disk, broker, source, (ordinal, len(nodes))).run(info)
        self.count("syncs")

    def _is_mine(self, node: Mapping[str, Any], device: str) -> bool:
        return node["device"] == device and is_own_device(node, self.addresses, self.port)


class _ContainerPass:
    """One pass over the rows of one container. `share`: (which of its nodes this is, how many there are)."""

    def __init__(
        self,
        daemon: ContainerSync,
        disk: DevicePool,
        broker: ContainerBroker,
        source: Source,
        share: tuple[int, int],
    ) -> None:
        self.daemon = daemon
        self.disk = disk
        self.broker = broker
        self.source = source
        self.share = share
        self.end = clock.monotonic() + daemon.container_time
        self.is_away = False  # the target can't be reached: the next pass may find it
        self.late = 0  # rows in succession that it did not answer in time; one alone may never be, and must not hold up the others

    def run(self, info: Mapping[str, Any]) -> None:
        first, second = info["x_container_sync_point1"], info["x_container_sync_point2"]
        self._make_sure(second, first)
        self._send_share(first)

    def _has_time(self) -> bool:
        return not self.is_away and clock.monotonic() < self.end

    def _make_sure(self, at: int, until: int) -> None:
        """All rows up to where the nodes' shares were sent. How far that is done does not go beyond a row that failed."""
        failed_at: int | None = None
        while at < until and self._has_time():
            rows = [row for row in self._rows(at) if row["ROWID"] <= until]
            if not rows:
                at = until
            for row, is_there in zip(rows, self._sent(rows), strict=False):
                if not is_there and failed_at is None:
                    failed_at = at
                at = row["ROWID"]
            point = at if failed_at is None else failed_at
            self.disk.run(self.broker.set_x_container_sync_points, None, point)

    def _send_share(self, at: int) -> None:
        """The rows that are new, as far as they are ours. What fails is left to all, who make sure of it in the next pass."""
        while self._has_time():
            rows = self._rows(at)
            if not rows:
                return
            self._sent([row for row in rows if self._is_ours(row)])
            if self.is_away:
                return
            at = rows[-1]["ROWID"]
            self.disk.run(self.broker.set_x_container_sync_points, at, None)

    def _rows(self, at: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.disk.run(self.broker.rows_since, at, BATCH)
        return rows

    def _is_ours(self, row: Mapping[str, Any]) -> bool:
        ordinal, count = self.share
        number = int(hash_path(self.source.account, self.source.container, row["name"])[:8], 16)
        return number % count == ordinal

    def _sent(self, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
        """Which of the rows are there now."""
        pool = GreenPool(self.daemon.row_concurrency)
        return list(pool.imap(handed_on(self._send_logged), rows))

    def _send_logged(self, row: Mapping[str, Any]) -> bool:
        source, daemon = self.source, self.daemon
        try:
            daemon.sender.send(source, row)
            self.late = 0
            return True
        except Failed as err:
            self.late = self.late + 1 if err.is_late else 0
            self.is_away = self.is_away or err.is_away or self.late >= daemon.row_concurrency
            tell = daemon.logger.info if err.is_expected else daemon.logger.error
            tell(
                "ERROR Syncing %s/%s to %s: %s", source.account, source.container, source.target.endpoint, err
            )
        except Exception:
            daemon.logger.exception("ERROR Syncing %s/%s: %r", source.account, source.container, row["name"])
        daemon.count("failures")
        return False


class Figures:
    """What was done since the last report."""

    def __init__(self) -> None:
        self.since = clock.time()
        self.syncs = self.deletes = self.puts = self.skips = self.failures = 0

    def age(self) -> float:
        """Seconds."""
        return clock.time() - self.since

    def counts(self) -> dict[str, int]:
        """By name."""
        return {name: getattr(self, name) for name in ("syncs", "deletes", "puts", "skips", "failures")}


def _read(broker: ContainerBroker) -> tuple[dict[str, Any], dict[str, str]]:
    """(info, metadata that is not cleared) of a container. Blocks. Raises DatabaseMissing."""
    if not broker.exists():
        raise DatabaseMissing(broker.path)
    return broker.info(), {name: value for name, (value, _) in broker.metadata().items() if value}


def _container_ring(swift_dir: str, logger: Any) -> Ring:
    try:
        return Ring(swift_dir, "container", logger=logger)
    except (OSError, RingError) as err:
        raise ConfigError(f"The container ring in {swift_dir} can't be opened: {err}") from None
