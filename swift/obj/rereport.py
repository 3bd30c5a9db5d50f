"""Reporting objects to their listings once more, after a server was killed or the machine lost its power.

What a killed server had in hand is in its notes (`in_hand`); after a restart of the machine, whatever was written shortly before it stopped is
looked for on the disks (`boots`), as listings may have lost what they had acknowledged, and is hashed again. Rows that say nothing new change nothing. What
can't be delivered at once is kept below async_pending. Never here: async pending files that are there already (`updater`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import sleep
from swift.core.config import non_negative_float
from swift.core.errors import LockTimeout
from swift.core.hashing import hash_path
from swift.core.names import split_path
from swift.core.object_headers import update_overrides
from swift.core.policy import PolicyCollection
from swift.obj.async_pending import ContainerUpdate, write_update
from swift.obj.boots import earlier_boots, forget_boots
from swift.obj.delivery import Delivery
from swift.obj.device import Device, Devices
from swift.obj.errors import Deleted, DeviceUnavailable, NotExist, ObjectError
from swift.obj.in_hand import Abandoned, abandoned
from swift.obj.listed import listed_fields, queue_fields, stored_overrides
from swift.obj.store import HEAD, ObjectStore, OpenObject, Place
from swift.obj.stores import Stores
from swift.obj.updates import ExpirerQueue
from swift.run.rate import RateLimiter

MARGIN = (
    600.0  # seconds; a listing's row is on its disk some 35 s after it was acknowledged, whatever its options
)
REST = 9.0  # times as long as a look at a disk took is rested after it
GRACE = 2.0  # seconds; what a killed server had given to others to write is on disk by then


class Rereports:
    """Passes over what may never have been reported. `conf`: of the object-updater; ValueError for bad options."""

    def __init__(
        self,
        conf: Mapping[str, Any],
        devices: Devices,
        stores: Stores,
        policies: PolicyCollection,
        delivery: Delivery,
        per_second: float,
        logger: Any,
    ) -> None:
        self.devices = devices
        self.stores = stores
        self.policies = policies
        self.delivery = delivery
        self.logger = logger
        self.pace = RateLimiter(per_second)
        self.margin = non_negative_float(conf.get("report_again_seconds", MARGIN))
        self.queue = ExpirerQueue(conf)

    def run_forever(self, interval: float) -> None:
        """Pass after pass, one in `interval` seconds; there is seldom anything to do."""
        while True:
            self.run_once(REST)
            sleep(interval)

    def run_once(self, rest: float = 0.0) -> None:
        """One pass. `rest`: times the work on a disk that is rested after it. Raises nothing."""
        try:
            self._killed_servers()
            self._restarts(rest)
        except Exception:
            self.logger.exception("ERROR reporting objects again")

    # ------------------------------------------------------------ servers that were killed

    def _killed_servers(self) -> None:
        for notes in abandoned(self.devices.root):
            if notes.writes:
                sleep(GRACE)
                if not self._from_notes(notes):
                    continue
                self.logger.warning(
                    "A server ended amid %d writes; their objects were reported again", len(notes.writes)
                )
            notes.remove()

    def _from_notes(self, notes: Abandoned) -> bool:
        """True unless something is to be tried again."""
        whole = True
        for noted in notes.writes:
            policy = self.policies.get_by_index(noted.policy_index)
            if policy is None:
                continue
            try:
                store = self.stores.get(self.devices.get(noted.device), policy)
                self.report(store, store.locate(noted.partition, noted.name_hash, None))
            except (ObjectError, OSError) as err:
                whole = False
                self.logger.error("ERROR reporting %s on %s again: %s", noted.name_hash, noted.device, err)
        return whole

    # ------------------------------------------------------------ restarts of the machine

    def _restarts(self, rest: float) -> None:
        for name in self.devices.names():
            device = self.devices.get(name)
            try:
                boots = device.run(earlier_boots, device.path)
                if boots:
                    if self.margin:
                        self._written_since(device, min(boots.values()) - self.margin, rest)
                    device.run(forget_boots, list(boots))
            except (ObjectError, LockTimeout, OSError) as err:
                self.logger.error("ERROR reporting again what is on %s: %s", device.path, err)

    def report_since(self, since: float, rest: float = 0.0) -> None:
        """Report all that was written since then (seconds since the epoch), on all devices."""
        for name in self.devices.names():
            try:
                self._written_since(self.devices.get(name), since, rest)
            except (ObjectError, LockTimeout, OSError) as err:
                self.logger.error("ERROR reporting again what is on %s: %s", name, err)

    def _written_since(self, device: Device, since: float, rest: float) -> None:
        started, count = clock.time(), 0
        self.logger.warning(
            "What was written to %s since %s is reported to its containers again, as the machine was restarted",
            device.path,
            clock.ctime(since),
        )
        for policy in self.policies:
            store = self.stores.get(device, policy)
            for partition in store.partitions():
                began = clock.monotonic()
                suffixes = set()
                for places in store.changed(partition, since):
                    sleep((clock.monotonic() - began) * rest)
                    for place in places:
                        suffixes.add(place.suffix)
                        count += self._reported(store, place)
                    began = clock.monotonic()
                if suffixes:
                    # the word that they are to be hashed again may be lost as well, and then other nodes never get what is in them
                    store.invalidate(partition, suffixes, are_durable=True)
        self.logger.info("Reported %d objects on %s again: %.2fs", count, device.path, clock.time() - started)

    def _reported(self, store: ObjectStore, place: Place) -> int:
        try:
            self.report(store, place)
        except DeviceUnavailable:
            raise
        except (ObjectError, OSError) as err:
            self.logger.error("ERROR reporting %s on %s again: %s", place.name_hash, store.device.name, err)
            return 0
        return 1

    # ------------------------------------------------------------ one object

    def report(self, store: ObjectStore, place: Place) -> None:
        """Have all listings know what is at `place` now. Raises what the store raises, OSError."""
        index = store.policy.idx
        try:
            found = store.open(place, HEAD, open_expired=True)
        except Deleted as gone:
            if gone.name:
                account, container, obj = split_path(gone.name, 3, 3, True)
                self._send(
                    store,
                    ContainerUpdate("DELETE", account, container, obj, {"X-Timestamp": gone.timestamp}),
                    index,
                )
            return
        except NotExist:
            return
        for update in self._updates(found):
            self._send(store, update, index if update.account != self.queue.account else 0)

    def _updates(self, found: OpenObject) -> list[ContainerUpdate]:
        account, container, obj = split_path(found.metadata["name"], 3, 3, True)
        data = found.data_metadata
        fields = listed_fields(data, found.data_timestamp, found.metadata.get("Content-Type", ""))
        if found.meta_metadata is not None:
            fields["X-Content-Type-Timestamp"] = found.ctype_timestamp
            fields["X-Meta-Timestamp"] = found.timestamp
        fields.update(update_overrides(stored_overrides(data)))
        updates = [ContainerUpdate("PUT", account, container, obj, fields)]
        delete_at = found.metadata.get("X-Delete-At")
        if delete_at and delete_at.isdecimal():
            container, obj = self.queue.row(int(delete_at), account, container, obj)
            queued = {
                "X-Timestamp": found.timestamp,
                **self.queue.fields(),
                **queue_fields(data, found.data_timestamp),
            }
            updates.append(ContainerUpdate("PUT", self.queue.account, container, obj, queued))
        return updates

    def _send(self, store: ObjectStore, update: ContainerUpdate, policy_index: int) -> None:
        self.pace.wait()
        update.headers["X-Backend-Storage-Policy-Index"] = str(policy_index)
        stored = update.stored()
        done, _, _ = self.delivery.deliver(stored, policy_index)
        if done:
            return
        name_hash = hash_path(update.account, update.container, update.obj)
        device = store.device
        device.run(write_update, device.path, store.policy.idx, name_hash, update.timestamp, stored)
