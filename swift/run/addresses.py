"""Which addresses are this machine's, and so which devices of a ring are served here.

Spec: ring.md 14.2, 14.3; proxy-and-backend 25.2.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any


def normalized(address: str) -> str:
    """The shortest lower-case form of an IP address; other text as it is, in lower case."""
    try:
        return str(ipaddress.ip_address(address.strip("[]").partition("%")[0]))
    except ValueError:
        return address.lower()


def own_addresses(ring_ip: str | None = None) -> frozenset[str]:
    """The addresses under which rings name this machine.

    A specific address stands for itself alone; a wildcard, a host name or nothing for all addresses of all
    interfaces, loopback included.
    """
    if ring_ip:
        try:
            given = ipaddress.ip_address(ring_ip.strip("[]"))
        except ValueError:
            given = None
        if given is not None and not given.is_unspecified:
            return frozenset((str(given),))
    return frozenset(_interface_addresses())


def _interface_addresses() -> set[str]:
    import netifaces  # slow to import, and needed by few processes

    found: set[str] = set()
    for interface in netifaces.interfaces():
        for family, entries in netifaces.ifaddresses(interface).items():
            if family in (netifaces.AF_INET, netifaces.AF_INET6):
                found.update(normalized(entry["addr"]) for entry in entries if "addr" in entry)
    return found


@lru_cache(maxsize=1024)
def _resolved(name: str) -> frozenset[str]:
    try:
        return frozenset(normalized(str(entry[4][0])) for entry in socket.getaddrinfo(name, None))
    except (OSError, UnicodeError):
        return frozenset()


def is_own_device(
    device: Mapping[str, Any], addresses: Collection[str], port: int | None, replication: bool = False
) -> bool:
    """Returns True if a ring's device is served at one of `addresses` and (unless None) `port`.

    `replication`: by its replication address. A host name that doesn't resolve is nobody's.
    """
    prefix = "replication_" if replication else ""
    if port is not None and device[f"{prefix}port"] != port:
        return False
    address = normalized(device[f"{prefix}ip"])
    if address in addresses:
        return True
    try:
        ipaddress.ip_address(address)
        return False
    except ValueError:
        return not _resolved(address).isdisjoint(addresses)
