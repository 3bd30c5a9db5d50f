"""How far a node is from being in order: what is behind, and since when, for each disk and policy, and how far the pass is. Told in recon.

A partition is behind as long as a pass could not see that all other primaries have what is here. Never here: what is done about it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from swift.core import clock
from swift.obj.replication.jobs import Holding, Partitions

KEY = "object_replication_standing"
MAX_BEHIND = 100_000  # partitions that are remembered for each disk and policy


class _Disk:
    """One disk's part of one policy. `behind`: partition → when that was first seen."""

    __slots__ = ("began", "behind", "checked", "guests", "home", "seen", "total")

    def __init__(self) -> None:
        self.behind: dict[str, float] = {}
        self.home = self.guests = self.seen = self.total = 0
        self.began = self.checked = 0.0

    def remaining(self, now: float) -> float | None:
        """Seconds that the rest of the pass takes at the pace so far; 0 when it is over, None if nothing is done yet."""
        if self.seen >= self.total:
            return 0.0
        return (now - self.began) / self.seen * (self.total - self.seen) if self.seen else None


class _Key(NamedTuple):
    device: str
    policy: int


class Standing:
    """Of all disks of this process. `key`: where it stands in recon."""

    def __init__(self, key: str = KEY) -> None:
        self._key = key
        self._disks: dict[_Key, _Disk] = {}

    def begin(self, everything: list[Partitions]) -> None:
        """A pass begins over these; what is no longer on a disk is behind no more."""
        for found in everything:
            disk = self._disks.setdefault(_disk_of(found.holding), _Disk())
            disk.home, disk.guests, disk.seen = len(found.home), len(found.guests), 0
            disk.total = disk.home + disk.guests
            disk.began = clock.time()
            if disk.behind:
                here = {*found.home, *found.guests}
                disk.behind = {part: since for part, since in disk.behind.items() if part in here}

    def note(self, holding: Holding, partition: str, whole: bool) -> None:
        """A partition was looked at; `whole`: all that should have it do, and it is not left here without being at home."""
        disk = self._disks.get(_disk_of(holding))
        if disk is None:
            return
        disk.seen += 1
        if whole:
            disk.behind.pop(partition, None)
            if disk.guests and holding.is_guest(partition):
                disk.guests -= 1
        elif len(disk.behind) < MAX_BEHIND:
            disk.behind.setdefault(partition, clock.time())
        if disk.seen == disk.total:
            disk.checked = clock.time()

    def recon(self) -> dict[str, Any]:
        """{device: {policy index: figures}}; times in seconds since the epoch, None for never.

        `partitions` at home, `handoffs` that are left, `behind` and since when, `checked`: when all were last looked at. Of the latest pass:
        `done` of `total`, `began`, and `remaining` seconds (0: it is over; None: not to be told yet).
        """
        told: dict[str, Any] = {}
        now = clock.time()
        for key, disk in self._disks.items():
            told.setdefault(key.device, {})[str(key.policy)] = {
                "partitions": disk.home,
                "handoffs": disk.guests,
                "behind": len(disk.behind),
                "behind_since": min(disk.behind.values(), default=None),
                "checked": disk.checked or None,
                "done": disk.seen,
                "total": disk.total,
                "began": disk.began or None,
                "remaining": disk.remaining(now),
            }
        return {self._key: told} if told else {}


def _disk_of(holding: Holding) -> _Key:
    return _Key(holding.device["device"], holding.policy.idx)
