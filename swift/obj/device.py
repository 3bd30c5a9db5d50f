"""The devices of an object server: is it there, is it mounted, and where its disk work runs (object-disk 1).

Nothing here waits for a disk in the event loop: what a directory of devices holds is on the system's disk, and whether a device is mounted
is asked in the device's own threads, together with the work.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from swift.core import clock
from swift.core.errors import InsufficientStorage
from swift.core.names import check_device_name
from swift.engine.mounts import is_mount
from swift.engine.threads import Call, DeviceBusy, DevicePool, DeviceStuck, pool_for
from swift.obj.errors import DeviceOverloaded, DeviceUnavailable

CHECK_SECONDS = 1.0  # how long an answer about a mount is believed for reads; writes ask each time
MAX_DEVICES = 4096


class Device:
    """One device that has a directory. Calls raise what they raise, DeviceUnavailable (hung) or DeviceOverloaded (swamped)."""

    __slots__ = ("_checked", "inline", "mount_check", "name", "path", "pool")

    def __init__(self, name: str, path: str, threads: int, mount_check: bool = False) -> None:
        self.name = name
        self.path = path
        self.mount_check = mount_check
        self.pool: DevicePool = pool_for(path, threads)
        self.inline = self.pool.inline
        self._checked = 0.0

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run blocking disk work where it stalls nobody else. After DeviceUnavailable it may still be going on."""
        if self.inline:
            return function(*args)
        try:
            return self.pool.run(function, *args)
        except DeviceStuck as err:
            raise DeviceUnavailable(str(err)) from None
        except DeviceBusy as err:
            raise DeviceOverloaded(str(err)) from None

    def run_mounted(self, for_write: bool, function: Callable[..., Any], *args: Any) -> Any:
        """`run` for the first disk work of a request: raises DeviceUnavailable, too, when the device is not mounted."""
        if self.mount_check and (for_write or clock.monotonic() - self._checked > CHECK_SECONDS):
            return self.run(self._if_mounted, function, *args)
        return self.run(function, *args)

    def run_on(self, owner: Any, function: Callable[..., Any], *args: Any) -> Any:
        """`run` for work on the descriptor of `owner`, whose `lent` stays True if the work goes on after this call.

        Then it must not be closed: it is freed by its `__del__` when the last call that has it ends.
        """
        if self.inline:
            return function(*args)
        call: Call | None = None
        try:
            call = self.pool.submit(function, *args)
            owner.lent = True
            return call.wait()
        except DeviceStuck as err:
            raise DeviceUnavailable(str(err)) from None
        except DeviceBusy as err:
            raise DeviceOverloaded(str(err)) from None
        finally:
            if call is not None and call.done:
                owner.lent = False

    def carry(self, thread: Any, item: Any, weight: int) -> Any:
        """`run` of an item with others in a thread that takes batches."""
        try:
            return thread.carry(item, weight)
        except DeviceStuck as err:
            raise DeviceUnavailable(str(err)) from None
        except DeviceBusy as err:
            raise DeviceOverloaded(str(err)) from None

    def leave(self, function: Callable[..., Any], *args: Any) -> None:
        """Have something done that nobody waits for; never refused. It must raise nothing."""
        if self.inline:
            function(*args)
        else:
            self.pool.leave(function, *args)

    def _if_mounted(self, function: Callable[..., Any], *args: Any) -> Any:
        self.check()
        return function(*args)

    def check(self) -> None:
        """Blocks. Raises DeviceUnavailable unless the device is mounted, or at least there where mounts are not checked."""
        if not (is_mount(self.path) if self.mount_check else os.path.isdir(self.path)):
            raise DeviceUnavailable(self.name)
        self._checked = clock.monotonic()


class Devices:
    """All devices below one directory. Unknown ones are looked for at each request."""

    def __init__(self, root: str, mount_check: bool, threads_per_device: int = 4) -> None:
        self.root = root.rstrip("/") or "/"
        self.mount_check = mount_check
        self._threads = threads_per_device
        self._devices: dict[str, Device] = {}

    def get(self, name: str) -> Device:
        """The device of that name. Raises DeviceUnavailable when there is no directory for it.

        Whether it is mounted shows when it is used: `Device.run_mounted`.
        """
        device = self._devices.get(name)
        return device if device is not None else self._find(name)

    def _find(self, name: str) -> Device:
        try:
            check_device_name(name)
        except InsufficientStorage:
            raise DeviceUnavailable(name) from None
        if name not in self.entries():
            raise DeviceUnavailable(name)
        device = Device(name, f"{self.root}/{name}", self._threads, self.mount_check)
        if len(self._devices) < MAX_DEVICES:
            self._devices[name] = device
        return device

    def entries(self) -> list[str]:
        """Directories and links below the root: by what the root says of them, without touching what is mounted on them."""
        try:
            with os.scandir(self.root) as entries:
                return sorted(e.name for e in entries if e.is_symlink() or e.is_dir(follow_symlinks=False))
        except OSError:
            return []

    def names(self) -> list[str]:
        """All devices that pass the check, sorted; for daemons."""
        found = []
        for name in self.entries():
            try:
                device = self.get(name)
                device.run(device.check)
                found.append(name)
            except (DeviceUnavailable, DeviceOverloaded):
                continue
        return found
