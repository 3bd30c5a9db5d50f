"""What there is to replicate: the partitions of this node's devices, and which of them are only guests here (object-disk 18.1)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from swift.core import clock
from swift.core.policy import StoragePolicy
from swift.obj.replication.peers import Node
from swift.obj.store import ObjectStore
from swift.ring.lookup import Ring
from swift.run.addresses import is_own_device


class Holding(NamedTuple):
    """What one device has of one policy. `device`: as the ring has it."""

    policy: StoragePolicy
    ring: Ring
    device: Node
    store: ObjectStore

    def others(self, partition: str) -> list[Node] | None:
        """The other primaries of a partition; None if the ring has no such partition."""
        nodes = self.ring.get_part_nodes(int(partition))
        return [node for node in nodes if node["id"] != self.device["id"]] if nodes else None

    def is_guest(self, partition: str) -> bool:
        """True if this device is no primary of the partition: it is a handoff."""
        return all(node["id"] != self.device["id"] for node in self.ring.get_part_nodes(int(partition)))


class Partitions(NamedTuple):
    """The partitions of a holding, each kind in a random order: those at home here, those that are guests, those of no ring."""

    holding: Holding
    home: list[str]
    guests: list[str]
    strange: list[str]


def own_devices(ring: Ring, addresses: Collection[str], port: int | None) -> list[dict[str, Any]]:
    """The devices of a ring that this node serves at its replication address. `port`: None for any."""
    return [
        device
        for device in ring.devs
        if device is not None and is_own_device(device, addresses, port, replication=True)
    ]


def partitions_of(holding: Holding, wanted: Collection[int] = ()) -> Partitions:
    """Look at a device. `wanted`: no other partitions. Raises DeviceUnavailable, DeviceOverloaded, OSError."""
    home: list[str] = []
    guests: list[str] = []
    strange: list[str] = []
    for partition in holding.store.begin_pass():
        if wanted and int(partition) not in wanted:
            continue
        nodes = holding.ring.get_part_nodes(int(partition))
        if not nodes:
            strange.append(partition)
        elif any(node["id"] == holding.device["id"] for node in nodes):
            home.append(partition)
        else:
            guests.append(partition)
    clock.shuffle(home)
    clock.shuffle(guests)
    return Partitions(holding, home, guests, strange)


def chunks(partitions: list[str], size: int) -> Iterable[list[str]]:
    """The list in pieces of at most `size`."""
    return (partitions[at : at + size] for at in range(0, len(partitions), size))
