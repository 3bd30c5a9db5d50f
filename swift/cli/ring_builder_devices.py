"""swift-ring-builder's commands on devices: add, remove, set_weight, set_region, set_zone, set_info.

What lives here: finding the devices meant, asking before more than one of them changes, and saying what was done
(spec ring 10.3, 10.4). The file is saved once, at the end, and not at all when any step fails.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from swift.cli.ring_builder_args import (
    CommandError,
    DeviceArguments,
    UsageError,
    check_port,
    parse_device_arguments,
    parse_weight,
    search_value_pairs,
    searches_of,
)
from swift.ring.builder import RingBuilder
from swift.ring.devices import (
    Device,
    check_device_name,
    device_text,
    parse_add_value,
    parse_change_value,
    parse_search_value,
)

UNCHANGED = "The on-disk ring builder is unchanged."
_REQUIRED = ("region", "zone", "ip", "port", "device", "weight")


def refuse_during_power_increase(builder: RingBuilder, doing: str) -> None:
    if builder.next_part_power is not None:
        raise CommandError(
            "Partition power increase in progress. You need \n"
            f"to finish the increase first before {doing} devices."
        )


# ---- add


def add(builder: RingBuilder, prog: str, args: list[str]) -> None:
    refuse_during_power_increase(builder, "adding")
    try:
        new_devs = _devices_to_add(prog, args)
        used = {(dev["ip"], dev["port"], dev["device"]): dev["id"] for dev in builder.iter_devs()}
        for dev in new_devs:
            place = (dev["ip"], dev["port"], dev["device"])
            if place in used:
                raise CommandError(
                    f"Device {used[place]} already uses {dev['ip']}:{dev['port']}/{dev['device']}.\n{UNCHANGED}\n"
                )
            dev_id = used[place] = builder.add_dev(dev)
            added = builder.devs[dev_id]
            assert added is not None
            print(f"Device {device_text(added)} with {added['weight']} weight got id {dev_id}")
    except ValueError as error:
        raise CommandError(f"{error}\n{UNCHANGED}")


def _devices_to_add(prog: str, args: list[str]) -> list[Device]:
    arguments = parse_device_arguments(prog, args)
    values = arguments.values
    if values:
        if arguments.given or len(values) % 2:
            raise UsageError
        return [_device_of_pair(*pair) for pair in zip(values[::2], values[1::2], strict=True)]
    if not args:
        raise UsageError
    return [_device_of_options(arguments.conditions)]


def _device_of_pair(text: str, weight: str) -> Device:
    dev = parse_add_value(text)
    dev["weight"] = _added_weight(float(weight), text)
    if dev["region"] is None:
        print(
            f"WARNING: No region specified for {text}. Defaulting to region 1.\n",
            file=sys.stderr,
        )
        dev["region"] = 1
    return _complete(dev)


def _added_weight(weight: float, named: str) -> float:
    try:
        return parse_weight(str(weight))
    except ValueError:
        raise ValueError(f"Invalid weight value: {named}")


def _device_of_options(found: dict[str, Any]) -> Device:
    for key in _REQUIRED:
        if found.get(key) is None:
            raise ValueError(f"Required argument -{_SHORT[key]}/--{key} not specified.")
    dev = {key: found[key] for key in _REQUIRED}
    dev["weight"] = _added_weight(dev["weight"], str(dev["weight"]))
    if not dev["ip"]:
        raise ValueError("Invalid address ")
    for key in ("replication_ip", "replication_port"):
        dev[key] = found.get(key) or None
    dev["meta"] = found.get("meta", "")
    check_device_name(dev["device"])
    return _complete(dev)


_SHORT = {"region": "r", "zone": "z", "ip": "i", "port": "p", "device": "d", "weight": "w"}


def _complete(dev: Device) -> Device:
    if dev["region"] < 0 or dev["zone"] < 0:
        raise ValueError("Region and zone must not be negative")
    check_port(dev["port"])
    if not dev["replication_ip"]:
        dev["replication_ip"] = dev["ip"]
    if not dev["replication_port"]:
        dev["replication_port"] = dev["port"]
    check_port(dev["replication_port"])
    return dev


# ---- commands that change devices found by a search


def confirm(question: str, refusal: str, yes: bool) -> None:
    """Ask on stdout; only ``y`` goes on, anything else, end of file or ^C ends the command."""
    if yes:
        return
    print(question, end="", flush=True)
    try:
        answer = sys.stdin.readline().rstrip("\n")
    except KeyboardInterrupt:
        answer = ""
    if answer != "y":
        raise CommandError(refusal)


def _matching(builder: RingBuilder, searches: list[dict[str, Any]]) -> list[Device]:
    """The devices meant by a modifying command: a search without conditions would be all of them, and is refused."""
    if not all(searches):
        raise CommandError(f"Empty <search-value>: it would match every device in the ring.\n{UNCHANGED}")
    devs = builder.search_devs(searches)
    if not devs:
        raise CommandError(f"Search value matched 0 devices.\n{UNCHANGED}")
    return devs


def _confirm_devices(devs: list[Device], question: str, refusal: str, yes: bool) -> None:
    if len(devs) > 1:
        print("Matched more than one device:")
        for dev in devs:
            print(f"    {device_text(dev)}")
        confirm(question.format(len(devs)), refusal, yes)


def remove(builder: RingBuilder, prog: str, args: list[str]) -> None:
    refuse_during_power_increase(builder, "removing")
    arguments = parse_device_arguments(prog, args)
    devs = _matching(builder, searches_of(arguments, len(args)))
    _confirm_devices(
        devs,
        "Are you sure you want to remove these {} devices? (y/N) ",
        "Aborting device removals",
        arguments.yes,
    )
    for dev in devs:
        builder.remove_dev(dev["id"])
        print(f"{device_text(dev)} marked for removal and will be removed next rebalance.")


@dataclass(frozen=True)
class Setting:
    """One of set_weight, set_region, set_zone. parse: text of the new value → value."""

    noun: str
    parse: Callable[[str], Any]
    apply: Callable[[RingBuilder, int, Any], None]


def _tier_number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(f"Invalid value: {text} is negative")
    return number


WEIGHT = Setting("weight", parse_weight, RingBuilder.set_dev_weight)
REGION = Setting("region", _tier_number, RingBuilder.set_dev_region)
ZONE = Setting("zone", _tier_number, RingBuilder.set_dev_zone)


def set_value(builder: RingBuilder, prog: str, args: list[str], setting: Setting) -> None:
    """Each pair changes the devices of its own search (the reference also changes those of earlier pairs)."""
    arguments = parse_device_arguments(prog, args)
    for search, text in search_value_pairs(arguments):
        conditions = parse_search_value(search) if isinstance(search, str) else search
        value = setting.parse(text)
        devs = _matching(builder, [conditions])
        _confirm_devices(devs, _update_question(setting.noun), "Aborting device modifications", arguments.yes)
        for dev in devs:
            setting.apply(builder, dev["id"], value)
            print(f"{device_text(dev)} {setting.noun} set to {dev[setting.noun]}")


def _update_question(noun: str) -> str:
    return f"Are you sure you want to update the {noun} for these {{}} devices? (y/N) "


def set_info(builder: RingBuilder, prog: str, args: list[str]) -> None:
    arguments = parse_device_arguments(prog, args, with_changes=True)
    for conditions, changes in _searches_and_changes(arguments):
        devs = _matching(builder, [conditions])
        _confirm_devices(devs, _update_question("info"), "Aborting device modifications", arguments.yes)
        for dev in devs:
            before = device_text(dev)
            builder.set_dev_info(dev["id"], changes)
            print(f"Device {before} is now {device_text(dev)}")


def _searches_and_changes(arguments: DeviceArguments) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What set_info shall do, one pair after the other: a bad one ends the command when its turn comes."""
    if arguments.given:
        if arguments.values:
            raise UsageError(with_search_help=True)
        yield arguments.conditions, _checked_changes(arguments.changes)
        return
    if arguments.changes:
        raise UsageError(with_search_help=True)
    for search, text in search_value_pairs(arguments):
        yield parse_search_value(str(search)), _checked_changes(parse_change_value(text))


def _checked_changes(changes: dict[str, Any]) -> dict[str, Any]:
    for key in ("port", "replication_port"):
        if key in changes:
            check_port(changes[key])
    if "device" in changes:
        check_device_name(changes["device"])
    return changes
