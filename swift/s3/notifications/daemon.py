"""The daemon `swift-s3-notifier`: delivers what is in the queue, on each node with container servers.

Each target has a green thread of its own, so that none waits for another. Never here: what is delivered when (`delivery`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import Timeout, sleep, spawn
from swift.core.config import positive_float, positive_int, truthy
from swift.core.errors import ConfigError
from swift.core.swift_dir import use as use_swift_dir
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.run.addresses import own_addresses
from swift.run.daemon import Daemon
from swift.run.known_options import unknown_options
from swift.s3.notifications import queue
from swift.s3.notifications.delivery import Delivery, Limits, drop_all
from swift.s3.notifications.local_queue import LocalQueue
from swift.s3.notifications.queue import PERIOD, Place
from swift.s3.notifications.targets.choice import read_targets
from swift.s3.notifications.targets.target import Target
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger
from swift.wire import direct

RECON = "s3.recon"
_SWEEPS = 3600.0  # seconds between two looks for what is too old
_TELLS = 10.0  # seconds between two reports


class Notifier(Daemon):
    """The daemon. `conf`: section s3-notifier, whose file has the targets. Raises ValueError, ConfigError."""

    def __init__(
        self,
        conf: Mapping[str, Any],
        logger: Any = None,
        ring: Any = None,
        account_ring: Any = None,
        targets: Mapping[str, Target] | None = None,
    ) -> None:
        super().__init__(conf, logger or get_logger(conf, "s3-notifier"))
        swift_dir = use_swift_dir(conf.get("swift_dir"))
        self.interval = positive_float(conf.get("interval", 1))
        self.limits = Limits(
            positive_float(conf.get("max_age", 259_200)),
            positive_float(conf.get("takeover", 60)),
            positive_int(conf.get("most_queued", 1_000_000)),
        )
        self.account_ring = account_ring or _ring(swift_dir, "account", self.logger)
        self.local = LocalQueue(
            ring or _ring(swift_dir, "container", self.logger),
            conf.get("devices", "/srv/node"),
            truthy(conf.get("mount_check", "true")),
            own_addresses(conf.get("ring_ip") or conf.get("bind_ip")),
            self.logger,
        )
        if targets is None:
            path = conf.get("targets_conf_path")
            targets = read_targets(path or conf["__file__"])
            for entry in unknown_options(path) if path else ():
                self.logger.warning("%s: %s", path, entry)
        self.deliveries = [
            Delivery(target, self.local, self.limits, self.logger) for target in targets.values()
        ]
        if not targets:
            self.logger.info("No section [s3-target:NAME]: nothing to deliver to")
        self.lost = 0
        self.recon_file = os.path.join(conf.get("recon_cache_path", recon_cache.DEFAULT_PATH), RECON)

    def run_forever(self, **options: Any) -> None:
        """Looks at the queue each `interval` seconds; does not return."""
        for delivery in self.deliveries:
            spawn(self._serve, delivery)
        sweep_at = clock.monotonic() + clock.random() * _SWEEPS
        while True:
            sleep(_TELLS)
            self._tell()
            if clock.monotonic() >= sweep_at:
                sweep_at = clock.monotonic() + _SWEEPS
                self._sweep_logged()

    def run_once(self, **options: Any) -> None:
        """One try of all that waits."""
        for thread in [spawn(self._run, delivery) for delivery in self.deliveries]:
            thread.wait()
        self._sweep_logged()
        self._tell()
        for delivery in self.deliveries:
            delivery.target.close()

    def _serve(self, delivery: Delivery) -> None:
        while True:
            started = clock.monotonic()
            self._run(delivery)
            sleep(max(0.05, self.interval - (clock.monotonic() - started)))

    def _run(self, delivery: Delivery) -> None:
        try:
            delivery.run()
        except (Exception, Timeout):
            self.logger.exception("ERROR on target %s", delivery.target.name)

    # -- what nobody will deliver

    def _sweep_logged(self) -> None:
        try:
            self._sweep()
        except (direct.DirectError, OSError, Timeout) as error:
            self.logger.error("ERROR The queue can't be listed: %s", error)
        except Exception:
            self.logger.exception("ERROR sweeping the queue")

    def _sweep(self) -> None:
        """Containers of times that are too long ago go, also those of targets that are no more."""
        before = clock.time() - self.limits.max_age
        for place in self._listed():
            for held in self.local.held(place):
                # The first node begins; the others, if it does not.
                if place.end + held.rank * 2 * _SWEEPS < before:
                    self.lost += drop_all(self.local, held, self.logger.error)

    def _listed(self) -> Iterator[Place]:
        part, nodes = self.account_ring.get_nodes(queue.ACCOUNT)
        marker: str | None = None
        while True:
            rows = self._page(part, nodes, marker)
            for row in rows:
                place = queue.parse_place(row.get("name", ""))
                if place is not None and place.period % PERIOD == 0:
                    yield place
            if not rows:
                return
            marker = rows[-1].get("name")

    def _page(self, part: int, nodes: Any, marker: str | None) -> list[Any]:
        last: Exception | None = None
        for node in nodes:
            try:
                return direct.get_account(node, part, queue.ACCOUNT, marker, 1000)[1]
            except direct.DirectError as error:
                if error.http_status == 404:
                    return []  # nothing was ever queued
                last = error
        raise last or OSError("the account ring has no devices")

    def _tell(self) -> None:
        told = {
            delivery.target.name: {
                "delivered": delivery.figures.delivered,
                "failures": delivery.figures.failures,
                "refused": delivery.figures.refused,
                "dropped": delivery.figures.dropped,
                "waiting": sum(delivery.figures.waiting.values()),
                "is_down": clock.monotonic() < delivery.resting_until,
            }
            for delivery in self.deliveries
        }
        report = {"s3_notifier": {"time": clock.time(), "too_old": self.lost, "targets": told}}
        recon_cache.dump(report, self.recon_file, self.logger)


def _ring(swift_dir: str, name: str, logger: Any) -> Ring:
    try:
        return Ring(swift_dir, name, logger=logger)
    except (OSError, RingError) as err:
        raise ConfigError(f"The {name} ring in {swift_dir} can't be opened: {err}") from None
