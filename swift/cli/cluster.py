"""A cluster as operators' commands see it: its rings, and its devices by the names that people give them.

Lives here: loading, and finding a device. Never here: asking anybody.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from swift.core import swift_dir
from swift.core.errors import ConfigError
from swift.core.policy import StoragePolicy, policies
from swift.ring.devices import address_text, normalize_address
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.run.addresses import normalized, own_addresses

Node = Mapping[str, Any]

ACCOUNT, CONTAINER = "account", "container"


class UnknownDevice(ValueError):
    """No device, or more than one, is called so."""


class Target(NamedTuple):
    """One device. `nodes`: its entry in each ring that has it, by the ring's name."""

    ip: str
    device: str
    nodes: dict[str, Node]

    def __str__(self) -> str:
        return f"{address_text(self.ip)}/{self.device}"


class Cluster:
    """The rings of one swift directory. Raises ConfigError, RingError, OSError."""

    def __init__(self, directory: str | None = None) -> None:
        self.directory = swift_dir.use(directory)
        self.rings: dict[str, Ring] = {}
        self.policies: list[StoragePolicy] = list(policies())
        for name in (ACCOUNT, CONTAINER, *(policy.ring_name for policy in self.policies)):
            path = os.path.join(self.directory, f"{name}.ring.gz")
            try:
                self.rings[name] = Ring(path)
            except (OSError, RingError) as error:
                raise ConfigError(f"The ring {path} can't be opened: {error}") from None

    def target(self, text: str) -> Target:
        """The device that is meant by `[IP[:PORT]/]NAME`. Raises UnknownDevice."""
        address, _, name = text.strip().rpartition("/")
        ip, port = _split_address(address)
        found: dict[tuple[str, str], dict[str, Node]] = {}
        for ring_name, node in self._nodes():
            if node["device"] != name:
                continue
            if ip and ip not in (_comparable(node["ip"]), _comparable(node["replication_ip"])):
                continue
            if port and port not in (node["port"], node["replication_port"]):
                continue
            of_device = found.setdefault((node["ip"], name), {})
            if ring_name in of_device:
                raise UnknownDevice(f"{text}: the ring {ring_name} has more than one such device")
            of_device[ring_name] = node
        if not found:
            raise UnknownDevice(f"{text}: no ring has such a device")
        if len(found) > 1:
            names = ", ".join(f"{address_text(ip)}/{device}" for ip, device in sorted(found))
            raise UnknownDevice(f"{text} may be any of {names}")
        ((ip, _), nodes) = found.popitem()
        if port:
            return self.target(f"{address_text(ip)}/{name}")  # in the other rings it has another port
        return Target(ip, name, nodes)

    def beside(self, target: Target, ring_names: Iterable[str]) -> list[Node]:
        """For each server that the rings have at the device's address an entry that would be the device's there."""
        found: dict[tuple[str, int], Node] = {}
        for name in ring_names:
            for node in self.rings[name].devs:
                if node is not None and node["ip"] == target.ip:
                    address = node["replication_ip"], node["replication_port"]
                    found.setdefault(address, {**node, "device": target.device})
        return list(found.values())

    def _nodes(self) -> Iterator[tuple[str, Node]]:
        for ring_name, ring in self.rings.items():
            for node in ring.devs:
                if node is not None:
                    yield ring_name, node


def is_here(nodes: Iterable[Node]) -> bool:
    """Returns True if one of these entries of a device has an address of this machine."""
    own = own_addresses()
    addresses = {normalized(node[key]) for node in nodes for key in ("ip", "replication_ip")}
    return any(address in own or address.startswith("127.") for address in addresses)


def _split_address(text: str) -> tuple[str, int]:
    """(address or '', port or 0). Raises UnknownDevice."""
    text = text.strip("/")
    if not text:
        return "", 0
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.endswith("]")):
        host, port = text, ""
    try:
        return normalize_address(host), int(port or 0)
    except ValueError:
        raise UnknownDevice(f"{text} is no address") from None


def _comparable(address: str) -> str:
    try:
        return normalize_address(address)
    except ValueError:
        return address
