"""Rows that listings have lost: what is new on a device is compared with its listings, and what they do not have is reported again.

A listing's row may be lost after it was acknowledged (a power cut of all servers that keep it, `sync_pending_updates = no`), and nobody else would
ever tell of that object again. Each object is compared once, in the first pass of the auditor that sees it; MARGIN and the time that rows
take to become durable see to it that this is late enough. Never here: asking (`listed_names`), reporting (`swift.obj.rereport`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.names import split_path
from swift.core.policy import policies
from swift.obj.auditing.listed_names import ListedNames
from swift.obj.auditing.options import AuditorOptions
from swift.obj.auditing.pass_times import PassTimes
from swift.obj.delivery import Delivery
from swift.obj.device import Device, Devices
from swift.obj.errors import DeviceOverloaded, DeviceUnavailable, ObjectError
from swift.obj.missing import MissingDatabases
from swift.obj.rereport import Rereports
from swift.obj.store import RECLAIM_AGE, ObjectStore, OpenObject, Place
from swift.obj.stores import Stores

MARGIN = (
    600.0  # seconds; a listing's row is on its disk some 35 s after it was acknowledged, whatever its options
)
# The share of the reclaim age after which a row is not reported: what deleted it may be reclaimed soon, and it would come back as a ghost.
OLDEST = 6 / 7
MOST = 5000  # objects that wait to be asked for
PER_SECOND = 50  # reports
STATE_FILE = "auditor_rows.json"


class _Waiting(NamedTuple):
    """`time`: of the last change, seconds."""

    store: ObjectStore
    place: Place
    time: float
    deleted: bool


class Rows:
    """What the passes of a process share. `ring`: of containers. Raises ValueError."""

    def __init__(
        self,
        conf: Mapping[str, Any],
        options: AuditorOptions,
        devices: Devices,
        stores: Stores,
        ring: Any,
        logger: Any,
    ) -> None:
        conn_timeout, node_timeout = options.conn_timeout, options.node_timeout
        missing = MissingDatabases(0, logger)
        delivery = Delivery(ring, conn_timeout, node_timeout, missing, logger)
        self.rereports = Rereports(conf, devices, stores, policies(), delivery, PER_SECOND, logger)
        self.names = ListedNames(ring, conn_timeout, node_timeout, f"object-auditor {os.getpid()}")
        self.oldest = OLDEST * min(options.reclaim_age, RECLAIM_AGE)
        self.logger = logger

    def begin(self, device: Device) -> DeviceRows:
        """A pass over a device begins. Raises DeviceUnavailable, DeviceOverloaded."""
        return DeviceRows(self, device)


class DeviceRows:
    """Of one pass over one device. It is remembered there what was compared: since when, and from when on this time."""

    def __init__(self, rows: Rows, device: Device) -> None:
        self.rows = rows
        self.device = device
        self.reported = 0
        self._state = PassTimes(device.path, STATE_FILE)
        now = clock.time()
        device.run_mounted(True, self._state.begin, now)
        self._since = max(self._state.before - MARGIN, now - rows.oldest)
        self._waiting: dict[tuple[str, str, int], dict[str, _Waiting]] = {}
        self._count = 0
        self._is_whole = True

    def see_object(self, store: ObjectStore, place: Place, found: OpenObject) -> None:
        """It is there."""
        self._see(store, place, found.metadata["name"], found.timestamp, False)

    def see_tombstone(self, store: ObjectStore, place: Place, timestamp: str, name: str | None) -> None:
        """It was deleted then."""
        if name:
            self._see(store, place, name, timestamp, True)

    def _see(self, store: ObjectStore, place: Place, name: str, timestamp: str, deleted: bool) -> None:
        time = float(timestamp[:16])
        if time < self._since:
            return
        try:
            account, container, obj = split_path(name, 3, 3, True)
        except ValueError:
            return
        its = self._waiting.setdefault((account, container, store.policy.idx), {})
        if obj not in its:
            self._count += 1
        its[obj] = _Waiting(store, place, time, deleted)
        if self._count >= MOST:
            self.settle()

    def settle(self) -> None:
        """Ask for all that waits."""
        waiting, self._waiting, self._count = self._waiting, {}, 0
        for (account, container, policy_index), its in waiting.items():
            self._compare(account, container, policy_index, its)

    def end(self) -> None:
        """The pass has come to its end; the next one begins where this one did, unless some could not be asked for."""
        self.settle()
        if self.reported:
            self.rows.logger.warning(
                "Reported %d objects on %s to their containers again, whose listings had lost them",
                self.reported,
                self.device.path,
            )
        self.device.run(self._state.end, self._is_whole)

    def _compare(self, account: str, container: str, policy_index: int, its: dict[str, _Waiting]) -> None:
        listed = self.rows.names.ask(account, container, its, policy_index)
        if not listed.exists:
            # a container that is nowhere lists nothing; if nobody has answered, there is a next time
            self._is_whole = self._is_whole and listed.answered
            return
        for name, waiting in its.items():
            time = listed.times.get(name)
            if waiting.deleted:
                lost = time is not None and time < waiting.time
            else:
                # the row is as new as the object if it is not older by the least step of a timestamp
                lost = time is None or time < waiting.time - 5e-6
            if lost:
                self._report(waiting)

    def _report(self, waiting: _Waiting) -> None:
        try:
            self.rows.rereports.report(waiting.store, waiting.place)
        except (DeviceUnavailable, DeviceOverloaded):
            raise
        except (ObjectError, OSError) as err:
            self._is_whole = False
            self.rows.logger.error(
                "ERROR reporting %s on %s again: %s", waiting.place.name_hash, self.device.name, err
            )
        else:
            self.reported += 1
