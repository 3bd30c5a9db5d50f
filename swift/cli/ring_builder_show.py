"""The reports of swift-ring-builder: show, search, list_parts, dispersion, version; as text and as JSON.

Texts are those that configuration management tools parse (spec ring 10.5-10.9): columns and headers stay as they are.
Nothing here changes a builder, except that the dispersion report may fill the builder's cache.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from swift.cli.ring_builder_args import CommandError
from swift.ring.builder import DispersionReport, RingBuilder, TierDispersion
from swift.ring.devices import Device
from swift.ring.errors import EmptyRingError
from swift.ring.format import RingData

NOT_REBALANCED = 'Specified builder file "{}" is not rebalanced yet. Please rebalance first.'
EMPTY_RING = "There are no devices in this ring, or all devices have been deleted"


def print_json(document: Any) -> None:
    """One JSON document on stdout: what --json prints, and all that it prints."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def time_left(builder: RingBuilder) -> str:
    return str(timedelta(seconds=builder.min_part_seconds_left))


def ring_balance(builder: RingBuilder) -> float:
    """Balance of the ring; 0 when no device has any weight."""
    try:
        return builder.get_balance()
    except EmptyRingError:
        return 0.0


def devices_json(builder: RingBuilder, devs: Iterable[Device]) -> list[dict[str, Any]]:
    """Devices as the JSON reports give them: their dicts, with ``balance`` and ``flags``."""
    marked, balances = {dev["id"] for dev in builder.removed_devs}, builder.dev_balances()
    return [
        {
            **{key: value for key, value in dev.items() if key != "parts_wanted"},
            "balance": balances[dev["id"]],
            "flags": "DEL" if dev["id"] in marked else "",
        }
        for dev in devs
    ]


# ---- show


def ring_file_state(builder: RingBuilder, ring_file: str) -> tuple[str, str]:
    """(``up-to-date`` | ``obsolete`` | ``missing`` | ``invalid``, text of the error for the last)."""
    try:
        ring = RingData.load(ring_file, known_rows=builder.rows)
    except FileNotFoundError:
        return "missing", ""
    except ValueError as error:
        # the family of ring errors is shown under the name that tools know it by
        return "invalid", repr(ValueError(str(error)))
    except OSError as error:
        return "invalid", repr(error)
    return ("up-to-date" if builder.same_as_ring(ring) else "obsolete"), ""


_RING_STATES = {
    "up-to-date": "Ring file {} is up-to-date",
    "obsolete": "Ring file {} is obsolete",
    "missing": "Ring file {} not found, probably it hasn't been written yet",
    "invalid": "Ring file {} is invalid: {}",
}


def _has_weight(builder: RingBuilder) -> bool:
    return any(dev["weight"] for dev in builder.iter_devs())


def show(builder: RingBuilder, builder_file: str, ring_file: str) -> None:
    state, error = ring_file_state(builder, ring_file)
    devs = list(builder.iter_devs())
    regions = {dev["region"] for dev in devs}
    zones = {(dev["region"], dev["zone"]) for dev in devs}
    dispersion = "" if builder.dispersion is None else f", {builder.dispersion:.2f} dispersion"
    print(f"{builder_file}, build version {builder.version}, id {builder.id or '(not assigned)'}")
    print(
        f"{builder.parts} partitions, {builder.replicas:.6f} replicas, {len(regions)} regions, {len(zones)} zones, "
        f"{len(devs)} devices, {builder.dev_id_bytes}-byte IDs, {ring_balance(builder):.2f} balance{dispersion}"
    )
    print(
        "The minimum number of hours before a partition can be reassigned is "
        f"{builder.min_part_hours} ({time_left(builder)} remaining)"
    )
    print(f"The overload factor is {builder.overload * 100:.2f}% ({builder.overload:.6f})")
    print(_RING_STATES[state].format(ring_file, error))
    _print_device_table(builder, devs)
    for line in _power_notes(builder, state):
        print(line)
    if not _has_weight(builder):
        print(EMPTY_RING)


def show_json(builder: RingBuilder, builder_file: str, ring_file: str) -> None:
    state, error = ring_file_state(builder, ring_file)
    devs = list(builder.iter_devs())
    document = {
        "builder_file": builder_file,
        "version": builder.version,
        "id": builder.id,
        "part_power": builder.part_power,
        "next_part_power": builder.next_part_power,
        "partitions": builder.parts,
        "replicas": builder.replicas,
        "regions": len({dev["region"] for dev in devs}),
        "zones": len({(dev["region"], dev["zone"]) for dev in devs}),
        "dev_id_bytes": builder.dev_id_bytes,
        "balance": ring_balance(builder),
        "dispersion": builder.dispersion,
        "min_part_hours": builder.min_part_hours,
        "min_part_seconds_left": builder.min_part_seconds_left,
        "overload": builder.overload,
        "devices_changed": builder.devs_changed,
        "ring_file": ring_file,
        "ring_file_state": state,
        "ring_file_error": error or None,
        "devices": devices_json(builder, devs),
    }
    print_json(document)


