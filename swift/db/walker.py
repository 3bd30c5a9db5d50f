"""Finding the databases on the devices of a node; for daemons."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from swift.core import clock
from swift.core.names import is_partition
from swift.engine.threads import DeviceBusy, pool_for

from .devices import device_names, is_there


class Walker:
    """All databases of one kind below a directory of devices. `data_directory`: accounts or containers."""

    def __init__(self, root: str, mount_check: bool, data_directory: str, logger: Any) -> None:
        self.root = root
        self.mount_check = mount_check
        self.data_directory = data_directory
        self.logger = logger

    def databases(self) -> Iterator[tuple[str, str]]:
        """(device path, path of `<hash>.db`), device by device, partitions in random order. The file may bear an epoch.

        Where a device hangs, the rest of it is left for another time.
        """
        for device_path in self.device_paths():
            try:
                yield from self.on_device(device_path)
            except DeviceBusy as err:
                self.logger.error("ERROR walking %s: %s", device_path, err)

    def device_paths(self) -> list[str]:
        """All devices that have a directory, sorted; touches none of them."""
        try:
            return [os.path.join(self.root, name) for name in device_names(self.root)]
        except OSError as err:
            self.logger.error("ERROR: Unable to access %s: %s", self.root, err)
            return []

    def on_device(
        self, device_path: str, wanted: Callable[[int], bool] | None = None, tidy: bool = False
    ) -> Iterator[tuple[str, str]]:
        """As databases, of one device, if it is there. Raises DeviceBusy where it hangs.

        `wanted(partition)`: False leaves a partition out. `tidy`: remove directories that are found empty.
        """
        if pool_for(device_path).run(is_there, device_path, self.mount_check):
            yield from self._on_device(device_path, wanted, tidy)
        elif self.mount_check:
            self.logger.warning("Skipping %s as it is not mounted", os.path.basename(device_path))

    def _on_device(
        self, device_path: str, wanted: Callable[[int], bool] | None, tidy: bool
    ) -> Iterator[tuple[str, str]]:
        root = f"{device_path}/{self.data_directory}"
        partitions = [name for name in self._listed(device_path, root) if is_partition(name)]
        clock.shuffle(partitions)
        for partition in partitions:
            if wanted is not None and not wanted(int(partition)):
                continue
            for suffix in self._listed(device_path, f"{root}/{partition}", tidy):
                for name in self._listed(device_path, f"{root}/{partition}/{suffix}", tidy):
                    if len(name) == 32:
                        yield device_path, f"{root}/{partition}/{suffix}/{name}/{name}.db"

    def _listed(self, device_path: str, path: str, tidy: bool = False) -> list[str]:
        try:
            names: list[str] = pool_for(device_path).run(os.listdir, path)
            if tidy and not names:
                with contextlib.suppress(OSError):  # it may be in use by now
                    pool_for(device_path).run(os.rmdir, path)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as err:
            self.logger.error("ERROR listing %s: %s", path, err)
            return []
        return names
