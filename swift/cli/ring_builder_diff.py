"""``swift-ring-builder diff A B``: what differs between two rings or builders, in any combination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy

from swift.cli.ring_builder_args import CommandError, CommandParser, UsageError
from swift.cli.ring_builder_help import command_help
from swift.cli.ring_builder_show import print_json
from swift.ring.builder import RingBuilder
from swift.ring.devices import Device, device_text
from swift.ring.errors import RingBuilderError
from swift.ring.format import RingData

_GZIP_MAGIC = b"\x1f\x8b"
_SETTINGS = ("part_power", "next_part_power", "replicas", "version", "min_part_hours", "overload", "id")
_DEVICE_KEYS = (
    "region",
    "zone",
    "ip",
    "port",
    "replication_ip",
    "replication_port",
    "device",
    "meta",
    "weight",
)


@dataclass(frozen=True)
class Placement:
    """One side of the comparison. settings: those that the kind of file knows; rows: part → device id each."""

    settings: dict[str, Any]
    devs: list[Device | None]
    rows: list[Any]


@dataclass(frozen=True)
class Difference:
    """settings: name → (old, new); changed_devices: id → {key: (old, new)}; moves: device id → [gained, lost] counted
    in part-replicas; moved, moved_parts: replicas elsewhere, partitions concerned (None with unequal part power)."""

    settings: dict[str, tuple[Any, Any]]
    added_devices: list[Device]
    removed_devices: list[Device]
    changed_devices: dict[int, dict[str, tuple[Any, Any]]]
    moved: int | None
    moved_parts: int | None
    moves: dict[int, tuple[int, int]]

    def __bool__(self) -> bool:
        devices = self.added_devices or self.removed_devices or self.changed_devices
        return bool(self.settings or devices or self.moved is None or self.moved)


def read_placement(path: str) -> Placement:
    """A ring or a builder, told apart by what is in the file; CommandError when it is neither."""
    try:
        with open(path, "rb") as file:
            is_ring = file.read(2) == _GZIP_MAGIC
        return _of_ring(RingData.load(path)) if is_ring else _of_builder(RingBuilder.load(path))
    except OSError as error:
        raise CommandError(str(error))
    except (RingBuilderError, ValueError) as error:
        raise CommandError(f"{path} is neither a ring nor a builder: {error}")


def _of_ring(ring: RingData) -> Placement:
    settings = {
        "part_power": 32 - ring.part_shift,
        "next_part_power": ring.next_part_power,
        "replicas": ring.replica_count,
        "version": ring.version,
    }
    return Placement(settings, ring.devs, ring.rows)


def _of_builder(builder: RingBuilder) -> Placement:
    return Placement({key: getattr(builder, key) for key in _SETTINGS}, builder.devs, builder.rows or [])


def compare(old: Placement, new: Placement) -> Difference:
    shared = [key for key in _SETTINGS if key in old.settings and key in new.settings]
    settings = {
        key: (old.settings[key], new.settings[key])
        for key in shared
        if old.settings[key] != new.settings[key]
    }
    before, after = _by_id(old.devs), _by_id(new.devs)
    changed = {
        dev_id: delta
        for dev_id in before.keys() & after.keys()
        if (delta := _device_delta(before[dev_id], after[dev_id]))
    }
    moved: int | None = None
    moved_parts: int | None = None
    moves: dict[int, tuple[int, int]] = {}
    if old.settings["part_power"] == new.settings["part_power"]:
        moved, moved_parts, moves = _compare_rows(old.rows, new.rows)
    return Difference(
        settings,
        [after[dev_id] for dev_id in sorted(after.keys() - before.keys())],
        [before[dev_id] for dev_id in sorted(before.keys() - after.keys())],
        dict(sorted(changed.items())),
        moved,
        moved_parts,
        moves,
    )


def _by_id(devs: Iterable[Device | None]) -> dict[int, Device]:
    return {dev["id"]: dev for dev in devs if dev is not None}


def _device_delta(old: Device, new: Device) -> dict[str, tuple[Any, Any]]:
    return {key: (old.get(key), new.get(key)) for key in _DEVICE_KEYS if old.get(key) != new.get(key)}


def _compare_rows(old_rows: list[Any], new_rows: list[Any]) -> tuple[int, int, dict[int, tuple[int, int]]]:
    gained: Counter[int] = Counter()
    lost: Counter[int] = Counter()
    parts: set[int] = set()
    moved = 0
    for index in range(max(len(old_rows), len(new_rows))):
        old = numpy.asarray(old_rows[index] if index < len(old_rows) else [], dtype=numpy.int64)
        new = numpy.asarray(new_rows[index] if index < len(new_rows) else [], dtype=numpy.int64)
        shared = min(len(old), len(new))
        elsewhere = numpy.flatnonzero(old[:shared] != new[:shared])
        moved += len(elsewhere) + len(old) + len(new) - 2 * shared
        parts.update(elsewhere.tolist())
        parts.update(range(shared, max(len(old), len(new))))
        lost.update(old[elsewhere].tolist() + old[shared:].tolist())
        gained.update(new[elsewhere].tolist() + new[shared:].tolist())
    return moved, len(parts), {dev: (gained[dev], lost[dev]) for dev in sorted(gained.keys() | lost.keys())}


def diff(prog: str, args: list[str]) -> int:
    """0: no difference, 1: differences; CommandError (2) otherwise."""
    parser = CommandParser(prog=prog, usage=command_help("diff"))
    parser.add_option("--json", action="store_true", default=False, help="print the differences as JSON")
    options, paths = parser.parse_args(args)
    if len(paths) != 2:
        raise UsageError
    old, new = map(read_placement, paths)
    found = compare(old, new)
    if options.json:
        print_json({"differs": bool(found), **asdict(found)})
    else:
        _print_difference(found, old, new)
    return 1 if found else 0


def _print_difference(found: Difference, old: Placement, new: Placement) -> None:
    for key, (was, now) in found.settings.items():
        print(f"{key}: {was} -> {now}")
    for dev in found.removed_devices:
        print(f"- {_with_weight(dev)}")
    for dev in found.added_devices:
        print(f"+ {_with_weight(dev)}")
    after = _by_id(new.devs)
    for dev_id, delta in found.changed_devices.items():
        changes = ", ".join(f"{key} {was!r} -> {now!r}" for key, (was, now) in delta.items())
        print(f"~ {device_text(after[dev_id])}: {changes}")
    if found.moved is None:
        print("The part powers differ: partitions cannot be compared.")
        return
    total = sum(map(len, new.rows)) or 1
    print(
        f"{found.moved} replicas of {found.moved_parts} partitions lie elsewhere ({100.0 * found.moved / total:.2f}%)"
    )
    everyone = _by_id(old.devs) | after
    for dev_id, (gained, lost) in found.moves.items():
        print(f"    {'+' + str(gained):>8} {'-' + str(lost):>8}  {device_text(everyone[dev_id])}")


def _with_weight(dev: Device) -> str:
    return f"{device_text(dev)} weight {dev['weight']}"