def _bracketed(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip


def _print_device_table(builder: RingBuilder, devs: Sequence[Device]) -> None:
    def address_width(key: str, least: int) -> int:
        ips = [dev[key] for dev in devs]
        return max([least, *map(len, ips)]) + (2 if any(":" in ip for ip in ips) else 0)

    def port_width(key: str) -> int:
        return max([4, *(len(str(dev[key])) for dev in devs)])

    ip_width, port = address_width("ip", 10), port_width("port")
    repl_width, repl_port = address_width("replication_ip", 14), port_width("replication_port")
    weight = max([6, *(len(f"{dev['weight']:.2f}") for dev in devs)])
    marked, balances = {dev["id"] for dev in builder.removed_devs}, builder.dev_balances()
    print(
        f"Devices:{'id':>5} {'region':>6} {'zone':>4} {'ip address':>{ip_width}}:{'port':<{port}} "
        f"{'replication ip':>{repl_width}}:{'port':<{repl_port}} {'name':>5} {'weight':>{weight}} "
        f"{'partitions':>10} {'balance':>7} {'flags':>5} meta"
    )
    for dev in sorted(devs, key=lambda dev: (dev["region"], dev["zone"], dev["ip"], dev["device"])):
        print(
            f"{dev['id']:>13} {dev['region']:>6} {dev['zone']:>4} "
            f"{_bracketed(dev['ip']):>{ip_width}}:{dev['port']:<{port}} "
            f"{_bracketed(dev['replication_ip']):>{repl_width}}:{dev['replication_port']:<{repl_port}} "
            f"{dev['device']:>5} {dev['weight']:>{weight}.2f} {dev['parts']:>10} "
            f"{balances[dev['id']]:>7.2f} {'DEL' if dev['id'] in marked else '':>5} {dev['meta']}"
        )


def _power_notes(builder: RingBuilder, state: str) -> Iterable[str]:
    power, following = builder.part_power, builder.next_part_power
    if following is None:
        return
    yield ""
    if following == power + 1:
        yield f"Preparing increase of partition power ({power} -> {following})"
        yield (
            'Run "swift-object-relinker relink" on all nodes before moving on to increase_partition_power.'
        )
        return
    yield f"Increased partition power ({power} -> {following})"
    if state != "up-to-date":
        yield (
            'First run "swift-ring-builder <builderfile> write_ring" now and copy the updated .ring.gz file to '
            "all nodes."
        )
    yield (
        'Run "swift-object-relinker cleanup" on all nodes before moving on to finish_increase_partition_power.'
    )


# ---- search, list_parts, version


def print_search_table(builder: RingBuilder, devs: Iterable[Device]) -> None:
    print(
        "Devices:    id  region  zone      ip address  port  replication ip  replication port      name "
        "weight partitions balance meta"
    )
    balances = builder.dev_balances()
    for dev in devs:
        print(
            f"         {dev['id']:>5} {dev['region']:>7} {dev['zone']:>5} {dev['ip']:>15} {dev['port']:>5} "
            f"{dev['replication_ip']:>15} {dev['replication_port']:>17} {dev['device']:>9} "
            f"{dev['weight']:>6.2f} {dev['parts']:>10} {balances[dev['id']]:>7.2f} {dev['meta']}"
        )


def print_parts(parts: Sequence[tuple[int, int]]) -> None:
    print("Partition   Matches")
    print("\n".join(f"{part:>9}   {matches:>7}" for part, matches in parts))


def ring_version(ring_file: str) -> str:
    """The line of the ``version`` command; CommandError when the ring can't be read."""
    try:
        ring = RingData.load_metadata(ring_file, with_devices=False)
    except (OSError, ValueError) as error:
        raise CommandError(str(error))
    return (
        f"{ring_file}: Serialization version: {ring.format_version} ({ring.dev_id_bytes}-byte IDs), "
        f"build version: {ring.version}"
    )


# ---- dispersion


def dispersion_of(
    builder: RingBuilder, builder_file: str, pattern: str | None, recalculate: bool
) -> DispersionReport:
    if builder.rows is None:
        raise CommandError(NOT_REBALANCED.format(builder_file))
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise CommandError(f"Invalid search filter {pattern!r}: {error}")
    return builder.dispersion_report(pattern, recalculate)


def print_dispersion(builder: RingBuilder, report: DispersionReport, verbose: bool) -> None:
    # both first: an error must not leave half a report
    balance, required = builder.get_balance(), builder.get_required_overload()
    print(
        f"Dispersion is {report.dispersion:.6f}, Balance is {balance:.6f}, "
        f"Overload is {builder.overload * 100:.2f}%"
    )
    print(f"Required overload is {required * 100:.6f}%")
    if report.worst is not None:
        print(f"Worst tier is {report.worst.percent:.6f} ({report.worst.name})")
    if verbose and report.tiers:
        _print_tiers(builder, report.tiers)


def _print_tiers(builder: RingBuilder, tiers: Sequence[TierDispersion]) -> None:
    name = max(30, *(len(tier.name) for tier in tiers))
    count = max(5, len(str(builder.parts)))
    columns = "".join(f" {i:>{count}}" for i in range(len(tiers[0].counts)))
    header = f"{'Tier':<{name}} {'Parts':>{count}} {'%':>6} {'Max':>6}{columns}"
    rule = "-" * len(header)
    print(f"{rule}\n{header}\n{rule}")
    for tier in tiers:
        counts = "".join(f" {number:>{count}}" for number in tier.counts)
        print(
            f"{tier.name:<{name}} {tier.placed:>{count}} {tier.percent:>6.2f} {tier.max_replicas:>6}{counts}"
        )


def tier_json(tier: TierDispersion) -> dict[str, Any]:
    return {
        "tier": tier.name,
        "placed": tier.placed,
        "percent_over": tier.percent,
        "max_replicas": tier.max_replicas,
        "partitions_by_replicas": list(tier.counts),
    }


def dispersion_json(builder: RingBuilder, report: DispersionReport) -> dict[str, Any]:
    return {
        "dispersion": report.dispersion,
        "balance": builder.get_balance(),
        "overload": builder.overload,
        "required_overload": builder.get_required_overload(),
        "worst_tier": tier_json(report.worst) if report.worst else None,
        "tiers": [tier_json(tier) for tier in report.tiers],
    }
