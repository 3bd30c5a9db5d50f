"""The account-reaper: what deleted accounts still hold is deleted (database.md 17).

Each of an account's nodes takes its share of the containers. Lives here: which accounts and containers, and in which order. Deleting one
container with its objects is account.reaping.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from hashlib import md5
from typing import Any

from swift.core import clock
from swift.core.concurrency import GreenPool, sleep
from swift.core.config import non_negative_float, positive_float, positive_int, truthy
from swift.core.errors import ConfigError
from swift.core.policy import policies
from swift.core.swift_dir import use as use_swift_dir
from swift.core.timestamp import Timestamp
from swift.db.devices import is_there
from swift.db.errors import DatabaseError, DatabaseMissing
from swift.db.walker import Walker
from swift.engine.threads import DeviceBusy, pool_for
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.run.addresses import is_own_device, own_addresses
from swift.run.daemon import Daemon
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics
from swift.telemetry.units import handed_on, unit_of_work

from .broker import AccountBroker, is_status_deleted
from .reaping import Figures, Reaping, Rings

DEFAULT_PORT = 6202
CONTAINERS_A_LOOK = 1000  # a replica: about so many are one's own then

Node = Mapping[str, Any]


class AccountReaper(Daemon):
    """The daemon. `conf`: section account-reaper, see database.md 23.3. Raises ValueError, ConfigError."""

    def __init__(self, conf: Mapping[str, Any], logger: Any = None, rings: Rings | None = None) -> None:
        super().__init__(conf, logger or get_logger(conf, "account-reaper"))
        swift_dir = use_swift_dir(conf.get("swift_dir"))
        self.root = conf.get("devices", "/srv/node")
        self.mount_check = truthy(conf.get("mount_check", "true"))
        self.port = int(conf.get("bind_port", DEFAULT_PORT))
        self.addresses = own_addresses(conf.get("ring_ip") or conf.get("bind_ip"))
        self.interval = positive_float(conf.get("interval", 3600))
        self.delay_reaping = non_negative_float(conf.get("delay_reaping") or 0)
        self.reap_warn_after = non_negative_float(conf.get("reap_warn_after", 2592000))
        self.concurrency = positive_int(conf.get("concurrency", 25))
        self.side = max(1, int(self.concurrency**0.5))  # containers at once, and objects of each
        self.conn_timeout = positive_float(conf.get("conn_timeout", 0.5))
        self.node_timeout = positive_float(conf.get("node_timeout", 10))
        self.walker = Walker(self.root, self.mount_check, AccountBroker.data_directory, self.logger)
        self.rings = rings or _rings(swift_dir, self.logger)
        self.metrics = get_metrics(conf, conf.get("log_name") or "account-reaper", self.logger)
        self.recon_file = os.path.join(
            conf.get("recon_cache_path") or recon_cache.DEFAULT_PATH, recon_cache.ACCOUNT
        )

    # -- passes

    def run_forever(self, **options: Any) -> None:
        """Pass after pass, one in `interval` seconds, the first at a random moment of the first interval."""
        sleep(clock.random() * self.interval)
        while True:
            started = clock.monotonic()
            self.run_once()
            elapsed = clock.monotonic() - started
            if elapsed < self.interval:
                sleep(self.interval - elapsed)

    def run_once(self, **options: Any) -> None:
        """One pass over the accounts of all devices."""
        self.logger.debug("Begin devices pass: %s", self.root)
        started = clock.time()
        devices = [device for device in self.rings.account.devs if device and self._is_own(device)]
        pool = GreenPool(max(1, len(devices)))
        for device in devices:
            pool.spawn_n(self._reap_device_logged, device)
        pool.waitall()
        ended = clock.time()
        self.logger.info("Devices pass completed: %.02fs", ended - started)
        told = {"account_reaper_last": ended, "account_reaper_pass": ended - started}
        recon_cache.dump(told, self.recon_file, self.logger)

    def _is_own(self, device: Node) -> bool:
        return any(
            is_own_device(device, self.addresses, self.port, replication) for replication in (False, True)
        )

    def _reap_device_logged(self, device: Node) -> None:
        try:
            self._reap_device(device)
        except Exception as err:
            self.metrics.increment("errors")
            if isinstance(err, DeviceBusy):
                self.logger.error("ERROR the rest of %s is left for the next pass: %s", device["device"], err)
            else:
                self.logger.exception("ERROR reaping accounts of %s", device["device"])

    def _reap_device(self, device: Node) -> None:
        path = os.path.join(self.root, device["device"])
        disk = pool_for(path)
        if not disk.run(is_there, path, self.mount_check):
            self.metrics.increment("errors")
            self.logger.debug("Skipping %s as it is not mounted", device["device"])
            return

        def wanted(partition: int) -> bool:
            return _share_of(device, self.rings.account.get_part_nodes(partition)) is not None

        for _, database in self.walker.on_device(path, wanted):
            try:
                info = disk.run_long(self._look, database)
                if info is not None:
                    partition = int(database.split("/")[-4])
                    nodes = self.rings.account.get_part_nodes(partition)
                    share = _share_of(device, nodes)
                    assert share is not None
                    self.reap_account(
                        AccountBroker(database, logger=self.logger), info, partition, nodes, share
                    )
            except DatabaseMissing:
                continue
            except (DatabaseError, sqlite3.Error, OSError) as err:
                self.metrics.increment("errors")
                self.logger.error("ERROR reaping the account in %s: %s", database, err)

    def _look(self, path: str) -> dict[str, Any] | None:
        """What is to be known of a deleted account that still holds something, None for any other. Blocks."""
        broker = AccountBroker(path, logger=self.logger)
        broker.commit_pending()
        with broker.connection() as conn:
            info = broker.read_info(conn)
        return info if is_status_deleted(info) and info["container_count"] else None

    # -- one account

    @unit_of_work
    def reap_account(
        self,
        broker: AccountBroker,
        info: Mapping[str, Any],
        partition: int,
        nodes: Sequence[Node],
        share: int,
    ) -> bool:
        """Delete this node's share of an account's containers; returns False if it is too early for that.

        `nodes`: its primaries, of which this node is the one with number `share`.
        """
        deleted_at = float(Timestamp(info["delete_timestamp"]))
        if clock.time() - deleted_at <= self.delay_reaping:
            return False
        account = info["account"]
        figures = Figures(self.metrics)
        started = clock.time()
        self.logger.info("Beginning pass on account %s", account)
        reaping = Reaping(self, account, partition, nodes, figures)
        disk = pool_for(broker.device_path)
        pool = GreenPool(self.side)
        marker = ""
        try:
            while names := disk.run_long(broker.container_names, marker, CONTAINERS_A_LOOK * len(nodes)):
                for name in names:
                    if share_of_container(name, len(nodes)) == share:
                        pool.spawn_n(handed_on(reaping.reap_container_logged), name)
                pool.waitall()
                marker = names[-1]
        finally:
            pool.waitall()
        elapsed = clock.time() - started
        self.metrics.timing("timing", elapsed * 1000)
        self.logger.info("Completed pass on account %s%s, elapsed: %.02fs", account, figures, elapsed)
        if (
            figures.counts["containers_remaining"]
            and clock.time() - deleted_at >= self.delay_reaping + self.reap_warn_after
        ):
            self.logger.warning("Account %s has not been reaped since %s", account, clock.ctime(deleted_at))
        return True


def share_of_container(name: str, shares: int) -> int:
    """Which of an account's nodes deletes a container."""
    return int(md5(name.encode(), usedforsecurity=False).hexdigest(), 16) % shares


def _share_of(device: Node, nodes: Sequence[Node]) -> int | None:
    return next((number for number, node in enumerate(nodes) if node["id"] == device["id"]), None)


def _rings(swift_dir: str, logger: Any) -> Rings:
    try:
        return Rings(
            Ring(swift_dir, "account", logger=logger),
            Ring(swift_dir, "container", logger=logger),
            {
                int(policy): Ring(swift_dir, policy.ring_name, logger=logger)
                for policy in policies()
                if os.path.exists(os.path.join(swift_dir, f"{policy.ring_name}.ring.gz"))
            },
        )
    except (OSError, RingError) as err:
        raise ConfigError(f"The rings in {swift_dir} can't be opened: {err}") from None
