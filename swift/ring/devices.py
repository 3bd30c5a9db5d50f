"""Device dicts: their fields, texts, addresses, and how a search names them.

What lives here: parsing of add strings, search values and change values, address normalisation, matching (spec ring 2,
10.3). Nothing here knows of tables, weights' meaning or files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Device = dict[str, Any]


def normalize_address(text: str) -> str:
    """An IP address or host name in its one spelling; ValueError ``Invalid address <text>``."""
    raise NotImplementedError


def normalize_ip(text: str) -> str:
    """An IPv4 or (bracketed or bare) IPv6 address in its one spelling; ValueError ``Invalid ip <text>``."""
    raise NotImplementedError


def parse_add_value(text: str) -> Device:
    """``[r<region>]z<zone>-<ip>:<port>[R<ip>:<port>]/<device>[_<meta>]`` → device dict.

    ``region`` is None when the string has none. Raises ValueError with the text to show.
    """
    raise NotImplementedError


def parse_search_value(text: str) -> dict[str, Any]:
    """A search string → the conditions in it (keys of the device dict); ValueError with the text to show.

    ``""``, ``"-"`` and ``"R"`` give no condition at all: they match every device.
    """
    raise NotImplementedError


def parse_change_value(text: str) -> dict[str, Any]:
    """The change of ``set_info``: ``<ip>:<port>[R<ip>:<port>]/<device>_<meta>``, each optional, at least one."""
    raise NotImplementedError


def device_text(dev: Mapping[str, Any]) -> str:
    """How messages name a device: ``d<id>r<region>z<zone>-<ip>:<port>R<r_ip>:<r_port>/<device>_"<meta>"``."""
    raise NotImplementedError


def matches(dev: Mapping[str, Any], conditions: Mapping[str, Any]) -> bool:
    """Whether all conditions hold (meta by substring, addresses normalised, the rest by equality)."""
    raise NotImplementedError


def search(devs: Iterable[Device | None], searches: Iterable[Mapping[str, Any]]) -> list[Device]:
    """Devices matching at least one of the searches, each once, in id order."""
    raise NotImplementedError
