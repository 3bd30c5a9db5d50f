"""Host headers that say more than where the store is: names below the store's own domains (`domain_remap`, `cname_lookup`).

Lives here: taking a Host header apart, and telling clients of places in the words that they used. Never here: what a name stands for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.core.config import csv_list
from swift.core.remembered import remembered
from swift.wire.call import Headers, StartResponse

_PLACES = frozenset(("location", "content-location"))


def storage_domains(conf: Mapping[str, Any]) -> tuple[str, ...]:
    """The option `storage_domain`: lower-case domains, each with a dot in front."""
    names = csv_list(conf.get("storage_domain", "example.com"))
    return tuple(f".{name.lower().strip('.')}" for name in names if name.strip("."))


def split_port(host: str) -> tuple[str, str]:
    """(name or address, `:port` or nothing) of a Host header."""
    name, colon, port = host.rpartition(":")
    if not colon or name.startswith("[") and not name.endswith("]"):
        return host, ""
    return name, f":{port}"


@remembered(256)
def is_address(name: str) -> bool:
    """Returns True for an IP address, that of IPv6 in brackets or not."""
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def below(name: str, domains: Iterable[str]) -> str | None:
    """What stands in front of the store's domain in a host's name; '' for the domain itself, None for other names."""
    name = name.removesuffix(".")
    lower = name.lower()
    for domain in domains:
        if lower.endswith(domain):
            return name[: -len(domain)]
        if lower == domain[1:]:
            return ""
    return None


def telling(start_response: StartResponse, change: Callable[[str], str]) -> StartResponse:
    """A start_response for whose answers `change` makes of each URL of a place (http or https) what the client would call it."""

    def respond(status: str, headers: Headers, exc_info: Any = None) -> Any:
        if any(name.lower() in _PLACES for name, _ in headers):
            headers = [_told(header, change) for header in headers]
        if exc_info is None:
            return start_response(status, headers)
        return start_response(status, headers, exc_info)

    return respond


def _told(header: tuple[str, str], change: Callable[[str], str]) -> tuple[str, str]:
    name, value = header
    if name.lower() in _PLACES and value.startswith(("http://", "https://")):
        return name, change(value)
    return header
