"""What the cluster's rings say: which devices there are, where, and how the partitions are spread over them.

What lives here: the rings of one directory, loaded when somebody asks, and their figures as plain data. What never does: the servers
behind the devices, and changing a ring.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from swift.core.policy import policies
from swift.engine.threads import run_in_thread
from swift.ring.errors import RingFileError, RingLoadError
from swift.ring.lookup import Ring

MOST_DEVICES = 5000  # of a ring, that a page is told of


class ClusterRings:
    """The account ring, the container ring and one for each policy of `swift_dir`."""

    def __init__(self, swift_dir: str, logger: Any) -> None:
        self._swift_dir = swift_dir
        self._logger = logger
        self._rings: dict[str, Ring] = {}
        self._known: dict[str, dict[str, Any]] = {}  # by ring: what `_of` told of the file that it has

    def names(self) -> list[tuple[str, str, str]]:
        """(ring, kind of server, policy or '')."""
        of_policies = [(policy.ring_name, "object", policy.name) for policy in policies()]
        return [("account", "account", ""), ("container", "container", ""), *of_policies]

    def get(self, name: str) -> Ring | None:
        """None for one that is not there or can't be read; that is logged."""
        ring = self._rings.get(name)
        if ring is None:
            try:
                ring = run_in_thread(Ring, self._swift_dir, name)
            except (OSError, RingFileError, RingLoadError) as error:
                self._logger.error("ring %s: %s", name, error)
                return None
            self._rings[name] = ring
        return ring

    def devices(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """(kind of server, device) of all rings, those without weight too."""
        for name, kind, _policy in self.names():
            ring = self.get(name)
            for device in ring.devs if ring is not None else ():
                if device is not None:
                    yield kind, device

    def told(self) -> dict[str, Any]:
        """As JSON: `{"rings": [{"name", "policy", "type", "replicas", "partitions", "balance", "devices": [...], ...}]}`."""
        types = {policy.ring_name: policy.policy_type for policy in policies()}
        told = []
        for name, kind, policy in self.names():
            ring = self.get(name)
            if ring is None:
                told.append({"name": name, "kind": kind, "policy": policy, "missing": True})
                continue
            told.append(
                {"name": name, "kind": kind, "policy": policy, "type": types.get(name, ""), **self._of(name, ring)}
            )  # fmt: skip
        return {"rings": told}

    def _of(self, name: str, ring: Ring) -> dict[str, Any]:
        devices = [device for device in ring.devs if device is not None]  # looks at the file, too
        known = self._known.get(name)
        if known is None or known["md5"] != ring.md5:
            known = self._known[name] = self._counted(ring, devices)
        return known

    def _counted(self, ring: Ring, devices: list[dict[str, Any]]) -> dict[str, Any]:
        md5 = ring.md5
        parts = run_in_thread(ring.parts_by_device)
        total = sum(parts.values())
        weight = sum(device["weight"] for device in devices)
        told = []
        worst = 0.0
        for device in devices:
            wanted = total * device["weight"] / weight if weight else 0.0
            held = parts.get(device["id"], 0)
            off = 100 * (held - wanted) / wanted if wanted else (100.0 if held else 0.0)
            worst = max(worst, abs(off))
            told.append(
                {
                    **{
                        key: device[key] for key in ("id", "region", "zone", "ip", "port", "device", "weight")
                    },
                    "parts": held,
                    "wanted": round(wanted, 1),
                    "off": round(off, 2),
                }
            )
        return {
            "replicas": ring.replica_count,
            "partitions": ring.partition_count,
            "version": ring.version,
            "md5": md5,
            "balance": round(worst, 2),
            "next_part_power": ring.next_part_power,
            "devices": told[:MOST_DEVICES],
            "devices_left_out": max(0, len(told) - MOST_DEVICES),
        }
