"""How the ring commands read their arguments: options, search options, pairs, and the words for refusing.

What lives here: option parsers and what comes out of them, as plain data (spec ring 10.3). The texts of device strings
and search values themselves are parsed in ``swift.ring.devices``; nothing here looks at a builder.
"""

from __future__ import annotations

import math
import optparse
from dataclasses import dataclass, field
from typing import Any, NoReturn

from swift.ring.devices import normalize_address, parse_search_value


class CommandError(Exception):
    """The command ends here: ``message`` goes to stdout as it is, ``code`` is the exit status."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class UsageError(Exception):
    """The arguments don't fit the command: its help is shown, then ``message`` if there is one, exit 2."""

    def __init__(self, message: str = "", with_search_help: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.with_search_help = with_search_help


class CommandParser(optparse.OptionParser):
    """optparse with the command's help as usage; errors go to stderr and end with 2, as people's scripts expect."""

    def error(self, msg: str) -> NoReturn:
        self.exit(2, f"Usage: {self.prog} [options]\n\n{self.prog}: error: {msg}\n")


# (short, long, type): options that describe devices, in the order of spec 10.3
_DEVICE_OPTIONS = (
    ("-u", "--id", "int"),
    ("-r", "--region", "int"),
    ("-z", "--zone", "int"),
    ("-i", "--ip", "string"),
    ("-p", "--port", "int"),
    ("-j", "--replication-ip", "string"),
    ("-q", "--replication-port", "int"),
    ("-d", "--device", "string"),
    ("-w", "--weight", "float"),
    ("-m", "--meta", "string"),
)
_CHANGE_OPTIONS = (
    ("-I", "--change-ip", "string"),
    ("-P", "--change-port", "int"),
    ("-J", "--change-replication-ip", "string"),
    ("-Q", "--change-replication-port", "int"),
    ("-D", "--change-device", "string"),
    ("-M", "--change-meta", "string"),
)
_ZERO_COUNTS = ("id", "region", "zone", "weight")
_ADDRESSES = ("ip", "replication_ip")


@dataclass
class DeviceArguments:
    """values: the positional arguments; conditions: what the device options say (keys of the device dict), all that
    were present; given: whether any of them counts as given (spec 10.3); changes: of the --change options."""

    values: list[str]
    conditions: dict[str, Any]
    given: bool
    yes: bool = False
    json: bool = False
    changes: dict[str, Any] = field(default_factory=dict)


def parse_device_arguments(
    prog: str, args: list[str], *, with_changes: bool = False, with_json: bool = False
) -> DeviceArguments:
    """Read positional values and device options; ValueError (``Invalid address <text>``) or exit 2 by the parser."""
    parser = CommandParser(prog=prog)
    for short, long, kind in _DEVICE_OPTIONS:
        parser.add_option(short, long, type=kind)
    if with_changes:
        for short, long, kind in _CHANGE_OPTIONS:
            parser.add_option(short, long, type=kind)
    if with_json:
        parser.add_option("--json", action="store_true", default=False)
    parser.add_option("-y", "--yes", action="store_true", default=False)
    options, values = parser.parse_args(args)
    found = vars(options)
    names = [long[2:].replace("-", "_") for _, long, _ in _DEVICE_OPTIONS]
    conditions = {name: _normalized(name, found[name]) for name in names if found[name] is not None}
    given = any(name in _ZERO_COUNTS or value for name, value in conditions.items())
    changes: dict[str, Any] = {}
    if with_changes:
        names = [long[len("--change-") :].replace("-", "_") for _, long, _ in _CHANGE_OPTIONS]
        changes = {name: _normalized(name, value) for name in names if (value := found[f"change_{name}"])}
    return DeviceArguments(values, conditions, given, options.yes, getattr(options, "json", False), changes)


def _normalized(name: str, value: Any) -> Any:
    return normalize_address(value) if name in _ADDRESSES and value else value


def searches_of(arguments: DeviceArguments, raw_count: int) -> list[dict[str, Any]]:
    """The searches that search, list_parts and remove ask for: of the positional values, or of the options.

    Both together, or nothing at all on the command line, is a usage error.
    """
    if arguments.values:
        if arguments.given:
            raise UsageError(with_search_help=True)
        return [parse_search_value(value) for value in arguments.values]
    if not raw_count:
        raise UsageError(with_search_help=True)
    return [arguments.conditions]


def search_value_pairs(arguments: DeviceArguments) -> list[tuple[dict[str, Any] | str, str]]:
    """(search, new value) for the set_ commands: pairs of positional values, or the options and one value.

    A search is still text where it was given so: pairs are looked at one after the other.
    """
    values = arguments.values
    if arguments.given:
        if len(values) != 1:
            raise UsageError(with_search_help=True)
        return [(arguments.conditions, values[0])]
    if not values or len(values) % 2:
        raise UsageError(with_search_help=True)
    return list(zip(values[::2], values[1::2], strict=True))


def parse_weight(text: str) -> float:
    """A device's weight: finite and not negative; ValueError with the text to show."""
    weight = float(text)
    if not math.isfinite(weight) or weight < 0:
        raise ValueError(f"Invalid weight value: {text}")
    return weight


def check_port(port: int) -> int:
    """Ports given from now on are real ones; what an existing builder holds is not looked at."""
    if not 1 <= port <= 65535:
        raise ValueError(f"Invalid port {port}: must be between 1 and 65535")
    return port
