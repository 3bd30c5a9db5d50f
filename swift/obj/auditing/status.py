"""How far a pass over a device has come, kept on the device so that it goes on there after a restart (object-disk 20.3).

The file is the reference's, so that either may go on where the other was stopped. Everything here but `Remaining` blocks.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque

from swift.core import clock
from swift.obj.directories import TMPDIR, policy_dir

WRITE_SECONDS = 60.0
MAX_BYTES = 64 << 20
MAX_DIGITS = 10  # of a partition


class StatusFile:
    """Of one policy's data on one device. `audit_type`: ALL or ZBF. Errors are of no consequence: the pass begins anew."""

    def __init__(self, device_path: str, datadir: str, policy_index: int, audit_type: str) -> None:
        self.path = f"{device_path}/{datadir}/auditor_status_{audit_type}.json"
        # in the data directory, others would take what a crash leaves for a partition
        self._tmp_dir = f"{device_path}/{policy_dir(TMPDIR, policy_index)}"

    def read(self) -> list[str] | None:
        """The partitions that are left; None if that is not known."""
        try:
            with open(self.path) as file:
                partitions = json.loads(file.read(MAX_BYTES))["partitions"]
            return [
                name for name in partitions if name.isdecimal() and name.isascii() and len(name) <= MAX_DIGITS
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, partitions: list[str]) -> None:
        """Keep what is left, the one that is being worked on first."""
        temporary = f"{self._tmp_dir}/{os.path.basename(self.path)}-{clock.random_bytes(6).hex()}"
        with contextlib.suppress(OSError):
            os.makedirs(self._tmp_dir, exist_ok=True)
            try:
                with open(temporary, "w") as file:
                    json.dump({"partitions": partitions}, file)
                os.rename(temporary, self.path)
            except BaseException:
                os.unlink(temporary)
                raise

    def remove(self) -> None:
        """The pass is complete."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)


class Remaining:
    """The partitions of one pass that are not done, in their order. Several may be under way."""

    def __init__(self, partitions: list[str]) -> None:
        self._waiting = deque(partitions)
        self._begun: dict[str, int] = {}  # → what is under way in it; 1 more as long as more may come

    def begin(self) -> str | None:
        """The next partition; None at the end."""
        if not self._waiting:
            return None
        partition = self._waiting.popleft()
        self._begun[partition] = 1
        return partition

    def add(self, partition: str) -> None:
        """A piece of work in it begins."""
        self._begun[partition] += 1

    def done(self, partition: str) -> None:
        """One has ended, or no more will come."""
        self._begun[partition] -= 1
        if not self._begun[partition]:
            del self._begun[partition]

    def left(self) -> list[str]:
        """For the status file."""
        return [*self._begun, *self._waiting]
