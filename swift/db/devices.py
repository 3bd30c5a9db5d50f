"""The devices of an account or container server: is it there, has it room, and where its disk work runs (database.md 12.1).

Nothing here waits for a disk in the event loop: what the directory of devices holds is on the system's disk, and a device is looked
at in its own threads.
"""

from __future__ import annotations

import os

from swift.core import clock
from swift.core.errors import InsufficientStorage
from swift.core.names import check_device_name
from swift.engine.mounts import is_mount
from swift.engine.space import Reserve
from swift.engine.threads import DevicePool, pool_for

CHECK_SECONDS = 1.0  # how long it is believed that a device is there and has room
MAX_DEVICES = 4096


def device_names(root: str) -> list[str]:
    """Directories and links below `root`, sorted: by what it says of them, without touching what is mounted there. Raises OSError."""
    with os.scandir(root) as entries:
        return sorted(e.name for e in entries if e.is_symlink() or e.is_dir(follow_symlinks=False))


def is_there(path: str, mount_check: bool) -> bool:
    """Returns True if a device is mounted at `path`, or is at least a directory where mounts are not checked. Blocks."""
    return is_mount(path) if mount_check else os.path.isdir(path)


class Device:
    """One device that has a directory."""

    __slots__ = ("_there_until", "has_room", "name", "path", "pool")

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self.pool: DevicePool = pool_for(path)
        self.has_room = True
        self._there_until = 0.0


class DatabaseDevices:
    """All devices below one directory."""

    def __init__(self, root: str, mount_check: bool, reserve: Reserve) -> None:
        self.root = root.rstrip("/") or "/"
        self.mount_check = mount_check
        self.reserve = reserve
        self._devices: dict[str, Device] = {}

    def get(self, name: str) -> Device:
        """The device, which was there a moment ago. Raises InsufficientStorage, and as its pool when it hangs."""
        device = self._devices.get(name) or self._find(name)
        if clock.monotonic() >= device._there_until:
            device.pool.run(self._look, device)
        return device

    def get_with_room(self, name: str) -> Device:
        """As get; raises InsufficientStorage also where the free space is down to the reserve."""
        device = self.get(name)
        if not device.has_room:
            raise InsufficientStorage()
        return device

    def _find(self, name: str) -> Device:
        check_device_name(name)
        try:
            if name not in device_names(self.root):
                raise InsufficientStorage()
        except OSError:
            raise InsufficientStorage() from None
        device = Device(name, f"{self.root}/{name}")
        if len(self._devices) < MAX_DEVICES:
            self._devices[name] = device
        return device

    def look(self, name: str) -> None:
        """Look at the device now, as before something is created on it. Blocks: for its threads. Raises InsufficientStorage."""
        self._look(self._devices.get(name) or self._find(name))

    def _look(self, device: Device) -> None:
        device._there_until = 0.0
        if not is_there(device.path, self.mount_check):
            raise InsufficientStorage()
        device.has_room = True
        if self.reserve:
            try:
                self.reserve.check(device.path)
            except OSError:
                device.has_room = False
        device._there_until = clock.monotonic() + CHECK_SECONDS
