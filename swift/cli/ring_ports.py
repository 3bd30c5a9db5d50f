"""The ports of a node's devices in the object rings, for servers_per_port.

What lives here: reading them out of ring metadata. What never does: what is done with them (core/process.py).
Spec: ring.md 14.3.
"""

from __future__ import annotations

import os
from typing import Any

from swift.core.policy import policies
from swift.ring.errors import RingFileError
from swift.ring.format import RingData
from swift.run.addresses import is_own_device


class RingPorts:
    """Called with a Swift directory and a node's addresses: the set of ports. A ring is read again when its mtime changes.

    Missing rings are skipped; of one that can't be read, what was last known is kept.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, list[dict[str, Any]]]] = {}

    def __call__(self, swift_dir: str, addresses: frozenset[str]) -> set[int]:
        ports = set()
        for policy in policies():
            for device in self._devices(os.path.join(swift_dir, f"{policy.ring_name}.ring.gz")):
                if is_own_device(device, addresses, None):
                    ports.add(device["port"])
        return ports

    def _devices(self, path: str) -> list[dict[str, Any]]:
        known = self._known.get(path)
        try:
            mtime = os.stat(path).st_mtime
            if known is None or known[0] != mtime:
                known = self._known[path] = mtime, [dev for dev in RingData.load_metadata(path).devs if dev]
        except (OSError, RingFileError):
            pass
        return known[1] if known else []
