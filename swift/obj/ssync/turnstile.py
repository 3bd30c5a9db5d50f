"""Who may replicate into this server: how many sessions at a time in all, on a device, and one on a partition (object-disk 12).

Whoever waits here does so as a green thread; locks are files, so that all workers and other programs on the disks respect them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from swift.core import clock
from swift.core.concurrency import sleep
from swift.core.config import non_negative_int, positive_float, truthy
from swift.core.errors import LockTimeout
from swift.engine.locks import acquire_lock
from swift.obj import in_hand
from swift.obj.device import Device
from swift.obj.store import ObjectStore, PartitionLock

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.25  # seconds


class NoSession(Exception):
    """As many sessions as may be are under way on this server."""


class NotInTime(Exception):
    """A lock was not to be had. The text says how long it was waited for, and its file."""


def sessions_directory(devices_root: str) -> str:
    """Where the sessions of all workers that serve these devices are counted; the same for all that run as this user."""
    digest = hashlib.sha256(os.path.realpath(devices_root).encode("utf-8", "surrogateescape"))
    return f"{in_hand.SHARED_MEMORY}/swift-ssync-{os.geteuid()}-{digest.hexdigest()[:16]}"


def take_away(devices_root: str) -> None:
    """Remove what ended servers have left there. Raises OSError."""
    directory = sessions_directory(devices_root)
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            os.unlink(f"{directory}/{name}")
        os.rmdir(directory)


class Turnstile:
    """Options replication_concurrency, replication_concurrency_per_device (0: no limit) and replication_lock_timeout (seconds)."""

    def __init__(self, conf: Mapping[str, Any], devices_root: str, logger: Any) -> None:
        self.sessions = non_negative_int(conf.get("replication_concurrency", 16))
        per_device = conf.get("replication_concurrency_per_device")
        old = conf.get("replication_one_per_device")
        if per_device is None and old is not None:
            logger.warning(
                "Option replication_one_per_device is deprecated and will be removed in a future version. "
                "Update your configuration to use option replication_concurrency_per_device."
            )
            per_device = 1 if truthy(old) else 0
        elif old is not None:
            logger.warning(
                "Option replication_one_per_device ignored as replication_concurrency_per_device is defined."
            )
        self.per_device = non_negative_int(4 if per_device is None else per_device)
        self.timeout = positive_float(conf.get("replication_lock_timeout", 15))
        self._root = devices_root

    def enter(self, store: ObjectStore, partition: str) -> list[PartitionLock]:
        """What a session holds while it lasts; give all of it back. Raises NoSession, NotInTime, DeviceUnavailable, OSError."""
        held: list[PartitionLock] = []
        try:
            session = self._session() if self.sessions else None
            if session is not None:
                held.append(session)
            deadline = clock.monotonic() + self.timeout
            held.append(_wait(lambda: store.lock_partition(partition), deadline, self.timeout))
            if self.per_device:
                held.append(_wait(lambda: self._on_device(store.device), deadline, self.timeout))
            return held
        except BaseException:
            for lock in held:
                lock.close()
            raise

    def _session(self) -> PartitionLock | None:
        """In memory that all workers share; None where there is none: then nothing is counted."""
        directory = sessions_directory(self._root)
        try:
            os.makedirs(directory, 0o700, exist_ok=True)
            return PartitionLock(acquire_lock(directory, 0, self.sessions))
        except LockTimeout:
            raise NoSession from None
        except OSError:
            return None

    def _on_device(self, device: Device) -> PartitionLock:
        lock: PartitionLock = device.run(_lock_device, device.path, self.per_device)
        return lock


def _lock_device(path: str, limit: int) -> PartitionLock:
    return PartitionLock(acquire_lock(path, 0, limit))


def _wait(take: Callable[[], PartitionLock], deadline: float, timeout: float) -> PartitionLock:
    pause = _FIRST_PAUSE
    while True:
        try:
            return take()
        except LockTimeout as busy:
            left = deadline - clock.monotonic()
            if left <= 0:
                path = str(busy).removeprefix("no lock on ").rpartition(" within ")[0]
                raise NotInTime(f"{timeout:g} seconds: {path}") from None
            sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)
