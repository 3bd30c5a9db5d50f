"""Device dicts: their fields, texts, addresses, and how a search names them.

What lives here: parsing of add strings, search values and change values, address normalisation, matching (spec ring 2,
10.3). Nothing here knows of tables, of what a weight means, or of files.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from typing import Any

Device = dict[str, Any]

REQUIRED_KEYS = ("region", "zone", "ip", "port", "device", "weight")
BUILDER_ONLY_KEYS = ("parts", "parts_wanted")

_HOST_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_ADD_HEAD = re.compile(r"(?:r([0-9]*))?z([0-9]*)-")
_ADDRESS = re.compile(r"\[([^\]]*)\]?|([0-9.]+)")
_DIGITS = re.compile(r"[0-9]*")


def _canonical_ip(text: str) -> str | None:
    for family in (socket.AF_INET6, socket.AF_INET) if ":" in text else (socket.AF_INET,):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, text))
        except (OSError, ValueError):
            continue
    return None


def normalize_ip(text: str) -> str:
    """An IPv4 or IPv6 address without brackets in its one spelling; ValueError ``Invalid ip <text>``."""
    canonical = _canonical_ip(text)
    if canonical is None:
        raise ValueError(f"Invalid ip {text}")
    return canonical


def normalize_address(text: str) -> str:
    """An IP address (brackets allowed) or host name in its one spelling; ValueError ``Invalid address <text>``."""
    if text.startswith("[") or text.endswith("]"):
        return normalize_ip(text.removeprefix("[").removesuffix("]"))
    canonical = _canonical_ip(text)
    if canonical is not None:
        return canonical
    host = text.lower()
    if not 0 < len(host) <= 255 or not all(
        _HOST_LABEL.fullmatch(x) for x in host.removesuffix(".").split(".")
    ):
        raise ValueError(f"Invalid address {text}")
    return host


def _add_endpoint(rest: str, stop: str) -> tuple[str, int, str]:
    """``<ip>:<port>`` up to a character of ``stop`` → address, port, what follows."""
    if rest.startswith("["):
        ip, bracket, rest = rest[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise ValueError("Invalid port in add value")
        end = _first_of(rest, stop)
        port_text = rest[1:end]
    else:
        end = _first_of(rest, stop)
        ip, colon, port_text = rest[:end].rpartition(":")
        if not colon:
            raise ValueError("Invalid port in add value")
    try:
        port = int(port_text)
        if not 0 < port < 65536:
            raise ValueError
    except ValueError:
        raise ValueError(f"Invalid port :{port_text} in add value") from None
    return normalize_ip(ip), port, rest[end:]


def _first_of(text: str, stop: str) -> int:
    return min((at for at in map(text.find, stop) if at >= 0), default=len(text))


def parse_add_value(text: str) -> Device:
    """``[r<region>]z<zone>-<ip>:<port>[R<ip>:<port>]/<device>[_<meta>]`` → device dict.

    ``region``, ``replication_ip`` and ``replication_port`` are None when the string has none.
    Raises ValueError with the text to show. Ports outside of 1–65535 are refused.
    """
    head = _ADD_HEAD.match(text)
    if head is None:
        raise ValueError(f"Invalid add value: {text}")
    ip, port, rest = _add_endpoint(text[head.end() :], "R/")
    replication_ip: str | None = None
    replication_port: int | None = None
    if rest.startswith("R"):
        replication_ip, replication_port, rest = _add_endpoint(rest[1:], "/")
    if not rest.startswith("/"):
        raise ValueError(f"Invalid add value: {text}")
    device, _, meta = rest[1:].partition("_")
    check_device_name(device)
    return {
        "region": None if head[1] is None else int(head[1]),
        "zone": int(head[2]),
        "ip": ip,
        "port": port,
        "device": device,
        "replication_ip": replication_ip,
        "replication_port": replication_port,
        "meta": meta,
    }


def check_device_name(name: str) -> None:
    """ValueError ``Invalid device name`` for an empty name or one with white space at an end."""
    if not name or name != name.strip():
        raise ValueError("Invalid device name")


class _Scanner:
    """Walks over a search or change value from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def take(self, char: str) -> bool:
        if self.text.startswith(char, self.at):
            self.at += 1
            return True
        return False

    def digits(self) -> int:
        found = _DIGITS.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        return int(found[0])

    def address(self) -> str | None:
        found = _ADDRESS.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return normalize_ip(found[1] if found[1] is not None else found[2])

    def tail(self) -> dict[str, Any]:
        """``<ip>:<port>R<ip>:<port>/<device>_<meta>``, every part optional."""
        result: dict[str, Any] = {}
        for prefix in ("", "replication_"):
            if prefix and not self.take("R"):
                break
            address = self.address()
            if address is not None:
                result[prefix + "ip"] = address
            if self.take(":"):
                result[prefix + "port"] = self.digits()
        if self.take("/"):
            end = self.text.find("_", self.at)
            end = len(self.text) if end < 0 else end
            result["device"] = self.text[self.at : end]
            self.at = end
        if self.take("_"):
            result["meta"] = self.text[self.at :]
            self.at = len(self.text)
        return result

    def done(self) -> bool:
        return self.at == len(self.text)


