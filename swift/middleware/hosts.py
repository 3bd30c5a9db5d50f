"""Host headers that say more than where the store is: names below the store's own domains (`domain_remap`, `cname_lookup`).

Lives here: taking a Host header apart, and telling clients of places in the words that they used. Never here: what a name stands for.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.core.config import csv_list

Headers = list[tuple[str, str]]
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


@functools.lru_cache(maxsize=256)
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


def with_places(headers: Headers, change: Callable[[str], str]) -> Headers:
    """The headers of an answer; `change` makes of a URL (http or https) what the client would call it."""
    if not any(name.lower() in _PLACES for name, _ in headers):
        return headers
    return [
        (name, change(value))
        if name.lower() in _PLACES and value.startswith(("http://", "https://"))
        else (name, value)
        for name, value in headers
    ]
