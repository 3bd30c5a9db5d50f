"""The disks of this node as they were when last looked at, without anybody waiting for one that hangs.

What lives here: looking in threads, one look a disk at a time, and what was seen. What never does: who is told
(`swift.telemetry.node_metrics`, the filter healthcheck), and requests' own files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swift.core import clock
from swift.core.concurrency import Timeout, spawn_n
from swift.engine.threads import Call, ThreadPool
from swift.telemetry.node_disks import NodeDisks

LOOK_SECONDS = 2.0  # that whoever asks waits for all disks together
FRESH_SECONDS = 5.0  # a look that is younger is not repeated for who only wants to know if a disk can be used
STALE_SECONDS = 30.0  # a disk that has not been seen for so long does not answer
_THREADS = 32  # disks that may hang before others aren't looked at
_pool: ThreadPool | None = None


@dataclass(frozen=True)
class Seen:
    """A disk. `mounted`: True where that is not asked for, too; `quarantined`: directories by kind and policy ("" for databases)."""

    at: float  # monotonic
    mounted: bool
    read_only: bool
    size: int
    available: int
    inodes: int
    inodes_free: int
    quarantined: Mapping[tuple[str, str], int]


class DiskWatch:
    """The devices below one root. `conf`: devices, mount_check, as `NodeDisks`."""

    def __init__(self, conf: Mapping[str, Any]) -> None:
        self.disks = NodeDisks(conf)
        self.seen: dict[str, Seen] = {}
        self.names: list[str] = []
        self.unlisted = ""  # why the devices can't be listed
        self._looks: dict[str, Call] = {}
        self._listing: Call | None = None
        self._looked_at = -STALE_SECONDS
        self._is_looking = False

    def look(self, quarantine: bool = True) -> None:
        """Look at all disks; returns when all have answered, after LOOK_SECONDS, or at once if somebody else looks. In the hub."""
        if self._is_looking:
            return
        self._is_looking = True
        self._looked_at = clock.monotonic()
        try:
            with Timeout(LOOK_SECONDS, False):
                self._look_at_all(quarantine)
        finally:
            self._is_looking = False

    def _look_at_all(self, quarantine: bool) -> None:
        pool = _threads()
        if self._listing is None or self._listing.done:
            self._listing = pool.submit(self._list, must=True)
        self._listing.wait()
        started = []
        for name in self.names:
            under_way = self._looks.get(name)
            if under_way is None or under_way.done:
                under_way = self._looks[name] = pool.submit(self._look_at, name, quarantine, must=True)
                started.append(under_way)
        for look in started:
            look.wait()

    def usable(self) -> list[str]:
        """Names of the disks that can be written to, as far as is known; never waits, and has them looked at where that is long ago."""
        now = clock.monotonic()
        if now - self._looked_at > FRESH_SECONDS and not self._is_looking:
            self._looked_at = now
            spawn_n(self.look, False)
        return [
            name
            for name in self.names
            if self.answers(name) and self.seen[name].mounted and not self.seen[name].read_only
        ]

    @property
    def was_looked_at(self) -> bool:
        """Returns True once a look has come to an end."""
        return bool(self.seen) or bool(self.unlisted)

    def what_is_wrong_with(self, name: str) -> str:
        """In a few words, of a disk that is not usable."""
        if not self.answers(name):
            return f"{name} does not answer"
        return f"{name} is read-only" if self.seen[name].mounted else f"{name} is not mounted"

    def answers(self, name: str) -> bool:
        """Returns True if the disk was seen lately."""
        seen = self.seen.get(name)
        return seen is not None and self._looked_at - seen.at < STALE_SECONDS

    # -- in a thread ---------------------------------------------------------------------------------------------------
    def _list(self) -> None:
        try:
            names = self.disks.device_names()
        except OSError as error:
            self.unlisted = error.strerror or str(error)
            self.names = []
            return
        self.unlisted = ""
        self.names = names
        for name in [name for name in self.seen if name not in names]:
            del self.seen[name]

    def _look_at(self, name: str, quarantine: bool) -> None:
        try:
            mounted = self.disks.is_usable(name)
            disk = os.statvfs(os.path.join(self.disks.root, name)) if mounted else None
        except OSError:
            self.seen.pop(name, None)
            return
        known = self.seen.get(name)
        counts = self.disks.quarantined_on(name) if mounted and quarantine else None
        if counts is None:
            counts = dict(known.quarantined) if known is not None else {}
        self.seen[name] = Seen(
            clock.monotonic(),
            mounted,
            bool(disk and disk.f_flag & os.ST_RDONLY),
            disk.f_bsize * disk.f_blocks if disk else 0,
            disk.f_bsize * disk.f_bavail if disk else 0,
            disk.f_files if disk else 0,
            disk.f_favail if disk else 0,
            counts,
        )


def _threads() -> ThreadPool:
    global _pool
    if _pool is None:
        _pool = ThreadPool("looks at disks", _THREADS, 4096)
    return _pool


_watches: dict[tuple[str, str], DiskWatch] = {}


def watch_of(conf: Mapping[str, Any]) -> DiskWatch:
    """The watch over these devices; one for all in this process that ask for the same."""
    key = str(conf.get("devices") or "/srv/node"), str(conf.get("mount_check", "true"))
    if key not in _watches:
        _watches[key] = DiskWatch(conf)
    return _watches[key]
