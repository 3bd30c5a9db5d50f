"""Going over all partitions, slowly and all the time, for what is old enough to be removed.

The object-updater runs it beside its sweeps. Replication, which hashes suffixes, removes the same things sooner where it runs.
"""

from __future__ import annotations

from typing import Any

from swift.core import clock
from swift.core.concurrency import sleep
from swift.core.errors import LockTimeout
from swift.core.policy import PolicyCollection
from swift.obj.device import Device, Devices
from swift.obj.errors import ObjectError
from swift.obj.stores import Stores

REST = 9.0  # times as long as a piece of work took is rested after it: a tenth of one disk's time, less when it is slow
PAUSE = 600.0  # seconds from the end of one pass to the next


class Reclaimer:
    """Passes over the devices. `pause`: seconds from the end of one pass to the beginning of the next."""

    def __init__(
        self, devices: Devices, stores: Stores, policies: PolicyCollection, logger: Any, pause: float = PAUSE
    ) -> None:
        self.devices = devices
        self.stores = stores
        self.policies = policies
        self.logger = logger
        self.pause = pause

    def run_forever(self) -> None:
        """Pass after pass."""
        while True:
            sleep(self.pause)
            try:
                self.run_once(REST)
            except Exception:
                self.logger.exception("ERROR reclaiming")

    def run_once(self, rest: float = 0.0) -> int:
        """One pass; returns how many hash directories were cleaned up. `rest`: times the work that is rested after each piece."""
        started = clock.time()
        cleaned = 0
        for name in self.devices.names():
            device = self.devices.get(name)
            try:
                cleaned += self._device(device, rest)
            except (ObjectError, LockTimeout, OSError) as err:
                self.logger.error("ERROR reclaiming on %s: %s", device.path, err)
        if cleaned:
            self.logger.info(
                "Removed what is older than %g s from %d objects' directories: %.2fs",
                self.stores.options.reclaim_age,
                cleaned,
                clock.time() - started,
            )
        return cleaned

    def _device(self, device: Device, rest: float) -> int:
        cleaned = 0
        for policy in self.policies:
            store = self.stores.get(device, policy)
            for partition in store.partitions():
                began = clock.monotonic()
                for count in store.reclaim(partition):
                    cleaned += count
                    if rest:
                        sleep((clock.monotonic() - began) * rest)
                        began = clock.monotonic()
        return cleaned
