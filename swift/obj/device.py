"""The devices of an object server: is it there, is it mounted, has it room, and where its disk work runs (object-disk 1)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from swift.core import clock
from swift.core.errors import InsufficientStorage
from swift.core.fs import is_mount
from swift.core.names import check_device_name
from swift.core.threads import DeviceBusy, DevicePool, pool_for
from swift.obj.errors import DeviceUnavailable

CHECK_SECONDS = 1.0  # how long an answer about a mount is believed for reads; writes ask each time
MAX_DEVICES = 4096


class Device:
    """One device that exists. `run` raises what the function raises, or DeviceUnavailable when the disk is swamped."""

    __slots__ = ("name", "path", "pool", "inline", "_checked")

    def __init__(self, name: str, path: str, threads: int) -> None:
        self.name = name
        self.path = path
        self.pool: DevicePool = pool_for(path, threads)
        self.inline = self.pool.inline
        self._checked = 0.0

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run blocking disk work where it stalls nobody else."""
        if self.inline:
            return function(*args)
        try:
            return self.pool.run(function, *args)
        except DeviceBusy as err:
            raise DeviceUnavailable(str(err)) from None


class Devices:
    """All devices below one directory. Unknown ones are looked for at each request, known ones checked as said."""

    def __init__(self, root: str, mount_check: bool, threads_per_device: int = 4) -> None:
        self.root = root.rstrip("/") or "/"
        self.mount_check = mount_check
        self._threads = threads_per_device
        self._devices: dict[str, Device] = {}

    def get(self, name: str, for_write: bool = True) -> Device:
        """The device, if it is there and mounted. Raises DeviceUnavailable."""
        device = self._devices.get(name)
        if device is None:
            return self._find(name)
        # without mount_check a vanished directory shows itself: writes never create it, reads find nothing
        if self.mount_check:
            now = clock.monotonic()
            if for_write or now - device._checked > CHECK_SECONDS:
                self._check(name, device.path)
                device._checked = now
        return device

    def _find(self, name: str) -> Device:
        try:
            check_device_name(name)
        except InsufficientStorage:
            raise DeviceUnavailable(name) from None
        path = f"{self.root}/{name}"
        self._check(name, path)
        device = Device(name, path, self._threads)
        if len(self._devices) < MAX_DEVICES:
            self._devices[name] = device
        return device

    def _check(self, name: str, path: str) -> None:
        if not (is_mount(path) if self.mount_check else os.path.isdir(path)):
            raise DeviceUnavailable(name)

    def is_there(self, device: Device) -> bool:
        """Whether a device from which nothing could be read is there at all."""
        return is_mount(device.path) if self.mount_check else os.path.isdir(device.path)

    def names(self) -> list[str]:
        """All entries of the devices directory that pass the check, sorted; for daemons."""
        try:
            entries = sorted(os.listdir(self.root))
        except OSError:
            return []
        found = []
        for name in entries:
            try:
                self._find(name) if name not in self._devices else self.get(name)
                found.append(name)
            except DeviceUnavailable:
                continue
        return found
