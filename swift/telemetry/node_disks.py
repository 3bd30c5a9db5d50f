"""What can be seen of a node's disks from outside: mounted or not, how full, how much lies in quarantine.

What lives here: looking, in whoever's thread calls; it may block for as long as a disk does. What never does: changing
anything, and what the files mean.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from swift.core.config import truthy
from swift.engine.mounts import is_mount

_OBJECTS_DIRECTORY = re.compile(r"objects(?:-(\d+))?")


class NodeDisks:
    """The devices below one root. `conf`: devices (/srv/node), mount_check (true)."""

    def __init__(self, conf: Mapping[str, Any]) -> None:
        self.root = str(conf.get("devices") or "/srv/node")
        self._mount_check = truthy(conf.get("mount_check", "true"))

    def _device_names(self) -> list[str]:
        return [name for name in os.listdir(self.root) if os.path.isdir(os.path.join(self.root, name))]

    def device_names(self) -> list[str]:
        """As the root lists them, without a look at any disk. Raises OSError."""
        with os.scandir(self.root) as entries:
            return sorted(
                entry.name for entry in entries if entry.is_symlink() or entry.is_dir(follow_symlinks=False)
            )

    def is_usable(self, device: str) -> bool:
        """Returns True if something is mounted there, or need not be."""
        path = os.path.join(self.root, device)
        return is_mount(path) if self._mount_check else os.path.isdir(path)

    def quarantined_on(self, device: str) -> dict[tuple[str, str], int]:
        """How much is set aside on one device, by (accounts, containers or objects; index of the policy or "")."""
        directory = os.path.join(self.root, device, "quarantined")
        counts = {}
        for name in _names_in(directory):
            match = _OBJECTS_DIRECTORY.fullmatch(name)
            if match or name in ("accounts", "containers"):
                key = ("objects", match[1] or "0") if match else (name, "")
                counts[key] = _directory_count(os.path.join(directory, name))
        return counts

    def _mounted(self, device: str) -> bool | str:
        """Returns True if a device is a mount point of its own; the text of the error if that can't be told."""
        try:
            here = os.lstat(os.path.join(self.root, device))
            above = os.lstat(self.root)
        except OSError as error:
            return str(error)
        return here.st_dev != above.st_dev or here.st_ino == above.st_ino

    def unmounted(self) -> list[dict[str, Any]]:
        states = ((device, self._mounted(device)) for device in self._device_names())
        return [{"device": device, "mounted": state} for device, state in states if state is not True]

    def usage(self) -> list[dict[str, Any]]:
        """A line a device: name, mounted (bool or an error's text), size, used and avail in bytes, '' where unknown.

        Folders that stand for disks (`mount_check = false`) have the figures of their file system.
        """
        usage: list[dict[str, Any]] = []
        for device in self._device_names():
            mounted = self._mounted(device)
            entry: dict[str, Any] = {
                "device": device,
                "mounted": mounted,
                "size": "",
                "used": "",
                "avail": "",
            }
            if mounted is True or not self._mount_check:
                disk = os.statvfs(os.path.join(self.root, device))
                size, available = disk.f_bsize * disk.f_blocks, disk.f_bsize * disk.f_bavail
                entry.update(size=size, used=size - available, avail=available)
            usage.append(entry)
        return usage

    def quarantined(self) -> dict[str, Any]:
        """Entries are counted, for directory link counts are wrong on some file systems."""
        counts: dict[str, Any] = {"objects": 0, "containers": 0, "accounts": 0, "policies": {}}
        for device in self._device_names():
            directory = os.path.join(self.root, device, "quarantined")
            for name in ("accounts", "containers"):
                counts[name] += _directory_count(os.path.join(directory, name))
            for name in _names_in(directory):
                match = _OBJECTS_DIRECTORY.fullmatch(name)
                if match:
                    found = _directory_count(os.path.join(directory, name))
                    counts["objects"] += found
                    policy = counts["policies"].setdefault(match[1] or "0", {"objects": 0})
                    policy["objects"] += found
        return counts


def _names_in(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _directory_count(path: str) -> int:
    try:
        with os.scandir(path) as entries:
            return sum(entry.is_dir(follow_symlinks=False) for entry in entries)
    except OSError:
        return 0