def parse_search_value(text: str) -> dict[str, Any]:
    """A search string → the conditions in it (keys of the device dict); ValueError with the text to show.

    ``""``, ``"-"`` and ``"R"`` give no condition at all: they match every device.
    """
    scanner = _Scanner(text)
    conditions: dict[str, Any] = {}
    for letter, key in (("d", "id"), ("r", "region"), ("z", "zone")):
        if scanner.take(letter):
            conditions[key] = scanner.digits()
    scanner.take("-")
    conditions.update(scanner.tail())
    if not scanner.done():
        raise ValueError(f"Invalid <search-value>: {text!r}")
    return conditions


def parse_change_value(text: str) -> dict[str, Any]:
    """The change of ``set_info``: ``<ip>:<port>[R<ip>:<port>]/<device>_<meta>``, each optional, at least one."""
    scanner = _Scanner(text)
    changes = scanner.tail()
    if not changes or not scanner.done():
        raise ValueError(f"Invalid set info change value: {text!r}")
    return changes


def address_text(address: str) -> str:
    """An address as it stands in front of ``:port``: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def device_text(dev: Mapping[str, Any]) -> str:
    """How messages name a device: ``d<id>r<region>z<zone>-<ip>:<port>R<r_ip>:<r_port>/<device>_"<meta>"``."""
    return (
        f"d{dev['id']}r{dev['region']}z{dev['zone']}-{address_text(dev['ip'])}:{dev['port']}"
        f'R{address_text(dev["replication_ip"])}:{dev["replication_port"]}/{dev["device"]}_"{dev["meta"]}"'
    )


def _comparable_address(text: str) -> str:
    # builders may hold names that were never normalised; a search must not fail on them
    try:
        return normalize_address(text)
    except ValueError:
        return text


def matches(dev: Mapping[str, Any], conditions: Mapping[str, Any]) -> bool:
    """Returns True if all conditions hold: meta by substring, addresses normalised, the rest by equality."""
    for key, wanted in conditions.items():
        value = dev.get(key)
        if key == "meta":
            if wanted not in (value or ""):
                return False
        elif key in ("ip", "replication_ip"):
            if _comparable_address(str(value)) != wanted:
                return False
        elif value != wanted:
            return False
    return True


def search(devs: Iterable[Device | None], searches: Iterable[Mapping[str, Any]]) -> list[Device]:
    """Devices matching at least one of the searches, each once, in the order of ``devs``."""
    wanted = list(searches)
    return [dev for dev in devs if dev is not None and any(matches(dev, one) for one in wanted)]


def fill_defaults(dev: Device) -> Device:
    """Give a device dict from an old file the keys it lacks (spec ring 2, 6.2), in place."""
    dev.setdefault("region", 1)
    dev.setdefault("meta", "")
    dev.setdefault("replication_ip", dev["ip"])
    dev.setdefault("replication_port", dev["port"])
    return dev


def without_builder_keys(dev: Device | None) -> Device | None:
    """A copy as it stands in rings."""
    return dev and {key: value for key, value in dev.items() if key not in BUILDER_ONLY_KEYS}
